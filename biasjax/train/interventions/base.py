"""What an intervention is: a change to the images, to what the loss sees, or to what may be learnt."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import threat
from biasjax.ops.attacks.pgd import move
from biasjax.types import Image, Images, RandomKey

REACH = 2.5  # the steps of an attack together go that many eps (Madry et al. 2018)

Target = Float[Array, "k"]  # probabilities of the classes
# (key, image, target, another image of the batch, its target) -> (image, target), of one example.
Augment = Callable[[RandomKey, Image, Target, Image, Target], tuple[Image, Target]]
# (key, losses, images) -> images: `losses` gives the loss of each image by the network as it is now, [b].
Attack = Callable[[RandomKey, Callable[[Images], Float[Array, "b"]], Images], Images]


@dataclasses.dataclass(frozen=True)
class Intervention:
  """One change to training. Strength 0 is no change.

  Attributes:
    name: of its module.
    strength: how much of it; what the number means stands in its module.
    augment: changes an example by itself, on the device; the pass vmaps it. The key is folded from the seed,
      the step and the example.
    attack: changes the batch by looking at the network; runs after all augmentations.
    update_scale: (path, parameter) -> what the parameter's updates are multiplied by.
  """

  name: str
  strength: float
  augment: Augment | None = None
  attack: Attack | None = None
  update_scale: Callable[[tuple[str, ...], Any], float] | None = None


def require_share(name: str, strength: float) -> None:
  """Refuses strengths above 1 where they are a probability or a share.

  Raises:
    BiasjaxError: it is above 1.
  """
  if strength > 1:
    raise BiasjaxError(f"interventions: {name}={strength:g}: the strength is a share, 0 to 1")


def sometimes(name: str, strength: float, change: Callable[[RandomKey, Image, Image], Image]) -> Intervention:
  """The intervention by which each image is changed with probability `strength`.

  Args:
    name: of its module.
    strength: 0 to 1.
    change: (key, image, another image of the batch) -> image.

  Raises:
    BiasjaxError: the strength is above 1.
  """
  require_share(name, strength)

  def augment(key, image, target, other, other_target):
    of_choice, of_change = jax.random.split(key)
    chosen = jax.random.bernoulli(of_choice, strength)
    return jnp.where(chosen, change(of_change, image, other), image), target

  return Intervention(name, strength, augment)


def ascent(
  norm: threat.Norm,
  losses: Callable[[Images], Float[Array, "b"]],
  images: Images,
  start: Images,
  eps: float,
  steps: int,
) -> Images:
  """Projected gradient ascent of the losses within `eps` of the images, `REACH` * eps in all."""
  gradient = jax.grad(lambda x: jnp.sum(losses(x)))
  budget = jnp.float32(eps)

  def step(_, x):
    return move(norm, images, x, gradient(x), REACH * eps / steps, budget)

  return jax.lax.fori_loop(0, steps, step, threat.project(norm, images, start, budget))


def whole(name: str, option: str, value: str, least: int) -> int:
  """An option that is a whole number.

  Raises:
    BiasjaxError: it is none, or below `least`.
  """
  if not value.isdecimal() or int(value) < least:
    raise BiasjaxError(f"interventions: {name}:{option}={value}: expected a whole number from {least}")
  return int(value)
