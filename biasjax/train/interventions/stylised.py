"""Texture randomised: what is fine in an image is taken from another one.

The aim of Stylized-ImageNet (Geirhos et al. 2019) with what a device can do in a step: instead of a
painting's style, the image gets the fine structure of another image of the batch, mirrored, turned and
shifted at random. Coarser structure, and so the shape, stays; texture says nothing about the class any more.

Strength: the probability that an image is changed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.train.interventions.base import Intervention, sometimes
from biasjax.types import Image, RandomKey

NAME = "stylised"
SIGMA = 0.04  # of the Gaussian between coarse and fine, of the side: 4 % of 10 cycles/image is left


def blur(image: Image, sigma: float = SIGMA) -> Image:
  """The image under a Gaussian of `sigma` sides, edges mirrored."""
  return jnp.stack(
    [
      _blur_matrix(image.shape[0], sigma) @ c @ _blur_matrix(image.shape[1], sigma).T
      for c in jnp.moveaxis(image, -1, 0)
    ],
    axis=-1,
  )


def _blur_matrix(size: int, sigma: float) -> Float[Array, "n n"]:
  """Row i weighs the pixels around i, those beyond an edge mirrored into it."""
  i = jnp.arange(size)
  weights = jnp.zeros((size, size))
  for reflected in (i, -1 - i, 2 * size - 1 - i):
    weights += jnp.exp(-0.5 * ((reflected[None] - i[:, None]) / (sigma * size)) ** 2)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def stylise(key: RandomKey, image: Image, other: Image) -> Image:
  """The coarse structure of `image` with the fine structure of `other`, clipped to [0, 1]."""
  of_turn, of_mirror, of_shift = jax.random.split(key, 3)
  fine = other - blur(other)
  fine = jnp.where(jax.random.bernoulli(of_turn), jnp.swapaxes(fine, 0, 1), fine)
  mirrored = jax.random.bernoulli(of_mirror, shape=(2,))
  fine = jnp.where(mirrored[0], fine[::-1], fine)
  fine = jnp.where(mirrored[1], fine[:, ::-1], fine)
  shift = jax.random.randint(of_shift, (2,), 0, image.shape[0])
  return jnp.clip(blur(image) + jnp.roll(jnp.roll(fine, shift[0], 0), shift[1], 1), 0.0, 1.0)


def make(strength: float) -> Intervention:
  """The intervention on square images.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  return sometimes(NAME, strength, stylise)
