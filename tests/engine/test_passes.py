"""Which models share a pass, and what native preprocessing is."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

import made_programs
from biasjax import probes
from biasjax.data import pipeline, preprocess
from biasjax.data.sources import Example, Source
from biasjax.engine import passes
from biasjax.errors import BiasjaxError
from biasjax.models import zoo
from biasjax.models.architecture import Architecture
from biasjax.models.load import Model
from biasjax.traced.program import parse
from made_images import encoded, pixels

SOURCE = Source("imagenet", 1, lambda i: Example(b"", 0, "x"), "f", "/somewhere")


def models(*names: str) -> list[Model]:
  architecture = Architecture("basic", (2, 2, 2, 2))
  rows = {name: {"model": {"name": name}} if name in zoo.ZOO else {} for name in names}
  return [Model(name, architecture, {}, lambda v, x: x, name, rows[name]) for name in names]


def test_the_papers_preprocessing_is_one_pass():
  given = models("tv_resnet50", "resnet50.a1_in1k")
  assert passes.split(given, SOURCE) == [(given, SOURCE)]


def test_native_preprocessing_is_a_pass_for_each_recipe():
  given = models("tv_resnet50", "resnet50.a1_in1k", "mine", "resnet50.a2_in1k", "tv2_resnet50")
  found = passes.split(given, SOURCE, "native")
  assert [([m.name for m in members], s.resize, s.interpolation) for members, s in found] == [
    (["tv_resnet50", "mine"], 256, "bilinear"),
    (["resnet50.a1_in1k", "resnet50.a2_in1k"], 235, "bicubic"),
    (["tv2_resnet50"], 232, "bilinear"),
  ]


def test_a_network_that_only_goes_by_a_name_of_the_zoo_is_none_of_it():
  own = Model("tv2_resnet50", Architecture("basic", (2, 2, 2, 2)), {}, lambda v, x: x, "own", {"model": None})
  assert passes.split([own], SOURCE, "native") == [([own], SOURCE)]
  exported = traced("resnet18", 240, STATED)  # torchvision's, say, in a folder that is called so
  assert seen(passes.split([exported], SOURCE, "native")) == [(["resnet18"], 251, 240, "bicubic", True)]


def test_stimuli_stay_as_they_are():
  given = models("resnet50.a1_in1k")
  source = dataclasses.replace(SOURCE, resize=None)
  assert passes.split(given, source, "native") == [(given, source)]


STATED = {"resize": 251, "crop": 240, "interpolation": "bicubic", "squash": True, "origin": "somebody"}


def traced(name: str, size: int, stated: dict | None = None) -> Model:
  program = parse(made_programs.written(size=size), name)
  return Model(name, program, {}, lambda v, x: x, name, {"preprocessing": stated})


def seen(found) -> list:
  return [([m.name for m in members], s.resize, s.crop, s.interpolation, s.squash) for members, s in found]


def test_networks_of_other_sizes_have_passes_of_their_own():
  given = [*models("mine"), traced("of240", 240, STATED), traced("of224", 224), traced("also240", 240)]
  assert seen(passes.split(given, SOURCE)) == [
    (["mine", "of224"], 256, 224, "bilinear", False),
    (["of240", "also240"], 274, 240, "bilinear", False),
  ]
  assert seen(passes.split(given, SOURCE, "native")) == [
    (["mine", "of224"], 256, 224, "bilinear", False),
    (["of240"], 251, 240, "bicubic", True),
    (["also240"], 274, 240, "bilinear", False),
  ]


@pytest.mark.parametrize("recipe", passes.RECIPES)
def test_stimuli_are_brought_whole_to_the_size_of_a_network(recipe):
  source = dataclasses.replace(SOURCE, resize=None)
  found = passes.split([*models("mine"), traced("of240", 240, STATED)], source, recipe)
  assert [(s.resize, s.crop, s.stimulus) for _, s in found] == [(None, 224, None), (None, 240, 224)]
  given = pixels(224, 224)
  expected = Image.fromarray(given).resize((240, 240), Image.Resampling.BILINEAR)
  content = io.BytesIO()
  Image.fromarray(given).save(content, "PNG")
  shown = pipeline.preprocessing(found[1][1])(content.getvalue())
  np.testing.assert_array_equal(shown, np.asarray(expected))
  with pytest.raises(ValueError, match="these stimuli are 224x224"):
    pipeline.preprocessing(found[1][1])(encoded(pixels(240, 240)))


@pytest.mark.parametrize("wrong", [{"crop": 224}, {"resize": 10**9}, {"interpolation": "x"}, {"squash": 1}])
def test_a_certificate_that_asks_for_what_cannot_be_is_refused(wrong):
  with pytest.raises(BiasjaxError, match=r"^of240: "):
    passes.split([traced("of240", 240, STATED | wrong)], SOURCE, "native")


@pytest.mark.parametrize("squash", [False, True])
def test_a_recipe_is_timms_transform(torchvision, squash):
  timm = pytest.importorskip("timm", reason="needs timm")
  content = encoded(pixels(300, 420))
  mode = "squash" if squash else "center"
  transform = timm.data.create_transform(
    (3, 240, 240), interpolation="bicubic", crop_pct=0.955, crop_mode=mode, normalize=False
  )
  expected = transform(Image.open(io.BytesIO(content)).convert("RGB")).numpy().transpose(1, 2, 0)
  found = preprocess.preprocess(content, short_side=251, crop=240, interpolation="bicubic", squash=squash)
  np.testing.assert_array_equal(found, expected)


def test_native_recipes_are_timms(torchvision):
  timm = pytest.importorskip("timm", reason="needs timm")
  checked = 0
  for row in zoo.ROWS:
    if not row.source.startswith("hf:timm/"):
      continue
    config = timm.models.get_pretrained_cfg(row.source.split("/")[1])
    # Networks trained at fewer than 224 pixels are tested at 224.
    at_224 = config.input_size[-1] == 224
    crop = config.crop_pct if at_224 else config.test_crop_pct
    assert at_224 or config.test_input_size[-1] == 224
    assert row.native == (int(224 / crop), config.interpolation), row.name
    checked += 1
  assert checked > 10


def test_native_recipe_of_torchvisions_second_weights(torchvision):
  transforms = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
  assert zoo.ZOO["tv2_resnet50"].native == (transforms.resize_size[0], transforms.interpolation.value)


@pytest.mark.parametrize("size", [(300, 400), (500, 260), (224, 224)])
def test_bicubic_resizing_equals_torchvision(torchvision, size):
  content = encoded(pixels(*size))
  from torchvision import transforms

  theirs = transforms.Compose(
    [
      transforms.Resize(235, interpolation=transforms.InterpolationMode.BICUBIC),
      transforms.CenterCrop(224),
    ]
  )(Image.open(io.BytesIO(content)).convert("RGB"))
  ours = preprocess.preprocess(content, short_side=235, interpolation="bicubic")
  np.testing.assert_array_equal(ours, np.asarray(theirs))


# Which datasets a probe is asked of.


def planned(wanted: list[str]) -> dict[str, list[str]]:
  sources = [SOURCE, dataclasses.replace(SOURCE, name="imagenet-v2")]
  return {name: [p.name for p in of] for name, of in probes.plan(wanted, sources).items()}


def test_a_probe_can_be_asked_of_one_dataset():
  expected = {"imagenet": ["accuracy", "spectral"], "imagenet-v2": ["accuracy"]}
  assert planned(["accuracy", "spectral@imagenet"]) == expected
  assert planned(["accuracy@imagenet_v2", "spectral@imagenet"]) == expected
  assert planned(["accuracy", "spectral@imagenet+imagenet-v2"])["imagenet-v2"] == ["accuracy", "spectral"]


def test_an_unknown_dataset_of_a_probe_is_refused():
  with pytest.raises(BiasjaxError, match="no dataset 'imagenet-a' is asked for, only imagenet, imagenet-v2"):
    planned(["accuracy", "spectral@imagenet-a"])
