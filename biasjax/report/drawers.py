"""The figures of a study, drawn in several processes.

Imports no matplotlib, so that these start at once.
"""

import contextlib
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from biasjax import processes
from biasjax.study.analysis import Study

if TYPE_CHECKING:
  from biasjax.report.drawing import Kept


class _Drawer(NamedTuple):
  process: subprocess.Popen
  asked: IO[bytes]
  said: IO[bytes]


class Drawers:
  """Processes that draw a study's figures between them, started before there is a study.

  Figures do not depend on how many there are. They end with this process, whatever ends it, and a Ctrl-C in
  the terminal is none of theirs.

  Args:
    count: how many; for one none is started, and the figures are drawn here.
  """

  def __init__(self, count: int):
    self._started = [_start() for _ in range(count if count > 1 else 0)]

  def __enter__(self) -> "Drawers":
    return self

  def __exit__(self, *_: object) -> None:
    for process, asked, said in self._started:
      process.kill()
      process.wait()
      said.close()
      with contextlib.suppress(BrokenPipeError):
        asked.close()

  def begin(self, study: Study, folder: pathlib.Path) -> Callable[[], list["Kept"]]:
    """Has the figures drawn; what is returned waits for them, and raises what `draw.draw` raises."""
    step = len(self._started)
    for first, (_, asked, _) in enumerate(self._started):
      with contextlib.suppress(BrokenPipeError), asked:
        pickle.dump((study, folder, first, step), asked)

    def drawn() -> list["Kept"]:
      from biasjax.report import draw

      if not step:
        return draw.draw(study, folder)
      found: list[Kept | None] = [None] * len(draw.makers(study))
      for first, drawer in enumerate(self._started):
        # Here, if the process has died.
        found[first::step] = _answer(drawer) or draw.share(study, folder, first, step)
      return [kept for kept in found if kept]

    return drawn


def _start() -> _Drawer:
  pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
  pipes |= {"env": processes.environment(), "start_new_session": True}
  process = subprocess.Popen([sys.executable, "-m", __name__], **pipes)
  assert process.stdin is not None
  assert process.stdout is not None
  return _Drawer(process, process.stdin, process.stdout)


def _answer(drawer: _Drawer) -> list["Kept | None"]:
  """What a drawer has drawn; nothing if it ended without a word.

  Raises:
    Exception: what it raised.
  """
  said = drawer.said.read()
  found = pickle.loads(said) if drawer.process.wait() == 0 and said else []
  if isinstance(found, Exception):
    raise found
  return found


def main() -> None:
  """Reads what to draw, draws it, and writes what the page needs of it, or what went wrong."""
  # Before there is anything to draw.
  from biasjax.report import draw

  try:
    study, folder, first, step = pickle.load(sys.stdin.buffer)
  except EOFError:
    return
  try:
    said = draw.share(study, folder, first, step)
  except Exception as error:  # whatever it is, it is raised there
    said = error
  with contextlib.suppress(BrokenPipeError):
    pickle.dump(said, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
  main()
