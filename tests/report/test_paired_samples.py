"""Two networks that were asked about random samples of the same images."""

import numpy as np
import pandas as pd
import pytest

from biasjax.report import of_samples, paired
from biasjax.results.sampled import Sample
from biasjax.sampling import Known, covariates

ALL, ASKED = 1200, 256
IDS = np.array([f"image{i}" for i in range(ALL)], object)  # in the order in which they are looked at
METRIC, PROBE = "top1_acc/PGD-10/eps=1", "pgd:steps=10"


def frames(right: np.ndarray, n: int, clean: np.ndarray, known: Known) -> dict[str, pd.DataFrame]:
  """What is stored of a network that was asked about the first n images, and all clean ones."""
  asked = pd.DataFrame({"condition": "eps=1", "example_id": IDS[:n], "rank": np.where(right[:n], 0, 2)})
  asked.attrs["sample"] = Sample(IDS, known, {"eps=1": 1.959964}, {})
  whole = pd.DataFrame({"condition": "clean", "example_id": IDS, "rank": np.where(clean, 0, 1)})
  return {PROBE: asked, "accuracy": whole}


def compared(first: dict, second: dict):
  parts = [of_samples.parts(of, PROBE, METRIC) for of in (first, second)]
  assert parts[0] is not None
  assert parts[1] is not None
  found = paired._compared((parts[0], ()), (parts[1], ()), METRIC)
  assert found is not None
  return found


def networks(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Two that err on much the same images."""
  hard = rng.normal(size=ALL)
  return hard + 0.5 * rng.normal(size=ALL) > 0, hard + 0.5 * rng.normal(size=ALL) > 0.3


def telling_nothing(clean: np.ndarray) -> Known:
  """What is known of clean images where it predicts nothing."""
  return Known(covariates(clean, np.full(ALL, 0.5), np.full(ALL, 0.7)))


def test_the_difference_has_the_error_of_paired_differences_in_the_sample():
  one, other = networks(np.random.default_rng(0))
  clean = np.ones(ALL, bool)
  known = telling_nothing(clean)  # so that plain means are taken
  value, low, high, n, _ = compared(*(frames(of, ASKED, clean, known) for of in (one, other)))
  apart = (one.astype(float) - other)[:ASKED]
  assert n == ASKED
  assert value == pytest.approx(100 * apart.mean())
  half = 100 * 1.96 * np.sqrt(apart.var(ddof=1) / ASKED + 1 / ASKED**2)  # for other images like these
  assert (high - value, value - low) == (pytest.approx(half, rel=0.02), pytest.approx(half, rel=0.02))


def test_networks_that_answer_alike_have_the_interval_of_one_discordant_answer():
  one, _ = networks(np.random.default_rng(0))
  clean = np.ones(ALL, bool)
  value, low, high, *_ = compared(*[frames(one, ASKED, clean, telling_nothing(clean))] * 2)
  assert value == 0
  assert low < -100 * 1.5 / ASKED
  assert high > 100 * 1.5 / ASKED


def test_intervals_hold_the_difference_of_all_images():
  rng = np.random.default_rng(1)
  clean = rng.random(ALL) < 0.8
  known = telling_nothing(clean)
  held, narrower = 0, 0
  for _ in range(40):
    one, other = networks(rng)
    sizes = rng.choice([ASKED // 2, ASKED], size=2)  # each network stops by itself
    found = compared(*(frames(of, n, clean, known) for of, n in zip((one, other), sizes, strict=True)))
    held += found[1] <= 100 * (one.mean() - other.mean()) <= found[2]
    alone = 1.96 * np.sqrt(0.25 / sizes[0] + 0.25 / sizes[1])
    narrower += found[2] - found[1] < 2 * 100 * alone
  assert held >= 36  # of 100 it would be 95 or more: it is also about other images
  assert narrower >= 32  # than that of two networks which were asked about different images


def test_the_ratio_to_clean_accuracy_and_a_reliance_are_those_of_the_table():
  rng = np.random.default_rng(2)
  clean = rng.random(ALL) < 0.8
  share, rows = {}, []
  for i, condition in enumerate([*of_samples.LOW, "grey/1.0"]):
    n = 256 + 64 * i
    right = rng.random(n) < 0.6
    share[condition] = right.mean()
    rows.append(pd.DataFrame({"condition": condition, "example_id": IDS[:n], "rank": np.where(right, 0, 1)}))
  of = frames(clean, ASKED, clean, telling_nothing(clean))
  sample = of[PROBE].attrs["sample"]
  asked = pd.concat(rows)
  asked.attrs["sample"] = Sample(IDS, sample.known, dict.fromkeys(share, 1.96), {})
  tables = {"x": asked, "accuracy": of["accuracy"]}
  for metric, expected in (
    ("LPP", np.mean([share[name] for name in of_samples.LOW]) / clean.mean()),
    ("colour-reliance", 1 - share["grey/1.0"] / clean.mean()),
  ):
    found = of_samples.parts(tables, "x", metric)
    assert found is not None
    assert found["got"].sum() / found["of"].sum() == pytest.approx(expected)
    assert found.attrs[of_samples.ASKED] in (256, 256 + 64 * 5)
  assert of_samples.parts(tables, "x", "shape-reliance") is None  # which was not asked
