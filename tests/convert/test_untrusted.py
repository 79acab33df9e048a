"""Damaged and hostile files do no harm: they are read as PyTorch reads them, or refused in one line."""

import collections
import contextlib
import importlib
import io
import json
import os
import pickle
import pickletools
import resource
import struct
import subprocess
import sys
import time
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from biasjax.convert import conversion, pickles, readers
from biasjax.errors import BiasjaxError
from deadline import DEADLINE_S
from torch_networks import ALL_CONTAINERS, network, save

torch = pytest.importorskip("torch", reason="PyTorch writes the files")
# What zipfile and pickletools import when they need it; then any later import is one too many.
importlib.import_module("encodings.cp437")
importlib.import_module("encodings.raw_unicode_escape")
importlib.import_module("numpy.testing")


def zip_pickle(path, opcodes, storages=None):
  """A PyTorch zip file with a pickle that was written by hand."""
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x/data.pkl", opcodes)
    archive.writestr("x/byteorder", "little")
    for key, content in (storages or {}).items():
      archive.writestr(f"x/data/{key}", content)


def tensor_pickle(count, offset, shape, strides, kind="FloatStorage"):
  """A pickle of one tensor that claims these sizes."""

  class Storage:
    pass

  class Claim:
    def __reduce__(self):
      return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, {})

  class Pickler(pickle.Pickler):
    def persistent_id(self, value):
      return ("storage", getattr(torch, kind), "0", "cpu", count) if isinstance(value, Storage) else None

  stream = io.BytesIO()
  Pickler(stream, protocol=2).dump({"x": Claim()})
  return stream.getvalue()


@pytest.mark.parametrize(
  ("claim", "said"),
  [
    ((4, 0, (5,), (1,)), "goes beyond its storage"),
    ((4, 3, (2,), (1,)), "goes beyond its storage"),
    ((4, 0, (2, 2), (3, 1)), "goes beyond its storage"),
    ((4, 0, (2,), (-1,)), "description is damaged"),
    ((4, -1, (2,), (1,)), "description is damaged"),
    ((4, 0, (2,), (1, 1)), "has shape"),
    ((2**40, 0, (2**40,), (1,)), "bytes, not"),
    ((5, 0, (5,), (1,)), "16 bytes, not 5 x 4"),
    ((4, 0, (1,) * 9, (1,) * 9), "has shape"),
    ((4, 0, (2.0,), (1,)), "description is damaged"),
    ((5, 0, (4,), (1,), "QInt8Storage"), "16 bytes, not 5 x 1"),
  ],
)
def test_sizes_are_checked_against_the_file(tmp_path, claim, said):
  zip_pickle(tmp_path / "x", tensor_pickle(*claim), {"0": bytes(16)})
  with pytest.raises(BiasjaxError, match=said):
    readers.read(tmp_path / "x")


@pytest.mark.parametrize("number", [2**64, 10**5000], ids=["65 bits", "5000 digits"])
def test_numbers_without_end_are_refused(tmp_path, number):
  for claim in ((4, 0, (number,), (0,)), (4, number, (1,), (1,)), (number, 0, (1,), (1,))):
    zip_pickle(tmp_path / "x", tensor_pickle(*claim), {"0": bytes(16)})
    with pytest.raises(BiasjaxError, match="description is damaged"):
      readers.read(tmp_path / "x")


def test_expanded_tensor_is_not_materialised(tmp_path):
  zip_pickle(tmp_path / "x", tensor_pickle(4, 0, (2**40,), (0,)), {"0": bytes(16)})
  with pytest.raises(BiasjaxError, match="is larger than its storage"):
    readers.read(tmp_path / "x").tree["x"].read()


def test_expanded_tensors_that_are_small_are_read(tmp_path):
  torch.save({"row": torch.arange(3.0).expand(5, 3), "one": torch.tensor(2.0).expand(4, 2)}, tmp_path / "x")
  tree = readers.read(tmp_path / "x").tree
  np.testing.assert_array_equal(tree["row"].read(), np.tile([0, 1, 2], (5, 1)))
  np.testing.assert_array_equal(tree["one"].read(), np.full((4, 2), 2.0))


def test_many_expanded_tensors_are_not_materialised(torchvision, tmp_path):
  """Each would be small enough, all of them are not."""
  net = network(torchvision, classes=5)
  state = {name: torch.zeros(()).expand(value.shape) for name, value in net.state_dict().items()}
  torch.save(state, tmp_path / "small.pth")
  assert conversion.convert(tmp_path / "small.pth").architecture.num_classes == 5
  state["fc.weight"] = torch.zeros(()).expand(2**21, state["fc.weight"].shape[1])
  state["fc.bias"] = torch.zeros(()).expand(2**21)
  torch.save(state, tmp_path / "large.pth")
  with pytest.raises(BiasjaxError, match=r"its tensors claim [0-9]+ bytes and share them"):
    conversion.convert(tmp_path / "large.pth")


def test_flipped_bit_in_a_zip_file_is_noticed(tmp_path):
  save({"x": torch.arange(1000.0)}, tmp_path / "x", "zip")
  content = bytearray((tmp_path / "x").read_bytes())
  content[content.index(struct.pack("<2f", 500, 501))] ^= 1
  (tmp_path / "x").write_bytes(content)
  tensor = readers.read(tmp_path / "x").tree["x"]
  with pytest.raises(BiasjaxError, match="do not match their checksum"):
    tensor.read()


def test_compressed_zip_file_is_refused(tmp_path):
  with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("x/data.pkl", bytes(10**6))
  with pytest.raises(BiasjaxError, match="compressed or encrypted"):
    readers.read(tmp_path / "x")


# Hostile pickles. Each would do something if Python's pickle read it, or eat time or memory.


class Run:
  """Calls something when it is unpickled."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


def getattr_chain():
  """os.system by way of getattr and __import__, as opcodes."""
  return (
    b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x86R"
    b"X\x0b\x00\x00\x00touch owned\x85R."
  )


def getattr_of_placeholder():
  """The same without __import__: every step is a call of an inert thing."""
  inert = b"\x80\x02cbuiltins\ngetattr\nccollections\nabc\nX\x03\x00\x00\x00sys\x86R"
  return inert + b"X\x0b\x00\x00\x00touch owned\x85R."


def setstate_of_a_class():
  """BUILD on a global: sets attributes of a class in the running process."""
  return b"\x80\x02ccollections\nOrderedDict\nN}X\x05\x00\x00\x00ownedK\x01s\x86b."


EXECUTING = {
  "os.system": pickle.dumps(Run(os.system, "touch owned")),
  "os.system, protocol 0": pickle.dumps(Run(os.system, "touch owned"), protocol=0),
  "os.system, protocol 4": pickle.dumps(Run(os.system, "touch owned"), protocol=4),
  "inst": b"(S'touch owned'\nios\nsystem\n.",
  "obj": b"(cos\nsystem\nX\x0b\x00\x00\x00touch owned\x6f.",
  "eval": pickle.dumps(Run(eval, "open('owned', 'w')")),
  "exec": pickle.dumps(Run(exec, "open('owned', 'w')")),
  "open": pickle.dumps(Run(open, "owned", "w")),
  "subprocess": pickle.dumps(Run(subprocess.call, ["touch", "owned"])),
  "import by getattr": getattr_chain(),
  "in a dict": pickle.dumps({"state_dict": {}, "x": Run(os.system, "touch owned")}),
}
INERT_OR_REFUSED = {
  "getattr of an inert thing": getattr_of_placeholder(),
  "attributes of a class": setstate_of_a_class(),
  "recursive memo": b"\x80\x02]q\x00h\x00a.",
  "recursive dict": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
  "recursive tuple key": b"\x80\x02}q\x00(h\x00tq\x01K\x01s.",
  "memo index of four billion": b"\x80\x02Kar\xff\xff\xff\xff.",
  "bytes of four exabytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3f.",
  "deeply nested tuple as a key": b"\x80\x02}(" + b")" + b"\x85" * 200_000 + b"K\x01u.",
  "deeply nested lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
  "doubling lists": b"\x80\x02]q\x00" + b"".join(b"(h\x00h\x00lq\x00" for _ in range(5000)) + b".",
  "copies of a long list": b"\x80\x02]("
  + b"K\x01" * 100_000
  + b"eq\x000"
  + b"ctorch\nSize\nh\x00\x85R" * 5000
  + b".",
  "a billion digits": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\x01" * 100 + b".",
  "extension registry": b"\x80\x02\x82\x01.",
  "number with many digits": b"I" + b"9" * 5000 + b"\n.",
  "stack underflow": b"\x80\x02R.",
  "no stop": b"\x80\x02]",
  "unknown opcode": b"\x80\x02\xff.",
  "protocol 9": b"\x80\x09N.",
  "out of band buffer": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("name", EXECUTING)
def test_sample_is_really_hostile(tmp_path, name):
  # Otherwise the next test would prove nothing.
  program = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
  subprocess.run(
    [sys.executable, "-c", program, EXECUTING[name].hex()],
    cwd=tmp_path,
    check=False,
    capture_output=True,
    timeout=DEADLINE_S,
  )
  assert (tmp_path / "owned").exists()


def test_hostile_pickles_run_nothing(tmp_path):
  """In a process that notes whatever an audit hook can see: imports, processes, compiled code, files."""
  for i, content in enumerate([*EXECUTING.values(), *INERT_OR_REFUSED.values()]):
    zip_pickle(tmp_path / f"{i}.pth", content)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    (tmp_path / f"{i}.legacy.pth").write_bytes(
      magic + pickle.dumps({"little_endian": True}, 2) + content + pickle.dumps([], 2)
    )
  program = """
import encodings.cp437, encodings.raw_unicode_escape, json, pathlib, sys, time
from biasjax.errors import BiasjaxError
from biasjax.convert import readers, families
paths = sorted(pathlib.Path(sys.argv[1]).glob("*.pth"))
seen, done = [], {}
def hook(event, arguments):
  watched = ("import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "code.")
  if event.startswith(watched) or (event == "open" and arguments[1] not in ("r", "rb", None)):
    if event != "os.listdir": seen.append((event, repr(arguments)[:100]))
readers.read(sys.argv[2]); families.recognise({})  # so that what these import is there already
sys.addaudithook(hook)
for path in paths:
  start = time.process_time()
  try:
    families.recognise(readers.read(path).tree); done[path.name] = "inert"
  except BiasjaxError as error:
    done[path.name] = str(error)
  assert time.process_time() - start < 20, path
noted = list(seen)
# Not getrusage: that counts what the parent had when this process was forked.
status = pathlib.Path("/proc/self/status").read_text()
peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
print(json.dumps({"seen": noted, "done": done, "peak": peak}))
"""
  save({"x": torch.ones(2)}, tmp_path / "harmless", "zip")
  folder = tmp_path / "cwd"
  folder.mkdir()
  env = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
  done = subprocess.run(
    [sys.executable, "-c", program, tmp_path, tmp_path / "harmless"],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    check=False,
    timeout=DEADLINE_S,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  report = json.loads(done.stdout)
  assert report["seen"] == []
  assert report["peak"] < 2 * 2**30
  assert not list(folder.iterdir())
  assert not list(tmp_path.glob("owned"))
  names = [*EXECUTING, *INERT_OR_REFUSED]
  assert len(report["done"]) == 2 * len(names)
  for i, name in enumerate(names):
    for ending in ("pth", "legacy.pth"):
      said = report["done"][f"{i}.{ending}"]
      assert "\n" not in said
      if name in EXECUTING:
        assert "nothing was run" in said, (name, said)


def test_every_opcode_is_known_or_refused():
  refused = {}
  for opcode in pickletools.opcodes:
    machine = pickles._Machine({}, None, set())
    machine.stack = [[], (), (), ()]
    machine.marks = [[]]
    machine.memo = {0: None}
    argument = "a b" if opcode.name in ("GLOBAL", "INST") else 0
    with contextlib.suppress(IndexError):
      try:
        machine.step(opcode.name, argument)
      except pickles.PickleError as error:
        refused[opcode.name] = str(error)
  unknown = {name for name, said in refused.items() if "has no place" in said}
  assert unknown == {"NEXT_BUFFER", "READONLY_BUFFER"}


# Damage.

MUTATIONS = 16_000
SECONDS = 5  # that one file may take


def mutate(content, rng):
  """One to three random changes: bits, bytes, cuts, copies, numbers at the edges."""
  content = bytearray(content)
  for _ in range(rng.integers(1, 4)):
    at = int(rng.integers(len(content) or 1))
    match rng.integers(7):
      case 0 if content:
        content[at] ^= 1 << int(rng.integers(8))
      case 1 if content:
        content[at] = int(rng.integers(256))
      case 2:
        del content[at : at + int(rng.integers(1, 40))]
      case 3:
        content = content[:at]
      case 4:
        content[at:at] = content[at : at + int(rng.integers(1, 40))]
      case 5:
        edges = (0, 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
        size = int(rng.choice([4, 8]))
        content[at : at + size] = (int(edges[rng.integers(len(edges))]) % 2 ** (8 * size)).to_bytes(
          size, "little"
        )
      case 6:
        content[at:at] = rng.bytes(int(rng.integers(1, 9)))
  return bytes(content)


def small():
  base = torch.arange(6, dtype=torch.float32)
  return {"a": base.reshape(2, 3), "b": base[1:4], "n": torch.tensor(7)}


def read_all(path):
  tree = readers.read(path).tree
  entries = tree.items() if isinstance(tree, dict) else ()  # an undamaged pickle, but of something else
  return {n: t.read() for n, t in entries if readers.is_tensor(t)}


@pytest.mark.parametrize("container", ALL_CONTAINERS)
def test_mutated_files_are_read_as_pytorch_reads_them_or_refused(tmp_path, container):
  rng = np.random.default_rng(ALL_CONTAINERS.index(container))
  path = tmp_path / "x"
  save(small(), path, container)
  original = path.read_bytes()
  modules = set(sys.modules)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  outcomes = collections.Counter()
  # Opened anew each time, it would be slower than everything else.
  with open(path, "r+b", buffering=0) as file:
    for _ in range(MUTATIONS // len(ALL_CONTAINERS)):
      file.seek(0)
      file.write(mutate(original, rng))
      file.truncate()
      start = time.process_time()
      try:
        got = read_all(path)
      except BiasjaxError as error:
        assert "\n" not in str(error)  # noqa: PT017 (any outcome but this type is a failure)
        outcomes["refused"] += 1
      else:
        outcomes["read"] += 1
        outcomes["compared"] += compare(got, path, container)
      assert time.process_time() - start < SECONDS
  of_torch = {f"torch.{name}" for name in ("utils.serialization", "utils.serialization.config")}
  assert set(sys.modules) <= modules | of_torch | {"torch._weights_only_unpickler"}
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000  # kB
  assert outcomes["refused"] > 1000
  assert outcomes["read"] > 20
  if container in ("zip", "legacy", "safetensors"):
    assert outcomes["compared"] > 20


def test_a_download_that_was_cut_off_is_called_so(tmp_path):
  path = tmp_path / "x.pth"
  save(small(), path, "zip")
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(BiasjaxError, match=r"is damaged or cut short \(100 bytes; .*fetch it again"):
    readers.read(path)


def compare(got, path, container):
  """Whether there was something to compare with; fails where the tensors differ."""
  if container == "zip":  # every byte of it has a checksum
    expected = {name: value.numpy() for name, value in small().items()}
    assert set(got) == set(expected)
  elif container == "safetensors":
    expected = safetensors.numpy.load(path.read_bytes())
  elif container == "legacy":
    try:
      with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of another protocol, which a changed byte may name
        tree = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError):
      return False  # PyTorch is stricter about what surrounds the tensors
    if not isinstance(tree, dict):
      return False  # a changed byte made something else of it, whose tensors have no names
    expected = {name: value.numpy() for name, value in tree.items() if isinstance(value, torch.Tensor)}
  else:
    return False
  for name, value in got.items():
    np.testing.assert_array_equal(value, expected[name])
  return True


def test_mutated_networks_are_converted_exactly_or_refused(tmp_path, monkeypatch):
  """The whole way, of a file whose every byte has a checksum: its tensors, or none."""
  from biasjax.convert import certificate, conversion, torchvision
  from biasjax.models import load
  from biasjax.models.architecture import Architecture

  monkeypatch.setattr(certificate, "logits", lambda *_: [])  # to compile a network would take longer
  tiny = Architecture("basic", (1,), width=1, inner_width=1, num_classes=2)
  rng = np.random.default_rng(0)
  state = {n: torch.from_numpy(rng.random(e.shape, np.float32)) for n, e in torchvision.entries(tiny).items()}
  path = tmp_path / "net.pth"
  save({"state_dict": state}, path, "zip")
  original, outcomes = path.read_bytes(), collections.Counter()
  expected = load.flatten(conversion.convert(path).variables)
  for _ in range(600):
    path.write_bytes(mutate(original, rng))
    try:
      got = load.flatten(conversion.convert(path).variables)
    except BiasjaxError:
      outcomes["refused"] += 1
    else:
      outcomes["converted"] += 1
      assert set(got) == set(expected)
      for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, strict=True)
  assert min(outcomes["refused"], outcomes["converted"]) > 20
