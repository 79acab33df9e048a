"""Benchmarks through the pass and into the tables: who competes, what is averaged, what both ways in give."""

import dataclasses
import functools
import json
import math

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import builders, datasets, layouts, opening
from biasjax.engine import evaluate
from biasjax.models.load import Model
from biasjax.recorded import scoring
from biasjax.results.store import Store
from biasjax.results.summary import summarise
from made_images import encoded
from made_models import ARCHITECTURE, made_model

SIZE = 224


def painted(first: int, second: int = 999) -> bytes:
  """What `read_classes` takes for class `first`, and for class `second` where that does not compete."""
  colour = np.array([first // 32, first % 32 * 8, second // 32], np.uint8)
  image = np.tile(colour, (SIZE, SIZE, 1))
  image[SIZE // 2 :, :, 0] = second % 32 * 8
  return encoded(image, "PNG")


def read_classes(variables, images):
  """Logits float32 [b, 1000] of images as `painted` makes them."""
  levels = jnp.round(images[:, :, 100, :] * 255).astype(jnp.int32)
  first = levels[:, 20, 0] * 32 + levels[:, 20, 1] // 8
  second = levels[:, 20, 2] * 32 + levels[:, -20, 0] // 8
  classes = jnp.arange(1000)[None]
  return 8.0 * (classes == first[:, None]) + 4.0 * (classes == second[:, None])


READER = Model("reader", ARCHITECTURE, {}, read_classes, "reads what is painted", {})


def measured(source, workdir, models=(READER,), chunk_size=16, batch_size=8) -> dict[str, float]:
  store = Store(workdir, chunk_size)
  planned = probes.plan(["accuracy"], [source])[source.name]
  evaluate.evaluate(list(models), planned, source, store, evaluate.Settings(batch_size=batch_size))
  summary = summarise(store, probes.get)
  return dict(zip(summary.metrics["metric"], summary.metrics["value"], strict=True))


def painted_real(folder) -> None:
  """40 validation images with labels, of which only the last 10 are decided rightly, and 10 without."""
  real: list[list[int]] = [[] for _ in range(layouts.VALIDATION_COUNT)]
  for number in range(1, 51):
    if number % 5:
      real[number - 1] = [number, number + 100]
    right = number + 100 if number > 37 else 500
    (folder / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(painted(right))
  (folder / "real.json").write_text(json.dumps(real))


def test_real_is_averaged_over_the_whole_set_and_not_the_last_batch(tmp_path, monkeypatch):
  painted_real(tmp_path)
  row = dataclasses.replace(datasets.get("imagenet_real"), images=40, classes=40, known=())
  monkeypatch.setitem(datasets.DATASETS, "imagenet_real", row)
  found = measured(opening.open_dataset(f"imagenet_real:{tmp_path}"), tmp_path / "out")
  # Numbers 38 to 50 without 40, 45 and 50: ten of 40. The last batch of eight is right throughout.
  assert found["top1_acc/imagenet-real"] == pytest.approx(100 * 10 / 40)
  last = pd.read_parquet(tmp_path / "out/observations").sort_values("example_id").tail(8)
  assert (last["rank"] == 0).all()


@pytest.mark.parametrize(("name", "expected"), [("imagenet_a", 100.0), ("imagenet_a_unmasked", 0.0)])
def test_only_the_classes_of_a_compete_unless_asked_otherwise(tmp_path, monkeypatch, name, expected):
  folder = tmp_path / "imagenet-a/n01498041"  # class 6
  folder.mkdir(parents=True)
  for i in range(3):
    (folder / f"{i}.jpg").write_bytes(painted(0, 6))  # class 0 is not one of the 200
  row = dataclasses.replace(datasets.get(name), images=3, classes=1, known=())
  monkeypatch.setitem(datasets.DATASETS, name, row)
  found = measured(opening.open_dataset(f"{name}:{tmp_path}"), tmp_path / "out")
  assert found[f"top1_acc/{row.table}"] == expected
  confidence = pd.read_parquet(tmp_path / "out/observations")["confidence"]
  others = 199 if name == "imagenet_a" else 998
  scores = [4.0] if name == "imagenet_a" else [8.0, 4.0]
  partition = sum(map(math.exp, scores)) + others
  np.testing.assert_allclose(confidence, math.exp(scores[0]) / partition, rtol=1e-5)


def test_sixteen_categories_decide_over_experiments_and_are_compared_with_people(tmp_path, monkeypatch):
  folder = tmp_path / "edge/airplane"
  folder.mkdir(parents=True)
  (folder / "airplane1.png").write_bytes(painted(404))  # ImageNet's airliner
  (folder / "airplane2.png").write_bytes(painted(294))  # a bear
  (folder / "airplane3.png").write_bytes(painted(404))
  (folder / "airplane4.png").write_bytes(painted(294))
  row = dataclasses.replace(
    datasets.get("model_vs_human"), images=4, classes=1, per_class=(1, 4), conditions=("edge",), known=()
  )
  monkeypatch.setitem(datasets.DATASETS, "model_vs_human", row)
  found = measured(opening.open_dataset(f"model_vs_human:{tmp_path}"), tmp_path / "out")
  assert found["top1_acc/edge"] == 50
  # A person who errs on the second only.
  responses = ["airplane", "bear", "airplane", "airplane"]
  lines = ["subj,session,trial,rt,object_response,category,condition,imagename"] + [
    f"subject-01,1,{i},1,{response},airplane,0,000{i}_edg_s01_0_airplane_00_airplane{i}.png"
    for i, response in enumerate(responses, start=1)
  ]
  (tmp_path / "edge_subject-01_session_1.csv").write_text("\n".join(lines))
  scoring.score_trials(str(tmp_path / "*.csv"), tmp_path / "out")
  kappas = pd.read_csv(tmp_path / "out/people_consistency.csv").set_index("observer")["kappa"]
  # Agreement 3/4; by chance 1/2 * 3/4 + 1/2 * 1/4.
  assert kappas["reader"] == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))


def test_an_incomplete_dataset_is_recorded(tmp_path):
  folder = tmp_path / "imagenet-a/n01498041"
  folder.mkdir(parents=True)
  (folder / "1.jpg").write_bytes(painted(6))
  source = opening.open_dataset(f"imagenet_a:{tmp_path}", allow_incomplete=True)
  measured(source, tmp_path / "out")
  kept = json.loads((tmp_path / "out/run.json").read_text())["datasets"]["imagenet-a"]
  assert "1 images instead of 7,500" in kept["notes"][0]
  summary = summarise(Store(tmp_path / "out"), probes.get)
  assert "imagenet-a: it is not what its authors published: 1 images" in summary.notes[0]
  # No column is called like one of the whole benchmark's.
  assert {"top1_acc/imagenet-a-incomplete", "ece/imagenet-a-incomplete"} <= set(summary.metrics["metric"])
  assert not any(name.endswith("/imagenet-a") for name in summary.metrics["metric"])


def test_columns_that_name_no_dataset_are_marked_too_where_it_is_incomplete(tmp_path):
  """One photograph of ImageNet-C under all of its conditions is not its mCE, nor its fog."""
  for condition in datasets.get("imagenet_c").conditions:
    folder = tmp_path / "imagenet-c" / condition / "n01498041"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_val_00000001.JPEG").write_bytes(painted(6))
  source = opening.open_dataset(f"imagenet_c:{tmp_path / 'imagenet-c'}", allow_incomplete=True)
  measured(source, tmp_path / "out")
  metrics = set(summarise(Store(tmp_path / "out"), probes.get).metrics["metric"])
  assert {"mCE/imagenet-c-incomplete", "CE/fog@imagenet-c-incomplete"} <= metrics
  assert {"top1_acc/imagenet-c-incomplete/15", "top1_acc/fog_3@imagenet-c-incomplete"} <= metrics
  assert all("imagenet-c-incomplete" in name for name in metrics)


@pytest.mark.reference
@pytest.mark.parametrize(
  ("name", "images", "limit"), [("imagenet", "imagenet_sample", None), ("imagenette", "imagenette_val", 60)]
)
def test_photographs_through_both_ways_give_identical_observations(reference, tmp_path, name, images, limit):
  path = reference / "data" / images
  builders.prepare(name, str(path), str(tmp_path / "tfds"), allow_incomplete=True)
  opened = functools.partial(opening.open_dataset, limit=limit, allow_incomplete=True)
  model = made_model("narrow", 1)
  for way, source in {
    "files": opened(f"{name}:{path}"),
    "prepared": opened(name, str(tmp_path / "tfds")),
  }.items():
    measured(source, tmp_path / way, [model], chunk_size=50, batch_size=25)
  tables = {
    way: sorted((tmp_path / way / "observations").rglob("*.parquet")) for way in ("files", "prepared")
  }
  assert len(tables["files"]) == (4 if limit is None else 2)
  for mine, theirs in zip(*tables.values(), strict=True):
    assert mine.read_bytes() == theirs.read_bytes()
