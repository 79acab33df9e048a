"""Files of every container are read as PyTorch reads them."""

import argparse
import collections
import json
import pathlib
import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from biasjax.convert import readers
from biasjax.errors import BiasjaxError
from deadline import DEADLINE_S
from torch_networks import ALL_CONTAINERS, save

torch = pytest.importorskip("torch", reason="PyTorch writes the files")


def tensors():
  """Plain, transposed, sliced, overlapping with another, scalar, empty."""
  base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
  return {
    "plain": base,
    "transposed": base.T,
    "sliced": base[1:, ::2],
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "count": torch.tensor(7),
  }


@pytest.mark.parametrize("container", ALL_CONTAINERS)
def test_tensors_come_back_bit_for_bit(tmp_path, container):
  save(tensors(), tmp_path / "x", container)
  tree = readers.read(tmp_path / "x").tree
  assert set(tree) == set(tensors())
  for name, expected in tensors().items():
    assert tree[name].shape == tuple(expected.shape)
    np.testing.assert_array_equal(tree[name].read(), expected.numpy(), strict=True)
  if container in ("zip", "legacy"):
    assert tree["plain"].storage is tree["sliced"].storage


def test_views_of_a_storage_are_what_pytorch_reads(tmp_path):
  from old_formats import legacy_with_views

  legacy_with_views(tmp_path / "x", torch.arange(10.0), {"a": (2, 3), "b": (0, 10)})
  tree, oracle = readers.read(tmp_path / "x").tree, torch.load(tmp_path / "x", weights_only=True)
  np.testing.assert_array_equal(tree["a"].read(), [2, 3, 4])
  for name, tensor in tree.items():
    np.testing.assert_array_equal(tensor.read(), oracle[name].numpy(), strict=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_other_types_of_numbers_are_exact(tmp_path, container, dtype):
  values = torch.tensor([0.0, 1.0, 2.5, 1 / 3, 65000.0]).to(getattr(torch, dtype))
  save({"x": values}, tmp_path / "x", container)
  got = readers.read(tmp_path / "x").tree["x"].read()
  if dtype == "bfloat16":
    assert got.dtype == ml_dtypes.bfloat16
  np.testing.assert_array_equal(got.astype(np.float64), values.to(torch.float64).numpy())


@pytest.mark.parametrize("container", ["zip", "legacy", "dill"])
def test_everything_else_is_a_container_or_inert(tmp_path, container):
  content = {
    "numbers": [1, -2, 3.5, True, None, 2**70],
    "text": ("a", b"bytes", {"x", "y"}),
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "namespace": argparse.Namespace(lr=0.1),
    "size": torch.Size([1, 2]),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "float64": np.float64(1.5),
    "array": np.ones(3),
  }
  save(content, tmp_path / "x", container)
  file = readers.read(tmp_path / "x")
  tree = file.tree
  if container == "dill":  # which builds even a set with a function of its own
    assert isinstance(tree["text"][2], readers.Placeholder)
    tree["text"] = content["text"]
  for name in ("numbers", "text", "ordered", "default", "size"):
    assert tree[name] == content[name]
  np.testing.assert_array_equal(tree["parameter"].read(), [1, 1])
  assert isinstance(tree["namespace"], readers.Placeholder)
  assert tree["namespace"].state == {"lr": 0.1}
  assert isinstance(tree["array"], readers.Placeholder)
  assert "argparse.Namespace" in file.globals


def test_dills_own_globals_are_inert(tmp_path):
  save({"schedule": lambda epoch: 0.1**epoch, "type": type(lambda: 0)}, tmp_path / "x", "dill")
  file = readers.read(tmp_path / "x")
  assert any(name.startswith("dill.") for name in file.globals)
  assert isinstance(file.tree["schedule"], readers.Placeholder)


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_reading_is_lazy(tmp_path):
  content = {"kept": torch.ones(1000), "optimizer": [torch.randn(4_000_000) for _ in range(10)]}
  save(content, tmp_path / "x", "legacy")
  # Not getrusage: that would count what the parent had when the process was forked.
  program = (
    "import re, sys; from biasjax.convert import readers\n"
    "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024\n"
    "before = peak(); file = readers.read(sys.argv[1]); file.tree['kept'].read(); print(peak() - before)\n"
    "whole = [tensor.read() for tensor in file.tree['optimizer']]; print(peak() - before)"
  )
  done = subprocess.run(
    [sys.executable, "-c", program, tmp_path / "x"],
    capture_output=True,
    text=True,
    check=True,
    timeout=DEADLINE_S,
  )
  lazy, everything = map(int, done.stdout.split())
  assert everything > 150_000_000  # so that the measurement is one
  assert lazy < 40_000_000  # of which 16 MB are the most that is read to find the pickle's end


# What PyTorch puts off until values are used, and numbers that this machine may not know.


def put_off():
  """Tensors whose negation or conjugation PyTorch has put off."""
  w = torch.arange(6.0).reshape(2, 3)
  c = torch.complex(w, w + 1)
  return {
    "negated": torch._neg_view(w),
    "negated slice": torch._neg_view(w)[1:, ::2],
    "conjugate": c.conj(),
    "imaginary part of a conjugate": c.conj().imag,
    "negated conjugate": torch._neg_view(c.conj()),
    "parameter": torch.nn.Parameter(torch._neg_view(w)),
    "half": torch._neg_view(w.half()),
    "bfloat16": torch._neg_view(w.bfloat16()),
    "counts": torch._neg_view(torch.arange(3)),
  }


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_negation_and_conjugation_that_were_put_off_are_applied(tmp_path, container):
  for name, value in put_off().items():
    save({"x": value}, tmp_path / "x", container)
    oracle = torch.load(tmp_path / "x", weights_only=True)["x"].detach()
    assert oracle.is_neg() or oracle.is_conj()
    expected = oracle.resolve_conj().resolve_neg()
    expected = (expected.float() if name == "bfloat16" else expected).numpy()
    got = readers.read(tmp_path / "x").tree["x"].read()
    np.testing.assert_array_equal(got.astype(expected.dtype), expected, err_msg=name)


def test_network_with_negated_tensors_has_pytorchs_signs(tmp_path):
  from biasjax.convert import conversion, torchvision
  from biasjax.models.architecture import Architecture

  tiny = Architecture("basic", (1,), width=1, inner_width=1, num_classes=2)
  rng = np.random.default_rng(0)
  state = {n: torch.from_numpy(rng.random(e.shape, np.float32)) for n, e in torchvision.entries(tiny).items()}
  torch.save(state | {"fc.weight": torch._neg_view(state["fc.weight"])}, tmp_path / "x.pth")
  kernel = conversion.convert(tmp_path / "x.pth").variables["params"]["fc"]["kernel"]
  np.testing.assert_array_equal(kernel, -state["fc.weight"].numpy().T)


BESIDE = (
  "float8_e4m3fn",
  "float8_e5m2",
  "uint16",
  "uint32",
  "uint64",
  "float8_e8m0fnu",
  "bits8",
  "complex32",
)


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("dtype", BESIDE)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_other_numbers_beside_the_network_do_no_harm(tmp_path, container, dtype):
  w = torch.arange(6.0).reshape(2, 3)
  other = torch.empty(4, dtype=getattr(torch, dtype))
  save({"w": w, "other": other, "v": w + 1}, tmp_path / "x", container)
  tree = readers.read(tmp_path / "x").tree
  np.testing.assert_array_equal(tree["w"].read(), w.numpy())
  np.testing.assert_array_equal(tree["v"].read(), (w + 1).numpy())
  assert tree["other"].shape == (4,)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "uint16", "uint32"])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_other_numbers_are_read_where_they_are_known(tmp_path, container, dtype):
  values = torch.tensor([0.0, 1.0, 2.0, 224.0]).to(getattr(torch, dtype))
  save({"x": values}, tmp_path / "x", container)
  np.testing.assert_array_equal(
    readers.read(tmp_path / "x").tree["x"].read().astype(np.float32), [0, 1, 2, 224]
  )


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
def test_quantised_tensor_beside_the_network_does_no_harm(tmp_path):
  w = torch.arange(6.0)
  torch.save({"w": w, "q": torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)}, tmp_path / "x")
  tree = readers.read(tmp_path / "x").tree
  np.testing.assert_array_equal(tree["w"].read(), w.numpy())
  assert not readers.is_tensor(tree["q"])


def safetensors_header(path, entries, content):
  header = json.dumps(entries).encode()
  path.write_bytes(struct.pack("<Q", len(header)) + header + content)


@pytest.mark.parametrize("kind", ["F4", "F6_E2M3", "F8_E8M0", "Q4_K", "\x1b[2J"])
def test_type_that_nobody_knows_yet_is_no_obstacle_in_safetensors(tmp_path, kind):
  entries = {
    "new": {"dtype": kind, "shape": [8], "data_offsets": [0, 6]},
    "w": {"dtype": "F32", "shape": [2], "data_offsets": [6, 14]},
  }
  safetensors_header(tmp_path / "x", entries, bytes(6) + np.array([1, 2], np.float32).tobytes())
  tree = readers.read(tmp_path / "x").tree
  np.testing.assert_array_equal(tree["w"].read(), [1, 2])
  with pytest.raises(BiasjaxError, match="cannot be read here") as raised:
    tree["new"].read()
  assert str(raised.value).isprintable()


@pytest.mark.parametrize(
  ("entries", "content"),
  [
    ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 7]}}, bytes(8)),
    ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(9)),
    ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
    ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
    ({"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
    ({"w": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}, bytes(8)),
    ({"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}, bytes(8)),
    ({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    ({"w": "F32"}, bytes(8)),
    ({"__metadata__": {"a": 1}}, b""),
    ({a: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for a in "ab"}, bytes(8)),
  ],
)
def test_safetensors_header_that_lies_is_refused_as_by_the_library(tmp_path, entries, content):
  safetensors_header(tmp_path / "x", entries, content)
  with pytest.raises(safetensors.SafetensorError):
    safetensors.numpy.load_file(tmp_path / "x")
  with pytest.raises(BiasjaxError, match="is damaged or cut short"):
    readers.read(tmp_path / "x")
