"""Who a process is and which GPUs it uses follow what its launcher shows it."""

import os
import socket
import subprocess
import sys

import pytest

import deadline
from biasjax.engine import cluster, launch
from biasjax.errors import BiasjaxError

# What srun tells task 1 of two tasks on one node; each case changes some of it.
ONE_NODE = {
  "SLURM_PROCID": "1",
  "SLURM_LOCALID": "1",
  "SLURM_NODEID": "0",
  "SLURM_STEP_NUM_TASKS": "2",
  "SLURM_NTASKS": "2",
  "SLURM_STEP_NUM_NODES": "1",
  "SLURM_STEP_TASKS_PER_NODE": "2",
  "SLURM_STEP_NODELIST": "node7",
}
TWO_NODES = ONE_NODE | {
  "SLURM_LOCALID": "0",
  "SLURM_NODEID": "1",
  "SLURM_STEP_NUM_NODES": "2",
  "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
FOUR_ON_EACH_OF_TWO = ONE_NODE | {
  "SLURM_PROCID": "6",
  "SLURM_LOCALID": "2",
  "SLURM_NODEID": "1",
  "SLURM_STEP_NUM_TASKS": "8",
  "SLURM_STEP_NUM_NODES": "2",
  "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "node7", "MASTER_PORT": "29500", "LOCAL_RANK": "1"}
TORCHRUN |= {"LOCAL_WORLD_SIZE": "4"}


@pytest.mark.parametrize(
  ("environment", "own"),
  [
    # srun --gpus-per-task=1: each task sees its own GPU, which is ordinal 0 whichever it is.
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_PER_TASK": "1", "SLURM_GPUS_ON_NODE": "2"}, "0"),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "1", "SLURM_GPUS_PER_TASK": "1", "SLURM_GPUS_ON_NODE": "2"}, "0"),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "0"}, "0"),
    (TWO_NODES | {"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_PER_TASK": "1", "SLURM_GPUS_ON_NODE": "1"}, "0"),
    # --gpus-per-task=4
    (TWO_NODES | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"}, "0,1,2,3"),
    (TWO_NODES | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "0,1,2,3"),
    (
      ONE_NODE
      | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_PER_TASK": "h100:4", "SLURM_GPUS_ON_NODE": "8"},
      "0,1,2,3",
    ),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "4,5,6,7", "SLURM_GPUS_ON_NODE": "8"}, "0,1,2,3"),
    # --gpu-bind=none: all tasks of a node see all its GPUs, and share them.
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_ON_NODE": "2"}, "1"),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_PER_TASK": "2"}, "2,3"),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPU_BIND": "none"}, "2,3"),
    (FOUR_ON_EACH_OF_TWO | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"}, "2"),
    (FOUR_ON_EACH_OF_TWO | {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_ON_NODE": "2"}, "0"),  # two on each
    (FOUR_ON_EACH_OF_TWO | {"ROCR_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7", "SLURM_GPUS_ON_NODE": "8"}, "4,5"),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "MIG-aa,MIG-bb", "SLURM_GPUS_ON_NODE": "2"}, "1"),
    # No GPUs, or one task: JAX takes what there is.
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": ""}, ""),
    (ONE_NODE | {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ""),
    ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, ""),
    (
      {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"},
      "",
    ),
    # An element of a job array.
    (
      {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "3"},
      "",
    ),
    # torchrun shows all to all, and so do its likes.
    (TORCHRUN | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "1"),
    (TORCHRUN | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}, "2,3"),
    # Under srun with one task a node: torchrun's own numbers count.
    (TORCHRUN | TWO_NODES | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"}, "1"),
    # Kubeflow: a process a pod.
    ({k: TORCHRUN[k] for k in cluster.TORCHRUN} | {"CUDA_VISIBLE_DEVICES": "0,1"}, "0,1"),
  ],
)
def test_a_task_uses_the_gpus_that_are_its_own(environment, own):
  assert cluster.own_gpus(environment) == own


def test_where_nothing_tells_what_is_seen_one_task_takes_all(monkeypatch):
  monkeypatch.setattr(cluster, "_seen", lambda environment: None)
  assert cluster.own_gpus(TWO_NODES) == "all"
  assert cluster.own_gpus(ONE_NODE) == ""


@pytest.mark.parametrize(
  ("environment", "task"),
  [
    (ONE_NODE, cluster.Task(1, 2, 1, 2)),
    (TWO_NODES, cluster.Task(1, 2, 0, 1)),
    (ONE_NODE | {"SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "1,1"}, cluster.Task(1, 2, 1, 1)),
    (TORCHRUN, cluster.Task(5, 8, 1, 4, "node7:29500")),
    # torchrun's agent listens at the port itself.
    (TORCHRUN | {"TORCHELASTIC_USE_AGENT_STORE": "True"}, cluster.Task(5, 8, 1, 4, "node7:29501")),
    (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
    ({"WORLD_SIZE": "4", "RANK": "0"}, None),
    ({}, None),
  ],
)
def test_who_a_process_is(environment, task):
  assert cluster.task(environment) == task


def test_a_number_that_is_none_is_said():
  with pytest.raises(BiasjaxError, match="RANK='x' in the environment is no number"):
    cluster.task(TORCHRUN | {"RANK": "x"})


@pytest.mark.parametrize(
  ("environment", "said"),
  [
    # What a batch script sees, whose first line is not srun.
    ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "1"}, "4 tasks"),
    ({"SLURM_PROCID": "0", "SLURM_JOB_NUM_NODES": "2", "SLURM_NNODES": "2"}, "2 nodes"),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}, ""),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "3"}, ""),
    (ONE_NODE, ""),
    # srun --pty bash within a larger job
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, ""),
    ({"SLURM_NTASKS": "4"}, ""),  # salloc, on the node where one logs in
    (TORCHRUN | {"SLURM_PROCID": "0", "SLURM_JOB_NUM_NODES": "2"}, ""),
  ],
)
def test_a_batch_script_without_srun_is_told_of_it(environment, said, monkeypatch):
  assert cluster.started_by_nobody(environment) == said
  for name in [name for name in os.environ if name.startswith("SLURM")]:
    monkeypatch.delenv(name)
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  if said:
    with pytest.raises(BiasjaxError, match=f"this job has {said}.*put srun before .*--nodistributed"):
      launch.join(None, None, None, None)
  if not cluster.task(environment) or said:
    assert launch.join(False, None, None, None).count == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_waits_for_others_in_vain_ends_in_one_line(rank):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    where = f"127.0.0.1:{free.getsockname()[1]}"
  program = f"""
from biasjax.engine import launch
launch.MEETING_S = 1.0
launch.join(None, {where!r}, 2, {rank})
"""
  ended = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, timeout=deadline.DEADLINE_S, check=False
  )
  assert ended.returncode == 1
  (line,) = ended.stderr.splitlines()
  assert "did not meet: not all of them were there within" in line


PROGRAM = """
import sys
from biasjax.engine import launch
worker = launch.join(None, None, None, None)
import jax
print(worker.rank, worker.count, jax.config._read("jax_cuda_visible_devices"))
"""


def together(environments) -> list[str]:
  """What processes with these variables print, that meet."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")} | {"JAX_PLATFORMS": "cpu"}
  started = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM],
      env=clean | each,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for each in environments
  ]
  try:
    ended = [process.communicate(timeout=deadline.DEADLINE_S) for process in started]
  finally:
    for process in started:
      process.kill()
      process.communicate()
  assert [process.returncode for process in started] == [0] * len(started), ended
  return [out.strip() for out, _ in ended]


def test_tasks_of_srun_meet_and_jax_is_told_of_their_gpus():
  job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "CUDA_VISIBLE_DEVICES": "0"}
  each = [{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in (0, 1)]
  assert together([ONE_NODE | job | own for own in each]) == ["0 2 0", "1 2 0"]


def test_processes_of_torchrun_meet_and_share_the_gpus():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
  job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": "2"}
  job |= {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
  each = [{"RANK": str(i), "LOCAL_RANK": str(i)} for i in (0, 1)]
  assert together([job | own for own in each]) == ["0 2 0,1", "1 2 2,3"]
