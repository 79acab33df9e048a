"""Fourier transforms, of which global filters are made, and complex numbers as pairs of real ones."""

import math

import jax.numpy as jnp
from jax import lax

from biasjax.traced.table import Array, Ints, axes, operation, require

# What PyTorch divides a transform by: nothing, the root of the number of values, or that number.
NONE, ROOT, ALL = range(3)


def _scaled(values: Array, count: int, normalization: int) -> Array:
  require(normalization in (NONE, ROOT, ALL) and count > 0, f"normalization {normalization} of {count}")
  return values if normalization == NONE else values / (math.sqrt(count) if normalization == ROOT else count)


def _over(self: Array, dim: Ints) -> tuple[tuple[int, ...], int]:
  """Dimensions from the front, and how many values they hold."""
  over = axes(self, dim)
  require(len(dim) > 0 and len(over) == len(dim), f"a transform of {self.shape} along {dim[:8]}")
  return over, math.prod(self.shape[d] for d in over)


@operation("aten._fft_r2c.default")
def fft_of_real(self: Array, dim: Ints, normalization: int, onesided: bool) -> Array:
  """The spectrum of real numbers; of the last dimension one half if `onesided`."""
  require(jnp.issubdtype(self.dtype, jnp.floating), f"real numbers that are {self.dtype}")
  over, count = _over(self, dim)
  transform = jnp.fft.rfftn if onesided else jnp.fft.fftn
  return _scaled(transform(self, axes=over), count, normalization)


@operation("aten._fft_c2c.default")
def fft_of_complex(self: Array, dim: Ints, normalization: int, forward: bool) -> Array:
  """The spectrum of complex numbers, or the way back."""
  require(jnp.iscomplexobj(self), f"complex numbers that are {self.dtype}")
  over, count = _over(self, dim)
  transform, norm = (jnp.fft.fftn, "backward") if forward else (jnp.fft.ifftn, "forward")  # neither divides
  return _scaled(transform(self, axes=over, norm=norm), count, normalization)


@operation("aten._fft_c2r.default")
def fft_to_real(self: Array, dim: Ints, normalization: int, last_dim_size: int) -> Array:
  """Real numbers of half a spectrum."""
  require(jnp.iscomplexobj(self), f"complex numbers that are {self.dtype}")
  over, _ = _over(self, dim)
  half = last_dim_size // 2 + 1
  require(last_dim_size > 0 and self.shape[over[-1]] == half, f"{last_dim_size} of {self.shape}")
  sizes = [*(self.shape[d] for d in over[:-1]), last_dim_size]
  back = jnp.fft.irfftn(self, s=sizes, axes=over, norm="forward")
  return _scaled(back, math.prod(sizes), normalization)


@operation("aten.complex.default")
def complex_(real: Array, imag: Array) -> Array:
  """Complex numbers of their real and imaginary parts."""
  require(not jnp.iscomplexobj(real) and not jnp.iscomplexobj(imag), f"{real.dtype} and {imag.dtype}")
  return lax.complex(*jnp.broadcast_arrays(real, imag))


@operation("aten.polar.default")
def polar(abs: Array, angle: Array) -> Array:
  """Complex numbers of their sizes and angles."""
  return complex_(abs * jnp.cos(angle), abs * jnp.sin(angle))


@operation("aten.angle.default")
def angle(self: Array) -> Array:
  """The angle of complex numbers, with gradient 0 at 0; of real ones pi below 0."""
  if not jnp.iscomplexobj(self):
    self = lax.stop_gradient(self)
    return jnp.where(jnp.isnan(self), self, jnp.where(self < 0, jnp.asarray(math.pi, self.dtype), 0))
  somewhere = jnp.where(self == 0, 1, self)
  return jnp.where(self == 0, 0, jnp.arctan2(somewhere.imag, somewhere.real))


@operation("aten._conj.default", "aten._conj_physical.default", "aten.conj_physical.default")
def conj(self: Array) -> Array:
  """Complex numbers mirrored at the real ones."""
  return jnp.conj(self)


@operation("aten.view_as_complex.default")
def view_as_complex(self: Array) -> Array:
  """Pairs of the last dimension as complex numbers."""
  real = self.dtype in (jnp.float32, jnp.float64)
  require(self.ndim > 0 and self.shape[-1] == 2 and real, f"pairs of {self.shape}")
  return self[..., 0] + 1j * self[..., 1]


@operation("aten.view_as_real.default")
def view_as_real(self: Array) -> Array:
  """Complex numbers as pairs along a new last dimension."""
  require(jnp.iscomplexobj(self), f"complex numbers that are {self.dtype}")
  return jnp.stack([self.real, self.imag], -1)
