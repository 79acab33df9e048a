"""What a process settles before it computes: who it is, how XLA is set, where its log goes, when it stops.

Nothing here imports JAX before it has to: options of XLA must be set first.
"""

import contextlib
import importlib.metadata
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Iterator, Mapping

from biasjax.engine.schedule import Worker
from biasjax.errors import BiasjaxError
from biasjax.messages import as_called

logger = logging.getLogger(__name__)

# Options that make a CPU faster, for the jaxlib versions they were measured with: another version may not
# know an option, and XLA aborts on those. docs/performance.md has the figures.
CPU_OPTIONS = {
  "0.10.2": "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution,-individual_dot",
}
INTERRUPTED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: start again


def tune_cpu(environment: dict[str, str] | os._Environ = os.environ) -> str:
  """Adds what is known to make CPUs faster to XLA_FLAGS, unless the user has set the same option.

  Returns:
    what was added, "" if nothing. GPUs and TPUs do not read these options.
  """
  options = CPU_OPTIONS.get(importlib.metadata.version("jaxlib"), "")
  given = environment.get("XLA_FLAGS", "")
  if not options or options.partition("=")[0] in given:
    return ""
  environment["XLA_FLAGS"] = f"{given} {options}".strip()
  return options


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
  """Whether this process is one of several that SLURM or a TPU pod has started together."""
  slurm = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
  tpu_hosts = environment.get("TPU_WORKER_HOSTNAMES", "")
  return ("SLURM_PROCID" in environment and int(slurm) > 1) or "," in tpu_hosts


def join(
  distributed: bool | None, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Worker:
  """Who this process is among those of one job that run together.

  They meet once, tell each other their numbers, and part: after this none of them depends on another one's
  being alive (a coordination service that stayed would abort all of them when one dies).

  Args:
    distributed: None to find out from the environment.
    coordinator: address and port of process 0; None where SLURM or the TPU pod tells.
    num_processes: likewise.
    process_id: likewise.

  Raises:
    BiasjaxError: they do not meet within five minutes, or it cannot be told who takes part.
  """
  if distributed is None:
    distributed = coordinator is not None or on_cluster()
  if not distributed:
    return Worker()
  import jax

  try:
    jax.distributed.initialize(coordinator, num_processes, process_id)
    jax.local_devices()  # backends are made while the processes can still exchange addresses
    worker = Worker(jax.process_index(), jax.process_count(), helps=True)
    jax.distributed.shutdown()
  except (RuntimeError, ValueError) as error:
    raise BiasjaxError(
      f"the processes of this job did not meet: {' '.join(str(error).split())}: name "
      "--coordinator=HOST:PORT, --num_processes and --process_id, or divide the work with --shard"
    ) from error
  return worker


class Stopping:
  """Whether SIGTERM or SIGINT has come; the chunk in hand is finished first. A second one stops at once."""

  def __init__(self):
    self.told = False

  def __call__(self) -> bool:
    """Whether it has come."""
    return self.told

  def _handle(self, number: int, frame) -> None:
    del frame
    if self.told:
      raise KeyboardInterrupt
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
