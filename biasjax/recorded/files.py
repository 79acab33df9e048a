"""Files of recorded trials, and the observers whose they are.

Geirhos et al.'s format (model-vs-human, texture-vs-shape): a CSV with a row for each trial and the columns
subj, object_response, category, imagename and (where an experiment has conditions) condition; its name begins
with the experiment, edge_subject-01_session_1.csv say. Others are taken for cue-conflict trials. NumPy and
pandas only.
"""

import collections
import glob
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from biasjax.data import layouts
from biasjax.data.classes import category_index, cues
from biasjax.errors import BiasjaxError, not_cut_at_commas

CONFLICT = "cue-conflict"
EXPECTED = ("subj", "object_response", "category", "imagename")
NO_ANSWER = frozenset(("na", "n/a", "nan", ""))
SESSION = re.compile(r"session[-_ ]?(\d+)")


def is_person(observer: str) -> bool:
  """Whether an observer is a person: people are called subject-01 and so on, networks by their names."""
  return observer.strip().casefold().startswith("subject")


def matching(pattern: str) -> list[pathlib.Path]:
  """The files that match, sorted; a file of this very name is no pattern.

  Raises:
    BiasjaxError: none does.
  """
  found = [pattern] if os.path.exists(pattern) else glob.glob(pattern)
  paths = sorted(map(pathlib.Path, found))
  if not paths:
    raise BiasjaxError(f"--trials={pattern}: no file matches")
  return paths


def experiment_of(path: str | pathlib.Path) -> str | None:
  """The experiment that a file of trials belongs to, by its name; None where it names none."""
  name = pathlib.Path(path).name.split("_")[0]
  return name if name in layouts.EXPERIMENTS else None


def stimulus(name: str, experiment: str) -> str:
  """What was shown, alike in the files of people and of networks, which differ in trial and observer.

  <trial>_<experiment>_<observer>_<condition>_<category>_<..> of a trial, or <..> where that is all of a
  network's stimulus.
  """
  fields = pathlib.PurePosixPath(name).stem.split("_")
  if experiment in layouts.PARAMETRIC or experiment in ("sketch", "stylized"):
    return "_".join([layouts.canonical(fields[3]), *fields[4:]]) if len(fields) > 4 else name
  return fields[-1]


def read(path: str | pathlib.Path) -> pd.DataFrame:
  """The trials of one file.

  Blanks around a field are stripped and the case of answers and categories is folded.

  Returns:
    Columns observer, session ("" where none is said), stimulus, condition ("<experiment>/<condition>", or
    "<experiment>" where it has none), category, response (as answered, see `unknown`), right (bool) and image
    (`imagename` as it was). `attrs` has the `experiment` and the `path`, and the `observer` where it is one.

  Raises:
    BiasjaxError: it cannot be read, lacks a column, has no trials, or one of something that was not shown.
  """
  path = pathlib.Path(path)
  table = _fields(path)
  experiment = experiment_of(path)
  needed = (*EXPECTED, "condition") if experiment in layouts.PARAMETRIC else EXPECTED
  missing = [name for name in needed if name not in table]
  if parted := not_cut_at_commas(list(table)):
    raise BiasjaxError(f"{path}: {parted}")
  if missing:
    raise BiasjaxError(f"{path} has no column {missing[0]!r}: trials need {', '.join(needed)}")
  if not len(table):
    raise BiasjaxError(f"{path} holds no trials")
  for name in ("object_response", "category"):
    table[name] = table[name].str.casefold()
  _check_categories(path, table, experiment)
  experiment = experiment or CONFLICT
  trials = pd.DataFrame(
    {
      "observer": table["subj"],
      "session": table.get("session", ""),
      "stimulus": [stimulus(name, experiment) for name in table["imagename"]],
      "condition": [f"{experiment}/{layouts.canonical(value)}" for value in table["condition"]]
      if experiment in layouts.PARAMETRIC
      else experiment,
      "category": table["category"],
      "response": table["object_response"],
      "right": (table["object_response"] == table["category"]).to_numpy(bool),
      "image": table["imagename"],
    }
  )
  trials.attrs = {"experiment": experiment, "path": str(path)}
  if trials["observer"].nunique() == 1:
    trials.attrs["observer"] = trials["observer"].iloc[0]
  return trials


def _fields(path: pathlib.Path) -> pd.DataFrame:
  try:
    # "na" is an answer here, and "true" and "3" are conditions; Excel begins a file with a byte order mark.
    table = pd.read_csv(path, keep_default_na=False, dtype=str, encoding="utf-8-sig")
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"{path} cannot be read as a CSV of trials: {' '.join(str(error).split())}") from error
  table = table.rename(columns=lambda name: str(name).strip().casefold()).fillna("")
  return table.loc[:, ~table.columns.duplicated()].apply(lambda column: column.astype(str).str.strip())


def _check_categories(path: pathlib.Path, table: pd.DataFrame, experiment: str | None) -> None:
  """Raises where a trial's category is not what its image shows, or none of the 16."""
  if experiment not in (None, CONFLICT):
    wrong = np.flatnonzero(~table["category"].isin(list(category_index())))
    if len(wrong):
      row = int(wrong[0])
      raise BiasjaxError(
        f"{path}, line {_line(path, row)}: category is {table['category'][row]!r}, which is none of "
        + ", ".join(category_index())
      )
    return
  shapes = []
  try:
    for name in table["imagename"]:
      shapes.append(cues(name)[0])
  except BiasjaxError as error:
    unnamed = "" if experiment else "no known experiment begins its name, and "
    raise BiasjaxError(f"{path}, line {_line(path, len(shapes))}: {unnamed}{error}") from error
  wrong = np.flatnonzero(table["category"] != np.array(shapes))
  if len(wrong):
    row = int(wrong[0])
    raise BiasjaxError(
      f"{path}, line {_line(path, row)}: category is {table['category'][row]!r}, but "
      f"{table['imagename'][row]!r} shows a {shapes[row]}"
    )


def _line(path: pathlib.Path, row: int) -> int:
  """The line, from 1, of a row, from 0: blank lines are none."""
  lines = path.read_text(encoding="utf-8-sig").splitlines()
  return [at for at, line in enumerate(lines, 1) if line.strip()][row + 1]


def unknown(trials: pd.DataFrame) -> collections.Counter[str]:
  """Answers that are none of the 16 categories, nor "na": each with how often. They count as no answer."""
  known = trials["response"].isin([*category_index(), *NO_ANSWER])
  return collections.Counter(trials["response"][~known])


def notes_on(trials: pd.DataFrame) -> list[str]:
  """What a reader of the numbers has to know about one file: answers and conditions that are not known."""
  notes, path = [], trials.attrs["path"]
  others = unknown(trials)
  if others:
    several = others.total() > 1
    named = ", ".join(f"{answer!r} ({count})" for answer, count in others.most_common(5))
    notes.append(
      f"{path}: {others.total()} answer{'s are' if several else ' is'} none of the 16 categories, "
      f"and count{'' if several else 's'} as no answer: {named}{', ...' if len(others) > 5 else ''}"
    )
  experiment = trials.attrs["experiment"]
  if experiment in layouts.PARAMETRIC:
    condition = trials["condition"].str.split("/").str[1]
    strange = condition[~condition.isin(layouts.PARAMETRIC[experiment])].value_counts()
    notes += [
      f"{path}: condition {name!r} is none of {experiment}'s ({', '.join(layouts.PARAMETRIC[experiment])}); "
      f"its {count} trials are in no mean over conditions"
      for name, count in strange.items()
    ]
  return notes


# --- Observers ---------------------------------------------------------------------------------------------


def by_observer(recordings: Iterable[pd.DataFrame]) -> tuple[list[pd.DataFrame], list[str]]:
  """The trials of each observer of each experiment, whatever files and sessions they are in.

  An observer is whom `subj` names. What is in two files alike counts once, and an observer who saw a stimulus
  more than once counts with the first answer. But two files that say to be the same session of the same
  observer (of a network: that do not say to be different ones), and give other answers to the same stimuli,
  are two observers, who are named by their files.

  Args:
    recordings: of `read`; sessions are taken in their order.

  Returns:
    Tables as of `read`, each with `observer` in its `attrs`; and what a reader of the numbers has to know.
  """
  groups = collections.defaultdict(list)
  for recording in recordings:
    for observer, part in recording.groupby("observer", sort=False):
      part.attrs = dict(recording.attrs)
      groups[recording.attrs["experiment"], str(observer)].append(part)
  merged, notes = [], []
  for (experiment, observer), parts in groups.items():
    identities: list[list[pd.DataFrame]] = []
    for part in sorted(parts, key=_order):
      same = next((mine for mine in identities if not any(_contradicts(part, other) for other in mine)), None)
      if same is None:
        identities.append([part])
      elif any(_repeats(part, other) for other in same):
        notes.append(f"{part.attrs['path']}: {observer}'s trials are in another file too, and count once")
      else:
        same.append(part)
    if len(identities) > 1:
      notes.append(
        f"{len(identities)} files call their observer {observer} and their session the same, but differ in "
        f"answers to the same stimuli of {experiment}: they are taken for {len(identities)} observers"
      )
    files = names([pathlib.Path(mine[0].attrs["path"]) for mine in identities])
    for mine, file in zip(identities, files, strict=True):
      table = pd.concat(mine, ignore_index=True)
      first = ~table["stimulus"].duplicated()
      if not first.all():
        notes.append(
          f"{observer} saw {(~first).sum()} of the stimuli of {experiment} again: the first answer counts"
        )
      table = table[first].reset_index(drop=True)
      table.attrs = mine[0].attrs | {"observer": observer if len(identities) == 1 else f"{observer} ({file})"}
      merged.append(table)
  return merged, notes


def _session(part: pd.DataFrame) -> tuple[tuple[str, ...], str]:
  """The sessions by their column, and by the file's name."""
  named = SESSION.search(pathlib.Path(part.attrs["path"]).name.casefold())
  return tuple(part["session"].unique()), named[1].lstrip("0") if named else ""


def _order(part: pd.DataFrame) -> tuple[float, ...]:
  numbers = (_session(part)[0][0], _session(part)[1])
  return tuple(float(number) if number.isdecimal() else float("inf") for number in numbers)


def _repeats(part: pd.DataFrame, other: pd.DataFrame) -> bool:
  """Whether one holds just the other's trials."""
  columns = ["stimulus", "response"]
  first, second = part[columns].to_numpy(), other[columns].to_numpy()
  return first.shape == second.shape and bool((first == second).all())


def _contradicts(part: pd.DataFrame, other: pd.DataFrame) -> bool:
  """Whether both are the same session, with other answers to the same stimuli."""
  session = _session(part)
  unsaid = session == (("",), "") and is_person(part["observer"].iloc[0])
  if unsaid or session != _session(other):
    return False
  first, second = (t.drop_duplicates("stimulus").set_index("stimulus")["response"] for t in (part, other))
  both = first.index.intersection(second.index)
  return bool((first[both] != second[both]).any())


def of_datasets(
  asked: Iterable[tuple[str, str, str, pd.DataFrame]],
) -> Iterator[tuple[str, str, pd.DataFrame]]:
  """(observer, experiment, decisions) of networks that were probed, whatever datasets the stimuli were in.

  Of an experiment that a network was asked in several datasets, the first has the network's name, and the
  others are observers of their own, "<network>@<dataset>"; what was decided alike twice counts once.

  Args:
    asked: (network, dataset, experiment, decisions).
  """
  known: dict[tuple[str, str], list[list[tuple]]] = collections.defaultdict(list)
  for network, dataset, experiment, decisions in asked:
    content, earlier = sorted(decisions.itertuples(index=False, name=None)), known[network, experiment]
    if content not in earlier:
      yield f"{network}@{dataset}" if earlier else network, experiment, decisions
      earlier.append(content)


def names(paths: Sequence[pathlib.Path]) -> list[str]:
  """The files' names, with the folders above them where two are called the same."""
  found = [path.name for path in paths]
  depth = 1
  while len(set(found)) < len(set(paths)):
    depth += 1
    found = ["/".join(path.parts[-depth:]) for path in paths]
  return found
