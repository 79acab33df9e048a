"""The network against the names, shapes and counts that are known of it."""

import jax
import numpy as np
import pytest

import biasjax
from biasjax.convert import certificate, torchvision
from biasjax.models import architecture, load
from deadline import DEADLINE_S

PARAMETERS = {  # torchvision's documentation
  architecture.RESNET18: 11_689_512,
  architecture.RESNET34: 21_797_672,
  architecture.RESNET50: 25_557_032,
  architecture.RESNET101: 44_549_160,
  architecture.RESNET152: 60_192_808,
  architecture.Architecture("bottleneck", (3, 4, 6, 3), inner_width=128): 68_883_240,  # wide_resnet50_2
}


@pytest.mark.parametrize("architecture", PARAMETERS, ids=torchvision.describe)
def test_published_networks_have_the_published_number_of_parameters(architecture):
  params = load.variable_shapes(architecture)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[architecture]
  assert certificate.parameter_count(architecture) == PARAMETERS[architecture]


@pytest.mark.parametrize("architecture", PARAMETERS, ids=torchvision.describe)
def test_key_map_covers_the_variables_exactly(architecture):
  variables = load.flatten(load.variable_shapes(architecture))
  mapped = {entry.path: entry.shape for entry in torchvision.entries(architecture).values()}
  assert set(variables) - set(mapped) == {("normalization", "mean"), ("normalization", "std")}
  assert set(mapped) <= set(variables)
  for path, shape in mapped.items():
    assert variables[path].shape == tuple(shape[i] for i in torchvision.TO_FLAX[len(shape)])


def test_architecture_is_found_in_the_shapes():
  for network in PARAMETERS:
    shapes = {name: entry.shape for name, entry in torchvision.entries(network).items()}
    assert torchvision.infer(shapes, "x") == network


def test_axes_there_and_back_are_the_identity():
  for shape in ((2, 3, 4, 5), (2, 3), (4,)):
    tensor = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(torchvision.to_torch(torchvision.to_flax(tensor)), tensor)


def test_equal_architectures_share_one_function():
  twin = architecture.Architecture("bottleneck", (3, 4, 6, 3))
  assert load.apply_function(twin) is load.apply_function(architecture.RESNET50)
  assert load.apply_function(architecture.RESNET18) is not load.apply_function(architecture.RESNET50)


def test_importing_biasjax_is_cheap():
  import subprocess
  import sys

  program = "import sys, biasjax; assert biasjax.__version__; assert 'jax' not in sys.modules; biasjax.load"
  subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE_S)
  with pytest.raises(AttributeError, match="has no attribute 'lode'"):
    _ = biasjax.lode
