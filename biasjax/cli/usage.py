"""The page that --help prints: flags in groups, a line each, with their defaults."""

import textwrap
from collections.abc import Mapping, Sequence

from absl import flags

from biasjax.messages import as_called
from biasjax.version import __version__

WIDTH = 100
TEXT_AT = 32  # the column in which texts begin
REPEATED = ";\n    repeat this option"  # absl's, after the text of a flag that may be given several times


def page(values: flags.FlagValues, heading: str, groups: Mapping[str, Sequence[str]]) -> str:
  """The whole page.

  Args:
    values: the flags, which bring their defaults and texts.
    heading: what stands on top, with examples.
    groups: title -> rows, each the name of a flag, or of some that share the first one's text.
  """
  lines = [heading.strip(), "", "Flags stand here with their defaults; nothing after = is not set."]
  for title, rows in groups.items():
    lines.append(f"{title}:")
    for row in rows:
      named = row.split()
      left = "  " + " ".join(f"--{name}={_default(values[name])}" for name in named)
      indent = " " * TEXT_AT
      said, _, _ = str(values[named[0]].help).partition(REPEATED)
      text = textwrap.fill(said, WIDTH - TEXT_AT)
      text = textwrap.indent(text, indent)
      fits = len(left) < TEXT_AT - 1
      lines.append(left + text[len(left) :] if fits else f"{left}  {text.lstrip()}")
  return "\n".join(lines)


def show(text: str) -> None:
  """Prints `text` with commands as they are called."""
  print(as_called(text), flush=True)


def version() -> None:
  """Prints what --version asks for."""
  print(f"biasjax {__version__}", flush=True)


def _default(flag: flags.Flag) -> str:
  if isinstance(flag.default, list):
    return ",".join(flag.default)
  if isinstance(flag.default, bool):
    return str(flag.default).lower()
  return "" if flag.default is None else str(flag.default)
