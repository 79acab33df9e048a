"""Images that are broken leave a long attack's batch: the others end as they would have, for less."""

import numpy as np
import pytest
from made_victims import key_data, victim
from small_scores import pictures, predictions, scores, weights

from biasjax import partition
from biasjax.ops.attacks.square import Square
from biasjax.probes import adversary

WEIGHTS, IMAGES = weights(), pictures(64)
LABELS = predictions(WEIGHTS, IMAGES)
EPS = 0.1  # breaks most, not all


def ends(monkeypatch, between, on_host, kind="shard_map"):
  """(what Square ends with, the sizes of batches that the network was compiled for)."""
  sizes = []

  def counted(variables, images):
    sizes.append(len(images))
    return scores(variables, images)

  monkeypatch.setattr(adversary, "STEPS_BETWEEN_GATHERINGS", between)
  split = partition.of_process(kind)
  batch = split.put((IMAGES, LABELS[:, None]))
  on = adversary.Adversary(victim(WEIGHTS, of=counted, split=split), *batch, "linf", on_host=on_host)
  sizes.clear()
  keys, none = key_data(range(64)), np.zeros(64, np.int32)
  found, _ = on._run(Square(steps=60), EPS, 0, keys, IMAGES, none, np.arange(64))
  return found, set(sizes)


@pytest.mark.parametrize("on_host", [True, False])
def test_what_is_broken_leaves_and_all_end_as_they_would_have(monkeypatch, on_host):
  whole, all_sizes = ends(monkeypatch, 60, on_host)
  gathered, sizes = ends(monkeypatch, 20, on_host)
  assert all_sizes == {64}
  assert sizes == {64, 16}
  np.testing.assert_array_equal(gathered, whole)
  right = predictions(WEIGHTS, whole) == LABELS
  assert 1 <= right.sum() <= 16
