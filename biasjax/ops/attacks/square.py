"""Square attack: random search with squares, from scores alone (Andriushchenko et al. 2020)."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from biasjax.ops.attacks import threat
from biasjax.ops.attacks.loop import Scores, Task
from biasjax.ops.attacks.losses import is_right, margin, right_classes
from biasjax.types import Image, Images, RandomKey

FIRST_SHARE = 0.8  # of the image that the first square covers, as in AutoAttack
# The share is halved after each of these queries, however many there are, as in AutoAttack; the paper
# (appendix A.1) counts them for 10,000 and rescales.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
PATTERN_SHARE = 5  # the first L2 pattern tiles the image with this many patterns a side
SMALLEST = 1e-12  # of a norm that is divided by


def sides(queries: int, height: int, width: int, norm: threat.Norm) -> np.ndarray:
  """The side of the square at each query, int32 [queries]; odd and at least 3 in L2. Query 0 has none."""
  at = np.maximum(np.arange(queries) - 1, 0)
  share = FIRST_SHARE / 2.0 ** (at[:, None] > np.array(HALVINGS)[None]).sum(axis=1)
  side = np.maximum(np.rint(np.sqrt(share * height * width)).astype(np.int32), 1)
  if norm == "l2":
    side = np.maximum(side, 3)
    side += 1 - side % 2
  largest = min(height, width)
  return np.minimum(side, largest if norm == "linf" else largest - 1 + largest % 2)


class State(NamedTuple):
  """The best image so far, its margin, where it is wrong (and stays). Nothing is stuck without a gradient."""

  adversarial: Images
  margin: Float[Array, "b"]
  broken: Bool[Array, "b"]
  stuck: Bool[Array, "b"]


@dataclasses.dataclass(frozen=True)
class Square:
  """Random search: a proposal that raises the margin is taken.

  Attributes:
    norm: of the threat model.
    steps: queries, the first pattern included.
  """

  norm: threat.Norm = "linf"
  steps: int = 5000

  def start(self, eps: threat.Eps, task: Task) -> State:
    """The image itself, which the first pattern replaces in any case."""
    del eps
    batch = len(task.labels)
    lowest, none = jnp.full(batch, -jnp.inf, task.images.dtype), jnp.zeros(batch, bool)
    return State(task.images, lowest, broken=none, stuck=none)

  def step(self, scores: Scores, eps: threat.Eps, i: Int[Array, ""], task: Task, state: State) -> State:
    """One query for each example."""
    _, height, width, _ = task.images.shape
    side = jnp.asarray(sides(self.steps, height, width, self.norm))[i]
    first, change = (stripes, square) if self.norm == "linf" else (bumps, moved_mass)

    def propose(key, image, best):
      key = jax.random.fold_in(key, i)
      return jax.lax.cond(i == 0, lambda: first(key, image, eps), lambda: change(key, image, best, side, eps))

    proposals = jax.vmap(propose)(task.keys, task.images, state.adversarial)
    proposals = threat.project(self.norm, task.images, proposals, eps)
    of_proposals = scores(proposals)
    right = right_classes(task.labels, of_proposals.shape[1])
    margins = margin(of_proposals, right, task.targets)
    wrong = ~is_right(of_proposals, right)
    taken = ((margins > state.margin) | wrong) & ~state.broken
    return State(
      adversarial=jnp.where(taken[:, None, None, None], proposals, state.adversarial),
      margin=jnp.where(taken, margins, state.margin),
      broken=state.broken | wrong,
      stuck=state.stuck,
    )


def _signs(key: RandomKey, shape: tuple[int, ...], like: Image) -> Float[Array, "..."]:
  return jax.random.rademacher(key, shape, like.dtype)


def _corner(
  key: RandomKey, image: Image, side: Int[Array, ""]
) -> tuple[Int[Array, "h 1"], Int[Array, "1 w"]]:
  """Row and column of every pixel, counted from the corner of a square of `side` at a random place."""
  height, width, _ = image.shape
  for_row, for_column = jax.random.split(key)
  row = jax.random.randint(for_row, (), 0, height - side + 1, jnp.int32)
  column = jax.random.randint(for_column, (), 0, width - side + 1, jnp.int32)
  return jnp.arange(height)[:, None] - row, jnp.arange(width)[None] - column


def _inside(
  rows: Int[Array, "h 1"], columns: Int[Array, "1 w"], side: Int[Array, ""]
) -> Bool[Array, "h w 1"]:
  return ((rows >= 0) & (rows < side) & (columns >= 0) & (columns < side))[:, :, None]


def stripes(key: RandomKey, image: Image, eps: threat.Eps) -> Image:
  """Vertical stripes, a pixel wide, of plus or minus eps in each channel (section 3.3)."""
  return image + eps * _signs(key, (1, *image.shape[1:]), image)


def square(key: RandomKey, image: Image, best: Image, side: Int[Array, ""], eps: threat.Eps) -> Image:
  """The best so far with a square at plus or minus eps from the original, a sign for each channel.

  Algorithm 2. Beyond the budget on purpose: whoever projects, gets it.
  """
  for_place, for_signs = jax.random.split(key)
  inside = _inside(*_corner(for_place, image, side), side)
  return best + inside * 2 * eps * _signs(for_signs, (1, 1, image.shape[2]), image)


def bump(
  rows: Int[Array, "h 1"], columns: Int[Array, "1 w"], side: Int[Array, ""], size: int
) -> Float[Array, "h w"]:
  """The pattern eta of a square of `side`, of norm 1: two bumps of opposite sign, one above the other.

  Equation 3 of the paper: a bump is a sum of concentric squares, the k-th weighing 1 / k^2. `size` bounds the
  side; values outside the square mean nothing.
  """
  # Squares that a pixel at distance m lies in weigh the sum from m + 1 on: a difference of running sums.
  running = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, size + 2) ** 2.0)])
  running = jnp.asarray(running, jnp.result_type(float))
  upper = side // 2

  def half(height, below):
    middle_row, middle_column = height // 2, side // 2
    distance = jnp.maximum(jnp.abs(rows - below - middle_row), jnp.abs(columns - middle_column))
    weight = running[jnp.maximum(middle_row, middle_column) + 1] - running[jnp.minimum(distance, size + 1)]
    weight = jnp.maximum(weight, 0.0)
    here = (rows >= below) & (rows < below + height) & (columns >= 0) & (columns < side)
    weight = jnp.where(here, weight, 0.0)
    return weight / jnp.maximum(jnp.sqrt(jnp.sum(weight**2)), SMALLEST)

  pattern = half(upper, 0) - half(side - upper, upper)
  return pattern / jnp.sqrt(jnp.sum(pattern**2))


def bumps(key: RandomKey, image: Image, eps: threat.Eps) -> Image:
  """The first L2 proposal: the image tiled with patterns of random sign and orientation, of norm eps."""
  height, width, channels = image.shape
  side = max(min(height, width) // PATTERN_SHARE, 1)
  rows, columns = height // side, width // side
  at = jnp.arange(side)
  tile = bump(at[:, None], at[None], jnp.int32(side), side).astype(image.dtype)
  for_signs, for_turns = jax.random.split(key)
  signs = _signs(for_signs, (rows, columns, channels), image)
  turned = jax.random.bernoulli(for_turns, shape=(rows, columns))
  tiles = jnp.where(turned[:, :, None, None], tile.T[None, None], tile[None, None])
  pattern = jnp.einsum("ijrc,ijk->irjck", tiles, signs).reshape(rows * side, columns * side, channels)
  # The tiles are centred; what is left at the edges stays as it is.
  before = ((height - rows * side) // 2, (width - columns * side) // 2)
  after = (height - rows * side - before[0], width - columns * side - before[1])
  pattern = jnp.pad(pattern, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
  return image + eps * pattern / jnp.sqrt(jnp.sum(pattern**2))


def moved_mass(key: RandomKey, image: Image, best: Image, side: Int[Array, ""], eps: threat.Eps) -> Image:
  """The best so far with the mass of one window, and what is left of the budget, moved to another.

  Algorithm 3: both windows are of `side`; the new one gets a pattern of random sign and orientation, added to
  the direction that it had.
  """
  height, width, channels = image.shape
  to, of, for_signs, for_turn = jax.random.split(key, 4)
  delta = best - image
  rows, columns = _corner(to, image, side)
  new, old = _inside(rows, columns, side), _inside(*_corner(of, image, side), side)
  upright = bump(rows, columns, side, max(height, width))
  turned = bump(columns.T, rows.T, side, max(height, width)).T
  pattern = jnp.where(jax.random.bernoulli(for_turn), upright, turned).astype(image.dtype)
  signed = pattern[:, :, None] * _signs(for_signs, (1, 1, channels), image)
  shape = _normalised(jnp.where(new, signed + _normalised(jnp.where(new, delta, 0.0)), 0.0))
  # Each channel keeps the mass of both windows; what clipping left unspent is shared.
  unspent = jnp.maximum(eps**2 - jnp.sum(delta**2), 0.0)
  mass = jnp.sum(jnp.where(new | old, delta, 0.0) ** 2, axis=(0, 1), keepdims=True) + unspent / channels
  delta = jnp.where(new, shape * jnp.sqrt(mass), jnp.where(old, 0.0, delta))
  return image + eps * delta / jnp.maximum(jnp.sqrt(jnp.sum(delta**2)), SMALLEST)


def _normalised(delta: Image) -> Image:
  """Each channel divided by its norm."""
  return delta / jnp.maximum(jnp.sqrt(jnp.sum(delta**2, axis=(0, 1), keepdims=True)), SMALLEST)
