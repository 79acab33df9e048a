"""The bundled zoo: every network is what its certificate, settings and categories say, and small."""

import json
import pathlib

import pytest

from biasjax.models import load
from biasjax.train import command, interventions
from configs import demo as demo_config
from configs import train as train_config
from convert import certificate, conversion
from demo import make_zoo

ZOO = pathlib.Path(make_zoo.ZOO)
NAMES = sorted(path.name for path in ZOO.iterdir() if path.is_dir())


def test_every_network_that_is_asked_for_is_there_and_has_a_category():
  assert sorted(demo_config.ZOO) == NAMES == sorted(make_zoo.NETWORKS)
  categories = json.loads((ZOO / "categories.json").read_text())
  assert {name: c for c, names in categories.items() for name in names} == {
    name: category for name, (category, _, _) in make_zoo.NETWORKS.items()
  }


def test_the_zoo_fits_into_ten_megabytes_and_no_file_is_over_five():
  sizes = [path.stat().st_size for path in ZOO.rglob("*") if path.is_file()]
  assert sum(sizes) < 10e6
  assert max(sizes) < 5e6


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_what_its_certificate_says(name):
  stated = json.loads((ZOO / name / "certificate.json").read_text())
  mean, std, origin = (stated["normalization"][key] for key in ("mean", "std", "origin"))
  normalization = conversion.Normalization(tuple(mean), tuple(std), origin)
  converted = conversion.convert(ZOO / name / f"{name}.safetensors", normalization=normalization)
  assert certificate.identity(converted.certificate) == certificate.identity(stated)
  assert load.fingerprint(converted.architecture, converted.variables) == stated["fingerprint"]
  assert certificate.difference(converted.certificate["logits"], stated["logits"]) < certificate.TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_network_was_trained_as_the_config_and_its_command_say(name):
  settings = json.loads((ZOO / name / "settings.json").read_text())
  _, spec, seed = make_zoo.NETWORKS[name]
  given = train_config.get_config().to_dict()["train"] | {"name": name, "interventions": spec}
  expected = {k: v for k, v in vars(command.parse(given)).items() if k != "save_every"}
  assert settings["train"] == expected
  assert settings["seed"] == seed
  assert f"--seed={seed} " in settings["command"]
  assert settings["command"].endswith(f"--config.train.interventions={spec}")
  interventions.parse(spec)
