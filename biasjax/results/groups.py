"""Groups of images: which image is of which, kept beside the observations, and the numbers that follow.

What is kept is <workdir>/groups/<dataset>.csv, example_id and group. As long as it is there, tables have a
row for how far the groups are apart (`disparity.metrics`), always from the observations as they are.
"""

import io
import urllib.parse
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from etils import epath

from biasjax.data import annotations
from biasjax.data import rows as csv_rows
from biasjax.data.classes import category_classes, class_names, wordnet_ids
from biasjax.errors import BiasjaxError, suggestion
from biasjax.results import conditions, disparity
from biasjax.results.store import Store, write_file
from biasjax.results.unit import SAMPLE

PROBE = "groups"  # of the rows of metrics.csv
FOLDER = "groups"
CLASSES, CATEGORIES, ALIGNED = "class", "category", "aligned"
COLUMNS = ("group", "bias", "domain")  # of annotations


def of_annotations(by: str) -> bool:
  """Whether groups are told by a column of the annotations."""
  return by in (*COLUMNS, ALIGNED)


def chosen(
  by: str,
  labels: str,
  examples: pd.DataFrame,
  dataset: str,
  annotated: annotations.Annotations | None,
  names: Mapping[int, Sequence[str]] | None = None,
) -> pd.Series:
  """The group of each example, str, indexed by id; those that are of none are left out.

  Args:
    by: "class"; "category", the 16 of Geirhos et al. 2018, of ImageNet's classes; a CSV `class,group`; a
      column of the annotations, or "aligned": whether its `bias` is the class.
    labels: the dataset's kind of labels.
    examples: columns example_id and label, each example once.
    dataset: for messages.
    annotated: of --annotations.
    names: those of each class, by label; by default as the kind of labels has it.

  Raises:
    BiasjaxError: an unknown way, one that this dataset, or these annotations, do not know, or a CSV that
      puts a class into two groups by two of its names.
  """
  ids, label = examples["example_id"].astype(str), examples["label"].tolist()
  names = names or {at: [of] for at, of in enumerate(class_names(labels))}
  of_imagenet = class_names(labels) == class_names("imagenet")
  taken = {name for each in names.values() for name in each}
  called = {at: ", ".join(names.get(at, [str(at)])) for at in {*names, *label}}
  spelt = {at: {of, *names.get(at, ())} for at, of in called.items()}
  for at, spellings in spelt.items():
    # What is the name of a class is no other class's number: folders called 1, 2 and 10 are in another order.
    spellings |= {str(at)} - taken
    spellings |= {wordnet_ids()[at]} if of_imagenet else set()
  if of_annotations(by):
    if annotated is None:
      raise BiasjaxError(f"--groups={by} is a column of annotations: name their file with --annotations")
    column = "bias" if by == ALIGNED else by
    annotated.need([column], f"--groups={by}")
    values = annotated.of(list(ids), dataset, part=True).columns[column]
    if by == ALIGNED:
      same = [value in spelt[at] for value, at in zip(values.tolist(), label, strict=True)]
      values = np.where(same, "aligned", "conflicting")
    return pd.Series(values, index=ids)
  if annotated is not None:
    raise BiasjaxError(
      f"--annotations is not used with --groups={by}, only with a column of it: leave it out"
    )
  if by == CLASSES:
    return pd.Series([called[at] for at in label], index=ids)
  if by == CATEGORIES:
    if not of_imagenet:
      raise BiasjaxError(f"--groups={by}: {dataset} has labels {labels}, and not ImageNet's classes")
    group = {at: category for category, classes in category_classes().items() for at in classes}
  elif by.endswith(".csv"):
    of_class = _of_classes(by)
    known = set().union(*spelt.values())
    if unknown := [of for of in of_class if taken and of not in known]:
      otherwise = f"a class is called like {next(iter(names.values()))[0]}, or by its number"
      like = suggestion(unknown[0], sorted(taken), otherwise=otherwise)
      raise BiasjaxError(f"--groups={by}: {unknown[0]} is no class of {dataset}: {like}")
    group = {}
    for at, spellings in spelt.items():
      of = sorted({of_class[each] for each in spellings & of_class.keys()})
      if len(of) > 1:
        what = ", ".join(sorted(spellings & of_class.keys()))
        raise BiasjaxError(
          f"--groups={by}: {what} are one class of {dataset}, and of {' and '.join(of)}: keep one of them"
        )
      if of:
        group[at] = of[0]
  else:
    ways = (CLASSES, CATEGORIES, *COLUMNS, ALIGNED)
    raise BiasjaxError(f"--groups={by} is unknown: {suggestion(by, ways)}; or a CSV with class,group")
  return pd.Series([group.get(at) for at in label], index=ids, dtype=object).dropna()


def _of_classes(path: str) -> dict[str, str]:
  """{class: group} of a CSV."""
  _, rows = csv_rows.read(path, f"--groups={path}")
  found: dict[str, str] = {}
  for row in rows:
    of, group = (row.get(name, "").strip() for name in ("class", "group"))
    if not of or group.lower() in ("", "nan"):
      raise BiasjaxError(f"--groups={path}: expected the columns class and group, none empty; it has {row}")
    if found.setdefault(of, group) != group:
      raise BiasjaxError(f"--groups={path}: class {of} is of {found[of]} and of {group}: keep one of them")
  return found


def _file(store: Store, dataset: str) -> epath.Path:
  return store.workdir / FOLDER / f"{urllib.parse.quote(dataset, safe='')}.csv"


def keep(store: Store, dataset: str, groups: pd.Series) -> None:
  """Writes which example is of which group; another grouping of the dataset is forgotten."""
  table = pd.DataFrame({"example_id": groups.index, "group": groups.to_numpy()})
  write_file(_file(store, dataset), table.to_csv(index=False).encode())


def kept(store: Store, dataset: str) -> pd.Series | None:
  """What `keep` wrote; None if it did not.

  Raises:
    BiasjaxError: the file is damaged.
  """
  path = _file(store, dataset)
  if not path.exists():
    return None
  try:
    table = pd.read_csv(io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False)
    groups = table.set_index("example_id")["group"]
    if not groups.index.is_unique:
      raise ValueError("an example is there twice")
    return groups
  except (ValueError, KeyError) as error:
    raise BiasjaxError(f"{path} cannot be read ({' '.join(str(error).split())}): remove it") from error


def of_condition(observed: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
  """`disparity.of_groups` of observations (columns example_id and rank), of those that are of a group."""
  of = groups.reindex(observed["example_id"].astype(str))
  there = of.notna().to_numpy()
  return disparity.of_groups(of.to_numpy()[there], observed["rank"].to_numpy()[there])


def rows(groups: pd.Series, observed: pd.DataFrame) -> list[tuple[str, Mapping]]:
  """`disparity.metrics` of one network's observations; none where they are of one group or none.

  Nor where images are there many times, under conditions that `tables` tells apart.
  """
  if observed.attrs.get("labels") in conditions.IN_IDS:
    return []
  of = of_condition(observed, groups)
  return disparity.metrics(of) if len(of) > 1 else []


def together(frames: Mapping[str, pd.DataFrame], groups: pd.Series) -> tuple[np.ndarray, np.ndarray]:
  """(right bool [n, networks], group str [n]) of the examples that all networks answered to, of a group each.

  Args:
    frames: observations of each network.
    groups: of examples.
  """
  right = [
    pd.Series((of["rank"] == 0).to_numpy(), index=of["example_id"].astype(str)) for of in frames.values()
  ]
  joined = pd.concat([groups.rename("group"), *right], axis=1, join="inner", keys=range(len(right) + 1))
  return joined.iloc[:, 1:].to_numpy(bool), joined.iloc[:, 0].to_numpy(str)


def tables(
  store: Store, asked: Mapping[str, pd.Series], probes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
  """groups.csv, disparity.csv, and what is left out.

  Args:
    store: the observations.
    asked: dataset -> the group of each example.
    probes: whose decisions are compared, under each condition.

  Raises:
    BiasjaxError: nothing is there, observations are damaged, or all examples of a dataset are of one group.
  """
  of_groups, compared, notes = [], [], []
  for unit in store.units():
    if unit.dataset not in asked or unit.probe not in probes:
      continue
    place = {"model": unit.model, "dataset": unit.dataset, "probe": unit.probe}
    if SAMPLE in unit.key:
      notes.append(f"{unit.model}, {unit.probe} on {unit.dataset} asks a random sample: left out")
      continue
    if store.missing(unit):
      notes.append(f"{unit.model}, {unit.probe} on {unit.dataset} is not measured to the end: left out")
      continue
    observed = store.read(unit)[0]
    if unit.key.get("labels") in conditions.IN_IDS:
      observed = observed.assign(condition=conditions.split(observed["example_id"])[0])
      notes.append(f"{unit.dataset} shows an image under many conditions: groups are compared under each")
    for condition, mine in observed.groupby("condition", sort=False):
      of, named = of_condition(mine, asked[unit.dataset]), place | {"condition": condition}
      try:
        compared.append(named | disparity.compare(of))
      except BiasjaxError as error:
        raise BiasjaxError(f"--groups, {unit.dataset}: {error}") from error
      of_groups.append(of.drop(columns="right").assign(**named))
  if not compared:
    raise BiasjaxError(f"--groups: {store.workdir} holds no whole run of {' or '.join(probes)}")
  first = ["model", "dataset", "probe", "condition"]
  table = pd.concat(of_groups, ignore_index=True)
  return table[[*first, *table.columns.difference(first, sort=False)]], pd.DataFrame(compared), notes
