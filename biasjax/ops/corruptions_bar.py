"""ImageNet-C-bar's ten corruptions as pure functions of (key, image, severity), for any square size.

Mintun, Kirillov & Xie 2021 (arXiv:2102.11273), who chose them to be unlike those of ImageNet-C; constants and
the order of operations are those of their published code, which is a loop over pixels in NumPy. What is drawn
is drawn by `DRAWN`, and what becomes of an image with it by `APPLIED`, so that either can be held against
that code. Images are in [0, 1] and come back as whole levels over 255, truncated as theirs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from biasjax.ops import draw
from biasjax.ops.corruptions import Corruption, Severity, apart, of_severity, sampled_inside, truncated
from biasjax.types import Image, RandomKey

STRENGTHS = {  # at severities 1 to 5; each stands for so many tenths of the largest change
  "blue_noise_sample": (0.8, 1.6, 2.4, 4.0, 5.6),
  "brownish_noise": (1.0, 2.0, 3.0, 4.0, 5.0),
  "caustic_refraction": (2.35, 3.2, 4.9, 6.6, 9.15),
  "checkerboard_cutout": (2.0, 3.0, 4.0, 5.0, 6.0),
  "cocentric_sine_waves": (3.0, 5.0, 8.0, 9.0, 10.0),
  "inverse_sparkles": (1.0, 2.0, 4.0, 9.0, 10.0),
  "perlin_noise": (4.6, 5.2, 5.8, 7.6, 8.8),
  "plasma_noise": (4.75, 7.0, 8.5, 9.25, 10.0),
  "single_frequency_greyscale": (1.0, 1.5, 2.0, 4.5, 5.0),
  "sparkles": (1.0, 2.0, 3.0, 5.0, 6.0),
}
RAYS = (50, 200)  # of a sparkle, from and below
SPARKLES = 5
CELLS = 40  # more than a checkerboard ever has a side
PERLIN = 256
OCTAVES = (1, 2, 4, 8, 16)

Drawn = dict[str, Array]
Strength = Float[Array, ""]


def _between(key: RandomKey, low: float | int, high: float | int, shape: tuple[int, ...] = ()) -> Array:
  return draw.uniform(key, shape, low, high)


def _pixels(size: int) -> tuple[Array, Array]:
  """(y [h, 1], x [1, w]), which broadcast."""
  along = jnp.arange(size, dtype=jnp.float32)
  return along[:, None], along[None, :]


def _levels(changed: Array) -> Image:
  """Of values in levels."""
  return truncated(changed / 255)


# --- noise of a given spectrum -----------------------------------------------------------------------------


def _phases(key: RandomKey, size: int, planes: int) -> Array:
  """[planes, size, size] in [0, 2 pi), equal (not opposite, as published) at frequencies that mirror."""
  of_half, of_middle = jax.random.split(key)
  half = _between(of_half, 0, 2 * np.pi, (planes, size, size // 2))
  parts = [half, half[:, ::-1, ::-1]]
  if size % 2:
    middle = _between(of_middle, 0, 2 * np.pi, (planes, size // 2, 1))
    column = jnp.concatenate([middle, jnp.zeros((planes, 1, 1), jnp.float32), middle[:, ::-1]], axis=1)
    parts.insert(1, column)
  return jnp.concatenate(parts, axis=2)


def coloured(phases: Float[Array, "c n n"], exponent: int) -> Float[Array, "c n n"]:
  """Noise of unit variance; its amplitude at a distance r from the centre is r (1) or 1 / (r^2 + 1) (-2)."""
  size = phases.shape[-1]
  y, x = np.mgrid[:size, :size] - size / 2
  radius = np.hypot(y, x)
  amplitude = jnp.asarray(radius if exponent == 1 else 1 / (radius**2 + 1), jnp.float32)[None]
  spectrum = jax.lax.complex(amplitude * jnp.cos(phases), amplitude * jnp.sin(phases))
  spectrum = jnp.roll(spectrum, (size // 2, size // 2), axis=(1, 2))
  # The real part of the inverse transform is that of the spectrum's even part.
  mirrored = jnp.conj(jnp.roll(spectrum[:, ::-1, ::-1], (1, 1), axis=(1, 2)))
  even = (spectrum + mirrored)[..., : size // 2 + 1] / 2
  noise = jnp.fft.irfft2(even, s=(size, size))
  return noise / jnp.std(noise, axis=(1, 2), keepdims=True)


def _draw_blue(key: RandomKey, size: int) -> Drawn:
  return {"phases": _phases(key, size, 1)}


def _blue_noise_sample(image: Image, strength: Strength, phases: Array) -> Image:
  kept = coloured(phases, 1)[0] > strength * 0.3 - 2.5
  return truncated(image * kept[..., None])


def _draw_brownish(key: RandomKey, size: int) -> Drawn:
  return {"phases": _phases(key, size, 3)}


def _brownish_noise(image: Image, strength: Strength, phases: Array) -> Image:
  return _levels(image * 255 + 6.4 * strength * jnp.moveaxis(coloured(phases, -2), 0, -1))


# --- waves -------------------------------------------------------------------------------------------------


def _draw_frequency(key: RandomKey, size: int) -> Drawn:
  del size
  of_larger, of_smaller, of_order, of_phase = jax.random.split(key, 4)
  larger = _between(of_larger, -np.pi, np.pi)
  both = jnp.stack([larger, jnp.abs(larger) * _between(of_smaller, -1, 1)])
  swapped = jax.random.bernoulli(of_order)
  return {"frequency": jnp.where(swapped, both[::-1], both), "phase": _between(of_phase, 0, 2 * np.pi)}


def _single_frequency(image: Image, strength: Strength, frequency: Array, phase: Array) -> Image:
  y, x = _pixels(image.shape[0])
  wave = jnp.sin(x * frequency[0] + y * frequency[1] + phase)
  return _levels(image * 255 + 19.6 * strength * wave[..., None])


def _draw_rings(key: RandomKey, size: int) -> Drawn:
  of_centre, of_frequency, of_amplitude, of_width = jax.random.split(key, 4)
  return {
    "centre": _between(of_centre, 0, size, (2,)),  # x, y
    "frequency": _between(of_frequency, 0, 10),
    "amplitude": _between(of_amplitude, 0, size / 10),
    "width": _between(of_width, 0, size / 10),
  }


def _rings(
  image: Image, strength: Strength, centre: Array, frequency: Array, amplitude: Array, width: Array
) -> Image:
  y, x = _pixels(image.shape[0])
  dx, dy = x - centre[0], y - centre[1]
  wavy = jnp.sqrt(dx**2 + dy**2) + amplitude * jnp.sin(jnp.arctan2(dx, dy) * frequency)
  ring = (wavy % width) / width - 0.5
  return _levels(image * 255 + 12.8 * strength * ring[..., None])


# --- textures ----------------------------------------------------------------------------------------------


def _draw_plasma(key: RandomKey, size: int) -> Drawn:
  of_time, of_count, of_sharpness, of_scale = jax.random.split(key, 4)
  return {
    "time": _between(of_time, 0, 6 * np.pi),
    "iterations": jax.random.randint(of_count, (), 4, 7),
    "sharpness": _between(of_sharpness, 0.5, 1),
    "scale": _between(of_scale, 0.075, 0.2) * size,
  }


def _plasma_noise(
  image: Image, strength: Strength, time: Array, iterations: Array, sharpness: Array, scale: Array
) -> Image:
  size = image.shape[0]
  y, x = (jnp.broadcast_to(at / scale, (size, size)) for at in _pixels(size))

  def step(i, state):
    del i
    y, x, frequency, slowness, damping = state
    dx = jnp.cos(y * frequency + time / slowness) / damping
    dy = jnp.sin(x * frequency + time / slowness) / damping
    return (
      *(y + dy + 0.3 * dx, x + dx - 0.3 * dy),
      *(frequency * 1.93, slowness * 1.15, damping * (2.25 - sharpness)),
    )

  one = jnp.float32(1)
  y, x, *_ = jax.lax.fori_loop(0, iterations, step, (y, x, one, one, one))
  noise = jnp.stack([jnp.sin(x - time), jnp.sin((x + y + jnp.sin(time)) * 0.5), jnp.sin(y + time)], axis=-1)
  return _levels((255 - 6.4 * strength) * image + 6.4 * strength * noise)


def _draw_perlin(key: RandomKey, size: int) -> Drawn:
  del size
  of_order, of_gradients = jax.random.split(key)
  drawn = jax.random.randint(of_gradients, (PERLIN, 2), -PERLIN, PERLIN).astype(jnp.float32)
  drawn = jnp.where(jnp.any(drawn != 0, axis=1, keepdims=True), drawn, 1.0)
  gradients = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
  return {"order": jax.random.permutation(of_order, PERLIN), "gradients": gradients}


def perlin(at: Float[Array, "n"], order: Int[Array, "256"], gradients: Float[Array, "256 2"]) -> Array:
  """Perlin's noise on the square grid of coordinates `at` (rows, then columns), float32 [n, n].

  Gradients are looked up at the grid's corners, of which there are few, before they are spread over it.
  """
  corner = jnp.floor(at).astype(jnp.int32)
  rest = at - corner
  before, after = rest, rest - 1.0
  curve = rest**2 * (3.0 - 2.0 * rest)
  rows = [order[(corner + i) % PERLIN] for i in (0, 1)]
  columns = [(corner + i) % PERLIN for i in (0, 1)]

  def dot(i, j):
    of = gradients[order[(rows[i][:, None] + columns[j][None, :]) % PERLIN]]
    return (before, after)[i][:, None] * of[..., 0] + (before, after)[j][None, :] * of[..., 1]

  def along_rows(j):
    return dot(0, j) + curve[:, None] * (dot(1, j) - dot(0, j))

  near, far = along_rows(0), along_rows(1)
  return 1.5 * (near + curve[None, :] * (far - near))


def _perlin_noise(image: Image, strength: Strength, order: Array, gradients: Array) -> Image:
  size = image.shape[0]
  at = jnp.arange(size, dtype=jnp.float32) / (32 * size / 224)
  turbulence = sum(
    (jnp.abs(perlin(octave * at, order, gradients)) / octave for octave in OCTAVES),
    start=jnp.zeros((size, size), jnp.float32),
  )
  noise = jnp.clip(0.5 * turbulence + 0.5, 0.0, 1.0)[..., None]
  share = 0.05 * strength
  return truncated((1 - share) * image + share * noise)


# --- what covers the image ---------------------------------------------------------------------------------


def _draw_checkerboard(key: RandomKey, size: int) -> Drawn:
  of_angle, of_side, of_cells = jax.random.split(key, 3)
  return {
    "angle": _between(of_angle, 0, 2 * np.pi),
    "side": jnp.maximum(_between(of_side, 0.1, 0.25) * size, 1.0),
    "cells": _between(of_cells, 0, 1, (CELLS, CELLS)),
  }


def _checkerboard_cutout(image: Image, strength: Strength, angle: Array, side: Array, cells: Array) -> Image:
  size = image.shape[0]
  y, x = _pixels(size)
  across = (jnp.cos(angle) * y + jnp.sin(angle) * x) / side
  down = (-jnp.sin(angle) * y + jnp.cos(angle) * x) / side
  count = jnp.floor(4 * size / side).astype(jnp.int32)
  # Cells are counted from zero towards either side, and what is negative from the end, as arrays are.
  cut = cells[jnp.trunc(across).astype(jnp.int32) % count, jnp.trunc(down).astype(jnp.int32) % count]
  same = jnp.floor(across % 2) == jnp.floor(down % 2)
  return truncated(jnp.where((same & (cut < strength / 10))[..., None], 128 / 255, image))


def _draw_sparkles(key: RandomKey, size: int) -> Drawn:
  of_centre, of_count, of_lengths = jax.random.split(key, 3)
  return {
    "centres": _between(of_centre, 0, size, (SPARKLES, 2)),  # y, x
    "rays": jax.random.randint(of_count, (SPARKLES,), *RAYS),
    "lengths": draw.normal(of_lengths, (SPARKLES, RAYS[1])),
  }


def _star(size: int, centre: Array, rays: Array, lengths: Array, exponent: Array | float) -> Array:
  """How far each pixel is in the light of a star, [h, w] in [0, 1]."""
  y, x = _pixels(size)
  dy, dx = y - centre[0], x - centre[1]
  turn = (jnp.arctan2(dx, dy) + np.pi) / (2 * np.pi) * rays
  ray = jnp.floor(turn).astype(jnp.int32)
  between = turn - ray
  first, second = lengths[ray % rays], lengths[(ray + 1) % rays]
  length = first + between * (second - first)
  glow = (length**2 / (dy**2 + dx**2 + 1e-4)) ** exponent
  return jnp.clip((1 - (between - 0.5) ** 2) * glow, 0.0, 1.0)


def _sparkles(image: Image, strength: Strength, centres: Array, rays: Array, lengths: Array) -> Image:
  size = image.shape[0]
  radius = 0.01 * strength * size
  for i in range(SPARKLES):
    long = jnp.maximum(1.0, radius + 0.25 * radius * lengths[i])
    image = image + _star(size, centres[i], rays[i], long, 1.0)[..., None] * (1 - image)
  return truncated(image)


def _draw_inverse(key: RandomKey, size: int) -> Drawn:
  of_centre, of_count, of_lengths = jax.random.split(key, 3)
  return {
    "centre": _between(of_centre, 0.25, 0.75, (2,)) * size,  # y, x
    "rays": jax.random.randint(of_count, (), *RAYS),
    "lengths": draw.normal(of_lengths, (RAYS[1],)),
  }


def _inverse_sparkles(image: Image, strength: Strength, centre: Array, rays: Array, lengths: Array) -> Image:
  size = image.shape[0]
  radius = 0.25 * size
  seen = _star(size, centre, rays, radius + 0.25 * radius * lengths, 6.5 * strength / 50)
  return truncated(1 + seen[..., None] * (image - 1))


# --- refraction --------------------------------------------------------------------------------------------


def _draw_caustics(key: RandomKey, size: int) -> Drawn:
  of_time, of_scale = jax.random.split(key)
  return {"time": _between(of_time, 0.5, 2.0), "scale": _between(of_scale, 0.75, 1.25) * size}


def caustics(size: int, time: Array, scale: Array) -> Float[Array, "h w"]:
  """Light on the ground of a pool, in [0, 1]."""
  y, x = (jnp.broadcast_to((at / scale) % 1.0, (size, size)) * 6.28318530718 - 250 for at in _pixels(size))
  i, j, total = y, x, jnp.float32(1)
  for n in range(5):
    t = time * (1.0 - 3.5 / (n + 1))
    i, j = y + jnp.cos(t - i) + jnp.sin(t + j), x + jnp.sin(t - j) + jnp.cos(t + i)
    length = jnp.hypot(y * 0.005 / jnp.sin(i + t), x * 0.005 / jnp.cos(j + t))
    total = total + 1 / length
  return jnp.clip(jnp.abs(1.17 - (total / 5) ** 1.4) ** 8, 0.0, 1.0)


def smoothed(plane: Float[Array, "h w"]) -> Float[Array, "h w"]:
  """scipy's Gaussian filter of sigma 1, the border mirrored with its edge twice."""
  weight = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
  weight = (weight / weight.sum()).tolist()
  size = plane.shape[0]
  rows, both = jnp.zeros((size, size + 8), plane.dtype), jnp.zeros_like(plane)
  padded = jnp.pad(plane, 4, mode="symmetric")
  for k, of in enumerate(weight):
    rows = rows + of * padded[k : k + size]
  for k, of in enumerate(weight):
    both = both + of * rows[:, k : k + size]
  return both


def _caustic_refraction(image: Image, strength: Strength, time: Array, scale: Array) -> Image:
  size = image.shape[0]
  around = jnp.pad(smoothed(caustics(size, time, scale)), 1)
  down = around[2:, 1:-1] - around[:-2, 1:-1]
  right = around[1:-1, 2:] - around[1:-1, :-2]
  upright = 1 / jnp.sqrt(1 + down**2 + right**2)  # the cosine of the angle between the normal and the view
  # Refraction by an index of 4 (Snell), as what it moves a ray along the normal; nearly upright ones pass.
  along = jnp.sqrt(1 - (1 - upright**2) / 16) - upright / 4
  moved = jnp.where(upright >= 1 - 1e-3, 0.0, along * upright) * (0.05 * size * strength)
  y, x = _pixels(size)
  at = apart(strength, lambda: [jnp.round(by * moved, 3) + of for by, of in ((down, y), (right, x))])
  lit = sampled_inside(image, *at) + (0.2 * strength * (down - right))[..., None]
  return truncated(lit)


# --- all of them -------------------------------------------------------------------------------------------

DRAWN: dict[str, Callable[[RandomKey, int], Drawn]] = {
  "blue_noise_sample": _draw_blue,
  "brownish_noise": _draw_brownish,
  "caustic_refraction": _draw_caustics,
  "checkerboard_cutout": _draw_checkerboard,
  "cocentric_sine_waves": _draw_rings,
  "inverse_sparkles": _draw_inverse,
  "perlin_noise": _draw_perlin,
  "plasma_noise": _draw_plasma,
  "single_frequency_greyscale": _draw_frequency,
  "sparkles": _draw_sparkles,
}
APPLIED: dict[str, Callable[..., Image]] = {
  "blue_noise_sample": _blue_noise_sample,
  "brownish_noise": _brownish_noise,
  "caustic_refraction": _caustic_refraction,
  "checkerboard_cutout": _checkerboard_cutout,
  "cocentric_sine_waves": _rings,
  "inverse_sparkles": _inverse_sparkles,
  "perlin_noise": _perlin_noise,
  "plasma_noise": _plasma_noise,
  "single_frequency_greyscale": _single_frequency,
  "sparkles": _sparkles,
}


def _corruption(name: str) -> Corruption:
  def corrupted(key: RandomKey, image: Image, severity: Severity) -> Image:
    drawn: dict[str, Any] = DRAWN[name](key, image.shape[0])
    return APPLIED[name](image, of_severity(STRENGTHS[name], severity), **drawn)

  return corrupted


CORRUPTIONS: dict[str, Corruption] = {name: _corruption(name) for name in STRENGTHS}
