"""Metrics of one dataset, from observations whose truth is known."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from biasjax.data import datasets, layouts
from biasjax.data.classes import class_index
from biasjax.probes import accuracy


def observed(ids, right, kind="imagenet", label=None, confidence=None) -> dict[str, pd.DataFrame]:
  """Observations of one condition; `right` is 0 or 1 for each id."""
  n, right = len(ids), np.asarray(right, bool)
  label = np.zeros(n, int) if label is None else np.asarray(label)
  table = pd.DataFrame(
    {
      "example_id": ids,
      "label": label,
      "prediction": np.where(right, label, (label + 1) % 16),
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
  # As near as 1,000 images allow.
  assert found["mCE/{dataset}"] == pytest.approx(100, abs=0.03)
  assert all(found[f"CE/{corruption}"] == pytest.approx(100, abs=0.09) for corruption in layouts.ALEXNET)


def test_errors_over_alexnets_have_the_digits_of_those_that_others_divide_by():
  """0.886428, ..., 0.6065: over 5 x 50,000 decisions, as in AugMix' code (google-research/augmix)."""
  found = values(corrupted(dict.fromkeys(layouts.FIFTEEN, 0.5)))
  divided = {"gaussian_noise": 0.886428, "brightness": 0.564592, "jpeg_compression": 0.6065}
  for corruption, error in divided.items():
    assert found[f"CE/{corruption}"] == pytest.approx(50 / error, abs=1e-9)
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
  of_images = scipy.stats.binomtest(120, 200).proportion_ci(method="wilson")
  assert (low, high) == pytest.approx((100 * of_images.low, 100 * of_images.high), abs=0.01)


def of_c(rng, images: int, classes: int = 8):
  """Two corruptions of images of which some are easy, in classes of which some are."""
  label = np.arange(images) % classes
  ease = np.linspace(-1, 1, classes)[label] + 1.5 * rng.normal(size=images)
  ids, right, labels = [], [], []
  for corruption in ("fog", "snow"):
    for severity in layouts.SEVERITIES:
      ids += [f"{corruption}/{severity}/c{label[i]}/{i}.JPEG" for i in range(images)]
      right.append(ease + 0.5 * rng.normal(size=images) > 0)
      labels.append(label)
  of = observed(ids, np.concatenate(right), "imagenet_c")
  table, right = of["accuracy"], np.concatenate(right)
  table["label"], table["brier"] = np.concatenate(labels), np.where(right, 0.1, 0.9)
  table["nll"], table["confidence"] = 3 * table["brier"], np.float32(0.8)
  return of


def test_what_is_over_all_conditions_of_c_is_over_images():
  rng, names = np.random.default_rng(2), ("ece", "brier", "nll", "class_acc/{}/mean", "class_acc/{}/sd")
  names = [(n if "{}" in n else n + "/{}").format("{dataset}") for n in names]
  truth = values(of_c(rng, 24_000))
  runs = [intervals(of_c(rng, 240)) for _ in range(120)]
  for name in names:
    held = sum(of[name][0] <= truth[name] <= of[name][2] for of in runs)
    assert held >= 106, name  # of 120: fewer than 95 % gives in 1 of 300 tests
  # Without what chance adds, which the conditions of an image share, the spread is that of the classes.
  assert np.mean([of["class_acc/{dataset}/sd"][1] for of in runs]) == pytest.approx(
    truth["class_acc/{dataset}/sd"], rel=0.06
  )


def test_images_count_once_however_often_they_are_there():
  found = {m.name: m for m in accuracy.summarise(of_c(np.random.default_rng(3), 240))}
  assert found["brier/{dataset}"].n == found["class_acc/{dataset}/mean"].n == 240
  assert found["class_acc/{dataset}/worst"].n == 30
  of = found["class_acc/{dataset}/worst"]
  assert of.high - of.low > 20  # where 300 decisions would give some 8


@pytest.mark.parametrize("right", [0, 1, 3])
def test_no_interval_of_an_accuracy_leaves_0_to_100(right):
  """Of one to three images, all right, some, or none."""
  conditions = datasets.get("imagenet_c").conditions
  ids = [f"{condition}/n01440764/{i}.JPEG" for condition in conditions for i in range(3)]
  of_c = observed(ids, np.tile(np.arange(3) < right, len(conditions)), "imagenet_c")
  plain = observed(["a", "b", "c"], np.arange(3) < right, label=[0, 1, 2])
  people = observed(stimuli(), np.arange(len(stimuli())) % 40 < 13 * right, "model_vs_human")
  for observations in (of_c, plain, people):
    found = intervals(observations)
    for name in (n for n in found if n.startswith("top1_acc") or n.endswith("/mean")):
      low, value, high = found[name]
      assert 0 <= low <= value <= high <= 100, name
      assert high - low > 0.3, name


def test_the_mean_over_classes_is_about_these_classes():
  """Other images of the same classes: as wide as top-1 itself, however much classes differ."""
  rng = np.random.default_rng(0)
  label = np.repeat(np.arange(300), 50)
  right = rng.uniform(size=len(label)) < np.repeat(rng.beta(2.5, 1, 300), 50)
  found = intervals(observed(range(len(label)), right, label=label))
  (low, value, high), (top_low, top, top_high) = (
    found[name] for name in ("class_acc/{dataset}/mean", "top1_acc/{dataset}")
  )
  assert value == pytest.approx(top)
  assert 0.8 < (high - low) / (top_high - top_low) < 1.0  # classes that are known explain some of it


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


# Chance


def metrics(observations):
  return {metric.name: metric for metric in accuracy.summarise(observations)}


def answered(label, answers, kind="imagenet"):
  """Observations of a network that gives `answers`."""
  label, answers = np.asarray(label), np.asarray(answers)
  observations = observed(range(len(label)), label == answers, kind, label)
  observations["accuracy"]["prediction"] = answers
  return observations


@pytest.mark.parametrize(
  ("kind", "classes", "chance"), [("imagenet", 1000, 0.1), ("synthetic", 16, 6.25), ("imagenette", 10, 10.0)]
)
def test_chance_is_one_in_the_classes_that_compete_where_all_have_equally_many_images(kind, classes, chance):
  label = np.repeat(np.arange(classes), 4)
  rng = np.random.default_rng(0)
  for answers in (label, rng.integers(classes, size=len(label)), np.zeros(len(label), int)):
    found = metrics(answered(label, answers, kind))
    assert found["top1_acc/{dataset}"].chance == pytest.approx(chance)
    assert found["top5_acc/{dataset}"].chance == pytest.approx(5 * chance)
    assert found["class_acc/{dataset}/mean"].chance == pytest.approx(chance)


def test_a_network_that_only_ten_classes_can_win_has_a_chance_of_a_tenth_on_these():
  rng = np.random.default_rng(0)
  ten = rng.choice(1000, 10, replace=False)
  label = np.repeat(ten, 50)
  found = metrics(answered(label, rng.choice(ten, len(label))))
  guess = found["top1_acc/{dataset}"]
  assert guess.chance == pytest.approx(10)
  assert guess.flag == "cannot be told from chance"
  # So has one that always says the same of them, and one that guesses among all 1,000 has not.
  assert metrics(answered(label, np.full(500, ten[3])))["top1_acc/{dataset}"].chance == pytest.approx(10)
  assert metrics(answered(label, rng.integers(1000, size=500)))["top1_acc/{dataset}"].chance < 0.3


def test_chance_is_what_answers_get_when_they_are_dealt_out():
  """Of classes and answers of unequal frequency, against shuffling them."""
  rng = np.random.default_rng(1)
  label = rng.choice(16, 800, p=np.arange(1, 17) / 136)
  answers = np.where(rng.uniform(size=800) < 0.4, label, rng.integers(8, 16, size=800))
  dealt = np.mean([(rng.permutation(answers) == label).mean() for _ in range(2000)])
  found = metrics(answered(label, answers, "synthetic"))["top1_acc/{dataset}"]
  assert found.chance == pytest.approx(100 * dealt, abs=0.1)
  assert found.flag == ""


def test_accuracy_below_chance_is_said_to_be_below():
  label = np.repeat(np.arange(16), 50)
  found = metrics(answered(label, (label + 1) % 16, "synthetic"))["top1_acc/{dataset}"]
  assert (found.value, found.flag) == (0, "below chance")


def test_an_answer_of_any_right_class_counts_for_chance():
  """A network that calls every stimulus an elephant of Africa, or of Asia, says one thing."""
  wnids = [wnids[0] for wnids in layouts.REFINED_BIAS["texture"].values() for _ in range(20)]
  label = np.array([class_index()[wnid] for wnid in wnids])
  elephants = np.resize([class_index()[wnid] for wnid in layouts.REFINED_BIAS["texture"]["elephant"]], 200)
  observations = answered(label, elephants, "refined_bias_texture")
  observations["accuracy"]["example_id"] = ["elephant/1.png"] * 200
  assert metrics(observations)["top1_acc/{dataset}"].chance == pytest.approx(10)


def test_each_condition_and_mean_of_a_benchmark_has_its_chance():
  errors = dict.fromkeys((*layouts.FIFTEEN, *layouts.EXTRA), 0.4) | {"fog": 1.0}
  found = metrics(corrupted(errors))
  assert found["top1_acc/contrast_2"].chance >= 0.1
  assert found["top1_acc/{dataset}"].chance >= 0.1
  assert math.isnan(found["mCE/{dataset}"].chance)  # no accuracy
  assert found["top1_acc/fog_2"].flag == found["CE/fog"].flag == "cannot be told from chance"
  ids = stimuli()
  found = metrics(observed(ids, np.arange(len(ids)) % 16 == 0, "model_vs_human"))
  assert found["top1_acc/edge"].chance >= 6.25


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


def test_a_class_that_a_network_rules_out_makes_nll_infinite_and_is_said():
  """log_softmax of a logit of -inf, whose mean with anything is infinite; no warning of NumPy's."""
  ids = [f"n01440764/{i}.JPEG" for i in range(4)]
  table = observed(ids, np.array([True, True, False, True]))["accuracy"]
  scores = torch.tensor(
    [[2.0, 0.0, -math.inf], [0.0, -math.inf, 1.0], [1.0, 0.0, -math.inf], [1.0, 1.0, 1.0]]
  )
  log_p = torch.log_softmax(scores.double(), dim=1)
  table["nll"] = -log_p[range(4), [0, 2, 2, 1]].numpy()
  found = {m.name: m for m in accuracy.summarise({"accuracy": table})}["nll/{dataset}"]
  assert found.value == math.inf
  assert np.isnan([found.low, found.high]).all()
  assert found.flag == "the right class of 1 of 4 images has probability 0"


def test_the_brier_score_of_a_network_that_is_seldom_wrong_is_held_where_no_image_shows_it():
  rng, held = np.random.default_rng(6), 0
  for _ in range(120):
    right = rng.random(40) < 0.97  # all 40 in three of ten sets
    of = observed(range(40), right, confidence=np.full(40, 0.99, np.float32))
    of["accuracy"]["brier"] = np.where(right, 0.0002, 1.9)
    low, _, high = intervals(of)["brier/{dataset}"]
    held += low <= 0.97 * 0.0002 + 0.03 * 1.9 <= high
  assert held >= 106  # of 120: fewer than 95 % gives in 1 of 300 tests


@pytest.mark.parametrize("n", [30, 100])
def test_the_negative_log_likelihood_of_a_network_that_is_seldom_wrong_is_held_where_no_image_shows_it(n):
  rng, held = np.random.default_rng(n), 0
  for _ in range(120):
    right = rng.random(n) < 0.97
    of = observed(range(n), right, confidence=np.full(n, 0.98, np.float32))
    of["accuracy"]["nll"] = np.where(right, -math.log(0.98), -math.log(0.02))
    low, _, high = intervals(of)["nll/{dataset}"]
    held += low <= -0.97 * math.log(0.98) - 0.03 * math.log(0.02) <= high
  assert held >= 106  # of 120, as above


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
  # In a random order: the harmonic mean for one right class, drawn for the three clocks.
  orders = np.argsort(np.random.default_rng(0).random((20_000, 1000)), axis=1)[:, :3].min(axis=1)
  assert found["refined-bias/shape/ipod"].chance == pytest.approx((1 / np.arange(1, 1001)).sum() / 1000)
  assert found["refined-bias/shape/clock"].chance == pytest.approx((1 / (1 + orders)).mean(), rel=0.1)
  names = values(observed(["zebra/1.png", "tiger/2.png"] * 2, [1, 0, 0, 1], "refined_bias_texture"))
  assert {"refined-bias/texture", "top1_acc/{dataset}"} <= set(names)
  assert not any("class_acc" in name for name in names)


def test_the_cue_share_is_of_pictures_whose_cue_is_another_class():
  """Ten pictures, of which eight have another class's cue; three of these are answered by the cue's class."""
  label = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
  cue = np.array([0, 1, 3, 0, 1, 2, 3, 0, 2, 3])
  answer = np.array([0, 1, 3, 0, 1, 1, 2, 3, 0, 0])
  table = pd.DataFrame({"label": label, "texture": cue, "prediction": answer})
  table.attrs = {"labels": "classes", "classes": 4}
  (share,) = accuracy.cue_share(table)
  edges = scipy.stats.binomtest(3, 8).proportion_ci(method="wilson")
  assert (share.name, share.value, share.n) == ("cue_share/{dataset}", 37.5, 8)
  assert (share.low, share.high) == pytest.approx((100 * edges.low, 100 * edges.high))
  assert accuracy.cue_share(table[label == cue]) == []


def test_a_cue_share_is_flagged_of_a_network_that_guesses_and_of_no_other():
  rng = np.random.default_rng(0)
  label = rng.integers(10, size=2000)
  cue = (label + rng.integers(1, 10, 2000)) % 10

  def flag(prediction, classes=10):
    table = pd.DataFrame({"label": label % classes, "texture": cue % classes, "prediction": prediction})
    table.attrs = {"labels": "classes", "classes": classes}
    (share,) = accuracy.cue_share(table)
    return share.flag

  guessed = rng.integers(10, size=2000)
  assert flag(guessed) == "answers for the class or the cue cannot be told from chance"
  # Right nine times of ten, else any: the cue has its tenth of a tenth; and one with its tenth of all.
  assert flag(np.where(rng.random(2000) < 0.9, label, guessed)) == ""
  assert flag(np.where(rng.random(2000) < 0.1, cue, label)) == ""
  # Of two classes what is not for the cue is right.
  assert flag(guessed % 2, classes=2) == "cannot be told from chance"
  assert flag(label % 2, classes=2) == ""
