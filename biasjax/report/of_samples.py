"""What stands for each image where a network was asked about a random sample, for paired differences.

Samples of two networks are the first images of one order, so what chance adds to one it adds to the other.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from biasjax.results import summary
from biasjax.results.summary import Summarised
from biasjax.results.unit import SAMPLE
from biasjax.sampling import estimate
from biasjax.study.stored import Observations

ASKED = "asked"  # of `DataFrame.attrs`: how many images were looked at
CLEAN = "accuracy", "clean"
CUTOFFS = ("0.1", "0.2", "0.3", "0.4", "0.5")
LOW, HIGH = ([f"{band}/{cutoff}" for cutoff in CUTOFFS] for band in ("low", "high"))
KEPT = {"LPP": LOW, "HPP": HIGH}
# The condition that each reliance is about, as the probe has it: what gives another number is not compared.
LOST = {"shape": ["patch_shuffle/8"], "texture": ["bilateral/12"], "colour": ["grey/1.0"]}


def frames(
  observed: Observations, get_probe: Callable[[str, int], Summarised], model: str, dataset: str
) -> Mapping[str, pd.DataFrame]:
  """Complete observations of a model on a dataset by probe, those of samples with what they are of.

  Raises:
    BiasjaxError: stored observations are damaged.
  """
  units = [unit for key, unit in observed.units.items() if key[:2] == (model, dataset)]
  return summary.observed(observed.store, units, get_probe)


def parts(of: Mapping[str, pd.DataFrame], probe: str, metric: str) -> pd.DataFrame | None:
  """float [images of the dataset], columns got and of, whose totals' ratio is the number.

  Args:
    of: of `frames`.
    probe: asked of a sample.
    metric: of it: an accuracy under a condition or over all, LPP, HPP, the spectral bias, or a reliance.

  Returns:
    With `ASKED` in its `attrs`; None of other metrics, or where something is not there.
  """
  asked, clean = of.get(probe), of.get(CLEAN[0])
  if asked is None or clean is None or SAMPLE not in asked.attrs:
    return None
  known = [str(name) for name in asked["condition"].unique()]
  name = metric.partition(":")[0]
  cue = name.removesuffix("-reliance")
  if metric.startswith("top1_acc/"):
    named = [condition for condition in known if metric.endswith(f"/{condition}")]
    wanted = [max(named, key=len)] if named else known
  else:
    wanted = [*LOW, *HIGH] if name == "spectral-bias" else KEPT.get(name) or LOST.get(cue, [])
  if not wanted or not set(wanted) <= set(known):
    return None
  right, looked_at = _right(asked, wanted)
  kept = right.mean(axis=1)
  if metric.startswith("top1_acc/"):
    got, every = kept, kept * 0 + 1
  elif name == "spectral-bias":
    got, every = right[HIGH].mean(axis=1), right[LOW].mean(axis=1) + right[HIGH].mean(axis=1)
  else:
    every = (clean["rank"] == 0).set_axis(clean["example_id"].astype(str)).astype(float).reindex(kept.index)
    got = kept if name in KEPT else every - kept
  found = pd.DataFrame({"got": got, "of": every})
  found.attrs[ASKED] = looked_at
  return found


def _right(asked: pd.DataFrame, conditions: Sequence[str]) -> tuple[pd.DataFrame, int]:
  """Outcomes that stand for all images (`Estimate.spread`), by id, a column a condition; the fewest asked."""
  sample, found, fewest = asked.attrs[SAMPLE], {}, len(asked)
  every = pd.Index(sample.ids).astype(str)
  for name in conditions:
    rows = asked[(asked["condition"] == name).to_numpy()]
    outcomes = np.full(len(rows), np.nan)
    outcomes[every.get_indexer(rows["example_id"].astype(str))] = rows["rank"].to_numpy() == 0
    of = estimate(outcomes, sample.known, sample.further.get(name))
    found[name], fewest = of.spread(sample.critical[name]), min(fewest, len(rows))
  return pd.DataFrame(found, index=every), fewest
