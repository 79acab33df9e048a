"""AugMix (Hendrycks et al. 2020): a random mixture of three chains of mild distortions, mixed into the image.

Departures: a chain is one affine map (rotation, shear and shift together, on average a third of them switched
on) and one change of tone (posterised or solarised), instead of one to three of nine Pillow operations; and
there is no Jensen-Shannon term in the loss.

Strength: how far each distortion goes, 1 being 30 degrees, a shear of 0.3, a third of the side, 1 bit or
solarising the upper half.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.train.interventions.base import Intervention, require_share
from biasjax.types import Image, RandomKey

NAME = "augmix"
CHAINS = 3
ROTATION, SHEAR, SHIFT = math.pi / 6, 0.3, 1 / 3
BITS = 7  # that posterising takes away at most


def affine(image: Image, matrix: Float[Array, "2 2"], shift: Float[Array, "2"]) -> Image:
  """The image moved by `shift` sides after `matrix` about its centre, bilinear; edges repeated."""
  height, width = image.shape[:2]
  grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")).reshape(2, -1)
  size = jnp.array([height, width], jnp.float32)[:, None]
  at = matrix @ (grid - (size - 1) / 2) + (size - 1) / 2 - shift[:, None] * size
  sample = jax.vmap(
    lambda channel: jax.scipy.ndimage.map_coordinates(channel, [at[0], at[1]], order=1, mode="nearest"),
    in_axes=2,
    out_axes=1,
  )
  return sample(image).reshape(image.shape)


def chain(key: RandomKey, image: Image, strength: float) -> Image:
  """One chain of distortions."""
  of_size, of_use, of_tone, of_kind = jax.random.split(key, 4)
  used = jax.random.bernoulli(of_use, 1 / 3, (4,))
  angle, shear, *shift = jnp.where(
    used,
    strength
    * jax.random.uniform(of_size, (4,), minval=-1.0, maxval=1.0)
    * jnp.array([ROTATION, SHEAR, SHIFT, SHIFT]),
    0.0,
  )
  cosine, sine = jnp.cos(angle), jnp.sin(angle)
  turn = jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])])
  lean = jnp.stack([jnp.stack([jnp.ones(()), shear]), jnp.array([0.0, 1.0])])
  moved = affine(image, turn @ lean, jnp.stack(shift))
  amount = strength * jax.random.uniform(of_tone)
  step = (2.0 ** (BITS * amount)) / 255
  # What posterising does to 8 bits, blended in: the first bit alone would not be nothing at strength 0.
  posterised = moved + jnp.minimum(1.0, 4 * amount) * (jnp.floor(moved / step) * step - moved)
  threshold = 1 - amount / 2
  solarised = jnp.where(moved > threshold, 2 * threshold - moved, moved)
  return jnp.where(jax.random.bernoulli(of_kind), jnp.clip(posterised, 0.0, 1.0), solarised)


def make(strength: float) -> Intervention:
  """The intervention.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(NAME, strength)

  def augment(key, image, target, other, other_target):
    of_weights, of_share, of_chains = jax.random.split(key, 3)
    weights = jax.random.dirichlet(of_weights, jnp.ones(CHAINS))
    chains = jax.vmap(lambda k: chain(k, image, strength))(jax.random.split(of_chains, CHAINS))
    mixture = jnp.tensordot(weights, chains, axes=1)
    share = jax.random.uniform(of_share)  # Beta(1, 1)
    return (1 - share) * image + share * mixture, target

  return Intervention(NAME, strength, augment)
