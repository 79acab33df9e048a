"""The one exception type for mistakes that a user can mend, and what to say of a misspelt name."""

import difflib
from collections.abc import Iterable, Sequence


class BiasjaxError(Exception):
  """Something a user can put right: a file, a name, a flag, a dataset.

  The message is one line that says what is wrong, where, and what to do. Commands print it without a
  traceback and exit with status 1; any other exception is a defect of biasjax and keeps its traceback.
  """


def suggestion(name: str, known: Iterable[str], *, most: int = 1, otherwise: str = "") -> str:
  """What to say of a name that is none of those known: "did you mean X?", or what there is.

  Args:
    name: as written.
    known: the names there are.
    most: how many near ones are named.
    otherwise: said where none is near; by default all that are known.
  """
  known = list(known)
  near = difflib.get_close_matches(name, known, n=most)
  if near:
    return f"did you mean {' or '.join(near)}?"
  return otherwise or f"there are {', '.join(known)}"


def not_cut_at_commas(header: Sequence[str]) -> str:
  """What to say of a CSV's header in which other characters than commas part the names; "" of any other."""
  for character, called in ((";", "semicolons"), ("\t", "tabs")):
    if len(header) == 1 and character in header[0]:
      return f"its columns are parted by {called}: save it with commas, and with points in numbers"
  return ""
