"""Ideal low- and high-pass filters, as published and three ways to be stricter; waves; power by frequency."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from biasjax.ops.batching import one_by_one
from biasjax.types import Image, Images

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
  return one_by_one(_weighted)(spectrum, weight)


def _weighted(spectrum: Spectrum, weight: Float[Array, "h half"]) -> Image:
  height, half = weight.shape
  filtered = jnp.fft.irfft2(spectrum * weight[None], s=(height, 2 * (half - 1)))
  return jnp.clip(jnp.moveaxis(filtered, 0, -1), 0.0, 1.0)


def wave(size: int, row: Int[Array, ""], column: Int[Array, ""]) -> Float[Array, "size size"]:
  """The real Fourier basis image of a frequency and its negative, phase 0, of L2 norm 1 (Yin et al. 2019).

  Args:
    size: pixels of a side.
    row, column: cycles a side down and across; (row, column) and (-row, -column) are the same image.
  """
  at = jnp.arange(size)
  # Whole numbers until the last step: at high frequencies an angle in float32 would be a rough one.
  turns = (row * at[:, None] + column * at[None, :]) % size
  alone = ((2 * row) % size == 0) & ((2 * column) % size == 0)  # it is its own negative
  return jnp.cos(2 * jnp.pi / size * turns) * jnp.where(alone, 1.0, math.sqrt(2)) / size


def lengths(size: int) -> np.ndarray:
  """How many cycles a side each frequency is from 0, in any direction; float64 [size, size]."""
  one = np.fft.fftfreq(size, 1 / size)
  return np.hypot(one[:, None], one[None, :])


def ring_edges(size: int, rings: int) -> np.ndarray:
  """The highest frequency of each ring, cycles a side, float64 [rings]; the last is at half the pixels."""
  return size / 2 * np.arange(1, rings + 1) / rings


def rings_of(size: int, rings: int) -> np.ndarray:
  """The ring of each frequency, int [size, size]: 0 for frequency 0, and `rings` + 1 for those beyond."""
  one = np.fft.fftfreq(size, 1 / size).round().astype(np.int64)
  squares = one[:, None] ** 2 + one[None, :] ** 2
  # Whole numbers, so that a frequency on an edge is within it.
  inside = 4 * rings**2 * squares[..., None] <= size**2 * np.arange(rings + 1) ** 2
  return rings + 1 - inside.sum(axis=-1)


def power(images: Images) -> Float[Array, "b h w"]:
  """|DFT|^2 / pixels, mean over channels, frequency 0 at index [0, 0].

  Adds up to the image's sum of squares, mean over channels (Parseval).
  """
  pixels, channels = images.shape[1] * images.shape[2], images.shape[3]
  return jnp.sum(jnp.abs(jnp.fft.fft2(images, axes=(1, 2))) ** 2, axis=3) / (pixels * channels)
