"""What a subset is, for any classes and sizes."""

import collections

from hypothesis import given, settings
from hypothesis import strategies as st

from biasjax.data import checking
from biasjax.data.layouts import Place

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def places(sizes: list[int], conditions=("",)) -> list[Place]:
  return [
    Place(f"{condition}/{label}_{i}.jpg", label, condition)
    for condition in conditions
    for label, size in enumerate(sizes)
    for i in range(size)
  ]


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, limit=st.integers(1, 80))
def test_a_subset_is_balanced_and_part_of_every_larger_one(sizes, limit):
  everything = places(sizes)
  kept = checking.balanced(everything, limit)
  assert kept == sorted(set(kept))
  assert len(kept) == min(limit, sum(sizes))
  counts = collections.Counter(everything[i].label for i in kept)
  for label, size in enumerate(sizes):
    # A class has fewer than another only where it has no more.
    assert counts[label] == size or counts[label] >= max(counts.values()) - 1
  assert set(kept) <= set(checking.balanced(everything, limit + 1))


@settings(max_examples=20, deadline=None)
@given(sizes=SIZES, limit=st.integers(1, 20), seed=st.randoms(use_true_random=False))
def test_a_subset_does_not_depend_on_the_order_and_is_that_of_every_condition(sizes, limit, seed):
  everything = places(sizes, ("fog/1", "snow/5"))
  shuffled = list(everything)
  seed.shuffle(shuffled)
  one, other = ({of[i].example_id for i in checking.balanced(of, limit)} for of in (everything, shuffled))
  assert one == other
  fog, snow = ({name.rpartition("/")[2] for name in one if name.startswith(c)} for c in ("fog", "snow"))
  assert fog == snow
