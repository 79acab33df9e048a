"""What is known of examples beside their class, from a CSV: `--annotations=FILE`.

A row for each example, the column `example_id` as tables have it, and any of `COLUMNS`: the `bias` (the
class, or the name, of a cue that goes with the class), a `weight`, the `domain` it comes from, the `group` it
belongs to. Further columns are read for who asks for them, and are no part of the fingerprint.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from biasjax.data import rows as csv_rows
from biasjax.errors import BiasjaxError

ID = "example_id"
COLUMNS = ("bias", "weight", "domain", "group")


@dataclasses.dataclass(frozen=True)
class Annotations:
  """What a file says of examples.

  Attributes:
    path: of the file, for messages.
    ids: the examples, in the file's order.
    columns: those of `COLUMNS` that the file has, [n] each: `weight` float64, finite and from 0; the others
      str, none of them empty.
    further: the file's other columns, str as they are.
  """

  path: str
  ids: tuple[str, ...]
  columns: Mapping[str, np.ndarray]
  further: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def fingerprint(self) -> str:
    """SHA-256 of ids and columns; equal for equal rows, in whatever order the file has them."""
    names = sorted(self.columns)
    texts = {name: list(map(str, self.columns[name])) for name in names}
    rows = sorted("\0".join([one, *(texts[name][i] for name in names)]) for i, one in enumerate(self.ids))
    return hashlib.sha256("\n".join(["\0".join(names), *rows]).encode()).hexdigest()

  def need(self, names: Sequence[str], what: str) -> None:
    """Raises BiasjaxError where a column that `what` needs is not in the file."""
    lacking = [name for name in names if name not in self.columns]
    if lacking:
      raise BiasjaxError(f"--annotations={self.path} has no column {lacking[0]!r}, which {what} needs")

  def of(self, ids: Sequence[str], where: str, *, part: bool = False) -> "Annotations":
    """The same for these examples, in their order.

    Args:
      ids: of the examples of a dataset.
      where: the dataset, for messages.
      part: whether these may be only some of those that the file has, as with --limit.

    Raises:
      BiasjaxError: an example is not annotated, or (unless `part`) one is that the dataset does not have.
    """
    at = {one: i for i, one in enumerate(self.ids)}
    missing = [one for one in ids if one not in at]
    if missing:
      raise BiasjaxError(
        f"--annotations={self.path} has no row for {len(missing)} of {len(ids)} examples of {where}, "
        f"e.g. {missing[0]}: annotate every one"
      )
    more = [] if part else sorted(set(at).difference(ids))
    if more:
      raise BiasjaxError(
        f"--annotations={self.path} has rows for {len(more)} example(s) that {where} does not have, e.g. "
        f"{more[0]}: is it the file of another dataset?"
      )
    order = [at[one] for one in ids]
    parts = ({name: of[order] for name, of in each.items()} for each in (self.columns, self.further))
    return Annotations(self.path, tuple(ids), *parts)


def read(path: str) -> Annotations:
  """What a file says.

  Raises:
    BiasjaxError: as in `rows.read`; or it has no `example_id` or none of `COLUMNS`, names an example twice,
      or a field is empty, NaN, or no number from 0 where it is a weight.
  """
  where = f"--annotations={path}"
  named, rows = csv_rows.read(path, where)
  if ID not in named or not set(named) & set(COLUMNS):
    raise BiasjaxError(f"{where} needs the column {ID} and any of {', '.join(COLUMNS)}; it has {list(named)}")
  if not rows:
    raise BiasjaxError(f"{where} has no rows")
  texts = {name: [row[name].strip() for row in rows] for name in (ID, *COLUMNS) if name in named}
  for name, column in texts.items():
    missing = next((at for at, text in enumerate(column) if text.lower() in ("", "nan")), None)
    if missing is not None:
      what = f"is {column[missing]}, no value" if column[missing] else "is empty"
      raise BiasjaxError(f"{where}: {name} of row {missing + 1} ({texts[ID][missing]}) {what}")
  ids = texts.pop(ID)
  if len(set(ids)) < len(ids):
    seen: set[str] = set()
    repeated = next(one for one in ids if one in seen or seen.add(one))
    raise BiasjaxError(f"{where}: {repeated} is on two rows: keep one of them")
  columns: dict[str, np.ndarray] = {name: np.array(column) for name, column in texts.items()}
  if "weight" in columns:
    columns["weight"] = _weights(where, ids, texts["weight"])
  others = [name for name in named if name not in (ID, *COLUMNS)]
  further = {name: np.array([row[name].strip() for row in rows]) for name in others}
  return Annotations(path, tuple(ids), columns, further)


def _weights(where: str, ids: Sequence[str], texts: Sequence[str]) -> np.ndarray:
  found = np.empty(len(texts))
  for at, text in enumerate(texts):
    try:
      found[at] = float(text)
    except ValueError:
      found[at] = np.nan
    if not 0 <= found[at] < np.inf:
      raise BiasjaxError(f"{where}: weight of {ids[at]} is {text!r}; expected a number from 0")
  return found


def codes(column: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
  """(int32 [n], the values that the codes stand for), whole numbers by size and other values by name."""
  values = np.unique(column)
  if all(value.isdecimal() for value in values):
    values = np.array(sorted(values, key=lambda value: (int(value), value)))
  at = {value: i for i, value in enumerate(values)}
  return np.array([at[value] for value in column], np.int32), tuple(map(str, values))
