"""Observations as arrays: against pandas' pivot and Python's split, whatever the order of the rows."""

import numpy as np
import pandas as pd
import pytest

from biasjax.probes import observed
from biasjax.probes.relative import asked_under

CONDITIONS = ["clean", "low/0.1", "high/0.5"]


def table(examples: int = 30, *, coded: bool) -> pd.DataFrame:
  rng = np.random.default_rng(0)
  n = examples * len(CONDITIONS)
  made = pd.DataFrame(
    {
      "condition": np.repeat(CONDITIONS, examples),
      "example_id": [f"{7 * i % examples:03d}.png" for i in range(examples)] * len(CONDITIONS),
      "label": rng.integers(5, size=n).astype(np.int32),
      "prediction": rng.integers(5, size=n).astype(np.int32),
      "rank": rng.integers(3, size=n).astype(np.int32),
    }
  ).sample(frac=1, random_state=1)
  return made.astype({"condition": "category", "example_id": "category"}) if coded else made


@pytest.mark.parametrize("coded", [True, False])
def test_each_observation_is_in_its_place(coded):
  made = table(coded=coded)
  wanted = ["high/0.5", "clean"]
  said = observed.under(made, wanted)
  for name in ("label", "prediction", "rank"):
    expected = made.astype({"condition": str, "example_id": str}).pivot(
      index="example_id", columns="condition", values=name
    )[wanted]
    np.testing.assert_array_equal(getattr(said, name), expected)
    assert list(said.ids) == list(expected.index)
  np.testing.assert_array_equal(said.right, said.rank == 0)


@pytest.mark.parametrize("coded", [True, False])
def test_examples_are_in_the_order_that_is_asked_for(coded):
  made = table(coded=coded)
  ids = pd.Index(made["example_id"].astype(str).unique()[:7])
  said = observed.under(made, CONDITIONS, ids)
  by_name = made.astype({"condition": str, "example_id": str}).set_index(["example_id", "condition"])["rank"]
  assert said.rank.tolist() == [[by_name[example, of] for of in CONDITIONS] for example in ids]


@pytest.mark.parametrize("coded", [True, False])
def test_what_is_left_out_of_a_table_is_not_missed(coded):
  made = table(coded=coded)
  some = made[(made["condition"] != "low/0.1") & (made["example_id"] != "003.png")]
  ids, asked = asked_under(some.assign(), None)
  assert len(ids) == 29
  assert sorted(asked) == ["clean", "high/0.5"]


@pytest.mark.parametrize("coded", [True, False])
def test_an_example_that_lacks_a_condition_is_refused(coded):
  with pytest.raises(ValueError, match="not each of 30 examples once"):
    observed.under(table(coded=coded)[1:], CONDITIONS)


@pytest.mark.parametrize("order", ["as stored", "shuffled"])
@pytest.mark.parametrize("digits", ["", "04d"])
def test_paths_are_split_as_python_splits_them(order, digits):
  rng = np.random.default_rng(0)
  paths = [
    f"{blur}/{severity}/n{i % 3}/{i:{digits}}_é.png"
    for blur in ("fog", "fog_2", "ä")
    for severity in (1, 2, 10)
    for i in range(200)
    if (blur, i) != ("fog", 0) and (severity, i) != (2, 5)
  ]
  if order == "shuffled":
    rng.shuffle(paths)
  folder, folders, image, images = observed.in_folders(pd.Series(paths), 2)
  split = [path.split("/", 2) for path in paths]
  assert [folders[of] for of in folder] == ["/".join(parts[:2]) for parts in split]
  names: dict[int, str] = {}
  assert [names.setdefault(of, parts[2]) for of, parts in zip(image, split, strict=True)] == [
    parts[2] for parts in split
  ]
  assert sorted(names) == list(range(images))
  assert len(set(names.values())) == images == 200
