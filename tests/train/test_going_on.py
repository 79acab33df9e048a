"""Training that goes on from a network: what it takes of it, and what is said of that."""

import dataclasses

import numpy as np
import pytest
from etils import epath

from biasjax.data import sources
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.models.architecture import Architecture
from biasjax.train import command, step
from made_images import class_folder
from made_recipes import recipe

ARCHITECTURE = Architecture("basic", (1,), width=4, inner_width=4, num_classes=16)
RECIPE = recipe(ARCHITECTURE)


def test_a_network_of_other_classes_keeps_all_but_its_classifier():
  initial = load.Model(
    "old",
    dataclasses.replace(ARCHITECTURE, num_classes=5),
    step.fresh(dataclasses.replace(ARCHITECTURE, num_classes=5), 1),
    lambda v, x: x,
    "",
    {},
  )
  found = command.initial_variables(RECIPE, initial)
  assert found["params"]["fc"]["kernel"].shape[1] == 16
  np.testing.assert_array_equal(
    found["params"]["conv1"]["kernel"], initial.variables["params"]["conv1"]["kernel"]
  )


def test_settings_have_the_architecture_of_the_network_that_is_trained_on(tmp_path, monkeypatch):
  source = sources.folder(class_folder(tmp_path / "images", {"n01440764": 4}))
  kept = []

  def stop(recipe, variables, source, states, *_, **__):
    kept.append(states.identity)
    raise BiasjaxError("stopped here")

  monkeypatch.setattr(command.loop, "train", stop)
  began = command._export(epath.Path(tmp_path), "n", RECIPE, step.fresh(ARCHITECTURE, 0), "float32")
  asked = {"offline": True, "batch_size": 4, "seed": 0, "workdir": tmp_path, "partitioner": "shard_map"}
  settings = command.Training(architecture="resnet101", width=3)
  for init in (str(began), None):
    with pytest.raises(BiasjaxError, match="stopped here"):
      command.train(settings, source, asked | {"init": init})
  tuned, fresh = kept
  sizes = {"block": "basic", "stage_sizes": [1], "width": 4, "inner_width": 4, "num_classes": 1000}
  assert tuned["architecture"] == sizes
  assert not {"architecture", "width"} & set(tuned["train"])
  assert (fresh["train"]["architecture"], fresh["train"]["width"]) == ("resnet101", 3)


@pytest.mark.reference
def test_fine_tuning_on_photographs_lowers_the_loss(reference, tmp_path):
  root = tmp_path / "photographs"
  for folder in sorted((reference / "data/imagenette_val").iterdir())[:4]:
    (root / folder.name).mkdir(parents=True)
    for path in sorted(folder.iterdir())[:8]:
      (root / folder.name / path.name).symlink_to(path)
  source = dataclasses.replace(sources.folder(root), crop=32, resize=32)
  settings = command.parse({"name": "tuned", "steps": 12, "learning_rate": 0.02, "warmup_epochs": 0})
  checkpoint = reference / "data/checkpoints/resnet18_imagenette.pth.tar"
  asked = {"init": str(checkpoint), "offline": True, "seed": 0, "batch_size": 16, "workdir": str(tmp_path)}
  _, log = command.train(settings, source, asked | {"partitioner": "shard_map"})
  losses = [loss for loss, _ in log]
  assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
