"""What a process settles before it computes: who it is, how XLA is set, where its log goes, when it stops.

Nothing here imports JAX before it has to: options of XLA must be set first.
"""

import contextlib
import hashlib
import logging
import math
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from biasjax import processes
from biasjax.engine import cluster
from biasjax.engine.schedule import Worker
from biasjax.errors import BiasjaxError
from biasjax.messages import as_called, warn

logger = logging.getLogger(__name__)

# What makes XLA read its options, in a process of its own: it aborts on those that it does not know.
PARSE_FLAGS = "from jaxlib import xla_client; xla_client.make_cpu_client()"
MEETING_S = 300.0
NOT_MET = "the processes of this job did not meet"
INSTEAD = "name --coordinator=HOST:PORT, --num_processes and --process_id, or divide the work with --shard"
MOST_SAID = 300  # characters of another library's reason


def import_jax(*, tune: bool = True) -> None:
  """Imports JAX; `tune` says whether programs on CPUs get options of XLA (`biasjax/compiling.py`).

  Raises:
    BiasjaxError: JAX cannot be imported, or XLA does not know an option: it would abort the process.
  """
  given = os.environ.get("XLA_FLAGS", "").strip()
  if given and "jax" not in sys.modules:
    tried = subprocess.run([sys.executable, "-c", PARSE_FLAGS], capture_output=True, text=True, check=False)
    fatal = [line.partition("] ")[2] for line in tried.stderr.splitlines() if re.match(r"F\d{4} ", line)]
    if tried.returncode and fatal:
      raise BiasjaxError(f"XLA does not start with XLA_FLAGS={given!r}: {fatal[0]}: mend or unset it")
  try:
    import jax  # noqa: F401

    from biasjax import compiling
  except Exception as error:  # whatever an installation or a variable of the environment leads to
    raise BiasjaxError(f"JAX cannot be imported: {_reason(error)}{_settings()}") from error
  compiling.settle(tune=tune)


def devices(environment: Mapping[str, str] = os.environ) -> list[Any]:
  """The devices of this process, JAX being started on them: of the GPUs that it sees, those that are its own.

  Raises:
    BiasjaxError: it does not start.
  """
  import jax

  own = cluster.own_gpus(environment)  # whatever JAX took from SLURM, one for a task
  given = environment.get("JAX_LOCAL_DEVICE_IDS") or environment.get("JAX_CUDA_VISIBLE_DEVICES")
  try:
    for option in ("jax_cuda_visible_devices", "jax_rocm_visible_devices") if own and not given else ():
      jax.config.update(option, own)
    return jax.local_devices()
  except Exception as error:  # plugins of devices raise what they like; JAX asserts where there is none
    named = environment.get("JAX_PLATFORMS")
    hint = f": JAX_PLATFORMS={named} says what it may use: unset it, or install JAX for that"
    raise BiasjaxError(f"JAX does not start: {_reason(error)}{hint if named else _settings()}") from error


def _reason(error: Exception) -> str:
  # What JAX adds in brackets is said by `_settings`.
  text = re.sub(r" \((set JAX_PLATFORMS=|you may need to).*?\)$", "", " ".join(str(error).split()))
  return text[:MOST_SAID].rstrip(".") or "there is no device of the kind that is asked for"


def _settings() -> str:
  """What the user told JAX in the environment, since that is what is wrong mostly."""
  told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(("JAX_", "XLA_"))}
  if any(told.values()):
    return f": check what is set, {', '.join(f'{name}={value}' for name, value in told.items() if value)}"
  return ": check the installation of jax and jaxlib (pip install -U jax)"


def keep_programs(cache: pathlib.Path, environment: dict[str, str] | os._Environ = os.environ) -> None:
  """Lets JAX keep compiled programs for the next start, unless the user has told it where, or not to.

  They are kept apart by processor, since JAX does not tell processors of one kind apart: a program that was
  compiled for another one may stop with an illegal instruction.

  Args:
    cache: programs go into `compiled/<processor>` there; if it cannot be written, nothing is kept.
    environment: what JAX reads when it is imported.
  """
  if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(environment):
    return
  folder = cache / "compiled" / hashlib.sha256(_processor().encode()).hexdigest()[:12]
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    logger.info("compiled programs are not kept: %s", error)
    return
  if not os.access(folder, os.W_OK):
    return
  environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
  environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
  # A full disk costs time, and nothing else: JAX compiles.
  warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")


def _processor() -> str:
  """What a program for a CPU is compiled for: the instructions, and the number of cores."""
  try:
    about = pathlib.Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
  except OSError:
    about = [platform.processor()]
  instructions = [line for line in about if line.startswith(("model name", "flags", "Features", "CPU part"))]
  return "\n".join([platform.machine(), *(instructions or about), str(processes.cores())])


def parse_shard(shard: str | None) -> Worker:
  """The worker that "3/8" names: the third of eight elements of a job array.

  Raises:
    BiasjaxError: it is of another form.
  """
  if shard is None:
    return Worker()
  number, _, count = shard.partition("/")
  if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
    raise BiasjaxError(f"--shard={shard}: expected NUMBER/COUNT, 1/8 to 8/8 for eight shards")
  return Worker(int(number) - 1, int(count))


def on_cluster(environment: Mapping[str, str] = os.environ) -> bool:
  """Whether this process is one of several that SLURM, torchrun or a TPU pod has started together."""
  return cluster.task(environment) is not None or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def join(
  distributed: bool | None, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Worker:
  """Who this process is among those of one job that run together.

  They meet once, tell each other their numbers, and part: after this none of them depends on another one's
  being alive (a coordination service that stayed would abort all of them when one dies). Where they do not
  meet within `MEETING_S`, the process ends here, with one line and status 1.

  Args:
    distributed: None to find out from the environment.
    coordinator: address and port of process 0; None where SLURM, torchrun or the TPU pod tells.
    num_processes: likewise.
    process_id: likewise.

  Raises:
    BiasjaxError: they cannot meet, it cannot be told who takes part, or SLURM has room for several processes
      and srun did not start them.
  """
  lonely = cluster.started_by_nobody()
  if distributed is not False and coordinator is None and lonely:
    raise BiasjaxError(
      f"this job has {lonely}, but only this process was started: put srun before the command, or add "
      "--nodistributed to work in one process"
    )
  if distributed is None:
    distributed = coordinator is not None or on_cluster()
  if not distributed:
    return Worker()
  task = cluster.task()
  if task and coordinator is None:
    coordinator, num_processes, process_id = task.coordinator, task.count, task.rank
  local = task.local if task and task.coordinator else None
  met: list[Worker | Exception] = []

  def meet() -> None:
    try:
      met.append(_meet(coordinator, num_processes, process_id, local))
    except Exception as error:  # raised below, where it is waited for
      met.append(error)

  # Beside the thread that Ctrl-C interrupts, and that sees to it that the process ends in time: what is too
  # late for JAX' service aborts with a trace of its stack.
  meeting = threading.Thread(target=meet, daemon=True)
  meeting.start()
  meeting.join(MEETING_S)
  if not met:
    warn(
      f"error: {NOT_MET}: not all of them were there within {MEETING_S / 60:g} minutes: see how the others "
      f"ended, or {INSTEAD}"
    )
    sys.stdout.flush()
    os._exit(1)  # what JAX does at an orderly end would wait for them, too
  (found,) = met
  if isinstance(found, (RuntimeError, ValueError)):
    raise BiasjaxError(f"{NOT_MET}: {' '.join(str(found).split())}: {INSTEAD}") from found
  if isinstance(found, Exception):
    raise found
  return found


def _meet(coordinator: str | None, count: int | None, rank: int | None, local: int | None) -> Worker:
  import jax

  late = math.ceil(10 * MEETING_S)  # this process has ended by then
  jax.distributed.initialize(
    *(coordinator, count, rank, local), initialization_timeout=late, heartbeat_timeout_seconds=late
  )
  devices()  # backends are made while the processes can still exchange addresses
  worker = Worker(jax.process_index(), jax.process_count(), helps=True)
  jax.distributed.shutdown()
  return worker


class Stopping:
  """Whether SIGTERM or SIGINT has come; the chunk in hand is finished first. A second one stops at once.

  Args:
    at_once: () -> never returns. An exception would not do: where it is raised in a callback of the garbage
      collector, such as JAX has, Python prints it and goes on.
  """

  def __init__(self, at_once: Callable[[], NoReturn]):
    self.told = False
    self._at_once = at_once

  def __call__(self) -> bool:
    """Whether it has come."""
    return self.told

  def _handle(self, number: int, frame) -> None:
    del frame
    if self.told:
      self._at_once()
    self.told = True
    logger.warning(
      "%s: stopping after the chunk in hand; once more to stop at once", signal.Signals(number).name
    )

  @contextlib.contextmanager
  def listening(self) -> Iterator["Stopping"]:
    """Listens inside the block."""
    before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
      yield self
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def log_to(workdir: str, worker: Worker) -> None:
  """Appends the log of this process to `<workdir>/log-<rank>-of-<count>.txt`, a line a chunk.

  To stderr go warnings, with the rank where there are several processes. A bucket holds no log: there stderr
  gets everything.
  """
  rank = f"[{worker.rank}/{worker.count}] " if worker.count > 1 else ""
  line = logging.Formatter(f"%(asctime)s %(levelname)s {rank}%(message)s")
  terminal = logging.StreamHandler(sys.stderr)
  terminal.setFormatter(logging.Formatter(as_called(f"run.py: {rank}%(message)s")))
  terminal.setLevel(logging.WARNING)
  handlers: list[logging.Handler] = [terminal]
  if "://" in workdir:
    terminal.setLevel(logging.INFO)
  else:
    path = pathlib.Path(workdir).expanduser() / f"log-{worker.rank}-of-{worker.count}.txt"
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      handlers.append(logging.FileHandler(path, encoding="utf-8"))
    except OSError as error:
      raise BiasjaxError(f"cannot write {path}: {error}; name another --workdir") from error
    handlers[-1].setFormatter(line)
  ours = logging.getLogger("biasjax")
  ours.setLevel(logging.INFO)
  ours.propagate = False
  for handler in list(ours.handlers):
    ours.removeHandler(handler)
    handler.close()
  for handler in handlers:
    ours.addHandler(handler)
  captured = logging.getLogger("py.warnings")  # libraries' words to programmers; see cli/starting.py
  for handler in handlers[1:]:
    captured.addHandler(handler)
