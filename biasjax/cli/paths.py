"""Paths as people write them in flags and configs: ~ is their home, and a comma may be part of a name."""

import csv
import glob
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from biasjax.errors import BiasjaxError

# ~ or ~user at the beginning, or after NAME=, KIND: or both, as --dataset and --report_to have them.
HOME = re.compile(r"(?P<before>(?:[^=:/~]+=)?(?:[^=:/~]+:)?)(?P<home>~[^/]*)(?P<rest>/.*)?", re.DOTALL)


def expanded(value: Any) -> Any:
  """`value` with ~ and ~user expanded in every string in it that is a path there.

  Shells expand ~ only at the beginning of a word, so not in --workdir=~/out nor in a config.
  """
  if isinstance(value, str):
    match = HOME.fullmatch(value)
    if not match:
      return value
    return match["before"] + os.path.expanduser(match["home"] + (match["rest"] or ""))
  if isinstance(value, Mapping):
    return {key: expanded(each) for key, each in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(expanded(each) for each in value)
  return value


def understood(asked: Mapping[str, Any], lists: Sequence[str]) -> dict[str, Any]:
  """Flags, and sections of a config, with the paths in them as they are meant.

  Args:
    asked: flag or section -> value.
    lists: the flags that are lists separated by commas; names with commas are put together again.

  Raises:
    BiasjaxError: a ~user whom nobody knows, since that would become a folder of this name.
  """
  found = expanded(asked)
  for name, value in found.items():
    for each in value if isinstance(value, list | tuple) else [value]:
      if isinstance(each, str) and (match := HOME.fullmatch(each)):
        raise BiasjaxError(
          f"--{name}={each}: {match['home']} is nobody's home: write the path out, or ./~..."
        )
  cut = {name: [each.strip() for each in value] for name, value in found.items() if _is_list(value)}
  return found | cut | {name: joined(found[name]) for name in lists if found[name]}


def _is_list(value: Any) -> bool:
  return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


class ListParser(flags.ListParser):
  """absl's, that leaves blanks beside commas: they may be part of a path; `understood` takes others away."""

  def parse(self, argument: str | list[str]) -> list[str]:
    """The elements, cut at commas outside of quotes."""
    if isinstance(argument, list):
      return argument
    try:
      return next(csv.reader([argument], strict=True), [])
    except csv.Error as error:
      raise ValueError(f"{argument!r} cannot be cut at its commas: {error}") from error


def joined(parts: Sequence[str]) -> list[str]:
  """Elements of a list, those put together that are one path with commas in it.

  A list is cut at its commas; where a part is no path that is there and with what follows it is one, they
  were one.
  """
  found: list[str] = []
  at = 0
  while at < len(parts):
    stop = at + 1
    if not _there(parts[at].strip()):
      longer = (i for i in range(len(parts), at + 1, -1) if _there(",".join(parts[at:i]).strip()))
      stop = next(longer, stop)
    found.append(",".join(parts[at:stop]).strip())
    at = stop
  return found


def _there(spec: str) -> bool:
  """Whether a path or a pattern is there, maybe after NAME= and KIND: and before @SPLIT."""
  bare = re.sub(r"^(?:[^=:/]+=)?(?:[^=:/]+:)?(?=[./])", "", spec)
  places = {bare, re.sub(r"@[^/]*$", "", bare)}
  try:
    return any(os.path.exists(place) or glob.glob(place) for place in places)
  except ValueError:  # a null byte
    return False
