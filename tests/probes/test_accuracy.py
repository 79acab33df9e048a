"""Metrics of one dataset, from observations whose truth is known."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from biasjax.data import datasets, layouts
from biasjax.probes import accuracy


def observed(ids, right, kind="imagenet", label=None, confidence=None) -> dict[str, pd.DataFrame]:
  """Observations of one condition; `right` is 0 or 1 for each id."""
  n, right = len(ids), np.asarray(right, bool)
  table = pd.DataFrame(
    {
      "example_id": ids,
      "label": np.zeros(n, int) if label is None else label,
      "rank": np.where(right, 0, 7),
      "confidence": np.full(n, 0.5, np.float32) if confidence is None else confidence,
      "nll": np.linspace(0.1, 2, n, dtype=np.float32),
      "brier": np.linspace(0, 1, n, dtype=np.float32),
    }
  )
  table.attrs["labels"] = kind
  return {"accuracy": table}


def values(observations) -> dict[str, float]:
  return {metric.name: metric.value for metric in accuracy.summarise(observations)}


def intervals(observations) -> dict[str, tuple[float, float, float]]:
  return {m.name: (m.low, m.value, m.high) for m in accuracy.summarise(observations)}


# ImageNet-C


def corrupted(errors: dict[str, float], images: int = 20, seed: int = 0):
  """Each corruption's error, the same share of images in every severity."""
  rng, ids, right = np.random.default_rng(seed), [], []
  for corruption, error in errors.items():
    for severity in layouts.SEVERITIES:
      wrong = rng.permutation(images) < round(error * images)
      ids += [f"{corruption}/{severity}/n01440764/{i}.JPEG" for i in range(images)]
      right += list(~wrong)
  return observed(ids, right, "imagenet_c")


def test_means_of_c_are_over_15_and_over_19_corruptions_by_name():
  errors = dict.fromkeys(layouts.FIFTEEN, 0.4) | dict.fromkeys(layouts.EXTRA, 0.2)
  found = values(corrupted(errors))
  assert found["top1_acc/{dataset}"] == pytest.approx(100 * (15 * 0.6 + 4 * 0.8) / 19)
  assert found["top1_acc/{dataset}/15"] == pytest.approx(60)
  assert found["top1_acc/fog_3"] == pytest.approx(60)
  assert found["top1_acc/saturate_5"] == pytest.approx(80)


def test_mce_of_alexnet_is_100():
  found = values(corrupted({c: error / 100 for c, error in layouts.ALEXNET.items()}, images=1000))
  assert found["mCE/{dataset}"] == pytest.approx(100)
  assert all(found[f"CE/{corruption}"] == pytest.approx(100) for corruption in layouts.ALEXNET)
  assert "top1_acc/{dataset}" not in found  # the four further corruptions are not there


@pytest.mark.reference
def test_alexnets_errors_agree_with_an_independent_list(reference):
  lists = json.loads((reference / "reference/class_lists.json").read_text())
  assert {c: round(error / 100, 3) for c, error in layouts.ALEXNET.items()} == lists["alexnet_error"]
  assert lists["alexnet_error_clean"] == pytest.approx(layouts.ALEXNET_CLEAN / 100)


@pytest.mark.reference
def test_the_papers_imagenet_c_is_the_mean_of_all_19(reference):
  published = pd.read_csv(reference / "data/paper/benchmark.csv").set_index("model").loc["tv_resnet50"]
  errors = {
    c: [1 - published[f"top1_acc/{c}_{s}"] / 100 for s in layouts.SEVERITIES]
    for c in (*layouts.FIFTEEN, *layouts.EXTRA)
  }
  ids, right = [], []
  for corruption, by_severity in errors.items():
    for severity, error in zip(layouts.SEVERITIES, by_severity, strict=True):
      ids += [f"{corruption}/{severity}/n01440764/{i}.JPEG" for i in range(500)]
      right += [i >= round(500 * error) for i in range(500)]
  found = values(observed(ids, right, "imagenet_c"))
  assert found["top1_acc/{dataset}"] == pytest.approx(published["top1_acc/imagenet-c"], abs=0.02)


def test_an_interval_of_c_knows_that_conditions_share_their_images():
  """95 conditions of images that are right in all or in none say no more than the images do."""
  right = np.arange(200) < 120
  conditions = datasets.get("imagenet_c").conditions
  ids = [f"{condition}/n01440764/{i}.JPEG" for condition in conditions for i in range(200)]
  low, value, high = intervals(observed(ids, np.tile(right, 95), "imagenet_c"))["top1_acc/{dataset}"]
  assert value == pytest.approx(60)
  half = 1.972 * math.sqrt(0.6 * 0.4 / 199)  # Student's t with 199 degrees of freedom
  assert (low, high) == pytest.approx((60 - 100 * half, 60 + 100 * half), abs=0.01)


def test_an_undecodable_image_of_c_does_not_move_the_other_conditions():
  observations = corrupted(dict.fromkeys((*layouts.FIFTEEN, *layouts.EXTRA), 0.5))
  table = observations["accuracy"]
  observations["accuracy"] = table.drop(index=3)
  observations["accuracy"].attrs["labels"] = "imagenet_c"
  found, whole = (
    values(observations),
    values(corrupted(dict.fromkeys((*layouts.FIFTEEN, *layouts.EXTRA), 0.5))),
  )
  assert found["top1_acc/gaussian_noise_1"] != whole["top1_acc/gaussian_noise_1"]
  change = (found["top1_acc/gaussian_noise_1"] - 50) / 95
  assert found["top1_acc/{dataset}"] == pytest.approx(50 + change)


def test_cbar_is_the_mean_of_its_ten():
  ids = [f"{c}/n01440764/1.JPEG" for c in datasets.get("imagenet_cbar").conditions]
  right = [c.startswith("sparkles") for c in ids]
  found = values(observed(ids, right, "imagenet_cbar"))
  assert found["top1_acc/{dataset}"] == pytest.approx(10)
  assert found["top1_acc/sparkles_2"] == 100
  assert not any(name.startswith("mCE") for name in found)


# model-vs-human


def stimuli() -> list[str]:
  """Ten stimuli for each condition of each experiment."""
  ids = []
  for name in layouts.EXPERIMENTS:
    for condition in layouts.PARAMETRIC.get(name, ("0",)):
      for i in range(10):
        if name in ("edge", "silhouette", "cue-conflict"):
          ids.append(
            f"{name}/bear/bear{i}-bird1.png" if name == "cue-conflict" else f"{name}/bear/bear{i}.png"
          )
        else:
          ids.append(f"{name}/dnn/session-1/0001_x_dnn_{condition}_bear_10_{i}.png")
  return ids


def test_accuracy_of_each_condition_and_experiment():
  ids = stimuli()
  found = values(observed(ids, ["_c05_" in i or "edge/" in i for i in ids], "model_vs_human"))
  assert found["top1_acc/contrast/c05"] == 100
  assert found["top1_acc/contrast"] == pytest.approx(100 / 8)
  assert found["top1_acc/edge"] == 100
  assert found["top1_acc/ood_mean"] == pytest.approx((100 / 5 + 100) / 17)  # 5 of 8 contrasts count


def test_the_mean_over_experiments_leaves_out_what_is_not_out_of_distribution():
  ids = stimuli()
  right = [layouts.experiment(i.split("/")).condition in layouts.NOT_OUT_OF_DISTRIBUTION for i in ids]
  assert values(observed(ids, right, "model_vs_human"))["top1_acc/ood_mean"] == 0


def test_without_an_experiment_there_is_no_mean():
  ids = [i for i in stimuli() if not i.startswith("sketch/")]
  assert "top1_acc/ood_mean" not in values(observed(ids, np.ones(len(ids)), "model_vs_human"))


@pytest.mark.reference
def test_conditions_left_out_are_undistorted_or_beyond_people(reference):
  undistorted = {
    *("colour/cr", "contrast/c100", "high-pass/inf", "low-pass/0", "phase-scrambling/0"),
    *("power-equalisation/0", "false-colour/true", "rotation/0", "uniform-noise/0"),
    *(f"eidolon{x}" for x in ("I/1-10-10", "II/1-3-10", "III/1-0-10")),
  }
  beyond, seen = set(), set()
  for name in layouts.PARAMETRIC:
    files = [pd.read_csv(path) for path in (reference / "data/trials/humans" / name).glob("*.csv")]
    trials = pd.concat(files).astype({"condition": str})
    trials["condition"] = trials["condition"].map(layouts.canonical)
    accuracy_of = (trials["object_response"] == trials["category"]).groupby(trials["condition"]).mean()
    seen |= {f"{name}/{condition}" for condition in accuracy_of.index}
    beyond |= {f"{name}/{condition}" for condition, value in accuracy_of.items() if value <= 0.2}
  assert seen == {f"{name}/{c}" for name, conditions in layouts.PARAMETRIC.items() for c in conditions}
  assert undistorted | beyond == layouts.NOT_OUT_OF_DISTRIBUTION


# Calibration and classes


def test_calibration_agrees_with_torchmetrics_definition():
  """ECE by hand, in PyTorch's bucketize with bins open to the left, as in Guo et al.'s code."""
  rng = np.random.default_rng(1)
  confidence = rng.uniform(0.05, 1, 4000).astype(np.float32)
  right = rng.uniform(size=4000) < confidence**2
  edges = torch.linspace(0, 1, 16)
  c, r, total = torch.from_numpy(confidence), torch.from_numpy(right), 0.0
  for low, high in itertools.pairwise(edges):
    inside = (c > low) & (c <= high)
    if inside.any():
      total += float(inside.float().mean() * (c[inside].mean() - r[inside].float().mean()).abs())
  low, value, high = intervals(observed(range(4000), right, confidence=confidence))["ece/{dataset}"]
  assert value == pytest.approx(total, abs=1e-6)
  assert low < value < high


def test_brier_and_nll_are_means_of_what_was_observed():
  found = values(observed(range(50), np.ones(50)))
  assert found["brier/{dataset}"] == pytest.approx(0.5)
  assert found["nll/{dataset}"] == pytest.approx(1.05)


def test_the_worst_class_and_the_mean_over_classes():
  label = np.repeat([3, 7, 900], [10, 20, 40])
  right = np.concatenate([np.arange(10) < 5, np.arange(20) < 4, np.arange(40) < 40])
  found = values(observed(range(70), right, label=label))
  assert found["class_acc/{dataset}/worst"] == pytest.approx(20)
  assert found["class_acc/{dataset}/worst_class"] == 7
  assert found["class_acc/{dataset}/mean"] == pytest.approx((50 + 20 + 100) / 3)
  assert found["top1_acc/{dataset}"] == pytest.approx(100 * 49 / 70)


def test_spread_between_classes_is_free_of_sampling_noise():
  """Of 400 classes with a spread of 10 points, or of none; 50 images each."""
  rng = np.random.default_rng(0)
  label = np.repeat(np.arange(400), 50)
  for true in (0.0, 10.0):
    p = np.clip(0.7 + true / 100 * rng.standard_normal(400), 0, 1)
    right = rng.uniform(size=len(label)) < np.repeat(p, 50)
    low, value, high = intervals(observed(range(len(label)), right, label=label))["class_acc/{dataset}/sd"]
    assert low <= true <= high
    assert abs(value - true) < 2


def test_classes_are_not_compared_where_images_have_several():
  assert not any("class_acc" in name for name in values(observed(range(9), np.ones(9), "imagenet_real")))


def test_refined_bias_is_the_mean_reciprocal_rank():
  ids = ["ipod/ipod_1.png", "ipod/ipod_2.png", "clock/clock_1.png", "clock/clock_2.png"]
  table = pd.DataFrame({"example_id": ids, "rank": [0, 1, 3, 0]})
  found = {m.name: m for m in accuracy.refined_bias(table, "shape")}
  assert found["refined-bias/shape"].value == pytest.approx((1 + 1 / 2 + 1 / 4 + 1) / 4)
  assert found["refined-bias/shape/ipod"].value == pytest.approx(3 / 4)
  assert found["refined-bias/shape/clock"].value == pytest.approx(5 / 8)
  assert found["refined-bias/shape/clock"].n == 2
  assert all(0 <= m.low <= m.value <= m.high <= 1 for m in found.values())
  names = values(observed(ids, [1, 0, 0, 1], "refined_bias_texture"))
  assert {"refined-bias/texture", "top1_acc/{dataset}"} <= set(names)
  assert not any("class_acc" in name for name in names)
