"""Options of XLA belong to a program, by what it holds."""

import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax import compiling, partition

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype(np.float32)
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(kernel, images, groups=1):
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
  )


def grouped(kernel, images):
  return jax.jit(lambda k, x: convolution(k, x, groups=4))(kernel, images)


def gradient(kernel, images):
  return jax.vjp(lambda x: grouped(kernel, x), images)[1](images)[0]


CASES = {
  "one group": (convolution, (3, 3, 16, 16), ""),
  "four groups": (grouped, (3, 3, 4, 16), compiling.CONVOLUTIONS),
  "the gradient of four groups": (gradient, (3, 3, 4, 16), compiling.CONVOLUTIONS),
}


@pytest.fixture
def measured(monkeypatch):
  monkeypatch.setattr(compiling, "MEASURED", (importlib.metadata.version("jaxlib"),))
  monkeypatch.delenv("XLA_FLAGS", raising=False)


@pytest.mark.parametrize("case", CASES)
def test_only_grouped_convolutions_keep_their_kernels(measured, case):
  function, kernel, expected = CASES[case]
  jaxpr = jax.make_jaxpr(function)(jnp.ones(kernel), IMAGES).jaxpr
  assert compiling.options(jaxpr, "cpu") == {compiling.OPTION: expected}
  assert compiling.options(jaxpr, "gpu") is None


@pytest.mark.skipif(
  importlib.metadata.version("jaxlib") not in compiling.MEASURED,
  reason="another version of jaxlib may not know the option",
)
@pytest.mark.parametrize("kind", partition.KINDS)
@pytest.mark.parametrize("case", CASES)
def test_options_change_no_number_beyond_rounding(measured, case, kind):
  function, shape, _ = CASES[case]
  kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  split = partition.Partition(kind, jax.local_devices()[:1])
  found = split.get(split.compile(function, shared=1)(split.share(kernel), split.put(IMAGES)))
  with jax.default_matmul_precision("float32"):
    np.testing.assert_allclose(found, jax.jit(function)(kernel, IMAGES), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("version", "flags", "expected"),
  [
    ("0.10.2", "", True),
    ("0.10.2", "--xla_dump_to=x", True),
    ("0.10.2", f"--{compiling.OPTION}=+dot", False),
    ("0.10.2", "options.txt", False),
    ("0.11.0", "", False),
  ],
)
def test_they_are_set_only_where_they_were_measured_and_nobody_else_sets_them(
  monkeypatch, version, flags, expected
):
  monkeypatch.setattr(compiling.importlib.metadata, "version", lambda name: version)
  monkeypatch.setenv("XLA_FLAGS", flags)
  assert compiling.tuned("cpu") == expected
  assert not compiling.tuned("gpu")
  monkeypatch.setitem(compiling._settled, "tune", False)
  assert not compiling.tuned("cpu")
