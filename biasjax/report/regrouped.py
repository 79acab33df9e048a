"""Two networks' difference in whatever a probe's summary makes: the delete-a-group jackknife over images.

For numbers that are no ratios of sums, such as a critical band's centre: both networks' summaries are made
again without each of `GROUPS` groups of images, the same for both (Quenouille 1956; Kott 2001).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.special

from biasjax.errors import BiasjaxError
from biasjax.results import conditions
from biasjax.results.summary import Summarised, said
from biasjax.statistics import CONFIDENCE
from biasjax.study.stored import Observations

GROUPS = 20

Interval = tuple[float, float, float, int]  # difference, low, high, images


def differences(
  observed: Observations,
  get_probe: Callable[[str, int], Summarised],
  models: Sequence[str],
  dataset: str,
  probe: str,
  values: Sequence[Mapping[str, float]],
) -> dict[str, Interval]:
  """The first network less the second, for what the summary of `probe` says of both.

  Args:
    observed: what they said.
    get_probe: (name, pixels of a side) -> probe, for its summary.
    models: two.
    dataset, probe: what they were asked.
    values: {metric: value} of each, which the decisions must give again.

  Returns:
    {metric: difference, its interval by Student's t, and the images}; without those that are undetermined for
    a group, and {} where the networks were asked about different images, or about too few, or the summary
    fails without some of them.

  Raises:
    BiasjaxError: stored observations are damaged.
  """
  crop = int(observed.units[models[0], dataset, probe].key.get("preprocess", {}).get("crop", 0))
  asked = get_probe(probe, crop)
  frames = [_frames(observed, model, dataset, (probe, *asked.needs)) for model in models]
  if any(of is None for of in frames):
    return {}
  ids = [sorted({i for table in (of or {}).values() for i in table["example_id"].unique()}) for of in frames]
  # An image under many conditions is one draw, whose answers move together: it is left out of all.
  image = pd.Series(ids[0], index=ids[0], dtype=object)
  if any(observed.conditions_in_ids(model, dataset, probe) for model in models):
    image = conditions.split(image)[1]
  of_image, images = pd.factorize(image)
  if ids[0] != ids[1] or len(images) < 2 * GROUPS:
    return {}
  order = np.random.default_rng(0).permutation(len(images))
  group = pd.Series((order % GROUPS)[of_image], index=ids[0])

  def made(of: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    return {name.format(dataset=dataset): float(value) for name, value, *_ in said(asked, of)}

  def without_groups(of: Mapping[str, pd.DataFrame]) -> list[dict[str, float]]:
    groups = {name: table["example_id"].map(group).to_numpy() for name, table in of.items()}
    return [made({name: table[groups[name] != g] for name, table in of.items()}) for g in range(GROUPS)]

  try:
    whole = [made(of or {}) for of in frames]
  except BiasjaxError:  # a summary of one's own that has no number of these, which the tables have said
    return {}
  names = [
    name
    for name in values[0]
    if all(
      math.isclose(w.get(name, math.nan), v[name], rel_tol=1e-6) for w, v in zip(whole, values, strict=True)
    )
  ]
  if not names:
    return {}
  try:
    without = [without_groups(of or {}) for of in frames]
  except BiasjaxError:  # one that cannot do with fewer images
    return {}
  t = float(scipy.special.stdtrit(GROUPS - 1, (1 + CONFIDENCE) / 2))
  found = {}
  for name in names:
    left = np.array([[of_group.get(name, math.nan) for of_group in of] for of in without])
    apart = left[0] - left[1]
    half = t * math.sqrt((GROUPS - 1) / GROUPS * ((apart - apart.mean()) ** 2).sum())
    difference = whole[0][name] - whole[1][name]
    if math.isfinite(half):
      found[name] = difference, difference - half, difference + half, len(images)
  return found


def _frames(
  observed: Observations, model: str, dataset: str, probes: Sequence[str]
) -> dict[str, pd.DataFrame] | None:
  """The observations as summaries take them; None where some are not there."""
  found = {}
  for probe in probes:
    table = observed.read(model, dataset, probe)
    if table is None:
      return None
    key = observed.units[model, dataset, probe].key
    table.attrs |= {"labels": key.get("labels", "imagenet"), "classes": key.get("classes")}
    found[probe] = table
  return found
