"""Fixtures and the strictness under which every test runs."""

import importlib.util
import os
import pathlib
import re
import tempfile

# Programs are compiled once for all tests, in whichever of pytest's processes, and for what they
# start. JAX reads it when it is imported; it locks a folder only where that may grow no further than a size.
if "PYTEST_XDIST_WORKER" not in os.environ:
  _COMPILED = tempfile.TemporaryDirectory(prefix="biasjax-compiled-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
  os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(8 * 1024**3)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
# LLVM's third level compiles a fifth longer than its second, for the same bits in what was tried; small
# networks are compiled here more than they run. XLA_FLAGS= has the tests as commands compile.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=2")
# Several processes of pytest share the cores; PyTorch's threads would wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"
# How much a command says must not depend on how busy the machine is.
os.environ["BIASJAX_PROGRESS_S"] = "86400"

import jax
import pytest

import cpu_torchvision
import type_checks

type_checks.install()
# Shapes that broadcast by accident are how wrong numbers come about.
jax.config.update("jax_numpy_rank_promotion", "raise")

REFERENCE = os.environ.get("BIASJAX_REFERENCE", "")

# Where PyTorch is absent, as in an environment of the lowest versions, files of tests that begin with it are
# left out.
_TORCH = re.compile(r"^(import torch|from torch|(import|from) old_formats)", re.M)
collect_ignore = [
  path.relative_to(pathlib.Path(__file__).parent).as_posix()
  for path in pathlib.Path(__file__).parent.rglob("test_*.py")
  if importlib.util.find_spec("torch") is None and _TORCH.search(path.read_text(encoding="utf-8"))
]


def pytest_report_header():
  """Says what is left out."""
  return f"PyTorch is absent, left out: {', '.join(collect_ignore)}" if collect_ignore else ""


def pytest_collection_modifyitems(items):
  """Skips tests marked `reference` where the reference data is absent."""
  if REFERENCE and pathlib.Path(REFERENCE).is_dir():
    return
  reason = f"BIASJAX_REFERENCE={REFERENCE!r} names no folder of reference data"
  for item in items:
    if item.get_closest_marker("reference") or "reference" in getattr(item, "fixturenames", ()):
      item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def reference() -> pathlib.Path:
  """The folder of reference data; for tests marked `reference` only."""
  return pathlib.Path(REFERENCE)


@pytest.fixture(scope="session")
def torchvision():
  """torchvision, which beside a CPU build of torch registers operators that do not exist there."""
  pytest.importorskip("torch", reason="parity tests need torch")
  try:
    return cpu_torchvision.load()
  except ImportError as error:
    pytest.skip(f"parity tests need torchvision: {error}")


@pytest.fixture
def off_cpu(monkeypatch):
  """What is computed in a way of its own on CPUs is traced as for all other devices."""
  jax.clear_caches()
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  yield
  jax.clear_caches()


@pytest.fixture
def prepared_tfds(tmp_path):
  """(folder of class folders) -> the folder of a TFDS dataset with those images, in array_record."""
  import tensorflow_datasets as tfds

  def prepare(root: pathlib.Path) -> pathlib.Path:
    wnids = sorted(folder.name for folder in root.iterdir())

    class MadePhotographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      VERSION = tfds.core.Version("1.0.0")

      def _info(self):
        features = {
          "image": tfds.features.Image(encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=wnids),
          "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

      def _split_generators(self, dl_manager):
        del dl_manager
        return {"validation": self._generate_examples()}

      def _generate_examples(self):
        for path in sorted(root.glob("*/*")):
          record = {"image": path.read_bytes(), "label": path.parent.name, "file_name": path.name}
          yield f"{path.parent.name}/{path.name}", record

    builder = MadePhotographs(data_dir=tmp_path / "tfds", file_format="array_record")
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)

  return prepare
