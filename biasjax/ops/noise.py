"""Gaussian noise in octave bands, and what is done with pixels that it drives out of range."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from biasjax.ops import draw, pyramid
from biasjax.types import RandomKey


def rms(image: Float[Array, "h w"]) -> Float[Array, ""]:
  """Root mean square."""
  return jnp.sqrt(jnp.mean(jnp.square(image)))


def octave_noise(key: RandomKey, size: int, level: Int[Array, ""]) -> Float[Array, "n n"]:
  """One octave of white Gaussian noise of unit variance, with the power of its finest octave.

  Subramanian et al. 2023. Every band has the RMS of level 0 of the same noise, about 0.95, and not
  that of the white noise.

  Args:
    key: of the noise.
    size: pixels of a side.
    level: of the Laplacian pyramid; 0 is the finest.
  """
  chosen, finest = pyramid.band(draw.normal(key, (size, size)), level)
  return chosen * (rms(finest) / rms(chosen))


def repair(
  key: RandomKey,
  image: Float[Array, "h w"],
  noise: Float[Array, "h w"],
  sd: Float[Array, ""],
  margin: float,
) -> Float[Array, "h w"]:
  """image + noise with each pixel that leaves [0, 1] put back, as published (Subramanian et al. 2023).

  A pixel below 0 becomes `margin` and one above 1 becomes 1 - `margin`: the image is rewritten there so that
  the noise fits. Where that would take an image pixel out of [0, 1] on the other side (noise beyond
  1 - `margin` in size), the noise is drawn again, from N(0, sd) given that the sum lies in [0, 1]: the
  published loop draws until it does, which is a truncated normal.

  Args:
    key: of the noise that is drawn again.
    image: in [0, 1].
    noise: to add.
    sd: of the noise that is drawn again.
    margin: in [0, 0.5].
  """
  noisy = image + noise
  outside = (noisy < 0) | (noisy > 1)
  again = outside & (jnp.abs(noise) > 1 - margin)
  moved = jnp.where(noisy < 0, margin, jnp.where(noisy > 1, 1 - margin, noisy))

  def draw(state):
    # Key and barrier tie the draw to the loop's state: XLA would move what does not change out of the loop.
    pending, noisy, base = jax.lax.optimization_barrier((*state, image))
    of_loop = jax.random.fold_in(key, pending.astype(jnp.uint32))
    drawn = sd * jax.random.truncated_normal(of_loop, -base / sd, (1 - base) / sd, dtype=jnp.float32)
    return pending & False, jnp.where(again, jnp.clip(base + drawn, 0.0, 1.0), noisy)

  # A loop that runs at most once, because under vmap it is skipped where no example of the batch needs it
  # (all but always: it takes noise of six standard deviations), while both sides of a cond would be computed.
  return jax.lax.while_loop(lambda state: state[0], draw, (jnp.any(again), moved))[1]
