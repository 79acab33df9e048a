"""Numbers over several datasets and models, against the published ones and by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.special

from biasjax.configuration import load
from biasjax.data.layouts import ALEXNET, ALEXNET_CLEAN, SEVERITIES
from biasjax.results import across, summary


def metrics(values: dict[str, dict[str, float]], half: float = 1.0) -> pd.DataFrame:
  """Rows of {model: {metric: value}}."""
  rows = [
    (model, "imagenet", "accuracy", name, value, value - half, value + half, 100, False)
    for model, of_model in values.items()
    for name, value in of_model.items()
  ]
  columns = ["model", "dataset", "probe", "metric", "value", "low", "high", "n", "detail"]
  return pd.DataFrame(rows, columns=columns).assign(chance=np.nan, flag="")


def derived(values, half=1.0) -> pd.DataFrame:
  return across.derive(metrics(values, half)).set_index(["model", "metric"])


def test_axes_are_those_of_the_study():
  assert {axis: list(columns) for axis, columns in across.AXES.items()} == {
    axis["name"]: axis["mean"] for axis in load("study").get_config().to_dict()["study"]["axes"]
  }


@pytest.mark.reference
def test_axes_of_the_published_table_agree_with_the_study(reference):
  from biasjax.study import definitions

  published = pd.read_csv(reference / "data/paper/benchmark.csv").set_index("model")
  columns = [column for of_axis in across.AXES.values() for column in of_axis]
  complete = published[columns].dropna()
  found = derived({str(model): dict(row) for model, row in complete.iterrows()})
  of_study = definitions.parse(load("study").get_config().to_dict()["study"])
  expected, _ = definitions.compute(of_study.axes, complete)
  scored = {v.name: v for v in of_study.variations}["z-scored benchmarks"].axes
  z, _ = definitions.compute(scored, complete)
  for model in complete.index:
    for axis in across.AXES:
      assert found.loc[(model, axis), "value"] == pytest.approx(expected.loc[model, axis])
    for axis in scored:
      assert found.loc[(model, f"{axis}/z"), "value"] == pytest.approx(z.loc[model, axis])


def test_what_is_made_of_an_accuracy_at_chance_is_flagged():
  columns = [column for axis in across.AXES.values() for column in axis]
  rng = np.random.default_rng(0)
  rows = metrics(
    {f"m{i}": dict(zip(columns, rng.uniform(20, 80, len(columns)), strict=True)) for i in range(8)}
  )
  at_chance = (rows["model"] == "m3") & (rows["metric"] == "top1_acc/imagenet-a")
  found = across.derive(rows.assign(flag=np.where(at_chance, "cannot be told from chance", "")))
  flagged = found[found["flag"] != ""]
  assert set(flagged["model"]) == {"m3"}
  assert set(flagged["metric"]) == {"Robustness", "Robustness/z", "effective_robustness/imagenet-a"}


def test_an_axis_is_the_mean_and_knows_which_benchmarks_share_images():
  values = dict(zip(across.AXES["ID"], (80.0, 68.0, 86.0), strict=True))
  row = derived({"m": values}).loc[("m", "ID")]
  assert row["value"] == pytest.approx(78)
  # Validation images and ReaL move together: (1 + 1); V2 does not: sqrt(2^2 + 1^2) / 3.
  assert row["high"] - row["value"] == pytest.approx(np.sqrt(5) / 3)
  assert row["n"] == 300


def test_an_attack_on_other_images_is_not_the_axis_of_a_network_that_lacks_imagenet():
  both = metrics({"a": {"top1_acc/PGD-40/low": 30.0}, "b": {"top1_acc/PGD-40/low": 95.0}})
  both.loc[both["model"] == "b", "dataset"] = "imagenette"
  found = across.derive(both)
  assert list(found["model"]) == ["a"]
  # Which is what the columns of results.csv are called by.
  assert list(summary.columns(both)) == ["top1_acc/PGD-40/low", "top1_acc/PGD-40/low@imagenette"]


def test_without_a_benchmark_there_is_no_axis():
  values = dict.fromkeys(across.AXES["ID"][:2], 50.0)
  assert derived({"m": values}).empty


def corrupted(clean: float, error_of) -> dict[str, float]:
  return {across.CLEAN: clean} | {f"top1_acc/{c}_{s}": 100 - error_of(c) for c in ALEXNET for s in SEVERITIES}


def test_relative_mce_of_alexnet_is_100():
  values = corrupted(100 - ALEXNET_CLEAN, ALEXNET.__getitem__)
  assert derived({"alexnet": values}).loc[("alexnet", "relative_mCE"), "value"] == pytest.approx(100)


def test_relative_mce_of_a_network_that_corruptions_do_not_touch_is_0():
  row = derived({"m": corrupted(70, lambda corruption: 30.0)}).loc[("m", "relative_mCE")]
  assert row["value"] == pytest.approx(0)
  assert row["low"] < 0 < row["high"]


def test_relative_mce_is_flagged_by_any_corruption_at_chance():
  rows = metrics({m: corrupted(70, lambda corruption: 60.0) for m in ("m0", "m1")})
  at_chance = (rows["model"] == "m1") & (rows["metric"] == "top1_acc/fog_5")
  found = across.derive(rows.assign(flag=np.where(at_chance, "cannot be told from chance", "")))
  flags = found.set_index("model")["flag"]
  assert (flags["m0"], flags["m1"]) == ("", "rests on an accuracy that is flagged")


def on_a_line(clean: np.ndarray, gain: np.ndarray) -> dict[str, dict[str, float]]:
  """Models whose accuracy on V2 follows clean accuracy in logits, and what some have beyond."""
  shifted = 100 * scipy.special.expit(0.9 * scipy.special.logit(clean / 100) - 0.5) + gain
  return {
    f"m{i}": {across.CLEAN: c, "top1_acc/imagenet-v2": s}
    for i, (c, s) in enumerate(zip(clean, shifted, strict=True))
  }


def test_effective_robustness_is_what_a_model_has_beyond_the_line_of_the_others():
  gain = np.zeros(9)
  gain[4] = 6.0
  found = derived(on_a_line(np.linspace(60, 82, 9), gain), half=0.1)
  row = found.loc[("m4", "effective_robustness/imagenet-v2")]
  assert row["value"] == pytest.approx(6)
  assert row["low"] < 6 < row["high"]
  assert row["n"] == 8


def test_with_few_models_there_is_no_effective_robustness():
  found = derived(on_a_line(np.linspace(60, 82, 4), np.zeros(4)))
  assert not any("effective" in metric for _, metric in found.index)


def test_the_interval_of_effective_robustness_holds_the_truth():
  """Accuracies with sampling error and scatter around the line; the last model has 3 points beyond it."""
  rng, held = np.random.default_rng(0), 0
  for _ in range(80):
    clean = rng.uniform(60, 82, 12)
    logits = 0.9 * scipy.special.logit(clean / 100) - 0.5
    # The scatter belongs to the models the line is drawn through: the last one sits on it exactly, plus 3.
    shifted = 100 * scipy.special.expit(logits + np.append(rng.normal(0, 0.05, 11), 0)) + np.append(
      np.zeros(11), 3
    )
    n = 10_000
    seen = [100 * rng.binomial(n, p / 100) / n for p in (clean, shifted)]
    half = 1.96 * 100 * np.sqrt(0.7 * 0.3 / n)
    values = {
      f"m{i:02d}": {across.CLEAN: a, "top1_acc/imagenet-v2": b}
      for i, (a, b) in enumerate(zip(*seen, strict=True))
    }
    row = derived(values, half).loc[("m11", "effective_robustness/imagenet-v2")]
    held += row["low"] <= 3 <= row["high"]
  assert held >= 72


def test_a_clean_accuracy_of_100_says_how_far_it_may_be():
  """Of 200 images, all right: Wilson's interval is from 98.1, and the line's prediction follows it."""
  shifted = "top1_acc/imagenet-v2"
  values = {f"m{at}": {across.CLEAN: at, shifted: at - 10} for at in range(70, 98, 3)}
  rows = metrics(values | {"all": {across.CLEAN: 100.0, shifted: 93.0}})
  rows.loc[(rows["model"] == "all") & (rows["metric"] == across.CLEAN), ["low", "high"]] = 98.1, 100.0
  row = across.derive(rows).set_index(["model", "metric"]).loc[("all", "effective_robustness/imagenet-v2")]
  others = rows[rows["model"] != "all"].pivot(index="model", columns="metric", values="value") / 100
  slope, intercept = np.polyfit(*(scipy.special.logit(others[name]) for name in (across.CLEAN, shifted)), 1)
  at = 100 * scipy.special.expit(intercept + slope * scipy.special.logit(np.array([0.981, 0.99995])))
  assert row["value"] == pytest.approx(93 - at[1])
  # Beside it the accuracy's own interval of 1 point, and the line's, which is no wider here than 3.
  assert at[1] - at[0] < row["high"] - row["value"] < np.hypot(at[1] - at[0], np.hypot(1, 3))
  assert row["value"] - row["low"] < np.hypot(1, 3)
