"""Spectral adversarial augmentation (after SADA, Zhang et al. 2023): amplitudes that the network gets wrong.

In `steps` steps the amplitude spectrum of each image and channel follows the sign of the loss' gradient, each
amplitude by a share of itself: A <- max(0, A (1 + eta W sign(dL/dA))), eta being strength / steps. Phases
stay. W is 1 plus the sensitivity of the network at the radius of the frequency, as a map says, or 1
throughout. An image that is misclassified is not moved any more.

Departures, most of them from faults of the released code: the map is a function of the radius, so that it
fits the spectrum and is symmetric (theirs is 31 x 31 for spectra of 32 x 32, and centred where these are
not); images are made by the inverse of the real transform and clipped (theirs by the absolute value of the
complex one, which folds negative pixels back, divided by the maximum over the batch); the random start acts
on each channel's mean alone and is off by default (theirs multiplies it by 1 to 5); BatchNorm normalises by
the batch, as in the step that follows (theirs is in evaluation mode); no brightness is drawn afterwards, and
there is no consistency of predictions under AugMix.

Strength: the shares by which the steps change an amplitude, added up, before the map; 0.4 as published, which
compounds to 47 % more or 34 % less at most. Options: `steps` (5); `map`, "flat" or a CSV with the columns
radius (cycles an image) and sensitivity (0 to 1), linear between; `start` (0), the means are multiplied by 1
to 1 + start at random.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from biasjax.data import rows as csv_rows
from biasjax.errors import BiasjaxError
from biasjax.train.interventions.base import Intervention, number, whole
from biasjax.types import Images

NAME = "sada"


def read(path: str) -> Float[np.ndarray, "2 r"]:
  """Radii, ascending, and the sensitivity at each.

  Raises:
    BiasjaxError: it cannot be read, or is no such table.
  """
  where = f"interventions: {NAME}:map={path}"
  _, rows = csv_rows.read(path, where)
  try:
    numbers = sorted((float(row["radius"]), float(row["sensitivity"])) for row in rows)
  except (KeyError, ValueError) as error:
    raise BiasjaxError(f"{where}: expected the columns radius and sensitivity, numbers: {error}") from error
  table = np.array(numbers).reshape(-1, 2).T
  if not table.size or not (np.isfinite(table).all() and (table >= 0).all() and (table[1] <= 1).all()):
    raise BiasjaxError(f"{where}: expected radii from 0 and sensitivities from 0 to 1")
  return table


def radii(height: int, width: int) -> Float[np.ndarray, "h w"]:
  """The radius of each frequency of `rfft2`, in cycles an image."""
  return np.hypot(np.fft.fftfreq(height, 1 / height)[:, None], np.fft.rfftfreq(width, 1 / width)[None, :])


def image_of(
  amplitude: Float[jax.Array, "b h half c"], phase: Float[jax.Array, "b h half c"], like: Images
) -> Images:
  """The images of these spectra, clipped to [0, 1]."""
  pixels = jnp.fft.irfft2(amplitude * jnp.exp(1j * phase), s=like.shape[1:3], axes=(1, 2))
  return jnp.clip(pixels, 0.0, 1.0)


def make(strength: float, *, steps: str = "5", map: str = "flat", start: str = "0") -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: an option is out of its range, or the map cannot be read.
  """
  count, lift = whole(NAME, "steps", steps, 1), number(NAME, "start", start, 0)
  table = None if map == "flat" else read(map)

  def attack(keys, victim, images):
    spectrum = jnp.fft.rfft2(images, axes=(1, 2))
    amplitude, phase = jnp.abs(spectrum), jnp.angle(spectrum)
    factor = 1 + lift * jax.vmap(lambda key: jax.random.uniform(key, (images.shape[3],)))(keys)
    amplitude = amplitude.at[:, 0, 0, :].multiply(factor)
    weight = np.ones(amplitude.shape[1:3], np.float32)
    if table is not None:
      weight += np.interp(radii(*images.shape[1:3]), *table).astype(np.float32)
    eta = strength / count * jnp.asarray(weight)[None, :, :, None]
    gradient = jax.grad(lambda a: jnp.sum(victim.losses(image_of(a, phase, images))))

    def step(_, amplitude):
      moves = victim.right(image_of(amplitude, phase, images))[:, None, None, None]
      moved = jnp.maximum(amplitude * (1 + eta * jnp.sign(gradient(amplitude))), 0.0)
      return jnp.where(moves, moved, amplitude)

    return image_of(jax.lax.fori_loop(0, count, step, amplitude), phase, images)

  fingerprint = None if table is None else hashlib.sha256(table.tobytes()).hexdigest()
  return Intervention(NAME, strength, attack=attack if strength else None, read=fingerprint)
