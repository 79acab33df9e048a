"""A traced network as a checkpoint: written, read, and damaged."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

import made_programs
from biasjax.errors import BiasjaxError
from biasjax.models import load, stored
from biasjax.traced import interpreter, program
from made_programs import CLASSES, SIZE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return made_programs.made_checkpoint(tmp_path_factory.mktemp("traced") / "small", seed=3)


def images(count: int = 2) -> jnp.ndarray:
  return jnp.asarray(np.random.default_rng(1).random((count, SIZE, SIZE, 3), np.float32))


def test_what_was_written_is_read(folder):
  model = load.load(folder)
  made = program.parse(made_programs.written(), "made")
  assert (model.name, model.classes, model.size) == ("small", CLASSES, SIZE)
  expected = interpreter.apply_function(made)(made_programs.drawn(made, 3), images())
  np.testing.assert_array_equal(model.apply(model.variables, images()), expected)


def test_folders_that_look_like_patterns_hold_what_was_written(folder, tmp_path):
  expected = load.load(folder).fingerprint
  made_programs.made_checkpoint(tmp_path / "runs1" / "small", seed=4)
  for name in ("runs[1]", "runs*", "runs?"):
    made = made_programs.made_checkpoint(tmp_path / name / "small", seed=3)
    assert load.load(made).fingerprint == expected


def test_networks_of_one_graph_share_apply_and_differ_in_fingerprint(folder, tmp_path):
  other = load.load(made_programs.made_checkpoint(tmp_path / "other", seed=4))
  model = load.load(folder)
  assert other.apply is model.apply
  assert other.fingerprint != model.fingerprint
  assert load.load(folder).fingerprint == model.fingerprint


def test_another_graph_with_the_same_weights_has_another_fingerprint(folder):
  model = load.load(folder)
  text = made_programs.written().replace('"eps":0.001', '"eps":0.002')
  assert text != made_programs.written()
  changed = program.parse(text, "changed")
  assert load.fingerprint(changed, model.variables) != model.fingerprint


@pytest.mark.parametrize("damage", ["changed", "gone", "exchanged"])
def test_a_damaged_program_is_one_line(folder, tmp_path, damage):
  copy = tmp_path / "copy"
  shutil.copytree(folder, copy)
  path = copy / load.PROGRAM
  if damage == "gone":
    path.unlink()
  else:
    path.write_text(path.read_text().replace("relu", "gelu").replace("0.001", "0.002"))
  if damage == "exchanged":  # with checksums that fit
    lines = load._checksums(epath.Path(copy))
    (copy / load.CHECKSUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in lines.items()))
  with pytest.raises(BiasjaxError, match="the checkpoint is damaged: convert again") as raised:
    load.load(copy)
  assert "\n" not in str(raised.value)


def test_a_program_that_asks_for_more_than_the_weights_hold_is_refused(tmp_path):
  content = json.loads(made_programs.written())
  content["weights"][0][2] = [8, 3, 5, 5]
  made = program.parse(program.dump(content), "made")
  folder = tmp_path / "wrong"
  folder.mkdir()
  load.save(epath.Path(folder), made, made_programs.drawn(program.parse(made_programs.written(), "made")))
  (folder / stored.CERTIFICATE).write_text("{}")
  with pytest.raises(BiasjaxError, match="damaged"):
    load.load(folder)
