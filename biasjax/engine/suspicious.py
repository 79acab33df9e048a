"""What would make numbers wrong and passes every later step: from first images, and from first logits."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from biasjax.errors import BiasjaxError
from biasjax.numerics import BESIDE_OTHERS
from biasjax.partition import Partition
from biasjax.probes.base import Probe
from biasjax.types import Images, Logits

logger = logging.getLogger(__name__)

BEYOND = 1e-3  # [0, 1] as images may be: much more than rounding, a quarter of a level of 8 bits
DEPENDENT = (
  "its logits of an image depend on the other images of the batch, so that they are not the image's own: "
  "is it in training mode, or has it a normalisation over the batch without running statistics?"
)


def are_probabilities(logits: Logits) -> Bool[Array, "b"]:
  """Whether each row is within [0, 1] and adds up to 1, as after a softmax, to the precision of bfloat16."""
  within = jnp.all((logits >= 0) & (logits <= 1), axis=1)
  return within & (jnp.abs(jnp.sum(logits.astype(jnp.float32), axis=1) - 1) < 1e-2)


def beside_others(images: Images) -> Images:
  """A batch with every second image as its negative: the first, third, ... are beside others then."""
  every_second = jnp.arange(len(images))[:, None, None, None] % 2 == 1
  return jnp.where(every_second, 1 - images, images)


def depend_on_others(logits: Logits, beside: Logits) -> Bool[Array, "b"]:
  """Whether an image's logits depend on the others of its batch; `beside` are those of `beside_others`.

  By more than rounding, which is the same where one program computes both.
  """
  change = jnp.max(jnp.abs(logits - beside), axis=1)
  return (change > BESIDE_OTHERS * jnp.max(jnp.abs(logits), axis=1)) & (jnp.arange(len(logits)) % 2 == 0)


def extent(images: Images) -> Float[Array, "b 2"]:
  """The smallest and the largest value of each image; NaN of one that has any."""
  return jnp.stack([jnp.min(images, axis=(1, 2, 3)), jnp.max(images, axis=(1, 2, 3))], axis=1)


class FirstImages:
  """Whether what probes show is within [0, 1], from the first batch of each condition.

  Args:
    partition: where compiled functions run.
  """

  def __init__(self, partition: Partition):
    self._partition = partition
    self._seen: set[tuple[str, str]] = set()
    self._waiting: dict[tuple[str, str], Any] = {}

  def look(self, probe: Probe, condition: str, images: Any) -> None:
    """Is shown a batch, in the partition's form; does not wait for the device."""
    key = probe.name, condition
    if key not in self._seen and not probe.unclipped:
      self._seen.add(key)
      self._waiting[key] = self._partition.compile(extent)(images)

  def refuse(self, valid: Bool[np.ndarray, "b"]) -> None:
    """Judges what was shown since the last call; waits for the device.

    Args:
      valid: which rows of the batch are images, rather than what fills it up.

    Raises:
      BiasjaxError: there are values beyond [0, 1], or NaN.
    """
    waiting, self._waiting = self._waiting, {}
    for (probe, condition), extents in waiting.items():
      found = self._partition.get(extents)[valid]
      if not ((found >= -BEYOND) & (found <= 1 + BEYOND)).all():
        low, high = found[:, 0].min(), found[:, 1].max()
        raise BiasjaxError(
          f"probe {probe}: under {condition!r} it shows images with values from {low:.4g} to {high:.4g}, and "
          "networks take them in [0, 1]: scale or clip them in its perturb (docs/adding-a-probe.md)"
        )


class FirstLogits:
  """What is to be known of the first logits of each network, without waiting for the device.

  Args:
    partition: where compiled functions run.
  """

  def __init__(self, partition: Partition):
    self._partition = partition
    self._seen: set[int] = set()
    # Network -> whether each row is probabilities, and whether it depends on others (None: is not asked).
    self._waiting: dict[int, tuple[Any, Any]] = {}

  def look(self, m: int, network: Callable[[Any], Any] | None) -> Callable[[Any, Any], None] | None:
    """What the first images and logits of network `m` are shown to; None for later ones.

    Args:
      m: its number.
      network: images -> logits, in the partition's form; None for stored answers.
    """
    if m in self._seen:
      return None

    def keep(images: Any, logits: Any) -> None:
      self._seen.add(m)
      compiled = self._partition.compile
      beside = None if network is None else network(compiled(beside_others)(images))
      dependent = None if beside is None else compiled(depend_on_others)(logits, beside)
      self._waiting[m] = compiled(are_probabilities)(logits), dependent

    return keep

  def findings(self) -> dict[int, tuple[bool, bool]]:
    """Of each network since the last call: whether its logits are probabilities, and depend on the batch.

    Waits for the device.
    """
    found, self._waiting = self._waiting, {}
    return {
      m: (
        bool(np.all(self._partition.get(rows))),
        dependent is not None and bool(np.any(self._partition.get(dependent))),
      )
      for m, (rows, dependent) in found.items()
    }


@functools.cache  # once for each network, however many passes there are
def say_probabilities(model: str, which: Any) -> None:
  """Warns of a network whose scores are probabilities; `which` tells it from others of its name."""
  del which
  logger.warning(
    "model %s: its scores are probabilities (they add up to 1), not logits: another softmax is taken of "
    "them, so confidence, nll, brier and calibration are wrong and attacks are weak; leave its own out",
    model,
  )
