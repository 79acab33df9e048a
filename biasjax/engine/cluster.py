"""Who a process is in a job, and which GPUs are its own, by what launchers put into the environment.

SLURM's srun, and torchrun and what speaks its language (accelerate, Kubeflow, SageMaker). No JAX here.
"""

import ctypes
import dataclasses
import os
import re
from collections.abc import Mapping

from biasjax.errors import BiasjaxError

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# What limits the GPUs that a process sees, of CUDA, and of ROCm from the ground up.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclasses.dataclass(frozen=True)
class Task:
  """One of several processes that were started together.

  Attributes:
    rank: 0 to count - 1.
    count: how many there are.
    local: its number on its node.
    beside: how many there are on its node; None if that is not known.
    coordinator: HOST:PORT where they can meet; None where JAX finds it out.
  """

  rank: int
  count: int
  local: int
  beside: int | None
  coordinator: str | None = None


def task(environment: Mapping[str, str] = os.environ) -> Task | None:
  """Which of several processes this is, by torchrun's variables, else by SLURM's; None if it is alone.

  torchrun first: under SLURM it starts several processes for each task.

  Raises:
    BiasjaxError: a variable that should be a number is none.
  """
  if all(name in environment for name in TORCHRUN):
    count = _number(environment, "WORLD_SIZE")
    # The launcher itself may be listening where its processes are to meet.
    port = _number(environment, "MASTER_PORT") + (environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True")
    beside = _number(environment, "LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in environment else None
    local = _number(environment, "LOCAL_RANK") if "LOCAL_RANK" in environment else 0
    rank, where = _number(environment, "RANK"), f"{environment['MASTER_ADDR']}:{port}"
    return Task(rank, count, local, beside, where) if count > 1 else None
  if "SLURM_PROCID" not in environment:
    return None
  known = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")
  count = next((_number(environment, name) for name in known if name in environment), 1)
  local = _number(environment, "SLURM_LOCALID") if "SLURM_LOCALID" in environment else 0
  rank = _number(environment, "SLURM_PROCID")
  return Task(rank, count, local, _on_node(environment, count)) if count > 1 else None


def started_by_nobody(environment: Mapping[str, str] = os.environ) -> str:
  """What SLURM has for several processes where srun started none of them: "4 tasks", say; "" otherwise.

  A batch script, and what it calls without srun, runs once, on the first node, with SLURM_PROCID=0.
  """
  if "SLURM_PROCID" not in environment or any(name.startswith("SLURM_STEP") for name in environment):
    return ""
  if all(name in environment for name in TORCHRUN):
    return ""
  for what, names in (
    ("tasks", ("SLURM_NTASKS", "SLURM_NPROCS")),
    ("nodes", ("SLURM_JOB_NUM_NODES", "SLURM_NNODES")),
  ):
    count = next((_number(environment, name) for name in names if name in environment), 1)
    if count > 1:
      return f"{count} {what}"
  return ""


def own_gpus(environment: Mapping[str, str] = os.environ) -> str:
  """The ordinals, among the GPUs that this process sees, of those that are its own, as JAX wants them.

  "0,1" say; "all"; or "" where JAX knows best.

  A launcher may show each task its own GPUs (srun --gpus-per-task=1) or all of a node's to all tasks there
  (--gpu-bind=none, torchrun): of the latter each takes its share.
  """
  found = task(environment)
  seen = _seen(environment)
  if found is None or seen == 0:
    return ""
  if seen is None:
    return "all" if found.beside == 1 else ""
  first, each = 0, seen
  if found.beside and found.beside > 1 and seen > 1 and _shared(environment, seen):
    each = max(1, seen // found.beside)
    first = found.local * each % seen
  return ",".join(map(str, range(first, min(first + each, seen))))


def _shared(environment: Mapping[str, str], seen: int) -> bool:
  """Whether the tasks of a node see the same GPUs, as far as SLURM says how many a task or the node has."""
  if environment.get("SLURM_GPU_BIND", "").removeprefix("verbose,").startswith("none"):
    return True
  per_task = re.search(r"(\d+)$", environment.get("SLURM_GPUS_PER_TASK", ""))  # "2", or "a100:2"
  if per_task:
    return seen > int(per_task[1])
  on_node = environment.get("SLURM_GPUS_ON_NODE", "")
  return not on_node.isdecimal() or seen >= int(on_node)


def _on_node(environment: Mapping[str, str], count: int) -> int | None:
  """How many tasks run on this node."""
  for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
    each = re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get(name, ""))  # "2(x3),1"
    counts = [int(tasks) for tasks, times in each for _ in range(int(times or 1))]
    node = environment.get("SLURM_NODEID", "0")
    if sum(counts) == count and node.isdecimal() and int(node) < len(counts):
      return counts[int(node)]
  for name in ("SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
    if environment.get(name) == "1":
      return count
  each_node = environment.get("SLURM_NTASKS_PER_NODE", "")
  return int(each_node) if each_node.isdecimal() else None


def _seen(environment: Mapping[str, str]) -> int | None:
  """How many GPUs this process sees; None if that is not known."""
  for name in VISIBLE:
    if name in environment:
      ids = [each.strip() for each in environment[name].split(",")]
      hidden = [i for i, each in enumerate(ids) if each in ("", "-1", "NoDevFiles")]  # and those after it
      return min([*hidden, len(ids)])
  try:
    cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    return count.value if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 else None
  except OSError:
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
  if not environment[name].isdecimal():
    raise BiasjaxError(f"{name}={environment[name]!r} in the environment is no number: mend or unset it")
  return int(environment[name])
