"""How many classes compete, and what an attack leaves of chance."""

import math

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.probes import chance

KINDS = {
  (kind, name): probes.get(name).decide[kind] for name in probes.names() for kind in probes.get(name).decide
}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in KINDS}))
def test_as_many_classes_compete_as_the_decision_lets_win(kind):
  """Of every probe; a kind of labels whose competitors are not known has no chance."""
  outputs = 16 if kind in ("synthetic", "synthetic_conflict") else 1000
  for (of, _), decide in KINDS.items():
    if of == kind:
      scores = np.asarray(decide(jnp.zeros((1, outputs))))
      assert chance.competing({"labels": kind, "classes": outputs}) == np.isfinite(scores).sum()


def attacked(accuracy: float, labels="synthetic", n: int = 256) -> pd.DataFrame:
  label, right = np.arange(n) % 16, np.arange(n) // 16 < accuracy * n / 16
  table = pd.DataFrame(
    {
      "condition": "eps=0.5",
      "example_id": [f"{i}.png" for i in range(n)],
      "rank": np.where(right, 0, 3),
      "label": label,
      "prediction": np.where(right, label, (label + 1) % 16),
      "broken_by": np.where(right, "", "apgd-ce"),
    }
  )
  table.attrs["labels"] = labels
  return table


@pytest.mark.parametrize(
  ("probe", "column"), [("pgd:eps=0.5", "PGD-40:eps=0.5/eps=0.5"), ("autoattack:eps=0.5", None)]
)
def test_an_attack_may_go_below_chance_but_what_it_leaves_at_chance_is_flagged(probe, column):
  def found(accuracy):
    metrics = probes.get(probe).summarise({probe: attacked(accuracy)})
    return next(m for m in metrics if column is None or m.name.endswith(column))

  assert [found(a).flag for a in (0.0, 1 / 16, 0.5)] == ["", "cannot be told from chance", ""]
  assert all(found(a).chance == pytest.approx(6.25) for a in (0.0, 1 / 16, 0.5))


def test_a_number_that_is_undetermined_has_no_flag_of_chance():
  assert chance.flag(math.nan, math.nan, 0.1) == ""
