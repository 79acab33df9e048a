"""One step of training: augmentation, attack, gradient, update. Pure; runs on every device of a partition."""

import contextlib
import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Integer

from biasjax import numerics
from biasjax.models.load import flatten, variable_shapes
from biasjax.models.resnet import IMAGENET_MEAN, IMAGENET_STD, Architecture, ResNet
from biasjax.ops.pixels import unit_interval
from biasjax.partition import AXIS
from biasjax.train.interventions.base import Intervention
from biasjax.types import Images, Pixels, RandomKey, Variables

State = dict[str, Any]  # "variables", "average" (of params and batch_stats), "optimizer", "step"


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How to train.

  Attributes:
    architecture: of the network.
    interventions: in the order in which they act.
    steps: of training, in all.
    warmup_steps: over which the learning rate rises from 0; then it falls along a cosine to 0.
    learning_rate: at its peak.
    momentum: of Nesterov's gradient descent.
    weight_decay: of kernels, added to the gradient; biases and BatchNorm have none.
    label_smoothing: share of the target spread evenly over all classes.
    average_decay: of the exponential moving average of weights and batch statistics, which is what is
      kept; 0 keeps the last ones. At step t at most (1 + t) / (10 + t), so that the start is soon forgotten.
    seed: of initialisation, order and augmentation.
  """

  architecture: Architecture
  interventions: tuple[Intervention, ...]
  steps: int
  warmup_steps: int
  learning_rate: float
  momentum: float
  weight_decay: float
  label_smoothing: float
  average_decay: float
  seed: int


def schedule(recipe: Recipe) -> optax.Schedule:
  """The learning rate at each step."""
  return optax.warmup_cosine_decay_schedule(
    0.0 if recipe.warmup_steps else recipe.learning_rate,
    recipe.learning_rate,
    recipe.warmup_steps,
    max(recipe.steps, recipe.warmup_steps + 1),
  )


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
  """SGD with Nesterov momentum, weight decay of kernels, and what interventions leave of the updates."""

  def scale(updates):
    flat = flatten(updates)
    scales = dict.fromkeys(flat, 1.0)
    for intervention in recipe.interventions:
      if intervention.update_scale is not None:
        scales = {path: s * intervention.update_scale(path, flat[path]) for path, s in scales.items()}
    return jax.tree_util.tree_map_with_path(
      lambda path, value: value * scales[tuple(key.key for key in path)], updates
    )

  return optax.chain(
    optax.add_decayed_weights(recipe.weight_decay, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)),
    optax.sgd(schedule(recipe), momentum=recipe.momentum, nesterov=True),
    optax.stateless(lambda updates, params: scale(updates)),
  )


def init(recipe: Recipe, variables: Variables) -> State:
  """The state before the first step of training `variables`."""
  learnt = {name: variables[name] for name in ("params", "batch_stats")}
  return {
    "variables": variables,
    "average": learnt,
    "optimizer": optimizer(recipe).init(variables["params"]),
    "step": jnp.zeros((), jnp.int32),
  }


def fresh(architecture: Architecture, seed: int) -> Variables:
  """A network's variables before any training, NumPy arrays: those of `ResNet.init` in distribution.

  Kernels are N(0, 2 / fan out) (He et al. 2015), the classifier's N(0, 1 / fan in); the last BatchNorm scale
  of a block is 0. Drawn by NumPy: compiling some fifty generators takes longer than a short training.
  """

  def draw(path, like):
    name = "/".join(key.key for key in path)
    if path[-1].key == "kernel":
      rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
      fan_out = math.prod(like.shape[:2]) * like.shape[3] if like.ndim == 4 else 0
      variance = 2 / fan_out if fan_out else 1 / like.shape[0]
      return rng.normal(0, math.sqrt(variance), like.shape).astype(np.float32)
    if path[0].key == "normalization":
      return np.array(IMAGENET_MEAN if path[-1].key == "mean" else IMAGENET_STD, np.float32)
    last = f"bn{2 if architecture.block == 'basic' else 3}/scale"
    ones = path[-1].key in ("var", "scale") and not name.endswith(last)
    return np.full(like.shape, 1.0 if ones else 0.0, np.float32)

  return jax.tree_util.tree_map_with_path(draw, variable_shapes(architecture))


def _pointwise(call, args, kwargs, context):
  """1x1 convolutions as matrix products: the gradients of convolutions are slow in XLA's CPU backend."""
  conv = context.module
  if not isinstance(conv, nn.Conv) or conv.kernel_size != (1, 1) or conv.is_initializing():
    return call(*args, **kwargs)
  (x,) = args
  down, across = cast(tuple[int, int], conv.strides)
  return jnp.einsum("bhwc,cd->bhwd", x[:, ::down, ::across], conv.get_variable("params", "kernel")[0, 0])


def products_on_cpu():
  """A context in which networks compute 1x1 convolutions as matrix products, if this is a CPU."""
  return nn.intercept_methods(_pointwise) if jax.default_backend() == "cpu" else contextlib.nullcontext()


def augment(
  key: RandomKey,
  interventions: Sequence[Intervention],
  indices: Integer[Array, "b"],
  images: Images,
  targets: Float[Array, "b k"],
  others: Images,
  other_targets: Float[Array, "b k"],
) -> tuple[Images, Float[Array, "b k"]]:
  """What the interventions make of each example; its key is folded from its index and their names."""

  def one(index, image, target, other, other_target):
    of_example = jax.random.fold_in(key, index)
    for intervention in interventions:
      if intervention.augment is not None:
        of_this = jax.random.fold_in(of_example, zlib.crc32(intervention.name.encode()))
        image, target = intervention.augment(of_this, image, target, other, other_target)
    return image, target

  return jax.vmap(one)(indices, images, targets, others, other_targets)


def make(recipe: Recipe) -> Callable[..., tuple[State, dict[str, Array]]]:
  """(state, key, batch, others) -> (state, {"loss", "accuracy"} of the batch), for `Partition.compile`.

  `key` is the seed's, uint32 [2]. A batch is (pixels uint8 [b, h, w, 3], labels int32 [b], indices uint32
  [b]); `others` are the images and labels that examples may be mixed with, in the same form. Gradients and
  batch statistics are averaged over the devices; BatchNorm normalises each device's rows by themselves.
  """
  network, update = ResNet(recipe.architecture), optimizer(recipe)
  classes = recipe.architecture.num_classes

  def targets_of(labels):
    hard = jax.nn.one_hot(labels, classes)
    return (1 - recipe.label_smoothing) * hard + recipe.label_smoothing / classes

  def forward(params, state, images):
    variables = state["variables"] | {"params": params}
    with products_on_cpu():
      return network.apply(variables, images, train=True, mutable=["batch_stats"])

  def step(
    state: State,
    key: Array,
    pixels: Pixels,
    labels: Int[Array, "b"],
    indices,
    other_pixels: Pixels,
    other_labels,
  ):
    key = jax.random.fold_in(numerics.keys(key), state["step"])
    images, targets = augment(
      key,
      recipe.interventions,
      indices,
      unit_interval(pixels),
      targets_of(labels),
      unit_interval(other_pixels),
      targets_of(other_labels),
    )

    def losses(x):
      logits, _ = forward(state["variables"]["params"], state, x)
      return optax.softmax_cross_entropy(logits, targets)

    for intervention in recipe.interventions:
      if intervention.attack is not None:
        of_batch = jax.random.fold_in(jax.random.fold_in(key, jax.lax.axis_index(AXIS)), 1)
        images = jax.lax.stop_gradient(intervention.attack(of_batch, losses, images))

    def loss(params):
      logits, changed = forward(params, state, images)
      right = jnp.mean(jnp.argmax(logits, axis=1) == jnp.argmax(targets, axis=1))
      return jnp.mean(optax.softmax_cross_entropy(logits, targets)), (changed["batch_stats"], right)

    params = state["variables"]["params"]
    (value, (statistics, right)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    value, right, statistics, gradient = jax.lax.pmean((value, right, statistics, gradient), AXIS)
    updates, optimizer_state = update.update(gradient, state["optimizer"], params)
    learnt = {"params": optax.apply_updates(params, updates), "batch_stats": statistics}
    t = state["step"].astype(jnp.float32)
    decay = jnp.minimum(recipe.average_decay, (1 + t) / (10 + t))
    following = {
      "variables": state["variables"] | learnt,
      "average": jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state["average"], learnt),
      "optimizer": optimizer_state,
      "step": state["step"] + 1,
    }
    return following, {"loss": value, "accuracy": right}

  return step
