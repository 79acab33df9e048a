"""Families of networks along an intervention's strength, or data's: trained, measured, studied as series."""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from biasjax.cli import commands, exits, sweeping
from biasjax.configuration import load
from biasjax.data import opening
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.report import command as report
from biasjax.results.store import write_file
from biasjax.study import definitions
from biasjax.train import command as training
from biasjax.train import interventions
from biasjax.train.loop import DivergedError

BASELINE = "baseline"  # strength 0, which all families share
FAMILY = ("name", "interventions", "strengths", "baseline", "dataset", "annotations", "factor")
SWEPT = ("interventions", "dataset", "annotations")
SETTINGS = ("dataset", "seeds", "families", "measure")
PLACE = "{strength}"
DIGITS = 15  # of a strength at most: all that a float has, and 1281167 images are not 1.28117e+06


@dataclasses.dataclass(frozen=True)
class Member:
  """One network of a sweep.

  Attributes:
    name: "<family>_x<strength>_seed<seed>", or "baseline_seed<seed>".
    family: which intervention is swept.
    interventions: the spec it is trained under.
    seed: of its training.
    dataset: that it is trained on.
    annotations: of its examples; None for none.
  """

  name: str
  family: str
  interventions: str
  seed: int
  dataset: str
  annotations: str | None = None


def members(asked: Mapping[str, Any]) -> list[Member]:
  """The networks of the section `sweep` of a config; strength 0 is trained once for all families.

  Args:
    asked: `dataset` to train on, `seeds`, and `families`, each with a `name`, `interventions` (a spec),
      `strengths`, and maybe `baseline`, the spec at strength 0, a `dataset` and `annotations` of its own, and
      `factor`, what the strength is called. "{strength}" stands in one of spec, dataset and annotations.

  Raises:
    BiasjaxError: something is missing or of another form.
  """
  sweeping.check(asked, SETTINGS)
  families = asked["families"]
  sweeping.need("sweep.families", families, sweeping.listed(families, Mapping), "families, a list of them")
  found: dict[str, Member] = {}
  named: set[str] = set()
  for family in families:
    sweeping.refuse_unknown("sweep.families", family, FAMILY)
    texts = {key: family.get(key, asked.get(key)) for key in SWEPT}
    for key, text in {**family, **texts}.items():
      sweeping.need(
        f"sweep.families: {key}", text, key == "strengths" or isinstance(text, str | None), "a text"
      )
    lacking = [key for key in ("name", "interventions", "strengths") if not family.get(key)]
    if lacking or not any(PLACE in text for text in texts.values() if text):
      raise BiasjaxError(
        f"--config: sweep.families: {family!r} needs name, strengths, and interventions with {PLACE} in it"
      )
    if family["name"] in (*named, BASELINE):
      raise BiasjaxError(f"--config: sweep.families: another one is called {family['name']!r}")
    named.add(family["name"])
    strengths = family["strengths"]
    numbers = isinstance(strengths, (list, tuple)) and all(map(definitions.is_number, strengths))
    sweeping.need(f"sweep.families: strengths of {family['name']}", strengths, numbers, "numbers, a list")
    for strength in family["strengths"]:
      for seed in asked["seeds"]:
        said = f"{strength:.{DIGITS}g}"
        of = {key: text and text.replace(PLACE, said) for key, text in texts.items()}
        one = Member(name=f"{family['name']}_x{said}_seed{seed}", family=family["name"], seed=seed, **of)
        if not strength:
          plain = {"family": BASELINE, "interventions": family.get("baseline", "none"), "annotations": None}
          one = dataclasses.replace(one, name=f"{BASELINE}_seed{seed}", **plain)
        if found.setdefault(one.name, one) != one:
          raise BiasjaxError(f"--config: sweep.families: {one.name} is trained in two ways")
  return list(found.values())


def series(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The series of a study along each family, strength 0 included."""
  return [
    {
      "name": family["name"],
      "pattern": rf"{re.escape(family['name'])}_x(?P<x>[\d.e+-]+)_seed\d+",
      "factor": family.get("factor", f"strength of {family['name']}"),
      "extra": [[f"{BASELINE}_seed{seed}", 0.0] for seed in asked["seeds"] if 0 in family["strengths"]],
    }
    for family in asked["families"]
  ]


def _overruled(train: Mapping[str, Any], planned: Sequence[Member]) -> None:
  """Says that no network is trained under the interventions of the section `train`, where they are some."""
  given = train.get("interventions", interventions.NONE)
  if given != interventions.NONE and all(given not in member.interventions for member in planned):
    warn(
      f"note: train.interventions is {given!r}, and no network of this sweep is trained under it: families "
      "say what theirs are"
    )


def run(asked: Mapping[str, Any]) -> int:
  """Trains what is not trained yet, measures it, and writes the study; returns the exit status.

  A network whose training diverges is left out, which is said: the others are measured and studied.

  Args:
    asked: what `train.command.run`, `commands.measure` and `report.command.run` need, and `sweep`, see
      `members`; `measure` there is a list of {"probes", "dataset"}, measured in turn.

  Raises:
    BiasjaxError: a mistake in what was asked, something cannot be read or written, or all diverge.
  """
  planned = members(asked["sweep"])
  opened = functools.cache(lambda spec: opening.open_asked(spec, asked))
  workdir = epath.Path(asked["workdir"])
  defined = asked["study"] or load("study").get_config().to_dict()["study"]
  study = {**defined, "series": series(asked["sweep"]), "certificates": str(workdir / "models")}
  # What is wrong with the last of them is not to be found after the others are trained.
  definitions.parse(study)
  sweeping.names(asked["train"] or {})
  _overruled(asked["train"] or {}, planned)
  to_train = []
  for member in planned:
    own = {"name": member.name, "interventions": member.interventions}
    settings = training.parse({**(asked["train"] or {}), **own})
    more = {"seed": member.seed, "batch_size": training.rows(asked["batch_size"]), "init": None}
    more["annotations"] = member.annotations or asked.get("annotations")
    to_train.append((settings, opened(member.dataset), {**asked, **more}))
    training.ready(*to_train[-1])
  sweeping.measured(asked)
  folders: dict[str, str] = {}
  for at, (member, training_of) in enumerate(zip(planned, to_train, strict=True), 1):
    print(f"{at}/{len(planned)}: {member.name}, {member.interventions}", flush=True)
    try:
      folders[member.name] = str(training.train(*training_of)[0])
    except DivergedError as error:  # as the strongest of a family may; the others go on
      warn(f"note: {member.name} is left out: {error}")
  if not folders:
    raise BiasjaxError("sweep: no network is left: the loss of each was not finite")
  excluded = 0  # or that images were, which does not change when it is started again
  for part in asked["sweep"]["measure"]:
    status = commands.measure({**asked, "models": [*folders.values()], **part})
    if status not in (0, exits.UNDECODABLE):
      return status
    excluded = excluded or status
  categories: dict[str, list[str]] = {}
  for member in planned:
    if member.name in folders:
      categories.setdefault(member.family, []).append(member.name)
  path = workdir / "categories.json"
  write_file(path, (json.dumps(categories, indent=1) + "\n").encode())
  table = {"table": str(workdir / "results.csv"), "categories": str(path), "compare": None}
  status = report.run({**asked, **table, "output": str(workdir / "study"), "study": study}) or excluded
  lost = [member.name for member in planned if member.name not in folders]
  if lost:
    warn(f"{len(lost)} of {len(planned)} networks are left out, which diverged: {', '.join(lost)}")
  return exits.INCOMPLETE if lost else status
