"""Time and peak memory of converting a full-size ResNet-50 from each container.

python -m benchmarks.convert

Needs torch and dill, to write the files. Prints a table for docs/performance.md. "Reading" is all tensors
that are kept, in float32, over what a process needs before it opens a file; "command" is the whole of python
-m convert, with its check of the logits, over the same command on a network of a thousandth of the size.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

# Not getrusage: that would count what the parent had when the process was forked.
PEAK = """
import json, re, sys, time
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
"""
READ = """
from biasjax.convert import conversion, readers, readings, torchvision
before, start = peak(), time.perf_counter()
file = readers.read(sys.argv[1])
state = readings.state_dict(file)
kept = {name: conversion._float32(state.tensors[name], name, file)[0] for name in torchvision.entries(
  torchvision.infer({n: t.shape for n, t in state.tensors.items()}, "x"))}
print(json.dumps({"seconds": time.perf_counter() - start, "bytes": peak() - before,
  "kept": sum(v.nbytes for v in kept.values())}))
"""
COMMAND = """
from biasjax.cli.converting import main
start = time.perf_counter()
assert main(["convert", "--checkpoint=" + sys.argv[1], "--output=" + sys.argv[2]]) == 0
print(json.dumps({"seconds": time.perf_counter() - start, "bytes": peak()}))
"""


def measure(program: str, *arguments: str) -> dict[str, float]:
  done = subprocess.run(
    [sys.executable, "-c", PEAK + program, *arguments], check=True, stdout=subprocess.PIPE, text=True
  )
  return json.loads(done.stdout.splitlines()[-1])


def write_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """One random network in every container; with dill, as the library robustness leaves it."""
  import dill
  import torch
  from safetensors.torch import save_file

  from biasjax.convert import torchvision
  from biasjax.models.architecture import RESNET50

  generator = torch.Generator().manual_seed(0)
  state = {
    name: torch.rand(entry.shape, generator=generator) + 0.5
    if len(entry.shape) == 1
    else torch.randn(entry.shape, generator=generator) * (2 / math.prod(entry.shape[1:])) ** 0.5
    for name, entry in torchvision.entries(RESNET50).items()
  }
  parameters = [value for name, value in state.items() if "running" not in name]
  optimizer = {"state": {i: {"momentum_buffer": torch.ones_like(p)} for i, p in enumerate(parameters)}}
  model = {
    f"{prefix}.{n}": v for prefix in ("module.model", "module.attacker.model") for n, v in state.items()
  }
  paths = {name: folder / name.replace(" ", "_").replace(",", "") for name in NAMES}
  save_file(state, paths["safetensors"])
  torch.save(state, paths["zip"])
  torch.save(state, paths["legacy"], _use_new_zipfile_serialization=False)
  torch.save(
    {"model": model, "optimizer": optimizer, "epoch": 90},
    paths["legacy by dill, with an optimiser"],
    pickle_module=dill,
    _use_new_zipfile_serialization=False,
  )
  torch.save({n: v.half() for n, v in state.items()}, paths["zip, float16"])
  return paths


NAMES = ("safetensors", "zip", "zip, float16", "legacy", "legacy by dill, with an optimiser")


def write_tiny(path: pathlib.Path) -> None:
  import numpy as np
  from safetensors.numpy import save_file

  from biasjax.convert import torchvision
  from biasjax.models.architecture import Architecture

  tiny = Architecture("bottleneck", (3, 4, 6, 3), width=2, inner_width=2)
  save_file({n: np.full(e.shape, 0.1, np.float32) for n, e in torchvision.entries(tiny).items()}, path)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--repeats", type=int, default=3)
  repeats = parser.parse_args().repeats
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    paths = write_files(folder)
    write_tiny(folder / "tiny")
    base = measure(COMMAND, str(folder / "tiny"), str(folder / "out_tiny"))
    print("| container | file, MB | reading, s | peak, MB | over kept | command, s | peak, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, path in paths.items():
      reads = [measure(READ, str(path)) for _ in range(repeats)]
      runs = [measure(COMMAND, str(path), str(folder / f"out_{i}_{path.name}")) for i in range(repeats)]
      seconds = statistics.median(r["seconds"] for r in reads)
      peak, kept = max(r["bytes"] for r in reads), reads[0]["kept"]
      total = statistics.median(r["seconds"] for r in runs)
      above = max(r["bytes"] for r in runs) - base["bytes"]
      print(
        f"| {name} | {path.stat().st_size / 1e6:.0f} | {seconds:.2f} | {peak / 1e6:.0f} | {peak / kept:.2f} "
        f"| {total:.1f} | {above / 1e6:.0f} |"
      )
    print(f"\nThe command on the tiny network: {base['seconds']:.1f} s, {base['bytes'] / 1e6:.0f} MB.")


if __name__ == "__main__":
  main()
