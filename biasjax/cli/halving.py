"""Which recipe of a grid is best in error and in disparity, by successive halving.

Stands for the search of Dooley et al., "Rethinking bias mitigation", NeurIPS 2023, which is one over
architectures by a multi-fidelity optimiser. Here all recipes of a grid are trained for a part of the epochs,
the better half, by non-dominated sort of (error, gap between groups), for twice as many, and so on (Jamieson
& Talwalkar 2016). Each rung trains anew, with a learning rate that comes down to its end: what is compared
are whole trainings.
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from biasjax import messages
from biasjax.cli import commands, exits, grouping, sweeping
from biasjax.data import opening
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError, suggestion
from biasjax.results import groups, pareto
from biasjax.results.store import Store, write_file
from biasjax.terminal import aligned
from biasjax.train import command as training
from biasjax.train.loop import DivergedError

SETTINGS = ("dataset", "seeds", "grid", "measure")
DEFAULTS = {"factors": {}, "rungs": 3, "eta": 2, "groups": groups.CLASSES, "on": ""}
LENGTHS = ("epochs", "warmup_epochs", "steps")
OWN = ("name", "epochs", "steps")  # settings of a training that are not for a grid to set


def recipes(asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """{name: settings of `train`} of every combination of the factors, named by them.

  Args:
    asked: `sweep.grid`: `factors`, {setting of train: values}.

  Raises:
    BiasjaxError: there is no factor, or two combinations would have one name.
  """
  factors = asked.get("factors") or {}
  sweeping.need(
    "sweep.grid.factors", factors, isinstance(factors, Mapping), "{setting of train: [values, ...]}"
  )
  for name, values in factors.items():
    if name in OWN or not isinstance(values, (list, tuple)) or not values:
      raise BiasjaxError(
        f"--config: sweep.grid.factors.{name} is {values!r}; expected values of a recipe, a list"
      )
  if not factors:
    raise BiasjaxError("--config: sweep.grid.factors is needed: {setting of train: [values, ...], ...}")
  found: dict[str, dict[str, Any]] = {}
  for values in itertools.product(*factors.values()):
    settings = dict(zip(factors, values, strict=True))
    name = "_".join(re.sub(r"[^\w.]+", "-", f"{of}-{value}") for of, value in settings.items())
    if name in found:
      raise BiasjaxError(f"--config: sweep.grid.factors has two recipes {name}: leave one of them out")
    found[name] = settings
  return found


def better(points: np.ndarray, keep: int) -> list[int]:
  """The `keep` best of points [m, 2] (smaller is better): by non-dominated sort, then by the first number.

  Raises:
    BiasjaxError: a point is not finite.
  """
  if not np.isfinite(points).all():
    raise BiasjaxError("sweep.grid: the error or the gap of a network is not known")
  return sorted(np.lexsort((pareto.settled(points)[:, 0], pareto.layers(points)))[:keep].tolist())


def settings_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
  """`sweep.grid` with its defaults.

  Args:
    wanted: the section `sweep`.

  Raises:
    BiasjaxError: something is unknown, missing, or no number that it can be.
  """
  sweeping.check(wanted, SETTINGS)
  sweeping.need("sweep.grid", wanted["grid"], isinstance(wanted["grid"], Mapping), "settings")
  sweeping.refuse_unknown("sweep.grid", wanted["grid"], list(DEFAULTS))
  grid = {**DEFAULTS, **wanted["grid"]}
  for name, least in (("rungs", 1), ("eta", 2)):
    fine = sweeping.whole(grid[name], least)
    sweeping.need(f"sweep.grid.{name}", grid[name], fine, f"a whole number from {least}")
  for name in ("groups", "on"):
    sweeping.need(f"sweep.grid.{name}", grid[name], isinstance(grid[name], str), "a name")
  return grid


def run(asked: Mapping[str, Any]) -> int:
  """Trains and measures rung by rung; started again, it goes on. Returns the exit status.

  Writes halving.csv beside the tables: rung, recipe, error, disparity (means over seeds), layer, kept; and
  what `--groups` writes, of all networks. A recipe of which a training diverges is left out, its layer is -1.

  Args:
    asked: as `sweep.run`; `sweep` has `grid` in place of `families`: `factors` (see `recipes`), `rungs` (3),
      `eta` (2), `groups` (as --groups, "class"), and `on`, the name of the dataset whose numbers decide (the
      first that is measured).

  Raises:
    BiasjaxError: a mistake in what was asked, or something cannot be read or written.
  """
  wanted, train = asked["sweep"], asked["train"] or {}
  grid = settings_of(wanted)
  left = recipes(grid)
  sweeping.names(train)
  # A mistake is not to be found after a night.
  longest = f"_rung{grid['rungs'] - 1}_seed{max(wanted['seeds'])}"
  recipes_of = [training.parse({**train, **of, "name": f"{recipe}{longest}"}) for recipe, of in left.items()]
  to_train = {**asked, "batch_size": training.rows(asked["batch_size"])}
  measured = sweeping.measured(asked)
  source = opening.open_asked(wanted["dataset"], asked)
  for recipe in recipes_of:
    training.ready(recipe, source, to_train)
  on = grid["on"] or measured[0]  # what others show must not choose
  if on not in measured:
    raise BiasjaxError(f"--config: sweep.grid.on is {on!r}: {suggestion(on, measured)}")
  # Annotations may be of what is trained on alone.
  looking = asked if groups.of_annotations(grid["groups"]) else {**asked, "annotations": None}
  workdir = epath.Path(asked["workdir"])
  rows: list[pd.DataFrame] = []
  excluded = 0  # or that images were, which does not change when it is started again
  for rung in range(grid["rungs"]):
    shorter = grid["eta"] ** (grid["rungs"] - 1 - rung)
    named = {recipe: [f"{recipe}_rung{rung}_seed{seed}" for seed in wanted["seeds"]] for recipe in left}
    folders = []
    for at, (recipe, settings) in enumerate(left.items(), 1):
      for seed, name in zip(wanted["seeds"], named[recipe], strict=True):
        print(f"rung {rung + 1}/{grid['rungs']}, {at}/{len(left)}: {name}", flush=True)
        changed = {**settings, "name": name, **_shortened({**train, **settings}, shorter)}
        try:
          folders.append(trained(asked, source, seed, changed))
        except DivergedError as error:  # as some of a grid over learning rates may; the others go on
          messages.warn(f"note: {recipe} is left out: {name}: {error}")
          del named[recipe]
          break
    if not named:
      raise BiasjaxError("sweep.grid: no recipe is left: the loss of each was not finite")
    for part in wanted["measure"]:
      status = commands.measure({**asked, "report": False, "models": folders, **part})
      if status not in (0, exits.UNDECODABLE):
        return status
      excluded = excluded or status
    points, last = _points(looking, grid["groups"], on, named), rung + 1 == grid["rungs"]
    kept = better(points, len(left) if last else math.ceil(len(left) / grid["eta"]))
    rows.append(_rows(rung, list(named), points, kept, [recipe for recipe in left if recipe not in named]))
    left = {recipe: left[recipe] for at, recipe in enumerate(named) if at in kept}
  table = pd.concat(rows, ignore_index=True)
  write_file(workdir / "halving.csv", table.to_csv(index=False).encode())
  grouping.run({**looking, "groups": grid["groups"], "probes": [grouping.ACCURACY]})
  print(text(table))
  return excluded


def trained(asked: Mapping[str, Any], source: Source, seed: int, changed: Mapping[str, Any]) -> str:
  """The folder of a network that is trained as asked, but for the settings `changed`.

  Raises:
    BiasjaxError: a mistake in the settings, or something cannot be read or written.
  """
  settings = training.parse({**(asked["train"] or {}), **changed})
  to_train = {**asked, "seed": seed, "batch_size": training.rows(asked["batch_size"]), "init": None}
  return str(training.train(settings, source, to_train)[0])


def _shortened(train: Mapping[str, Any], times: int) -> dict[str, Any]:
  """The length of a training that is so many times shorter, one step at least, and of its warm-up."""
  length = {name: train.get(name, getattr(training.Training, name)) for name in LENGTHS}
  shorter = {"steps": max(1, round(length["steps"] / times))} if length["steps"] else {}
  return {"epochs": length["epochs"] / times, "warmup_epochs": length["warmup_epochs"] / times, **shorter}


def _points(asked: Mapping[str, Any], by: str, on: str, named: Mapping[str, Sequence[str]]) -> np.ndarray:
  """(error, gap between the groups) of each recipe, means over its networks, float [recipes, 2]."""
  store = Store(asked["workdir"])
  divided = grouping.grouped(store, by, grouping.annotated(asked))
  if on not in divided:
    raise BiasjaxError(f"--config: sweep.grid.on: accuracy on {on} is not measured, or not by {by}")
  of_groups = groups.tables(store, {on: divided[on]}, [grouping.ACCURACY])[0]
  right = of_groups.assign(right=of_groups["accuracy"] * of_groups["n"])
  # Of all conditions, where there are several.
  by_group = right.groupby(["model", "group"])[["right", "n"]].sum()
  whole = by_group.groupby("model").sum()
  accuracy = (by_group["right"] / by_group["n"]).groupby("model")
  error, gap = 100 - whole["right"] / whole["n"], accuracy.max() - accuracy.min()
  return np.array([[error[list(names)].mean(), gap[list(names)].mean()] for names in named.values()])


def _rows(
  rung: int, names: list[str], points: np.ndarray, kept: Sequence[int], diverged: list[str]
) -> pd.DataFrame:
  points = np.concatenate([points, np.full((len(diverged), 2), np.nan)])
  return pd.DataFrame(
    {
      "rung": rung,
      "recipe": [*names, *diverged],
      "error": points[:, 0],
      "disparity": points[:, 1],
      "layer": pareto.layers(points),
      "kept": [at in kept for at in range(len(points))],
    }
  )


def text(table: pd.DataFrame) -> str:
  """The last rung, best first, as a table for a terminal."""
  last = table[table["kept"] & (table["rung"] == table["rung"].max())].sort_values(["layer", "error"])
  lines = [["recipe", "error, %", "gap, points", "on the front"]]
  lines += [
    [str(row.recipe), f"{row.error:.1f}", f"{row.disparity:.1f}", "yes" if row.layer == 0 else "no"]
    for row in last.itertuples()
  ]
  return f"{len(last)} of {int((table['rung'] == 0).sum())} recipes are left\n{aligned(lines)}"
