"""How far groups are apart: by hand, where nothing is apart, and in simulations whose truth is known."""

import math

import numpy as np
import pytest

from biasjax.errors import BiasjaxError
from biasjax.results import disparity


def groups_of(**ranks):
  """`of_groups` of {group: ranks of its images}."""
  group = np.concatenate([[name] * len(of) for name, of in ranks.items()])
  return disparity.of_groups(group, np.concatenate(list(ranks.values())))


def test_ranks_and_accuracies_are_those_counted_by_hand():
  groups = groups_of(m=[0, 0, 0, 4], f=[0, 3, 1, 0, 6])
  assert list(groups["group"]) == ["f", "m"]
  assert list(groups["n"]) == [5, 4]
  assert list(groups["accuracy"]) == [40, 75]
  assert list(groups["mean_rank"]) == [2, 1]
  found = disparity.compare(groups)
  assert (found["worst"], found["best"], found["gap"]) == ("f", "m", pytest.approx(35))
  assert found["rank_disparity"] == 1
  assert found["error_quotient"] == pytest.approx(0.6 / 0.25)
  assert (found["first"], found["second"]) == ("f", "m")
  assert found["disparity_ratio"] == pytest.approx(abs(1 - 0.40 / 0.75))
  assert found["rank_ratio"] == pytest.approx(abs(1 - 2 / 1))
  assert found["error_ratio"] == pytest.approx(abs(1 - 0.60 / 0.25))


def test_equal_groups_are_not_apart():
  for ranks in ([0, 0, 3, 1], [0, 0], [5, 2]):  # some right, all right, none right
    found = disparity.compare(groups_of(a=ranks, b=ranks[::-1]))
    for name in ("gap", "rank_disparity", "disparity_ratio", "rank_ratio", "error_ratio"):
      assert found[name] == 0, name
    assert found["p"] == 1
    assert found["error_quotient"] == 1
    assert found["low"] == 0


def test_one_group_is_refused():
  with pytest.raises(BiasjaxError, match="all images are of one group, a: there is nothing to compare"):
    disparity.compare(groups_of(a=[0, 1]))


def test_other_names_change_nothing_but_the_ratios_of_a_pair():
  rng = np.random.default_rng(0)
  ranks = [rng.integers(0, 3, 30), rng.integers(0, 5, 40)]
  one, other = (
    disparity.compare(groups_of(**dict(zip(names, ranks, strict=True)))) for names in ("ab", "ba")
  )
  for name in one:
    if name not in (*disparity.PAIR, "worst", "best", "low", "high", "p", "gap_by_chance"):
      assert one[name] == pytest.approx(other[name]), name
  for name in ("low", "high", "gap_by_chance"):  # of other draws
    assert one[name] == pytest.approx(other[name], abs=1.5)
  ratio, inverse = (1 - one["disparity_ratio"], 1 - other["disparity_ratio"])
  assert {round(ratio * inverse, 6), round((2 - ratio) * inverse, 6), round(ratio * (2 - inverse), 6)} & {1.0}


def test_more_groups_than_two_have_no_ratios_of_a_pair():
  found = disparity.compare(groups_of(a=[0, 0], b=[0, 1], c=[3, 3]))
  assert (found["worst"], found["best"], found["first"]) == ("c", "a", "")
  assert math.isnan(found["error_ratio"])
  assert math.isnan(found["error_quotient"])  # the best group has no error


@pytest.mark.parametrize(("count", "n", "share"), [(2, 50, 0.7), (8, 40, 0.9), (30, 20, 0.5)])
def test_the_gap_by_chance_is_what_equal_groups_show(count, n, share):
  """Permuted labels against binomial groups of one accuracy: the mean gap is the same."""
  rng = np.random.default_rng(1)
  hits = rng.binomial(n, share, (4000, count)) / n
  expected = np.ptp(hits, axis=1).mean()
  ours = [
    disparity.gaps_by_chance(rng.binomial(n, share, count), np.full(count, n), 200, seed).mean()
    for seed in range(40)
  ]
  assert np.mean(ours) == pytest.approx(expected, rel=0.04)


def test_p_is_rarely_small_where_groups_are_equal_and_small_where_they_are_not():
  rng = np.random.default_rng(2)
  n = np.array([40, 80, 20])

  def p(shares):
    group = np.repeat(["a", "b", "c"], n)
    rank = (rng.random(n.sum()) >= np.repeat(shares, n)).astype(int)
    return disparity.compare(disparity.of_groups(group, rank))["p"]

  small = np.mean([p([0.7] * 3) < 0.05 for _ in range(300)])
  assert small < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
  assert np.mean([p([0.9, 0.5, 0.9]) < 0.05 for _ in range(30)]) == 1


@pytest.mark.parametrize(
  ("shares", "least", "most"),
  [((0.8, 0.8), 0.93, 1), ((0.7, 0.85), 0.92, 0.975), ((0.6, 0.7, 0.7, 0.75, 0.9, 0.9), 0.95, 1)],
)
def test_the_interval_holds_the_gap_of_other_images_as_often_as_it_says(shares, least, most):
  rng = np.random.default_rng(3)
  n, truth, held = np.full(len(shares), 80), np.ptp(shares), 0
  for seed in range(400):
    low, high = disparity.interval_of_gap(rng.binomial(n, shares), n, 400, seed)
    held += low <= truth <= high
  assert least <= held / 400 <= most


def test_the_gap_of_equal_groups_is_seldom_said_to_be_none_of_0():
  rng, n = np.random.default_rng(0), np.full(16, 15)
  without = sum(disparity.interval_of_gap(rng.binomial(n, 0.56), n, 200, seed)[0] > 0 for seed in range(300))
  assert without / 300 <= 0.05


def test_a_gap_that_equal_groups_would_show_is_flagged():
  even, apart = groups_of(a=[0] * 9 + [1], b=[0] * 8 + [1] * 2), groups_of(a=[0] * 50, b=[0] * 20 + [1] * 30)
  flags = [dict(disparity.metrics(groups))["disparity/{dataset}"]["flag"] for groups in (even, apart)]
  assert flags == [disparity.NONE, ""]
  assert "chance" not in disparity.NONE  # which a study takes for an accuracy at chance
