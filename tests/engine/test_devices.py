"""Eight devices give the numbers of one, by either partitioner, and exchange nothing."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from biasjax import partition, probes
from biasjax.data import sources
from biasjax.engine import evaluate, programs
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Victim
from biasjax.results.store import Store
from deadline import DEADLINE_S
from made_images import class_folder
from made_models import made_model

TESTS = pathlib.Path(__file__).parents[1]
COUNTS = {"n01440764": 6, "n01443537": 5, "n15075141": 10}
PROBES = ("accuracy", "spectral", "critical_band")
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def compute(folder: pathlib.Path, kind: str, workdir: pathlib.Path) -> None:
  """All observations of two networks, with a chunk that is no multiple of the devices' batch."""
  source = dataclasses.replace(sources.folder(folder, "made"), crop=64, resize=72)
  settings = evaluate.Settings(batch_size=1, partitioner=kind)
  chosen = [probes.get(name, source.crop) for name in PROBES]
  models = [made_model("a", 0), made_model("b", 1)]
  evaluate.evaluate(models, chosen, source, Store(workdir, 11), settings)


def compiled_steps() -> dict[str, str]:
  """The compiled programs of a pass over all devices, as text."""
  import jax

  split = partition.of_process("shard_map")
  rows = len(split.devices)
  pixels, labels = np.zeros((rows, 64, 64, 3), np.uint8), np.zeros((rows, 1), np.int32)
  ids = np.zeros((rows, 2), np.uint32)
  model = made_model("a", 0)
  texts = {}
  for name in PROBES:
    probe = probes.get(name, 64)
    key = programs.condition_key(0, name, "x")
    condition = next(iter(probe.conditions.values()))
    prepare = split.compile(programs.prepare_step(probe.prepare))
    perturb = split.compile(programs.perturb_step(probe.perturb), shared=2)
    logits = programs.logits_step(model.apply, "float32")
    decide = probe.decide["imagenet"]

    def observe(variables, images, labels, logits=logits, decide=decide):
      return programs.observe(Victim(logits, decide, variables, split), images, labels)

    def whole(variables, pixels, key, condition, ids, labels, steps=(prepare, perturb, observe)):
      prepared = steps[0](pixels)
      return steps[2](variables, steps[1](key, condition, ids, prepared), labels)

    shared = split.share((model.variables, key, condition))
    batched = split.put((pixels, ids, labels))
    arguments = (shared[0], batched[0], shared[1], shared[2], batched[1], batched[2])
    texts[name] = jax.jit(whole).lower(*arguments).compile().as_text()
  return texts


def table(workdir: pathlib.Path) -> pd.DataFrame:
  columns = ["model", "probe", "condition", "example_id"]
  return pd.read_parquet(workdir / "observations").sort_values(columns, ignore_index=True)


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> pathlib.Path:
  """What a process with eight devices wrote: observations of both partitioners, and its programs."""
  root = tmp_path_factory.mktemp("eight")
  class_folder(root / "images", COUNTS)
  flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
  environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
  done = subprocess.run(
    [sys.executable, __file__, str(root)], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
  )
  assert done.returncode == 0, done.stderr
  return root


@pytest.mark.parametrize("kind", partition.KINDS)
def test_eight_devices_give_the_observations_of_one(eight, tmp_path, kind):
  compute(eight / "images", "shard_map", tmp_path / "one")
  expected, found = table(tmp_path / "one"), table(eight / kind)
  continuous = ["confidence", "nll", "brier"]
  exact = [column for column in expected.columns if column not in continuous]
  pd.testing.assert_frame_equal(found[exact], expected[exact])
  for column in continuous:
    np.testing.assert_allclose(found[column], expected[column], rtol=2e-5)


@pytest.mark.parametrize("name", PROBES)
def test_the_compiled_step_contains_no_collective(eight, name):
  program = (eight / f"{name}.hlo").read_text()
  assert "num_partitions=8" in program
  assert not [word for word in COLLECTIVES if word in program]


def test_an_unknown_partitioner_is_named():
  with pytest.raises(BiasjaxError, match="unknown partitioner 'pjit': expected one of shard_map, pmap"):
    partition.Partition("pjit")


if __name__ == "__main__":  # with eight devices, see `eight`
  root = pathlib.Path(sys.argv[1])
  for kind_ in partition.KINDS:
    compute(root / "images", kind_, root / kind_)
  for name_, text_ in compiled_steps().items():
    (root / f"{name_}.hlo").write_text(text_)
