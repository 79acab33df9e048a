"""Ideal low- and high-pass filters: as published, and three ways to be stricter."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Int

from biasjax.types import Image

Mask = Bool[Array, "h w"]  # over all frequencies, 0 at index [0, 0]
Spectrum = Complex[Array, "c h half"]  # frequencies 0 .. w / 2 of the last axis


def spectrum(image: Image) -> Spectrum:
  """The 2-D DFT of each channel, frequency 0 at index [0, 0]; of a real image half of it says everything.

  Raises:
    ValueError: the width is odd, which the half spectrum could not tell.
  """
  if image.shape[1] % 2:
    raise ValueError(f"width {image.shape[1]} is odd")
  return jnp.fft.rfft2(jnp.moveaxis(image, -1, 0))


def frequencies(size: int) -> Int[Array, "size"]:
  """The frequency, -size/2 .. size/2 - 1 cycles a side, at each index."""
  return (jnp.arange(size) + size // 2) % size - size // 2


def half_open(height: int, width: int, radius: Int[Array, ""]) -> Mask:
  """Frequencies in [-r, r) on both axes.

  It keeps frequency -r but not +r: it is not symmetric under conjugation, so that the filtered image is
  complex, and its real part is taken. So it was published, and so every published number was made.
  """
  y, x = frequencies(height), frequencies(width)
  return ((y >= -radius) & (y < radius))[:, None] & ((x >= -radius) & (x < radius))[None, :]


def symmetric(height: int, width: int, radius: Int[Array, ""]) -> Mask:
  """Frequencies in [-r, r] on both axes: a filter whose output is real."""
  return (jnp.abs(frequencies(height)) <= radius)[:, None] & (jnp.abs(frequencies(width)) <= radius)[None, :]


def radial(height: int, width: int, radius: Int[Array, ""]) -> Mask:
  """Frequencies of at most r in length: the same cutoff in every orientation, and a real output."""
  return frequencies(height)[:, None] ** 2 + frequencies(width)[None, :] ** 2 <= radius**2


def band_pass(
  spectrum: Spectrum,
  radius: Int[Array, ""],
  keep_low: Bool[Array, ""],
  *,
  block: Callable[[int, int, Int[Array, ""]], Mask] = half_open,
  keep_mean: bool = False,
) -> Image:
  """Keeps, or removes, the frequencies of a centred block, takes the real part, and clips to [0, 1].

  Gavrikov & Keuper, CVPR 2024. Clipping a high-passed image, whose mean is 0, cuts away its negative half:
  its accuracy is not that of high frequencies alone, unless the mean is kept.

  Args:
    spectrum: of an image in [0, 1], from `spectrum`.
    radius: r, 0 to min(h, w) / 2.
    keep_low: low-pass if true, else high-pass.
    block: which frequencies belong to the block.
    keep_mean: whether high-pass leaves each channel's mean as it is.
  """
  height, half = spectrum.shape[1:]
  width = 2 * (half - 1)
  mask = block(height, width, radius) == keep_low
  if keep_mean:
    mask = mask.at[0, 0].set(True)
  # The image's spectrum is Hermitian, so the real part of what a mask M leaves is exactly what the mask
  # (M(f) + M(-f)) / 2 leaves: a real image, of which half a spectrum is enough.
  mirrored = jnp.roll(mask[::-1, ::-1], (1, 1), (0, 1))
  weight = 0.5 * (mask.astype(jnp.float32) + mirrored.astype(jnp.float32))[:, :half]
  filtered = jnp.fft.irfft2(spectrum * weight[None], s=(height, width))
  return jnp.clip(jnp.moveaxis(filtered, 0, -1), 0.0, 1.0)
