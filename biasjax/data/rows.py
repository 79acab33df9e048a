"""Small tables that people write: CSV, with a header."""

import csv
import os
import pathlib
from collections.abc import Sequence

from biasjax.errors import BiasjaxError, not_cut_at_commas


def read(path: str | os.PathLike, where: str) -> tuple[Sequence[str], list[dict[str, str]]]:
  """(the names of the columns, the rows); what a row lacks at its end is "".

  Args:
    path: of the file, UTF-8, with or without a byte order mark.
    where: what names it, for messages.

  Raises:
    BiasjaxError: it cannot be read, is no CSV, has a column twice, or a row is longer than the header: a
      decimal comma, or one in a name, would put numbers under other columns.
  """
  try:
    with pathlib.Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
      reader = csv.DictReader(file, restval="", strict=True)
      names, rows = reader.fieldnames or (), list(reader)
  except OSError as error:
    raise BiasjaxError(f"{where} cannot be read: {error.strerror}") from error
  except UnicodeDecodeError as error:
    raise BiasjaxError(f"{where} is no text in UTF-8 ({error.reason}): save it as such") from error
  except csv.Error as error:
    raise BiasjaxError(f"{where} is no CSV: {error}") from error
  if parted := not_cut_at_commas(names):
    raise BiasjaxError(f"{where}: {parted}")
  twice = [name for name in names if name and names.count(name) > 1]
  if twice:
    raise BiasjaxError(f"{where} has the column {twice[0]!r} twice: keep one")
  for at, row in enumerate(rows, 1):
    if any(row.pop(None, ())):
      first = next(iter(row.values()), "")
      raise BiasjaxError(
        f"{where}: row {at} ({first}) has more fields than the header: put quotes around a field with a "
        "comma, and a point into a number"
      )
  return names, rows
