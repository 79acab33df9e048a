"""One step of training: augmentation, attack, gradient, update. Pure; runs on every device of a partition."""

import contextlib
import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Integer

from biasjax import named, numerics
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import IMAGENET_MEAN, IMAGENET_STD, Architecture
from biasjax.models.load import flatten, variable_shapes
from biasjax.models.resnet import ResNet
from biasjax.ops.pixels import unit_interval
from biasjax.partition import AXIS
from biasjax.train.interventions.base import Context, Intervention, Objective, Victim
from biasjax.types import Images, Logits, Pixels, RandomKey, Variables

# "variables", "average" (of params and batch_stats), "optimizer", "step"; of an objective that has them also
# "others", a list of {"params", "batch_stats", "average", "optimizer"}, and "memory".
State = dict[str, Any]
LEARNT = ("params", "batch_stats")
OPTIMIZERS = ("sgd", "adam")


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How to train.

  Attributes:
    architecture: of the network.
    interventions: in the order in which they act.
    steps: of training, in all.
    warmup_steps: over which the learning rate rises from 0; then it falls along a cosine to 0.
    learning_rate: at its peak.
    momentum: of Nesterov's gradient descent; of Adam the first beta (the second is 0.999).
    weight_decay: of kernels, added to the gradient; biases and BatchNorm have none.
    label_smoothing: share of the target spread evenly over all classes.
    average_decay: of the exponential moving average of weights and batch statistics, which is what is
      kept; 0 keeps the last ones. At step t at most (1 + t) / (10 + t), so that the start is soon forgotten.
    seed: of initialisation, order and augmentation.
    optimizer: of `OPTIMIZERS`.
    network: what is trained in place of the architecture's ResNet, whose number of classes it has: a Flax
      module that is called (images float32 [b, h, w, 3] in [0, 1], train) and sows `features`, with no
      variables but "params" and "batch_stats".
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
  optimizer: str = "sgd"
  network: nn.Module | None = None

  @property
  def objective(self) -> Objective:
    """What is minimised."""
    found = [i.objective for i in self.interventions if i.objective is not None]
    return found[0] if found else PLAIN


def _cross_entropy(context: Context):
  logits, _ = context.forward(0, context.images)
  return jnp.mean(optax.softmax_cross_entropy(logits, context.targets)), context.memory


PLAIN = Objective(_cross_entropy)


def schedule(recipe: Recipe) -> optax.Schedule:
  """The learning rate at each step."""
  return optax.warmup_cosine_decay_schedule(
    0.0 if recipe.warmup_steps else recipe.learning_rate,
    recipe.learning_rate,
    recipe.warmup_steps,
    max(recipe.steps, recipe.warmup_steps + 1),
  )


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
  """SGD with Nesterov momentum, or Adam, with decay of kernels, and what interventions leave of the updates.

  As PyTorch's `SGD(nesterov=True)` and `Adam`: decay is added to the gradient.
  """

  def scale(updates):
    flat = flatten(updates)
    scales = dict.fromkeys(flat, 1.0)
    for intervention in recipe.interventions:
      if intervention.update_scale is not None:
        scales = {path: s * intervention.update_scale(path, flat[path]) for path, s in scales.items()}
    return jax.tree_util.tree_map_with_path(
      lambda path, value: value * scales[tuple(key.key for key in path)], updates
    )

  if recipe.optimizer == "adam":
    descent = optax.adam(schedule(recipe), b1=recipe.momentum)
  else:
    descent = optax.sgd(schedule(recipe), momentum=recipe.momentum, nesterov=True)
  return optax.chain(
    optax.add_decayed_weights(recipe.weight_decay, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)),
    descent,
    optax.stateless(lambda updates, params: scale(updates)),
  )


def init(recipe: Recipe, variables: Variables, others: Sequence[Variables] = (), examples: int = 0) -> State:
  """The state before the first step.

  Args:
    recipe: how to train.
    variables: of the first network, the one that is kept.
    others: of the objective's other members.
    examples: how many there are to be trained on, n; needed where the objective remembers.
  """
  update = optimizer(recipe)

  def begin(learnt):
    return {"average": learnt, "optimizer": update.init(learnt["params"])}

  state = {"variables": variables, "step": jnp.zeros((), jnp.int32)} | begin(_learnt(variables))
  if others:
    state["others"] = [_learnt(other) | begin(_learnt(other)) for other in others]
  if recipe.objective.memory:
    state["memory"] = {name: jnp.zeros(examples, jnp.float32) for name in recipe.objective.memory}
  return state


def _learnt(variables: Variables) -> dict[str, Any]:
  return {name: variables[name] for name in LEARNT}


def kept(recipe: Recipe, state: State) -> list[Variables]:
  """The networks that a state has, in the form that they are exported in; averaged, if the recipe says so."""
  networks = [state["variables"] | {"average": state["average"]}, *state.get("others", ())]
  rest = {name: state["variables"][name] for name in state["variables"] if name not in LEARNT}
  return [
    rest | _learnt(one["average"] if recipe.average_decay else one)
    for one in networks[: recipe.objective.kept]
  ]


def fresh(architecture: Architecture, seed: int, member: int = 0) -> Variables:
  """A network's variables before any training, NumPy arrays: those of `ResNet.init` in distribution.

  The `member`s of one seed differ.

  Kernels are N(0, 2 / fan out) (He et al. 2015), the classifier's N(0, 1 / fan in); the last BatchNorm scale
  of a block is 0. Drawn by NumPy: compiling some fifty generators takes longer than a short training.
  """

  def draw(path, like):
    name = "/".join(key.key for key in path)
    if path[-1].key == "kernel":
      rng = np.random.default_rng((seed, zlib.crc32(name.encode()), *([member] if member else [])))
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


def key_of(key: RandomKey, index: Integer[Array, ""], intervention: Intervention) -> RandomKey:
  """The key of what an intervention does to an example, whatever batch and device it is in."""
  return jax.random.fold_in(jax.random.fold_in(key, index), zlib.crc32(intervention.name.encode()))


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
    for intervention in interventions:
      if intervention.augment is not None:
        of_this = key_of(key, index, intervention)
        image, target = intervention.augment(of_this, image, target, other, other_target)
    return image, target

  return jax.vmap(one)(indices, images, targets, others, other_targets)


@numerics.settled()
def fit(interventions: Sequence[Intervention], size: int, classes: int) -> None:
  """Refuses interventions that cannot do with images of `size` x `size` pixels; computes nothing.

  Raises:
    BiasjaxError: one fails, or gives no image and target like those that it was given.
  """
  image, target = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((size, size, 3), (classes,)))
  batch = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  flat = Victim(lambda images: jnp.sum(images, axis=(1, 2, 3)), lambda images: jnp.ones(len(images), bool))
  key = numerics.keys(numerics.seed_key(0))
  for of in interventions:
    asked = f"interventions: {of.name}: its"
    if of.augment is not None:
      augmented = functools.partial(named.answer, f"{asked} augment", of.augment, key)
      _alike(f"{asked} augment", jax.eval_shape(augmented, image, target, image, target), [image, target])
    if of.attack is not None:
      attacked = functools.partial(named.answer, f"{asked} attack", of.attack, key[None], flat)
      _alike(f"{asked} attack", jax.eval_shape(attacked, batch), [batch])


def _alike(what: str, given: Any, expected: Sequence[jax.ShapeDtypeStruct]) -> None:
  """Raises BiasjaxError where what a function gives has not the expected shapes and dtypes."""
  found, wanted = (
    ", ".join(f"{of.dtype.name} {list(of.shape)}" for of in jax.tree.leaves(tree)) or "nothing"
    for tree in (given, expected)
  )
  if found != wanted:
    raise BiasjaxError(f"{what} gives {found}, not {wanted} (docs/interventions.md)")


def make(recipe: Recipe) -> Callable[..., tuple[State, dict[str, Array]]]:
  """(state, key, columns, batch, others) -> (state, {"loss", "accuracy"} of the batch).

  For `Partition.compile`. `key` is the seed's, uint32 [2]; `columns` are what the objective's `prepare` made.
  A batch is (pixels uint8 [b, h, w, 3], labels int32 [b], indices uint32 [b]); `others` are the images and
  labels that examples may be mixed with, in the same form. The loss is the objective's, the accuracy that of
  the first member. Gradients and batch statistics are averaged over the devices; BatchNorm normalises each
  device's rows by themselves.
  """
  network = recipe.network or ResNet(recipe.architecture)
  update, objective = optimizer(recipe), recipe.objective
  classes = recipe.architecture.num_classes

  def targets_of(labels):
    hard = jax.nn.one_hot(labels, classes)
    return (1 - recipe.label_smoothing) * hard + recipe.label_smoothing / classes

  def apply(variables, images):
    with products_on_cpu():
      return network.apply(variables, images, train=True, mutable=["batch_stats", "intermediates"])

  def following(learnt, before, gradient, at):
    """What is learnt, its average and the optimiser's state after a step."""
    updates, optimizer_state = update.update(gradient, before["optimizer"], before["params"])
    learnt = learnt | {"params": optax.apply_updates(before["params"], updates)}
    t = at.astype(jnp.float32)
    decay = jnp.minimum(recipe.average_decay, (1 + t) / (10 + t))
    average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, before["average"], learnt)
    return learnt | {"average": average, "optimizer": optimizer_state}

  def step(
    state: State,
    key: Array,
    columns: Mapping[str, Array],
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
      logits, _ = apply(state["variables"], x)
      return optax.softmax_cross_entropy(logits, targets)

    def right(x):
      logits, _ = apply(state["variables"], x)
      return jnp.argmax(logits, axis=1) == jnp.argmax(targets, axis=1)

    for intervention in recipe.interventions:
      if intervention.attack is not None:
        keys = jax.vmap(lambda index, of=intervention: key_of(key, index, of))(indices)
        images = jax.lax.stop_gradient(intervention.attack(keys, Victim(losses, right), images))

    first = {name: state[name] for name in ("average", "optimizer")}
    members = [_learnt(state["variables"]) | first, *state.get("others", ())]

    def loss(params):
      statistics = [member["batch_stats"] for member in members]
      answers: dict[int, Logits] = {}

      def forward(member, x):
        variables = {"params": params[member], "batch_stats": members[member]["batch_stats"]}
        logits, changed = apply(state["variables"] | variables, x)
        if member not in answers:  # a network that is asked again in a step, on other images, learns no more
          answers[member], statistics[member] = logits, changed.get("batch_stats", {})
        return logits, cast("Array", changed["intermediates"]["features"][0])

      context = Context(
        images=images,
        targets=targets,
        labels=labels,
        indices=indices.astype(jnp.int32),
        columns=columns,
        memory=state.get("memory", {}),
        progress=state["step"].astype(jnp.float32) / recipe.steps,
        forward=forward,
        gather=lambda x: jax.lax.all_gather(x, AXIS, tiled=True),
      )
      value, memory = objective.loss(context)
      right = jnp.mean(jnp.argmax(answers[0], axis=1) == jnp.argmax(targets, axis=1))
      return value, (statistics, memory, right)

    params = [member["params"] for member in members]
    (value, (statistics, memory, right)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    value, right, statistics, gradients = jax.lax.pmean((value, right, statistics, gradients), AXIS)
    first, *others = [
      following({"batch_stats": now}, member, gradient, state["step"])
      for member, now, gradient in zip(members, statistics, gradients, strict=True)
    ]
    after = {
      "variables": state["variables"] | _learnt(first),
      "average": first["average"],
      "optimizer": first["optimizer"],
      "step": state["step"] + 1,
    }
    if others:
      after["others"] = others
    if "memory" in state:
      after["memory"] = dict(memory)
    return after, {"loss": value, "accuracy": right}

  return step
