"""The spectral probe: published radii, published pixels, ratios of accuracies."""

import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import preprocess
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.probes import spectral
from oracles import perturbed, published_band_pass

# Half the side of the block, in FFT indices, for the 11 cutoffs at 224 pixels, as published.
KEPT = (1, 11, 22, 33, 44, 56, 67, 78, 89, 100, 110)
REMOVED = (110, 100, 89, 78, 67, 56, 44, 33, 22, 11, 1)


def oracle(pixels: np.ndarray, condition: str) -> np.ndarray:
  band, cutoff = condition.split("/")
  low = band == "low"
  r = (KEPT if low else REMOVED)[spectral.CUTOFFS.index(float(cutoff))]
  return np.stack([published_band_pass(image / np.float32(255), r, low=low) for image in pixels])


def test_radii_are_the_published_ones():
  assert tuple(spectral.radius("low", c, 224) for c in spectral.CUTOFFS) == KEPT
  assert tuple(spectral.radius("high", c, 224) for c in spectral.CUTOFFS) == REMOVED


def test_there_are_11_cutoffs_a_band():
  conditions = list(probes.get("spectral").conditions)
  cutoffs = ("0.01", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.99")
  assert conditions == [f"{band}/{c}" for band in ("low", "high") for c in cutoffs]


@pytest.mark.parametrize("condition", probes.get("spectral").conditions)
def test_conditions_are_as_published_on_random_images(condition):
  pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), np.uint8)
  ours = perturbed(probes.get("spectral"), pixels, condition)
  np.testing.assert_allclose(ours, oracle(pixels, condition), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def photographs(reference):
  """Every twentieth of the sample photographs, as networks see them, uint8 [10, 224, 224, 3]."""
  paths = sorted((reference / "data/imagenet_sample").glob("*/*.JPEG"))[::20]
  return np.stack([preprocess.preprocess(path.read_bytes()) for path in paths])


@pytest.mark.reference
@pytest.mark.parametrize("condition", probes.get("spectral").conditions)
def test_conditions_are_as_published_on_photographs(photographs, condition):
  assert len(photographs) == 10
  ours = perturbed(probes.get("spectral"), photographs, condition)
  np.testing.assert_allclose(ours, oracle(photographs, condition), rtol=0, atol=1e-5)


def observations(
  right: dict[str, list[int]], clean: list[int], name: str = "spectral"
) -> dict[str, pd.DataFrame]:
  """Tables in which example i is right under a condition where the list has 1; other conditions: never."""
  probe = probes.get(name)

  def table(rows):
    frames = [
      pd.DataFrame(
        {
          "condition": c,
          "example_id": [f"{i}" for i in range(len(r))],
          "rank": 1 - np.array(r),
          "label": np.arange(len(r)) % 16,
          "prediction": (np.arange(len(r)) + 1 - np.array(r)) % 16,
        }
      )
      for c, r in rows.items()
    ]
    return pd.concat(frames, ignore_index=True)

  never = [0] * len(clean)
  return {
    "accuracy": table({"clean": clean}),
    name: table({c: right.get(c, never) for c in probe.conditions}),
  }


def test_metrics_are_ratios_of_clean_accuracy():
  tables = observations({"low/0.1": [1, 1, 0, 0, 0], "high/0.99": [1, 1, 1, 1, 1]}, clean=[1, 1, 1, 1, 0])
  values = {metric.name: metric.value for metric in spectral.summarise(tables)}
  assert values["metric/bandpass/LFC/0.1"] == 2 / 4
  assert values["metric/bandpass/HFC/0.99"] == 5 / 4
  assert values["metric/bandpass/HFC/0.9"] == 0
  assert values["LPP"] == pytest.approx((2 / 4) / 5)  # mean over .1 to .5
  assert values["HPP"] == 0


def test_order_of_the_observations_does_not_matter():
  tables = observations({"low/0.1": [1, 0, 0, 1, 0], "high/0.5": [0, 0, 1, 1, 1]}, clean=[1, 1, 0, 1, 0])
  shuffled = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}
  for found, expected in zip(spectral.summarise(shuffled), spectral.summarise(tables), strict=True):
    assert (found.name, found.flag) == (expected.name, expected.flag)
    numbers = [(m.value, m.low, m.high, m.chance) for m in (found, expected)]
    np.testing.assert_allclose(*numbers, rtol=1e-12)


def test_accuracies_stand_beside_the_ratios():
  tables = observations({"low/0.1": [1, 1, 0, 0, 0], "high/0.3": [1, 0, 0, 0, 1]}, clean=[1, 1, 1, 1, 0])
  found = {metric.name: metric for metric in spectral.summarise(tables)}
  accuracy = found["top1_acc/bandpass/LFC/0.1"]
  assert accuracy.value == 40
  assert accuracy.low < 40 < accuracy.high
  # Means over .1 to .5: LPP 2/4/5, HPP 2/4/5.
  assert found["spectral-bias"].value == pytest.approx(0.5)
  assert found["spectral-bias"].low < 0.5 < found["spectral-bias"].high


def guessed(known: dict[str, float], n: int = 1600, seed: int = 0):
  """Right where an image is known (the same ones first), else by guessing; `known` are shares."""
  rng, label = np.random.default_rng(seed), np.arange(n) % 16
  order = rng.permutation(n)

  def answers(share):
    said = rng.integers(16, size=n)
    said[order[: round(share * n)]] = label[order[: round(share * n)]]
    return said

  def table(of):
    frames = []
    for condition, share in of.items():
      said = answers(share)
      frames.append(
        pd.DataFrame({"condition": condition, "example_id": np.arange(n).astype(str), "label": label})
      )
      frames[-1]["prediction"], frames[-1]["rank"] = said, np.where(said == label, 0, 5)
    joined = pd.concat(frames, ignore_index=True)
    joined.attrs["labels"] = "synthetic"
    return joined

  conditions = {c: known.get(c, 0.0) for c in probes.get("spectral").conditions}
  return {"accuracy": table({"clean": known["clean"]}), "spectral": table(conditions)}


def test_chance_makes_a_ratio_but_no_corrected_one():
  """Nothing is known of what is high-passed: HPP is chance over clean accuracy, and says so."""
  known = {"clean": 0.4, **dict.fromkeys(("low/0.1", "low/0.2", "low/0.3", "low/0.4", "low/0.5"), 0.2)}
  found = {metric.name: metric for metric in spectral.summarise(guessed(known))}
  clean = 0.4 + 0.6 / 16
  assert found["HPP"].value == pytest.approx(1 / 16 / clean, abs=0.03)
  assert found["HPP"].flag == "accuracy not above chance in 5 of 5 conditions"
  corrected = found["HPP/chance-corrected"]
  assert corrected.low < 0 < corrected.high
  assert corrected.high < 0.1
  assert found["metric/bandpass/HFC/0.3"].flag == "accuracy cannot be told from chance"
  assert found["LPP"].flag == found["LPP/chance-corrected"].flag == ""
  assert found["LPP"].value > 0.51
  of_known = found["LPP/chance-corrected"]
  assert of_known.low < 0.5 < of_known.high
  assert of_known.value == pytest.approx((found["LPP"].value * clean - 1 / 16) / (clean - 1 / 16), abs=0.02)
  assert found["top1_acc/bandpass/LFC/0.1"].chance == pytest.approx(6.25)
  assert found["spectral-bias"].flag == "accuracy not above chance in 5 of 10 conditions"


def test_a_network_at_chance_has_no_corrected_ratios_and_flagged_ones():
  found = {metric.name: metric for metric in spectral.summarise(guessed({"clean": 0.0}))}
  for name in ("LPP", "HPP", "metric/bandpass/HFC/0.3"):
    assert found[name].value > 0.5
    assert found[name].flag.startswith("clean accuracy cannot be told from chance; accuracy")
    assert np.isnan(found[f"{name}/chance-corrected"].value)
    assert found[f"{name}/chance-corrected"].flag == "clean accuracy cannot be told from chance"


VARIANTS = ("spectral:mask=symmetric", "spectral:mask=radial", "spectral:keep_mean=yes")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_columns_of_its_own(name):
  tables = observations({"low/0.1": [1, 0]}, clean=[1, 1], name=name)
  names = [metric.name for metric in probes.get(name).summarise(tables)]
  variant = name.removeprefix("spectral")
  assert {f"LPP{variant}", f"metric/bandpass{variant}/LFC/0.1"} <= set(names)
  assert not {"LPP", "HPP", "metric/bandpass/LFC/0.1"} & set(names)
  assert probes.get(name).parameters != probes.get("spectral").parameters


def test_options_as_published_are_the_published_probe():
  imagenet = Source("imagenet", 0, lambda index: Example(b"", 0, ""), "", "memory")
  planned = probes.plan(["spectral", "spectral:mask=half-open:keep_mean=no"], [imagenet])
  assert [probe.name for probe in planned["imagenet"]] == ["accuracy", "spectral"]


@pytest.mark.parametrize("option", ["mask=round", "keep_mean=true"])
def test_an_unknown_value_is_refused(option):
  with pytest.raises(BiasjaxError, match="expected one of"):
    probes.get(f"spectral:{option}")
