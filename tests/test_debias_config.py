"""What configs/debias.py trains and studies is there."""

import numpy as np

from biasjax.cli import sweep
from biasjax.configuration import load
from biasjax.data import opening
from biasjax.data.builders import biased
from biasjax.study import definitions
from biasjax.train import command, given, interventions

debias = load("debias")


def test_methods_are_trained_at_each_rho_with_three_seeds_on_worlds_that_are_made(tmp_path):
  asked = debias.get_config().to_dict()
  members = sweep.members(asked["sweep"])
  assert len(members) == len(debias.METHODS) * 9
  counts = {"train": 50, "aligned": 2, "conflicting": 2, "unbiased": 2}
  picture = np.zeros((8, 8, 3), np.uint8)
  world = biased.build(tmp_path / "hue", ("aye", "nay"), counts, lambda *which: picture, {}, debias.RHOS)
  for member in members:
    command.parse(asked["train"] | {"name": member.name, "interventions": member.interventions})
    source = opening.open_dataset(member.dataset.replace(debias.WORLD, str(world)))
    path = member.annotations.replace(debias.WORLD, str(world))
    acting = interventions.parse(member.interventions)
    columns, _ = given.columns(source, acting[0] if acting else None, path)
    assert all(len(column) == source.length for column in columns.values())
  for spec in asked["sweep"]["measure"][0]["dataset"]:
    assert opening.open_dataset(spec.replace(debias.WORLD, str(world))).name in spec


def test_the_study_is_along_rho_by_the_cue_share():
  asked = debias.get_config().to_dict()
  study = definitions.parse(asked["study"] | {"series": sweep.series(asked["sweep"])})
  assert [series.factor for series in study.series] == ["rho"] * len(debias.METHODS)
  assert list(study.biases) == ["cue_share"]
  assert study.biases["cue_share"].mean == ("cue_share/conflicting",)
