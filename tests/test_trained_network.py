"""A trained network on photographs makes the decisions that an independent PyTorch pipeline made."""

import dataclasses
import json

import pytest

from biasjax import probes
from biasjax.convert import conversion
from biasjax.data import sources
from biasjax.engine import evaluate
from biasjax.models.load import load
from biasjax.results.store import Store

# Two of the 23 conditions, to keep the test short; run.py on the same photographs does all of them.
CONDITIONS = {"spectral": ("low/0.2", "high/0.9")}


@pytest.mark.reference
def test_right_decisions_are_those_of_pytorch(reference, tmp_path):
  expected = json.loads((reference / "reference/resnet18_imagenette.json").read_text())
  for folder in sorted((reference / "data/imagenette_val").iterdir()):
    (tmp_path / "val" / folder.name).mkdir(parents=True)
    for photograph in sorted(folder.iterdir())[:50]:
      (tmp_path / "val" / folder.name / photograph.name).symlink_to(photograph)
  source = sources.folder(tmp_path / "val")
  assert source.length == expected["n"]
  converted = conversion.convert(reference / "data/checkpoints/resnet18_imagenette.pth.tar")
  conversion.write(converted, tmp_path / "network")
  chosen = [
    dataclasses.replace(probe, conditions={name: probe.conditions[name] for name in CONDITIONS[probe.name]})
    for probe in map(probes.get, CONDITIONS)
  ]
  store = Store(tmp_path / "out", 250)
  evaluate.evaluate([load(tmp_path / "network")], chosen, source, store, evaluate.Settings(batch_size=50))
  for unit in store.units():
    observations, _ = store.read(unit)
    right = observations["rank"].eq(0).groupby(observations["condition"]).sum()
    for condition in CONDITIONS[unit.probe]:
      assert abs(right[condition] - expected["correct"][condition]) <= 1, condition
