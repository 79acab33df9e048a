"""Shapes, parts, places: what moves numbers and computes none."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from biasjax.traced.table import (
  CONSTANT_LIMIT,
  PARTS,
  Array,
  DType,
  Ints,
  Number,
  Operand,
  axes,
  axis,
  dtype_of,
  operation,
  require,
)

END = 2**31  # ends of slices from there on mean the end


@operation("aten.view.default", "aten._unsafe_view.default", "aten.view_copy.default")
def view(self: Array, size: Ints) -> Array:
  """Another shape of the same numbers in the same order."""
  return jnp.reshape(self, size)


@operation("aten.reshape.default")
def reshape(self: Array, shape: Ints) -> Array:
  """`view`."""
  return jnp.reshape(self, shape)


@operation("aten.flatten.using_ints")
def flatten(self: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
  """Neighbouring dimensions as one."""
  start, end = axis(self, start_dim), axis(self, end_dim)
  require(start <= end, f"dimensions {start} to {end}")
  return self.reshape(*self.shape[:start], math.prod(self.shape[start : end + 1]), *self.shape[end + 1 :])


@operation("aten.permute.default", "aten.permute_copy.default")
def permute(self: Array, dims: Ints) -> Array:
  """Dimensions in another order."""
  return jnp.transpose(self, dims)


@operation("aten.transpose.int")
def transpose(self: Array, dim0: int, dim1: int) -> Array:
  """Two dimensions exchanged."""
  return jnp.swapaxes(self, axis(self, dim0), axis(self, dim1))


@operation("aten.t.default")
def t(self: Array) -> Array:
  """A matrix transposed."""
  return self.T


@operation("aten.unsqueeze.default")
def unsqueeze(self: Array, dim: int) -> Array:
  """A dimension of one more."""
  return jnp.expand_dims(self, dim)


@operation("aten.squeeze.dims", "aten.squeeze.dim")
def squeeze(self: Array, dim: int | Ints) -> Array:
  """Without those of the dimensions that have one element."""
  given = axes(self, dim) if dim != [] else ()
  return jnp.squeeze(self, tuple(d for d in given if self.shape[d] == 1))


@operation("aten.expand.default")
def expand(self: Array, size: Ints) -> Array:
  """Repeated along dimensions of one element, and along new ones in front; -1 leaves a dimension."""
  lead = len(size) - self.ndim
  require(lead >= 0 and -1 not in size[:lead], f"{self.shape} to {size[:8]}")
  return jnp.broadcast_to(self, [self.shape[i - lead] if n == -1 else n for i, n in enumerate(size)])


@operation("aten.cat.default")
def cat(tensors: list[Array], dim: int = 0) -> Array:
  """One after another; PyTorch lets an empty vector pass, whose element type counts all the same."""
  kind = jnp.result_type(*tensors)
  return jnp.concatenate([x.astype(kind) for x in tensors if x.shape != (0,)], dim)


@operation("aten.stack.default")
def stack(tensors: list[Array], dim: int = 0) -> Array:
  """One after another along a new dimension."""
  return jnp.stack(tensors, dim)


@operation("aten.select.int")
def select(self: Array, dim: int, index: int) -> Array:
  """One place of a dimension."""
  along = axis(self, dim)
  require(self.ndim > 0 and -self.shape[along] <= index < self.shape[along], f"place {index} of {self.shape}")
  return lax.index_in_dim(self, index, along, keepdims=False)


def _places(self: Array, dim: int, start: int | None, end: int | None, step: int) -> tuple[slice, ...]:
  require(self.ndim > 0 and step > 0, f"every {step}th of {self.shape}")
  end = None if end is not None and end >= END else end
  return (*[slice(None)] * axis(self, dim), slice(start, end, step))


@operation("aten.slice.Tensor")
def slice_(
  self: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
  """A stretch of a dimension."""
  return self[_places(self, dim, start, end, step)]


@operation("aten.slice_scatter.default")
def slice_scatter(
  self: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
  """Self with a stretch of a dimension replaced."""
  return self.at[_places(self, dim, start, end, step)].set(src)


@operation("aten.select_scatter.default")
def select_scatter(self: Array, src: Array, dim: int, index: int) -> Array:
  """Self with one place of a dimension replaced."""
  along = axis(self, dim)
  require(self.ndim > 0 and -self.shape[along] <= index < self.shape[along], f"place {index} of {self.shape}")
  return self.at[(*[slice(None)] * along, index)].set(src)


@operation("aten.split_with_sizes.default")
def split_with_sizes(self: Array, split_sizes: Ints, dim: int = 0) -> list[Array]:
  """Parts of the given lengths."""
  along = axis(self, dim)
  require(
    0 < len(split_sizes) <= PARTS and min(split_sizes) >= 0 and sum(split_sizes) == self.shape[along],
    f"parts {split_sizes[:8]} of {self.shape}",
  )
  return jnp.split(self, np.cumsum(split_sizes)[:-1].tolist(), along)


@operation("aten.split.Tensor")
def split(self: Array, split_size: int, dim: int = 0) -> list[Array]:
  """Parts of one length; the last may be shorter."""
  along = axis(self, dim)
  require(
    split_size > 0 and self.shape[along] <= PARTS * split_size, f"parts of {split_size} of {self.shape}"
  )
  return jnp.split(self, list(range(split_size, self.shape[along], split_size)), along)


@operation("aten.unbind.int")
def unbind(self: Array, dim: int = 0) -> list[Array]:
  """Each place of a dimension."""
  along = axis(self, dim)
  require(self.ndim > 0 and 0 < self.shape[along] <= PARTS, f"the places of {self.shape}")
  return [lax.index_in_dim(self, i, along, keepdims=False) for i in range(self.shape[along])]


@operation("aten.flip.default")
def flip(self: Array, dims: Ints) -> Array:
  """The other way round."""
  return jnp.flip(self, axes(self, dims)) if dims else self


@operation("aten.roll.default")
def roll(self: Array, shifts: Ints, dims: Ints = []) -> Array:  # noqa: B006 (never changed)
  """Shifted along dimensions, what leaves at one end coming in at the other."""
  if not dims:
    require(len(shifts) == 1, "a shift for each dimension")
    return jnp.roll(self, shifts[0])
  require(len(shifts) == len(dims), "a shift for each dimension")
  return jnp.roll(self, tuple(shifts), axes(self, dims))


@operation("aten.repeat.default")
def repeat(self: Array, repeats: Ints) -> Array:
  """Copies side by side."""
  require(len(repeats) >= self.ndim and min(repeats, default=1) >= 0, f"{repeats[:8]} copies of {self.shape}")
  return jnp.tile(self, repeats)


def _margins(self: Array, pad: Ints) -> list[tuple[int, int]]:
  """(before, after) for each dimension, of PyTorch's pairs from the last dimension on."""
  require(len(pad) % 2 == 0 and len(pad) <= 2 * self.ndim, f"margins {pad[:8]} of {self.shape}")
  pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
  return [(0, 0)] * (self.ndim - len(pairs)) + pairs[::-1]


@operation("aten.constant_pad_nd.default")
def constant_pad(self: Array, pad: Ints, value: Number = 0) -> Array:
  """A margin of one number; negative margins cut."""
  margins = [(low, high, 0) for low, high in _margins(self, pad)]
  return lax.pad(self, jnp.asarray(value, self.dtype), margins)


@operation("aten.reflection_pad2d.default", "aten.reflection_pad1d.default")
def reflection_pad(self: Array, padding: Ints) -> Array:
  """A margin that mirrors, without the edge itself."""
  margins = _margins(self, padding)
  fits = all(0 <= m < n or (m == 0 and n) for n, both in zip(self.shape, margins, strict=True) for m in both)
  require(fits, f"margins {padding[:8]} of {self.shape}")
  return jnp.pad(self, margins, mode="reflect")


@operation("aten.replication_pad2d.default", "aten.replication_pad1d.default")
def replication_pad(self: Array, padding: Ints) -> Array:
  """A margin that repeats the edge."""
  margins = _margins(self, padding)
  require(min(padding, default=0) >= 0 and self.size > 0, f"margins {padding[:8]} of {self.shape}")
  return jnp.pad(self, margins, mode="edge")


@operation("aten._pad_circular.default")
def circular_pad(self: Array, pad: Ints) -> Array:
  """A margin of what lies at the other end; negative margins cut."""
  margins = _margins(self, pad)
  kept = [(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(self.shape, margins, strict=True)]
  around = [(max(low, 0), max(high, 0)) for low, high in margins]
  require(
    all(stop - start >= max(both) for (start, stop), both in zip(kept, around, strict=True)),
    f"margins {pad[:8]} of {self.shape}",
  )
  return jnp.pad(self[tuple(slice(*both) for both in kept)], around, mode="wrap")


def _indices(self: Array, indices: list[Array | None]) -> tuple[Any, ...]:
  """Those that JAX takes, of arrays of whole numbers and of None for all of a dimension."""
  require(len(indices) <= self.ndim, f"{len(indices)} indices of {self.shape}")
  given = [i for i in indices if i is not None]
  require(
    bool(given) and all(jnp.issubdtype(i.dtype, jnp.signedinteger) for i in given),  # uint8 is a mask
    "indices that are not whole numbers: a mask gives as many elements as it happens to (but torch.where)",
  )
  return tuple(slice(None) if i is None else i for i in indices)


@operation("aten.index.Tensor", "aten._unsafe_index.Tensor")
def index(self: Array, indices: list[Array | None]) -> Array:
  """Elements at the places that arrays of whole numbers name."""
  return self[_indices(self, indices)]


@operation("aten.index_put.default", "aten._unsafe_index_put.default")
def index_put(self: Array, indices: list[Array | None], values: Array, accumulate: bool = False) -> Array:
  """Self with values put where arrays of whole numbers say, or added, as often as they say so.

  Or one value where a mask holds.
  """
  if len(indices) == 1 and indices[0] is not None and indices[0].dtype == jnp.bool_ and values.size == 1:
    mask = indices[0]
    require(mask.shape == self.shape[: mask.ndim], f"a mask of {mask.shape} over {self.shape}")
    mask = mask.reshape(*mask.shape, *[1] * (self.ndim - mask.ndim))
    value = values.reshape([1] * self.ndim).astype(self.dtype)
    return jnp.where(mask, self + value if accumulate else value, self)
  at = self.at[_indices(self, indices)]
  return at.add(values) if accumulate else at.set(values)


@operation("aten.index_select.default")
def index_select(self: Array, dim: int, index: Array) -> Array:
  """Places of a dimension."""
  return jnp.take(self, index, axis(self, dim))


@operation("aten.gather.default")
def gather(self: Array, dim: int, index: Array) -> Array:
  """For each element of the index the element at that place of a dimension."""
  require(index.ndim == self.ndim, f"an index of {index.shape} into {self.shape}")
  along = axis(self, dim)
  require(
    all(i <= n for d, (i, n) in enumerate(zip(index.shape, self.shape, strict=True)) if d != along),
    f"an index of {index.shape} into {self.shape}",
  )
  fitting = tuple(slice(None) if d == along else slice(n) for d, n in enumerate(index.shape))
  return jnp.take_along_axis(self[fitting], index, along)


def _fitting(self: Array, along: int, index: Array, src: Array) -> tuple[Array, ...]:
  """Where each element of an index points: a place in `along`, its own in the other dimensions."""
  shapes = f"an index of {index.shape} into {self.shape} from {src.shape}"
  require(index.ndim == self.ndim == src.ndim > 0, shapes)
  for d, (i, n, m) in enumerate(zip(index.shape, self.shape, src.shape, strict=True)):
    require(i <= m and (d == along or i <= n), shapes)
  places = list(jnp.indices(index.shape, sparse=True))
  places[along] = index
  return tuple(places)


@operation("aten.scatter.src", "aten.scatter.value")
def scatter(self: Array, dim: int, index: Array, src: Array | None = None, value: Number = 0) -> Array:
  """Self with elements of `src`, or a value, put at the places of a dimension that an index names."""
  along, given = axis(self, dim), jnp.full(index.shape, value, self.dtype) if src is None else src
  fitting = _fitting(self, along, index, given)
  return self.at[fitting].set(given[tuple(slice(n) for n in index.shape)])


@operation("aten.scatter_add.default")
def scatter_add(self: Array, dim: int, index: Array, src: Array) -> Array:
  """`scatter`, which adds, as often as a place is named."""
  fitting = _fitting(self, axis(self, dim), index, src)
  return self.at[fitting].add(src[tuple(slice(n) for n in index.shape)])


@operation("aten.embedding.default")
def embedding(
  weight: Array,
  indices: Array,
  padding_idx: int = -1,
  scale_grad_by_freq: bool = False,
  sparse: bool = False,
) -> Array:
  """Rows of a table."""
  require(weight.ndim == 2, f"a table of {weight.shape}")
  return jnp.take(weight, indices, 0)


@operation("aten.diagonal.default")
def diagonal(self: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
  """The diagonal of two dimensions, as a new last one."""
  require(axis(self, dim1) != axis(self, dim2), f"the diagonal of dimensions {dim1} and {dim2}")
  return jnp.diagonal(self, offset, dim1, dim2)


@operation("aten.as_strided.default")
def as_strided(self: Array, size: Ints, stride: Ints, storage_offset: int | None = None) -> Array:
  """Numbers of a contiguous array at regular distances in memory."""
  require(
    len(size) == len(stride) and min(size, default=0) >= 0 and min(stride, default=0) >= 0, f"{size[:8]}"
  )
  start, run, plain = storage_offset or 0, 1, not storage_offset
  for n, step in zip(reversed(size), reversed(stride), strict=True):
    plain &= n == 1 or step == run
    run *= n
  if plain and run == self.size:
    return self.reshape(size)
  last = start + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
  require(
    run <= CONSTANT_LIMIT and run > 0 and start >= 0 and last < self.size, f"{size[:8]} of {self.shape}"
  )
  places = np.full([1] * len(size), start, np.int32)
  for d, (n, step) in enumerate(zip(size, stride, strict=True)):
    shape = [-1 if i == d else 1 for i in range(len(size))]
    places = places + (np.arange(n, dtype=np.int32) * step).reshape(shape)
  return self.reshape(-1)[places]


@operation("aten.unfold.default")
def unfold(self: Array, dimension: int, size: int, step: int) -> Array:
  """Windows along a dimension, their places as a new last one."""
  along = axis(self, dimension)
  require(self.ndim > 0 and 0 < size <= self.shape[along] and step > 0, f"windows of {size} of {self.shape}")
  count = (self.shape[along] - size) // step + 1
  require(count * size <= CONSTANT_LIMIT, f"{count} windows of {size}")
  places = np.arange(count)[:, None] * step + np.arange(size)
  return jnp.moveaxis(jnp.take(self, places.astype(np.int32), along), along + 1, -1)


@operation("aten.pixel_shuffle.default")
def pixel_shuffle(self: Array, upscale_factor: int) -> Array:
  """Channels to pixels."""
  r = upscale_factor
  require(self.ndim == 4 and 0 < r < 2**12 and self.shape[1] % (r * r) == 0, f"factor {r} of {self.shape}")
  b, c, h, w = self.shape
  parts = self.reshape(b, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
  return parts.reshape(b, c // (r * r), h * r, w * r)


@operation("aten.pixel_unshuffle.default")
def pixel_unshuffle(self: Array, downscale_factor: int) -> Array:
  """Pixels to channels."""
  r = downscale_factor
  require(self.ndim == 4 and 0 < r < 2**12, f"factor {r} of {self.shape}")
  b, c, h, w = self.shape
  require(h % r == 0 and w % r == 0, f"factor {r} of {self.shape}")
  parts = self.reshape(b, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4)
  return parts.reshape(b, c * r * r, h // r, w // r)


@operation("aten.copy.default")
def copy(self: Array, src: Array) -> Array:
  """`src` in the shape and element type of self."""
  return jnp.broadcast_to(src, self.shape).astype(self.dtype)


@operation("aten.arange.start_step", "aten.arange.default", "aten.arange.start")
def arange(end: Number, start: Number = 0, step: Number = 1, dtype: DType | None = None) -> Array:
  """Numbers at regular distances."""
  require(step != 0 and all(abs(n) < END for n in (start, end, step)), f"{start} to {end} by {step}")
  require((end - start) / step <= CONSTANT_LIMIT, f"{start} to {end} by {step}")
  return jnp.arange(start, end, step, dtype=dtype_of(dtype))


@operation("aten.full.default")
def full(size: Ints, fill_value: Operand, dtype: DType | None = None) -> Array:
  """One number everywhere."""
  require(min(size, default=0) >= 0, f"a shape of {size[:8]}")
  return jnp.full(size, fill_value, dtype_of(dtype))


@operation("aten.full_like.default")
def full_like(self: Array, fill_value: Operand, dtype: DType | None = None) -> Array:
  """One number everywhere, in the shape of self."""
  return jnp.full(self.shape, fill_value, dtype_of(dtype) or self.dtype)


@operation("aten.scalar_tensor.default")
def scalar_tensor(s: Number, dtype: DType | None = None) -> Array:
  """A number as an array, float32 unless another type is asked for."""
  return jnp.asarray(s, dtype_of(dtype) or jnp.float32)


@operation("aten.sym_size.int")
def sym_size(self: Array, dim: int) -> int:
  """The length of a dimension."""
  require(self.ndim > 0, "the length of a number")
  return self.shape[axis(self, dim)]


@operation("operator.getitem")
def getitem(a: list, b: int) -> Any:
  """One of the results of an operation that has several."""
  require(0 <= b < len(a), f"result {b} of {len(a)}")
  return a[b]
