"""What --models names: checkpoints, stored answers (answers:FILE), functions of JAX (MODULE:FUNCTION)."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from biasjax import convert
from biasjax.engine import given
from biasjax.engine.answered import Answered
from biasjax.engine.evaluate import Network
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.models.load import load
from biasjax.recorded import answers

ANSWERS = re.compile(r"(?:(?P<name>[^=:/]+)=)?answers:(?P<what>.+)")
FUNCTION = re.compile(r"(?:(?P<name>[^=:/]+)=)?(?P<what>[A-Za-z_][\w.]*:[A-Za-z_]\w*)")


@dataclasses.dataclass(frozen=True)
class Sorted:
  """The parts of --models.

  Attributes:
    checkpoints: specs that `convert.resolve` understands.
    others: those of answers and functions.
  """

  checkpoints: list[str]
  others: list[str]


def sort(specs: Sequence[str]) -> Sorted:
  """Which of the specs are checkpoints."""
  others = [spec for spec in specs if _other(spec)]
  return Sorted([spec for spec in specs if spec not in others], others)


def _other(spec: str) -> re.Match | None:
  return None if pathlib.Path(spec).exists() else ANSWERS.fullmatch(spec) or FUNCTION.fullmatch(spec)


def load_all(specs: Sequence[str], *, size: int, precision: str, offline: bool) -> list[Network]:
  """The networks that are named, in order.

  Args:
    specs: as --models has them.
    size: pixels of a side of the images that functions are asked about.
    precision: of the products of checkpoints' networks.
    offline: whether the network may not be used.

  Raises:
    BiasjaxError: one is not there, cannot be read, or two are called the same.
  """
  sorted_ = sort(specs)
  convert.not_fetched(sorted_.checkpoints)  # a misspelt name is found before another one is downloaded
  functions = [FUNCTION.fullmatch(spec) for spec in sorted_.others if not ANSWERS.fullmatch(spec)]
  for what in dict.fromkeys(match["what"] for match in functions if match):
    warn(f"{what} is imported and called: it runs with your rights")
  read = {spec: _answered(spec) for spec in sorted_.others if ANSWERS.fullmatch(spec)}
  found: list[Network] = []
  folders = set()
  for spec in specs:
    if spec in read:
      found.append(read[spec])
    elif spec in sorted_.others:
      found.append(_made(spec, size))
    else:
      of_spec = [folder for folder in convert.resolve([spec], offline=offline) if folder not in folders]
      folders |= set(of_spec)
      found += [load(folder, precision) for folder in of_spec]
  names = [network.name for network in found]
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise BiasjaxError(f"--models: {repeated[0]!r} is named twice; tables tell them apart by name")
  return found


def _answered(spec: str) -> Answered:
  match = ANSWERS.fullmatch(spec)
  assert match
  path = pathlib.Path(match["what"]).expanduser()
  return Answered(match["name"] or path.stem, answers.read(path))


def _made(spec: str, size: int) -> given.Given:
  match = FUNCTION.fullmatch(spec)
  assert match
  return given.made(match["what"], match["name"] or match["what"], size)
