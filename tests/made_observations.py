"""Observations whose accuracies are known, and what a probe makes of them."""

from collections.abc import Callable, Mapping

import pandas as pd

from biasjax import probes
from biasjax.probes import Metric


def observed(right: Mapping[str, int], n: int, labels: str = "imagenet") -> pd.DataFrame:
  """Observations of n images, each of a class of its own, with the first so many right in each condition."""
  ids = [f"{i}.png" for i in range(n)]
  rows = [
    (c, example, i, i if i < count else 99, 0 if i < count else 5)
    for c, count in right.items()
    for i, example in enumerate(ids)
  ]
  table = pd.DataFrame(rows, columns=["condition", "example_id", "label", "prediction", "rank"])
  table.attrs["labels"] = labels
  return table


def summary(
  name: str, right: Callable[[str], int], n: int, *, size: int = 224, clean: int | None = None
) -> dict[str, Metric]:
  """Metrics by name of a probe under which `right` of n images are right in each condition.

  Args:
    name: of the probe, as it is asked for.
    right: condition -> images.
    n: how many images there are.
    size: pixels of a side.
    clean: how many are right on clean images, for a probe that needs them.
  """
  probe = probes.get(name, size)
  tables = {probe.name: observed({condition: right(condition) for condition in probe.conditions}, n)}
  if clean is not None:
    tables["accuracy"] = observed({"clean": clean}, n)
  return {metric.name: metric for metric in probe.summarise(tables)}
