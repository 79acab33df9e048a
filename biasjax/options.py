"""Options in a name, "NAME:OPTION=VALUE:...", as probes and interventions take them."""

import inspect
from collections.abc import Callable, Sequence

from biasjax.errors import BiasjaxError, suggestion


def parse(make: Callable, given: Sequence[str], where: str, name: str) -> dict[str, str]:
  """The keyword-only arguments of `make` that `given` ("OPTION=VALUE" each) sets.

  Args:
    make: what they are for.
    given: as written.
    where: what was asked for, for messages.
    name: of what takes them, likewise.

  Raises:
    BiasjaxError: an option that `make` does not take, or one without a value.
  """
  known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
  options = {key: value for key, _, value in (option.partition("=") for option in given)}
  for option, value in options.items():
    if option not in known or not value:
      options_are = (
        f"its options are {', '.join(f'{n}=...' for n in known)}" if known else "it has no options"
      )
      hint = options_are if option in known else suggestion(option, known, otherwise=options_are)
      said = f"{option}= needs a value" if option in known else f"{name} does not take {option!r}"
      raise BiasjaxError(f"{where}: {said}: {hint}")
  return options
