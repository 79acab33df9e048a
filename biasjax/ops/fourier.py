"""Ideal low- and high-pass filters, as published."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Int

from biasjax.types import Image


def spectrum(image: Image) -> Complex[Array, "h w c"]:
  """The 2-D DFT of each channel, frequency 0 at index [0, 0]."""
  return jnp.fft.fft2(image, axes=(0, 1))


def square_mask(height: int, width: int, radius: Int[Array, ""]) -> Bool[Array, "h w"]:
  """Where the centred spectrum's index lies in [c - r, c + r) on both axes; c is the index of frequency 0.

  The block is half-open, so that it keeps frequency -r but not +r: it is not symmetric under conjugation, and
  the real part is taken after the inverse transform. So it was published, and so every published number was
  made. The mask is laid out for a spectrum with frequency 0 at index [0, 0].
  """

  def inside(size: int):
    frequency = (jnp.arange(size) + size // 2) % size - size // 2
    return (frequency >= -radius) & (frequency < radius)

  return inside(height)[:, None] & inside(width)[None, :]


def band_pass(spectrum: Complex[Array, "h w c"], radius: Int[Array, ""], keep_low: Bool[Array, ""]) -> Image:
  """Keeps, or removes, the centred block of 2r x 2r frequencies, then clips to [0, 1].

  Gavrikov & Keuper, CVPR 2024. Clipping a high-passed image, whose mean is 0, cuts away its negative half:
  its accuracy is not that of high frequencies alone.

  Args:
    spectrum: of an image in [0, 1], from `spectrum`.
    radius: r, 0 to min(h, w) / 2.
    keep_low: low-pass if true, else high-pass.
  """
  height, width = spectrum.shape[:2]
  mask = square_mask(height, width, radius) == keep_low
  return jnp.clip(jnp.fft.ifft2(spectrum * mask[:, :, None], axes=(0, 1)).real, 0.0, 1.0)
