"""The figures of a study, drawn in several processes.

Imports no matplotlib, so that these start at once.
"""

import contextlib
import pathlib
import pickle
import subprocess
import sys
import tempfile
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
    self._folder = tempfile.TemporaryDirectory(prefix="biasjax-")
    count = count if count > 1 else 0
    self._started = [_start(first, count) for first in range(count)]
    self._parts: list[bool | None] = []

  def __enter__(self) -> "Drawers":
    return self

  def __exit__(self, *_: object) -> None:
    for process, asked, said in self._started:
      process.kill()
      process.wait()
      said.close()
      with contextlib.suppress(BrokenPipeError):
        asked.close()
    self._folder.cleanup()

  def measured(self, study: Study, folder: pathlib.Path) -> None:
    """Has the figures begun that need no more than what `analysis.analyse` tells before what takes long."""
    self._ask(study, folder, related=False)

  def begin(self, study: Study, folder: pathlib.Path) -> Callable[[], list["Kept"]]:
    """Has the figures drawn; what is returned waits for them, and raises what `draw.draw` raises."""
    self._ask(study, folder, related=True if self._parts else None)
    for drawer in self._started:
      with contextlib.suppress(BrokenPipeError):
        drawer.asked.close()

    def drawn() -> list["Kept"]:
      from biasjax.report import draw

      if not self._started:
        return draw.draw(study, folder)
      found: dict[int, Kept] = {}
      for first, drawer in enumerate(self._started):
        answer = _answer(drawer)
        for related in () if answer else self._parts:  # here, if the process has died
          answer |= draw.share(study, folder, first, len(self._started), related)
        found |= answer
      return [found[at] for at in sorted(found)]

    return drawn

  def _ask(self, study: Study, folder: pathlib.Path, related: bool | None) -> None:
    self._parts.append(related)
    # In a file: what is more than a pipe holds would wait until the processes have started.
    path = pathlib.Path(self._folder.name) / f"{related}.pickle"
    path.write_bytes(pickle.dumps((study, folder, related)) if self._started else b"")
    for drawer in self._started:
      with contextlib.suppress(BrokenPipeError):
        drawer.asked.write(f"{path}\n".encode())
        drawer.asked.flush()


def _start(first: int, step: int) -> _Drawer:
  pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
  pipes |= {"env": processes.environment(), "start_new_session": True}
  process = subprocess.Popen([sys.executable, "-m", __name__, str(first), str(step)], **pipes)
  assert process.stdin is not None
  assert process.stdout is not None
  return _Drawer(process, process.stdin, process.stdout)


def _answer(drawer: _Drawer) -> dict[int, "Kept"]:
  """What a drawer has drawn; nothing if it ended without a word.

  Raises:
    Exception: what it raised.
  """
  said = drawer.said.read()
  found = pickle.loads(said) if drawer.process.wait() == 0 and said else {}
  if isinstance(found, Exception):
    raise found
  return found


def main() -> None:
  """Reads what to draw, draws it, and writes what the page needs of it, or what went wrong."""
  # Before there is anything to draw.
  from biasjax.report import draw

  first, step = map(int, sys.argv[1:])
  said: dict[int, Kept] | Exception = {}
  try:
    for path in sys.stdin:
      study, folder, related = pickle.loads(pathlib.Path(path.rstrip("\n")).read_bytes())
      said |= draw.share(study, folder, first, step, related)
  except Exception as error:  # whatever it is, it is raised there
    said = error
  with contextlib.suppress(BrokenPipeError):
    pickle.dump(said, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
  main()
