"""What an intervention is: a change to the images, to what the loss sees, or to what may be learnt."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from biasjax.errors import BiasjaxError
from biasjax.ops.attacks import threat
from biasjax.ops.attacks.pgd import move
from biasjax.types import Image, Images, Logits, RandomKey

REACH = 2.5  # the steps of an attack together go that many eps (Madry et al. 2018)

Target = Float[Array, "k"]  # probabilities of the classes
# (key, image, target, another image of the batch, its target) -> (image, target), of one example.
Augment = Callable[[RandomKey, Image, Target, Image, Target], tuple[Image, Target]]


class Victim(NamedTuple):
  """The network as it is now, as attacks see it: each image's loss [b], and whether it is right [b].

  BatchNorm normalises by the batch, as in the step that follows.
  """

  losses: Callable[[Images], Float[Array, "b"]]
  right: Callable[[Images], Bool[Array, "b"]]


# (keys of the examples, network, images) -> images.
Attack = Callable[[threat.Keys, Victim, Images], Images]


@dataclasses.dataclass(frozen=True)
class Context:
  """What an objective sees of a step, on one device.

  Attributes:
    images: float32 [b, h, w, 3] in [0, 1], after augmentations and attacks.
    targets: float32 [b, k], smoothed if the recipe says so.
    labels: int32 [b].
    indices: int32 [b], of these examples among the n of training.
    columns: what `Objective.prepare` made of what is given of all examples.
    memory: float32 [n] by name, what was remembered of all examples, alike on all devices.
    progress: float32, the share of training that is done, in [0, 1).
    forward: (member, images) -> (logits [b, k], features [b, d] before the classifier).
    gather: an array [b, ...] -> the rows of all devices, in one order; its gradient goes back to each.
  """

  images: Images
  targets: Float[Array, "b k"]
  labels: Int[Array, "b"]
  indices: Int[Array, "b"]
  columns: Mapping[str, Array]
  memory: Mapping[str, Float[Array, "n"]]
  progress: Float[Array, ""]
  forward: Callable[[int, Images], tuple[Logits, Float[Array, "b d"]]]
  gather: Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Objective:
  """What is minimised, of one network or of several that are trained side by side in the same steps.

  Attributes:
    loss: (context) -> (the mean loss of this device's examples, the memory afterwards, alike on all devices).
    members: how many networks; the first is the one that is kept, and that attacks see.
    kept: how many of them are exported.
    needs: what must be given of each example: "label", or columns of `data.annotations`.
    memory: names of what is remembered of each example, 0 at first.
    prepare: (what is given, [n] each: labels int32, weights float64, others int32 codes; how many classes)
      -> arrays that the loss sees, made once before training.
  """

  loss: Callable[[Context], tuple[Float[Array, ""], Mapping[str, Float[Array, "n"]]]]
  members: int = 1
  kept: int = 1
  needs: tuple[str, ...] = ()
  memory: tuple[str, ...] = ()
  prepare: Callable[[Mapping[str, np.ndarray], int], Mapping[str, np.ndarray]] = lambda given, classes: given


@dataclasses.dataclass(frozen=True)
class Intervention:
  """One change to training. Strength 0 is no change.

  Attributes:
    name: of its module.
    strength: how much of it; what the number means stands in its module.
    augment: changes an example by itself, on the device; the pass vmaps it. The key is folded from the seed,
      the step, the example and the name.
    attack: changes the batch by looking at the network; runs after all augmentations. Likewise its keys.
    update_scale: (path, parameter) -> what the parameter's updates are multiplied by.
    objective: what is minimised instead of the mean cross-entropy; of one intervention at most.
    mixes: whether examples get the classes of others, which objectives cannot do with.
    read: the fingerprint of a file that an option names, which is part of what a training is.
  """

  name: str
  strength: float
  augment: Augment | None = None
  attack: Attack | None = None
  update_scale: Callable[[tuple[str, ...], Any], float] | None = None
  objective: Objective | None = None
  mixes: bool = False
  read: str | None = None


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


def number(name: str, option: str, value: str, least: int, most: int | None = None) -> float:
  """An option that is a number.

  Raises:
    BiasjaxError: it is none, or not from `least` to `most`.
  """
  try:
    found = float(value)
  except ValueError:
    found = math.nan
  if not least <= found <= (math.inf if most is None else most) or found == math.inf:
    to = "" if most is None else f" to {most}"
    raise BiasjaxError(f"interventions: {name}:{option}={value}: expected a number from {least}{to}")
  return found


def whole(name: str, option: str, value: str, least: int) -> int:
  """An option that is a whole number.

  Raises:
    BiasjaxError: it is none, or below `least`.
  """
  if not value.isdecimal() or int(value) < least:
    raise BiasjaxError(f"interventions: {name}:{option}={value}: expected a whole number from {least}")
  return int(value)
