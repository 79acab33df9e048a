"""What a pass compiles: keys of noise, a probe's perturbation, a network's scores, what is kept of them."""

import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from biasjax import numerics
from biasjax.ops.pixels import unit_interval
from biasjax.partition import Partition
from biasjax.probes.base import Victim
from biasjax.probes.decisions import Decision, Scores
from biasjax.types import Images, Labels, Logits, Pixels


@functools.lru_cache(maxsize=4096)
def condition_key(seed: int, probe: str, condition: str) -> np.ndarray:
  """The key that a condition's noise starts from, uint32 [2]."""
  with numerics.settled():
    key = jax.random.fold_in(numerics.keys(numerics.seed_key(seed)), zlib.crc32(probe.encode()))
    return np.asarray(jax.random.key_data(jax.random.fold_in(key, zlib.crc32(condition.encode()))))


def example_keys(key: Array, ids: Array) -> Array:
  """Each example's own key, uint32 [b, 2], of a condition's key and its noise id."""

  def fold(noise_id):
    folded = jax.random.fold_in(numerics.keys(key), noise_id[0])
    return jax.random.key_data(jax.random.fold_in(folded, noise_id[1]))

  return jax.vmap(fold)(ids)


@functools.lru_cache(maxsize=64)
def prepare_step(prepare: Callable) -> Callable:
  """(pixels uint8 [b, h, w, 3]) -> `prepare` of a probe, of images in [0, 1], over a batch."""

  def prepare_batch(pixels: Pixels):
    with numerics.settled():
      return jax.vmap(prepare)(unit_interval(pixels))

  return prepare_batch


@functools.lru_cache(maxsize=64)
def perturb_step(perturb: Callable) -> Callable:
  """(key, condition, noise ids uint32 [b, 2], prepared) -> images float32 [b, h, w, 3] in [0, 1].

  `perturb` of a probe over a batch, each example with its own key, of `condition_key`'s.
  """

  def perturb_batch(key, condition, ids, prepared):
    keys = numerics.keys(example_keys(key, ids))
    with numerics.settled():
      return jax.vmap(perturb, in_axes=(0, 0, None))(keys, prepared, condition)

  return perturb_batch


@functools.lru_cache(maxsize=64)
def logits_step(apply: Callable, precision: str) -> Callable[[Any, Images], Logits]:
  """The network, one object for all that share `apply`."""

  def logits(variables: Any, images: Images) -> Logits:
    with numerics.settled(), jax.default_matmul_precision(precision):
      return apply(variables, images)

  return logits


def observe(victim: Victim, images: Any, labels: Any, look: Callable[[Any, Any], None] | None = None) -> Any:
  """`observation` of a batch, in the partition's form.

  Three programs. The network's is the large one, and serves every decision. Scores and observation are two:
  in one, XLA may compute a score anew for each use and round it differently, and then the class that is
  predicted need not be the one that ranks first.

  Args:
    victim: the network and the decision.
    images, labels: in the partition's form.
    look: is shown images and logits, in the partition's form.
  """
  logits = victim.partition.compile(victim.logits, shared=1)(victim.variables, images)
  if look:
    look(images, logits)
  return judge(victim.partition, victim.decide, logits, labels)


def judge(partition: Partition, decide: Decision, logits: Any, labels: Any) -> Any:
  """`observation` of logits, as in `observe`."""
  return partition.compile(observation)(partition.compile(decide)(logits), labels)


def observation(
  scores: Scores, labels: Labels
) -> tuple[Int[Array, "b"], Int[Array, "b"], Float[Array, "b"], Float[Array, "b"], Float[Array, "b"]]:
  """What is kept of each image's scores, each [b].

  Prediction; rank of the right class (0 is top-1); the prediction's softmax probability; the negative
  logarithm of the right class' (nats); the Brier score, sum over classes of (probability - right)^2.

  Ties go to the lower class index, in the prediction as in the rank, so that rank 0 and a right prediction
  are the same thing. Where several classes are right, the one with the highest score stands for them. Rank,
  nll and brier mean nothing where no label is given.
  """
  classes = jnp.arange(scores.shape[1])[None]
  of_labels = jnp.take_along_axis(scores, jnp.maximum(labels, 0), axis=1)
  of_labels = jnp.where(labels >= 0, of_labels, -jnp.inf)
  right = jnp.max(of_labels, axis=1, keepdims=True)
  best = jnp.where((of_labels == right) & (labels >= 0), labels, scores.shape[1])
  best = jnp.min(best, axis=1, keepdims=True)
  ahead = (scores > right) | ((scores == right) & (classes < best))
  log_probability = jax.nn.log_softmax(scores, axis=1)
  probability = jnp.exp(log_probability)
  of_right = jnp.take_along_axis(log_probability, jnp.minimum(best, scores.shape[1] - 1), axis=1)[:, 0]
  brier = jnp.sum(probability**2, axis=1) - 2 * jnp.exp(of_right) + 1
  prediction = jnp.argmax(scores, axis=1).astype(jnp.int32)
  rank = jnp.sum(ahead, axis=1, dtype=jnp.int32)
  return prediction, rank, jnp.max(probability, axis=1), -of_right, brier
