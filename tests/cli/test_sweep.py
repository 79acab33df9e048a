"""A sweep trains strength 0 once, names its networks so that the study finds their series, and no more."""

import json
import pathlib
import re

import pytest

from biasjax.cli import halving, sweep
from biasjax.configuration import load
from biasjax.data.sources import Place, Source
from biasjax.errors import BiasjaxError
from biasjax.train import loop

ASKED = {
  "dataset": "tfds:somewhere",
  "seeds": [0, 1],
  "families": [
    {"name": "stylised", "interventions": "flip=0.5+stylised={strength}", "strengths": [0, 0.5, 1]},
    {"name": "noise", "interventions": "gaussian_noise={strength}", "strengths": [0, 1e-05]},
  ],
  "measure": [{"probes": ["accuracy"], "dataset": ["x"]}],
}


def test_each_strength_and_seed_is_trained_once_and_strength_zero_for_all_families():
  found = {member.name: member for member in sweep.members(ASKED)}
  assert sorted(found) == sorted(
    ["baseline_seed0", "baseline_seed1"]
    + [f"stylised_x{x}_seed{s}" for x in ("0.5", "1") for s in (0, 1)]
    + [f"noise_x1e-05_seed{s}" for s in (0, 1)]
  )
  assert found["stylised_x0.5_seed1"].interventions == "flip=0.5+stylised=0.5"
  assert found["stylised_x0.5_seed1"].seed == 1
  assert found["baseline_seed0"].interventions == "none"


def test_what_is_swept_may_be_the_data():
  family = {
    "name": "end",
    "interventions": "end=1",
    "dataset": "biased:world/train_{strength}",
    "annotations": "world/train_{strength}.csv",
    "strengths": [0.9, 0.98],
    "factor": "rho",
  }
  asked = ASKED | {"families": [*ASKED["families"], family]}
  found = {member.name: member for member in sweep.members(asked)}
  one = found["end_x0.98_seed1"]
  assert (one.interventions, one.dataset, one.annotations) == (
    "end=1",
    "biased:world/train_0.98",
    "world/train_0.98.csv",
  )
  assert found["baseline_seed0"].dataset == ASKED["dataset"]
  assert found["noise_x1e-05_seed1"].annotations is None
  assert [series["factor"] for series in sweep.series(asked)] == [
    "strength of stylised",
    "strength of noise",
    "rho",
  ]


def test_the_series_find_their_networks():
  names = [member.name for member in sweep.members(ASKED)]
  for one, strengths in zip(sweep.series(ASKED), ({0.5, 1.0}, {1e-05}), strict=True):
    matches = [re.fullmatch(one["pattern"], name) for name in names]
    assert {float(match["x"]) for match in matches if match} == strengths
    assert one["extra"] == [["baseline_seed0", 0.0], ["baseline_seed1", 0.0]]


def test_large_and_fine_strengths_stay_what_they_are():
  strengths = [1281167, 1e6, 2.5e16, 0.1234567, 0.1234568]
  family = {"name": "n.of+images", "interventions": "first={strength}", "strengths": strengths}
  asked = ASKED | {"families": [family]}
  found = {member.name: member for member in sweep.members(asked)}
  assert len(found) == 2 * len(strengths)
  assert found["n.of+images_x1281167_seed0"].interventions == "first=1281167"
  (one,) = sweep.series(asked)
  matches = [re.fullmatch(one["pattern"], name) for name in found]
  assert sorted(float(match["x"]) for match in matches if match) == sorted(2 * strengths)


def opened(spec, asked):
  """63 pictures of 63 pixels; of the word "unfit" they have labels that no network is trained on."""
  labels = "cue_conflict" if "unfit" in spec else "synthetic"
  places = [Place(f"{i}.png", 0) for i in range(63)] if "known" in spec else ()
  return Source(spec, 63, lambda index: None, "", spec, labels=labels, crop=63, places=places)


@pytest.mark.parametrize(("status", "studied"), [(0, True), (3, True), (4, False), (75, False)])
def test_images_that_cannot_be_decoded_do_not_keep_a_sweep_from_its_study(
  monkeypatch, tmp_path, status, studied
):
  asked = {"workdir": str(tmp_path), "sweep": ASKED, "train": {}, "study": None, "batch_size": "32"}
  found = []
  monkeypatch.setattr(sweep.opening, "open_asked", opened)
  monkeypatch.setattr(sweep.training, "train", lambda settings, *_: (tmp_path / settings.name, []))
  monkeypatch.setattr(sweep.commands, "opened", lambda _: ([], {}))
  monkeypatch.setattr(sweep.commands, "measure", lambda _: status)
  monkeypatch.setattr(sweep.report, "run", lambda asked: found.append(asked["study"]) or 0)
  assert sweep.run(asked) == status
  assert bool(found) == studied
  for study in found:  # the published one, where a config has none
    assert study["axes"][0]["name"] == "ID"
    assert [one["name"] for one in study["series"]] == ["stylised", "noise"]


@pytest.mark.parametrize(("lost", "measured", "status"), [("noise", 0, 4), ("noise", 3, 4), ("", 3, 3)])
def test_a_network_that_diverges_is_left_out_and_the_others_are_trained_measured_and_studied(
  monkeypatch, tmp_path, capsys, lost, measured, status
):
  asked = {"workdir": str(tmp_path), "sweep": ASKED, "train": {}, "study": None, "batch_size": "32"}
  trained, seen, categories = [], [], []

  def train(settings, *_):
    trained.append(settings.name)
    if lost and settings.name.startswith(lost):
      raise loop.DivergedError("the loss of step 3 is not finite")
    return tmp_path / settings.name, []

  def study(asked):
    categories.append(json.loads(pathlib.Path(asked["categories"]).read_text()))
    return 0

  monkeypatch.setattr(sweep.opening, "open_asked", opened)
  monkeypatch.setattr(sweep.training, "train", train)
  monkeypatch.setattr(sweep.commands, "opened", lambda _: ([], {}))
  monkeypatch.setattr(sweep.commands, "measure", lambda asked: seen.append(asked["models"]) or measured)
  monkeypatch.setattr(sweep.report, "run", study)
  assert sweep.run(asked) == status
  left = [name for name in trained if not lost or not name.startswith(lost)]
  assert len(trained) == 8
  assert seen == [[str(tmp_path / name) for name in left]]
  assert [sorted(name for names in of.values() for name in names) for of in categories] == [sorted(left)]
  said = capsys.readouterr().err
  for name in set(trained) - set(left):
    assert f"{name} is left out: the loss of step 3 is not finite" in said
  assert ("2 of 8 networks are left out" in said) == bool(lost)
  monkeypatch.setattr(sweep.training, "train", lambda *_: (_ for _ in ()).throw(loop.DivergedError("x")))
  with pytest.raises(BiasjaxError, match="no network is left: the loss of each was not finite"):
    sweep.run(asked)


FAMILY = ASKED["families"][0]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"seeds": []}, "sweep.seeds is needed"),
    ({"seeds": 3}, "sweep.seeds is 3; expected different whole numbers from 0"),
    ({"seeds": [0, -1]}, "expected different whole numbers from 0"),
    ({"seeds": [0, 0.5]}, "expected different whole numbers from 0"),
    ({"seeds": [1, 1]}, "expected different whole numbers from 0"),
    ({"seed": [1]}, "sweep.seed is unknown: did you mean seeds?"),
    ({"dataset": ["x"]}, "sweep.dataset is .'x'.; expected one dataset"),
    ({"families": FAMILY}, "expected families, a list"),
    ({"families": [FAMILY, FAMILY | {"strengths": [2]}]}, "another one is called 'stylised'"),
    ({"families": [{"name": "x", "interventions": "flip=1", "strengths": [1]}]}, "needs name, strengths"),
    (
      {"families": [FAMILY | {"strength": [1]}]},
      "sweep.families.strength is unknown: did you mean strengths?",
    ),
    ({"families": [FAMILY | {"strengths": 0.5}]}, "strengths of stylised is 0.5; expected numbers, a list"),
    ({"families": [FAMILY | {"strengths": ["0.5"]}]}, "expected numbers, a list"),
    ({"families": [FAMILY | {"interventions": 5}]}, "sweep.families: interventions is 5; expected a text"),
    ({"measure": {"probes": ["accuracy"]}}, "sweep.measure is .*expected {'probes': "),
    (
      {"measure": [{"probe": ["accuracy"], "dataset": ["x"]}]},
      "sweep.measure: probes is None; expected names",
    ),
  ],
)
def test_a_mistake_is_named(change, message):
  with pytest.raises(BiasjaxError, match=message):
    sweep.members(ASKED | change)


@pytest.mark.parametrize(
  ("family", "more", "message"),
  [
    ({"interventions": "flop={strength}"}, {}, "'flop=1' is not NAME=STRENGTH"),
    ({"interventions": "end={strength}"}, {}, "end needs the bias of each example"),
    ({"name": "a/b"}, {}, "expected the name of a folder"),
    ({"interventions": "patch_shuffle:grid=4={strength}"}, {}, "does not divide images of 63x63 pixels"),
    ({"interventions": "low_pass={strength}"}, {}, "images of 63x63 pixels: an even side is needed"),
    ({"dataset": "unfit"}, {}, "unfit has labels cue_conflict; networks are trained on"),
    ({}, {"batch_size": "64"}, "63 images are less than --batch_size=64"),
    ({}, {"train": {"epochs": 0.1}}, "train.epochs is 0.1, no step of 1 an epoch"),
    ({}, {"study": {"axes": []}}, "the study's config defines no biases"),
    ({}, {"sweep": {"measure": [{"probes": ["acuracy"], "dataset": ["x"]}]}}, "unknown probe 'acuracy'"),
    (
      {},
      {"sweep": {"measure": [{"probes": ["accuracy"], "dataset": ["x"], "limt": 5}]}},
      "did you mean limit",
    ),
  ],
)
def test_a_mistake_in_the_last_family_is_found_before_the_first_is_trained(
  monkeypatch, tmp_path, family, more, message
):
  last = {"name": "last", "interventions": "flip={strength}", "strengths": [1]} | family
  swept = ASKED | {"families": [FAMILY, last]} | more.get("sweep", {})
  asked = {"workdir": str(tmp_path), "train": {}, "study": None, "batch_size": "32", "limit": None}
  asked |= {"keep_adversarial": 0} | more | {"sweep": swept}
  monkeypatch.setattr(sweep.opening, "open_asked", opened)
  monkeypatch.setattr(sweep.training, "train", lambda *_: pytest.fail("it was trained"))
  with pytest.raises(BiasjaxError, match=message):
    sweep.run(asked)


@pytest.mark.parametrize(("given", "noted"), [("none", False), ("flip=1", False), ("augmix=0.5", True)])
def test_interventions_beside_those_of_families_are_said_to_play_no_part(
  monkeypatch, tmp_path, capsys, given, noted
):
  swept = ASKED | {"families": [FAMILY | {"interventions": "flip=1+stylised={strength}"}]}
  asked = {"workdir": str(tmp_path), "study": None, "batch_size": "32", "limit": None, "sweep": swept}
  monkeypatch.setattr(sweep.opening, "open_asked", opened)
  monkeypatch.setattr(sweep.training, "ready", lambda *_: None)
  monkeypatch.setattr(sweep.training, "train", lambda settings, *_: (tmp_path / settings.name, []))
  monkeypatch.setattr(sweep.commands, "opened", lambda _: ([], {}))
  monkeypatch.setattr(sweep.commands, "measure", lambda _: 75)
  assert sweep.run(asked | {"train": {"interventions": given}}) == 75
  assert ("train.interventions is 'augmix=0.5', and no network" in capsys.readouterr().err) == noted


@pytest.mark.parametrize("config", ["sweep", "halving", "debias"])
def test_a_config_of_a_sweep_has_no_name_for_a_network(config):
  assert "name" not in load(config).get_config().train  # so that --config.train.name=... is refused


@pytest.mark.parametrize(
  ("command", "swept"), [(sweep, {"families": [FAMILY]}), (halving, {"grid": {"factors": {"width": [4]}}})]
)
def test_a_name_that_no_network_of_a_sweep_will_have_is_said_to_play_no_part(
  monkeypatch, tmp_path, capsys, command, swept
):
  def stop(*_):
    raise BiasjaxError("stopped here")

  swept |= {name: ASKED[name] for name in ("dataset", "seeds", "measure")}
  asked = {"workdir": str(tmp_path), "batch_size": "32", "study": None, "sweep": swept}
  monkeypatch.setattr(command.opening, "open_asked", stop)
  monkeypatch.setattr(command.commands, "opened", lambda _: ([], {}))
  with pytest.raises(BiasjaxError, match="stopped here"):
    command.run(asked | {"train": {"name": "mine"}})
  assert "note: train.name is 'mine', and plays no part" in capsys.readouterr().err


def test_annotations_of_another_dataset_are_found_before_the_first_is_trained(monkeypatch, tmp_path):
  for rho, rows in ((0.9, 63), (0.95, 62)):
    text = "".join(f"{i}.png,red\n" for i in range(rows))
    (tmp_path / f"{rho}.csv").write_text(f"example_id,bias\n{text}")
  family = {"name": "end", "interventions": "end=1", "strengths": [0.9, 0.95]}
  family |= {"dataset": "known", "annotations": f"{tmp_path}/{{strength}}.csv"}
  asked = {"workdir": str(tmp_path), "train": {}, "study": None, "batch_size": "32", "limit": None}
  monkeypatch.setattr(sweep.opening, "open_asked", opened)
  monkeypatch.setattr(sweep.training, "train", lambda *_: pytest.fail("it was trained"))
  monkeypatch.setattr(sweep.commands, "opened", lambda _: pytest.fail("all annotations are there"))
  with pytest.raises(BiasjaxError, match=r"0\.95\.csv has no row for 1 of 63 examples of known"):
    sweep.run(asked | {"sweep": ASKED | {"families": [family]}})
