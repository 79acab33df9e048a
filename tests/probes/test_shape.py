"""The shape probe: decisions over 16 categories, from stimuli in a folder or in TFDS."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import preprocess, sources, synthetic
from biasjax.data.classes import categories, category_classes
from biasjax.engine import evaluate
from biasjax.errors import BiasjaxError
from biasjax.models.architecture import Architecture
from biasjax.models.load import Model
from biasjax.recorded import trials
from biasjax.results.store import Store
from biasjax.results.summary import summarise, wide
from made_images import encoded, pixels

STIMULI = ("cat1-dog2", "cat2-dog1", "dog3-cat1", "bear1-car1", "car1-bear2", "car2-car3")


def stimuli(root: pathlib.Path, names=STIMULI) -> pathlib.Path:
  for i, name in enumerate(names):
    folder = root / "".join(c for c in name.split("-")[0] if c.isalpha())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(encoded(pixels(224, 224, seed=i), "PNG"))
  return root


def observations(responses: dict[str, str]) -> dict[str, pd.DataFrame]:
  """The probe's table in which each stimulus is taken for a category."""
  labels = ["".join(c for c in name.split("-")[0] if c.isalpha()) for name in responses]
  return pd.DataFrame(
    {
      "example_id": [f"{label}/{name}.png" for label, name in zip(labels, responses, strict=True)],
      "prediction": [categories().index(response) for response in responses.values()],
    }
  )


RESPONSES = dict(zip(STIMULI, ("cat", "dog", "oven", "bear", "truck", "car"), strict=True))


def metrics(name="shape", responses=RESPONSES):
  return {m.name: m for m in probes.get(name).summarise({name: observations(responses)})}


def test_the_bias_is_the_share_of_shape_decisions():
  found = metrics()
  assert found["shape-bias"].value == 2 / 3
  assert found["shape-bias"].n == 3
  assert found["shape-bias"].low < 2 / 3 < found["shape-bias"].high
  assert found["cue-conflict/accuracy"].value == 3 / 5
  assert found["cue-conflict/n_conflict"].value == 5
  assert found["shape-bias/cat"].value == 0.5
  assert math.isnan(found["shape-bias/dog"].value)  # decided for neither cue
  assert found["shape-bias/dog"].n == 0


def of_few(answers: tuple[str, ...]) -> dict[str, str]:
  """Stimuli of all 16 categories, all taken for some of them."""
  names = [f"{shape}{i}-{texture}{i}" for shape in categories() for i, texture in enumerate(categories())]
  return {name: answers[i % len(answers)] for i, name in enumerate(names)}


def test_a_category_is_flagged_only_where_its_cues_are_guessed():
  every = of_few(categories())
  by_shape = metrics(responses={name: "".join(filter(str.isalpha, name.split("-")[0])) for name in every})
  by_texture = metrics(responses={name: "".join(filter(str.isalpha, name.split("-")[1])) for name in every})
  # 15 of 15 are for a cue, and two answers in 16 would be.
  assert [m.flag for of in (by_shape, by_texture) for n, m in of.items() if "shape-bias" in n] == [""] * 34
  always = metrics(responses=dict.fromkeys(every, "dog"))
  # Of dogs all 15 answers are for the shape, as those about anything are.
  said = "decisions for either cue cannot be told from chance"
  assert [always[f"shape-bias/{category}"].flag for category in categories()] == [said] * 16


def test_a_network_that_only_some_categories_can_win_is_told_which():
  found = metrics(responses=of_few(("truck", "dog")))
  said = "of 16 categories only dog, truck ever won: ask shape:categories=dog+truck"
  assert found["shape-bias"].flag.endswith(said)
  assert found["cue-conflict/accuracy"].flag.endswith(said)
  only = metrics("shape:categories=dog+truck", of_few(("truck", "dog")))
  assert "ever won" not in only["shape-bias:categories=dog+truck"].flag
  assert "ever won" not in metrics(responses=of_few(categories()))["shape-bias"].flag


def test_other_categories_can_be_left_out():
  name = "shape:categories=dog+cat"
  found = metrics(name)
  column = "shape-bias:categories=dog+cat"
  assert found["cue-conflict:categories=dog+cat/n_conflict"].value == 3
  assert not found["cue-conflict:categories=dog+cat/n_conflict"].detail  # the terminal says how many remain
  assert found[column].value == 0.5
  assert f"{column}/bear" not in found


@pytest.mark.parametrize("categories_", ["dog", "dog+spoon"])
def test_senseless_categories_are_refused(categories_):
  with pytest.raises(BiasjaxError, match="categories"):
    probes.get(f"shape:categories={categories_}")


def fixed(source: sources.Source, responses: dict[str, str]) -> Model:
  """A network that answers each stimulus with a class of a category, knowing it by its mean."""
  shown = {}
  for i in range(source.length):
    example = source.read(i)
    image = preprocess.preprocess(example.encoded, short_side=None).astype(np.float32) / 255
    wanted = responses[pathlib.PurePosixPath(example.example_id).stem]
    shown[i] = (image.mean(), category_classes()[wanted][-1])
  means = jnp.array([mean for mean, _ in shown.values()])
  answers = jnp.array([answer for _, answer in shown.values()])

  def apply(variables, images):
    nearest = jnp.abs(images.mean((1, 2, 3))[:, None] - means[None]).argmin(1)
    return 12.0 * (answers[nearest][:, None] == jnp.arange(1000)[None])

  return Model("fixed", Architecture("basic", (1, 1, 1, 1)), {}, apply, "fixed", {})


def shown(source, responses, workdir, names=("shape",)):
  store = Store(workdir, 4)
  planned = probes.plan(names, [source])[source.name]
  evaluate.evaluate([fixed(source, responses)], planned, source, store, evaluate.Settings(batch_size=4))
  return store


def test_stimuli_of_a_folder_are_decided_and_summarised(tmp_path):
  source = sources.open_source(f"cue_conflict:{stimuli(tmp_path / 'stimuli')}")
  assert (source.name, source.labels, source.length) == ("cue-conflict", "cue_conflict", 6)
  store = shown(source, RESPONSES, tmp_path / "out")
  table, _ = store.read(store.units()[0])
  responses = {pathlib.PurePosixPath(r.example_id).stem: r.prediction for r in table.itertuples()}
  assert {name: categories()[response] for name, response in responses.items()} == RESPONSES
  summary = summarise(store, probes.get)
  table_of_results = wide(summary.metrics)
  assert table_of_results["shape-bias"][0] == 2 / 3
  members = [len(category_classes()[RESPONSES[pathlib.PurePosixPath(i).stem]]) for i in table["example_id"]]
  expected = [(np.exp(12) / n + (n - 1) / n) / ((np.exp(12) - 1) / n + 16) for n in members]
  np.testing.assert_allclose(table["confidence"], expected, rtol=1e-5)


@pytest.fixture
def prepared_stimuli(tmp_path):
  """A TFDS dataset with the features of geirhos_conflict_stimuli, in array_record."""
  import tensorflow_datasets as tfds

  root = stimuli(tmp_path / "stimuli")

  class MadeStimuli(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      label = functools.partial(tfds.features.ClassLabel, names=list(categories()))
      features = {"image": tfds.features.Image(), "file_name": tfds.features.Text()}
      features |= {"shape_label": label(), "texture_label": label()}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      del dl_manager
      return {"test": self._generate_examples()}

    def _generate_examples(self):
      for path in sorted(root.glob("*/*")):
        texture = "".join(c for c in path.stem.split("-")[1] if c.isalpha())
        record = {"image": path.read_bytes(), "file_name": path.name}
        yield path.name, record | {"shape_label": path.parent.name, "texture_label": texture}

  builder = MadeStimuli(data_dir=tmp_path / "tfds", file_format="array_record")
  builder.download_and_prepare()
  return root, pathlib.Path(builder.data_dir)


def test_tfds_stimuli_give_what_the_folder_gives(tmp_path, prepared_stimuli):
  root, prepared = prepared_stimuli
  biases = {}
  for spec in (f"cue_conflict:{root}", f"conflict=tfds:{prepared}"):
    source = sources.open_source(spec)
    assert (source.labels, source.resize) == ("cue_conflict", None)
    store = shown(source, RESPONSES, tmp_path / source.name)
    metrics_table = summarise(store, probes.get).metrics
    biases[spec] = metrics_table.drop(columns="dataset").to_json()
  assert len(set(biases.values())) == 1


@pytest.mark.reference
def test_the_stimuli_of_the_reference_are_read_as_they_are(reference):
  source = sources.open_source(f"cue_conflict:{reference / 'data/cue_conflict'}")
  examples = [source.read(i) for i in range(source.length)]
  assert len(examples) == 320
  assert np.bincount([example.label for example in examples]).tolist() == [20] * 16
  table = pd.DataFrame({"example_id": [e.example_id for e in examples], "prediction": 0})
  assert trials.count(trials.from_observations(table)).n_conflict == 320 - 32


def test_stimuli_are_not_resized(tmp_path):
  """They are made at 224 pixels; 256 and back would blur them."""
  root = stimuli(tmp_path / "stimuli", ["cat1-dog1"])
  source = sources.open_source(f"cue_conflict:{root}")
  encoded_bytes = source.read(0).encoded
  np.testing.assert_array_equal(
    preprocess.preprocess(encoded_bytes, short_side=source.resize), pixels(224, 224, seed=0)
  )
  with pytest.raises(ValueError, match="100x80 pixels, but these stimuli are 224x224"):
    preprocess.preprocess(encoded(pixels(100, 80), "PNG"), short_side=None)


# What is asked of which dataset


def labelled(name: str, labels: str) -> sources.Source:
  return sources.Source(name, 0, lambda index: sources.Example(b"", 0, ""), "", "memory", labels=labels)


IMAGENET, CUE = labelled("imagenet", "imagenet"), labelled("cue", "cue_conflict")


def test_each_probe_runs_on_the_datasets_whose_labels_fit():
  planned = probes.plan(["shape", "spectral", "critical_band"], [IMAGENET, CUE])
  names = {dataset: [probe.name for probe in of_dataset] for dataset, of_dataset in planned.items()}
  assert names == {"imagenet": ["accuracy", "spectral", "critical_band"], "cue": ["shape"]}


def test_accuracy_can_be_over_16_categories():
  planned = probes.plan(["spectral"], [labelled("subset", "categories16")])
  decide = planned["subset"][1].decide["categories16"]
  assert jax.eval_shape(decide, jnp.zeros((2, 1000))).shape == (2, 16)


def test_a_probe_that_fits_no_dataset_is_refused():
  with pytest.raises(
    BiasjaxError,
    match="probe shape needs a dataset with labels cue_conflict or synthetic_conflict, but imagenet",
  ):
    probes.plan(["accuracy", "shape"], [IMAGENET])


def test_a_dataset_that_fits_no_probe_is_refused():
  with pytest.raises(BiasjaxError, match="dataset cue has labels cue_conflict, which none of the probes"):
    probes.plan(["accuracy"], [IMAGENET, CUE])


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("shaep", "did you mean shape"),
    ("shape:mask=radial", "shape does not take 'mask': its options are categories=..."),
    ("accuracy:mask=radial", "it has no options"),
    ("shape:categories", "categories= needs a value: its options are categories=..."),
  ],
)
def test_a_misspelt_probe_is_refused(name, message):
  with pytest.raises(BiasjaxError, match=message):
    probes.get(name)


# Folders


def test_sixteen_category_images_are_labelled_by_their_name(tmp_path):
  for folder, name in (("0", "7_color_gray_g_bear"), ("1", "12_color_gray_g_truck")):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / f"{name}.JPEG").write_bytes(encoded(pixels(224, 224)))
  source = sources.open_source(f"grey=categories16:{tmp_path}")
  assert (source.name, source.labels, source.resize) == ("grey", "categories16", None)
  assert [(source.read(i).label, source.read(i).example_id) for i in range(2)] == [
    (1, "0/7_color_gray_g_bear.JPEG"),
    (15, "1/12_color_gray_g_truck.JPEG"),
  ]


@pytest.mark.parametrize(
  ("kind", "name", "message"),
  [
    ("cue_conflict", "cat.png", "expected a cue-conflict stimulus"),
    ("categories16", "1_spoon.png", "expected <index>_..._<category>"),
    ("categories16", "notes.txt", "holds no images"),
    ("cue_conflict", None, "is not a folder"),
  ],
)
def test_folders_of_something_else_are_refused(tmp_path, kind, name, message):
  root = tmp_path / "images"
  if name:
    root.mkdir()
    (root / name).write_bytes(b"")
  with pytest.raises(BiasjaxError, match=message):
    sources.open_source(f"{kind}:{root}")


def test_what_a_number_depends_on_includes_the_labels(tmp_path):
  source = sources.open_source(f"cue_conflict:{stimuli(tmp_path / 'stimuli')}")
  store = shown(source, RESPONSES, tmp_path / "out", ["shape", "shape:categories=cat+dog"])
  keys = [unit.key for unit in store.units()]
  assert [key["labels"] for key in keys] == ["cue_conflict"] * 2
  assert len({json.dumps(key) for key in keys}) == 2


def test_drawn_stimuli_are_scored_by_their_own_categories():
  names = ("star0-fish0", "star1-ring1", "gear0-star0", "heart0-arch0")
  table = pd.DataFrame(
    {
      "example_id": [f"{name}.png" for name in names],
      # star, ring, arch, arch: for the shape, the texture, neither, the texture
      "prediction": [synthetic.CATEGORIES.index(c) for c in ("star", "ring", "arch", "arch")],
    }
  )
  table.attrs["labels"] = "synthetic_conflict"
  found = {m.name: m for m in probes.get("shape").summarise({"shape": table})}
  assert found["shape-bias"].value == 1 / 3
  assert found["cue-conflict/accuracy"].value == 3 / 4
  assert {name.removeprefix("shape-bias/") for name in found if name.startswith("shape-bias/")} == set(
    synthetic.CATEGORIES
  )


def test_a_network_of_other_classes_is_refused_for_drawn_stimuli():
  decide = probes.get("shape").decide["synthetic_conflict"]
  assert decide(jnp.zeros((2, 16))).shape == (2, 16)
  with pytest.raises(
    BiasjaxError, match="the drawn categories needs a network of 16 classes; this one has 1,000"
  ):
    decide(jnp.zeros((2, 1000)))
