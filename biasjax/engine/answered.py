"""A network whose answers are stored: it is looked up instead of being computed."""

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from biasjax.data import pipeline
from biasjax.data.sources import Source
from biasjax.engine import stimuli
from biasjax.errors import BiasjaxError
from biasjax.probes import chance
from biasjax.probes.base import Probe
from biasjax.recorded.answers import OBSERVED, Answers, Group
from biasjax.results.unit import ANSWERS

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Answered:
  """Stored answers, as a pass wants a network (`evaluate.Network`).

  Attributes:
    name: as it appears in tables.
    answers: what the file holds.
  """

  name: str
  answers: Answers

  variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  certificate: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def classes(self) -> int | None:
    """How many logits there are; None where decisions are stored."""
    return self.answers.classes

  @property
  def size(self) -> int | None:
    """Pixels of a side of the images that were answered to; None for those of the dataset."""
    return self.answers.size

  @property
  def fingerprint(self) -> str:
    """Changes when an answer could."""
    return f"{ANSWERS}{self.answers.sha256}"

  @property
  def architecture(self) -> str:
    """What it shares a program with: nothing."""
    return self.fingerprint

  def apply(self, variables: Any, images: Any) -> NoReturn:
    """There is nothing to be computed.

    Raises:
      BiasjaxError: always.
    """
    del variables, images
    raise BiasjaxError(f"model {self.name}: stored answers cannot be computed")

  def of(
    self, source: Source, probe: Probe, condition: str, batch: pipeline.Batch
  ) -> np.ndarray | tuple[np.ndarray, ...]:
    """The answers to a batch: logits float32 [b, classes], or the columns of `OBSERVED`, each [b].

    Where a row holds no image they are 0.

    Raises:
      BiasjaxError: an answer is missing, is to another label, or contradicts itself.
    """
    group = self.answers.to(source.name, probe.name)[0][condition]
    rows = np.flatnonzero(batch.valid)
    at = group.ids.get_indexer(pd.Index([batch.example_ids[row] for row in rows]))
    labels = batch.labels[rows]
    path = self.answers.path

    def example(wrong: np.ndarray) -> str:
      return f"{batch.example_ids[rows[np.flatnonzero(wrong)[0]]]} under {condition} ({probe.name})"

    if (at < 0).any():
      raise BiasjaxError(f"{path} holds no answer to {example(at < 0)}: answer to it too")
    if group.labels is not None and (other := group.labels[at] != labels[:, 0]).any():
      raise BiasjaxError(f"{path}: the label of {example(other)} is not {source.name}'s: it is another image")
    if isinstance(group.answers, np.ndarray):
      return _spread(group.answers[at], rows, len(batch.labels))
    found = {name: values[at] for name, values in group.answers.items()}
    most, answer = chance.numbered(source.labels), found["prediction"]
    if most is not None and (none := (answer < 0) | (answer >= most)).any():
      raise BiasjaxError(
        f"{path}: prediction of {example(none)} is {answer[none][0]}, which is none of the {most:,} classes, "
        f"0 to {most - 1}"
      )
    is_right = (labels == answer[:, None]).any(1)
    if (contradiction := (found["rank"] == 0) != is_right).any():
      raise BiasjaxError(
        f"{path}: prediction and rank of {example(contradiction)} contradict each other (rank 0 is the right "
        "class): see that classes are numbered as in docs/results.md"
      )
    return tuple(_spread(found[name], rows, len(batch.labels)) for name in OBSERVED)


def _spread(values: np.ndarray, rows: np.ndarray, length: int) -> np.ndarray:
  spread = np.zeros((length, *values.shape[1:]), values.dtype)
  spread[rows] = values
  return spread


def refuse(network: Answered, probes: Sequence[Probe], source: Source, seed: int) -> None:
  """Compares what was answered with what is asked, before anything is computed.

  Raises:
    BiasjaxError: a probe that asks step by step; no answers to a probe or a condition, or to other ones; to
      other examples, or not as many; or to other images.
  """
  path = network.answers.path
  for probe in probes:
    stimuli.refuse_adaptive(probe, f"model {network.name}")
    groups, shown = network.answers.to(source.name, probe.name)
    asked = f"{probe.name} on {source.name}"
    if not groups:
      there = [" on ".join(filter(None, (name, of))) for of, name in network.answers.groups]
      raise BiasjaxError(f"{path} holds no answers to {asked}, only to {', '.join(there[:5])}")
    for one, others, what in (
      (probe.conditions, groups, "holds no answers under"),
      (groups, probe.conditions, "holds answers under what is no condition,"),
    ):
      if lacking := [name for name in one if name not in others]:
        raise BiasjaxError(f"{path} {what} {lacking[0]} ({asked}): {len(lacking)} of {len(one)} conditions")
    if shown and shown not in {stimuli.identity(probe, source, seed, form) for form in stimuli.FORMS}:
      raise BiasjaxError(
        f"{path}: the answers to {asked} are to other images than this run shows: another --seed, dataset, "
        "--limit or preprocessing; write the stimuli of this run, or run as they were written"
      )
    if not shown:
      _say_untold(str(path), asked)
    for condition, group in groups.items():
      _refuse_other_examples(network, source, f"{condition} ({asked})", group)


@functools.cache  # once, however often it is compared
def _say_untold(path: str, asked: str) -> None:
  logger.warning(
    "%s: nothing says to which images it answers (no column stimuli): that they are those of %s with this "
    "seed is taken on trust",
    *(path, asked),
  )


def _refuse_other_examples(network: Answered, source: Source, asked: str, group: Group) -> None:
  path = network.answers.path
  many = f"{len(group.ids):,} answers for {source.length:,} images"
  if len(group.ids) > source.length:
    raise BiasjaxError(f"{path}: {asked}: {many}: run with the --limit that they were written with")
  if not source.places:  # the pass finds what is missing
    return
  at = {place.example_id: index for index, place in enumerate(source.places)}
  other = [name for name in group.ids if name not in at]
  if other:
    raise BiasjaxError(f"{path}: {asked}: {other[0]} is none of the images, one of {len(other)} such")
  answered = set(group.ids)
  for name in (name for name in at if name not in answered):  # that cannot be decoded need no answer
    try:
      pipeline.preprocessing(source)(pipeline.read(source, at[name]).encoded)
    except ValueError:
      continue
    raise BiasjaxError(f"{path}: {asked}: {many}: there is none to {name}")
