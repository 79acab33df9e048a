"""Shape bias of crossed stimuli: its interval, chance, and the difference of two networks."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from biasjax import probes
from biasjax.data import synthetic
from biasjax.data.classes import categories
from biasjax.errors import BiasjaxError
from biasjax.recorded import trials


def decisions(names: list[str], responses) -> pd.DataFrame:
  """Decisions about stimuli `<shape>N-<texture>M`."""
  cues = [["".join(c for c in part if c.isalpha()) for part in name.split("-")] for name in names]
  return pd.DataFrame(
    {
      "image": [f"{name}.png" for name in names],
      "shape": [shape for shape, _ in cues],
      "texture": [texture for _, texture in cues],
      "response": list(responses),
    }
  )


def all_pairs(of: int, categories_=("cat", "dog", "car", "bear")) -> list[str]:
  """Every shape image with every texture image of another category, `of` images of each."""
  images = [f"{category}{i}" for category in categories_ for i in range(of)]
  return [f"{a}-{b}" for a in images for b in images if a.rstrip("0123456789") != b.rstrip("0123456789")]


def test_an_interval_counts_images_not_stimuli():
  """One decision a texture image: the 20 textures are all there is to know it from."""
  names = all_pairs(5)
  by_shape = {name: int(name.split("-")[1].strip("abcdegorst")) < 2 for name in names}
  answers = [name.split("-")[0 if by_shape[name] else 1].rstrip("0123456789") for name in names]
  counts = trials.count(decisions(names, answers))
  value, low, high = counts.shape_bias
  assert value == pytest.approx(0.4)
  few = scipy.stats.binomtest(8, 20).proportion_ci(method="wilson")
  many = scipy.stats.binomtest(120, 300).proportion_ci(method="wilson")
  assert high - low == pytest.approx(few.high - few.low, rel=0.1)
  assert high - low > 3 * (many.high - many.low)
  assert counts.cue_accuracy[0] == 1


def test_names_that_tell_no_images_have_wilsons_interval():
  names = ["cat-dog", "dog-cat", "car-bear", "bear-car"]
  counts = trials.count(decisions(names, ["cat", "dog", "bear", "na"]))
  of_scipy = scipy.stats.binomtest(2, 3).proportion_ci(method="wilson")
  assert counts.shape_bias == pytest.approx((2 / 3, of_scipy.low, of_scipy.high))


@pytest.mark.reference
def test_the_error_of_published_networks_is_that_of_resampled_images(reference):
  """Against the pigeonhole bootstrap (Owen 2007), which draws images of either kind with replacement."""
  rng = np.random.default_rng(0)
  folder = reference / "data/trials/cue_conflict"
  for name in ("resnet50_session-1", "vgg16_train_60_epochs_lr0.01_session-1"):
    table = pd.read_csv(next(folder.glob(f"*{name}.csv")))
    images = table["imagename"].str.extract(r"([a-z]+\d+)-([a-z]+\d+)")
    found = decisions((images[0] + "-" + images[1]).tolist(), table["object_response"])
    conflict = (found["shape"] != found["texture"]).to_numpy()
    shape, texture = ((found["response"] == found[cue]).to_numpy()[conflict] for cue in ("shape", "texture"))
    at = [pd.factorize(images[cue][conflict])[0] for cue in (0, 1)]
    assert [of.max() + 1 for of in at] == [160, 48]
    biases = []
    for _ in range(500):
      drawn = [np.bincount(rng.integers(k, size=k), minlength=k) for k in (160, 48)]
      weight = drawn[0][at[0]] * drawn[1][at[1]]
      biases.append((weight * shape).sum() / (weight * (shape + texture)).sum())
    _, low, high = trials.count(found).shape_bias
    error = (high - low) / 2 / scipy.stats.t.ppf(0.975, 47)
    assert 0.8 < error / np.std(biases) < 1.0  # the bootstrap counts the stimuli's own variance thrice
    n = int(shape.sum() + texture.sum())
    by_decisions = scipy.stats.binomtest(int(shape.sum()), n).proportion_ci(method="wilson")
    assert 2.3 < (high - low) / (by_decisions.high - by_decisions.low) < 3


@pytest.mark.reference
def test_two_networks_are_compared_on_the_same_stimuli(reference):
  folder, networks = reference / "data/trials/cue_conflict", []
  for name in ("resnet50_session-1", "resnet152_session-1"):
    table = pd.read_csv(next(folder.glob(f"*{name}.csv")))
    names = table["imagename"].str.extract(r"([a-z]+\d+-[a-z]+\d+)")[0]
    networks.append(decisions(names.tolist(), table["object_response"]).sample(frac=1, random_state=1))
  difference, low, high, n = trials.difference(*networks)
  biases = [trials.count(table).shape_bias for table in networks]
  assert n == 1200
  assert difference == pytest.approx(biases[0][0] - biases[1][0])
  apart = math.hypot(*(high - low for _, low, high in biases))
  assert high - low < 0.75 * apart
  assert low < 0 < high


def test_a_difference_is_over_the_stimuli_that_both_have_seen_once():
  names = all_pairs(2)
  first = decisions(names, [name.split("-")[0].rstrip("01") for name in names])
  second = decisions(names[5:], [name.split("-")[1].rstrip("01") for name in names[5:]])
  assert trials.difference(first, second)[0] == 1
  assert trials.difference(first, second)[3] == len(names) - 5
  with pytest.raises(BiasjaxError, match="twice"):
    trials.difference(first, pd.concat([second, second]))


def observed(names: list[str], answers, labels="cue_conflict") -> dict[str, pd.DataFrame]:
  known = categories() if labels == "cue_conflict" else synthetic.CATEGORIES
  table = pd.DataFrame(
    {
      "example_id": [f"{name}.png" for name in names],
      "prediction": [known.index(answer) for answer in answers],
    }
  )
  table.attrs["labels"] = labels
  return {"shape": table}


def test_decisions_by_chance_are_flagged_and_so_is_the_bias_they_make():
  rng = np.random.default_rng(0)
  names = [name for i in range(3) for name in all_pairs(1, categories())]
  names = [name.replace("0-", f"{i}-") for i, name in enumerate(names)]
  found = {
    m.name: m for m in probes.get("shape").summarise(observed(names, rng.choice(categories(), len(names))))
  }
  accuracy, bias = found["cue-conflict/accuracy"], found["shape-bias"]
  assert accuracy.chance == pytest.approx(2 / 16, abs=0.01)
  assert accuracy.flag == "cannot be told from chance"
  assert bias.flag == "decisions for either cue cannot be told from chance"
  knowing = [name.split("-")[0].rstrip("0123456789") for name in names]
  found = {m.name: m for m in probes.get("shape").summarise(observed(names, knowing))}
  assert (found["shape-bias"].value, found["shape-bias"].flag) == (1, "")


def test_drawn_pictures_share_no_images_whatever_their_names():
  """Each is drawn by itself: 480 decisions are worth 480."""
  rng = np.random.default_rng(0)
  names = [
    f"{a}{i}-{b}{i}" for a in synthetic.CATEGORIES for b in synthetic.CATEGORIES if a != b for i in (0, 1)
  ]
  answers = [name.split("-")[int(rng.random() < 0.6)].rstrip("01") for name in names]
  found = {m.name: m for m in probes.get("shape").summarise(observed(names, answers, "synthetic_conflict"))}
  bias = found["shape-bias"]
  of_scipy = scipy.stats.binomtest(round(480 * bias.value), 480).proportion_ci(method="wilson")
  assert (bias.low, bias.high) == pytest.approx((of_scipy.low, of_scipy.high))
