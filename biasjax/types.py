"""Array types. Shapes and dtypes are checked by jaxtyping while the tests run."""

from typing import Any

from jaxtyping import Array, Float, Int, Key, UInt8

Image = Float[Array, "h w c"]  # values in [0, 1]
Images = Float[Array, "b h w c"]  # values in [0, 1]
Pixels = UInt8[Array, "b h w 3"]  # values in 0..255, as decoded
# The class indices that are right, then -1; only -1 where an example is padding.
Labels = Int[Array, "b labels"]
Logits = Float[Array, "b k"]
RandomKey = Key[Array, ""]
# A flax variables tree: {"params": ..., "batch_stats": ..., "normalization": {"mean", "std"}}.
Variables = dict[str, Any]
