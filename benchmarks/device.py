"""What one accelerator makes of biasjax, in at most eight minutes, with drawn weights and images.

python -m benchmarks.device [--output=FILE.json] [--batch=128] [--minutes=8]

Forward passes of a ResNet-50 by precision, as it is and with BatchNorm folded into its kernels, beside
PyTorch on the same device (torch.compile, channels last) where torch is installed and sees it; perturbations;
a step of PGD over a forward pass; a whole pass over bare forward passes; and the share of that pass in which
the device had nothing to do, from JAX' profiler. Ends with a table for docs/performance.md. What there is no
time left for is said to be skipped. On a CPU `--network=small --size=32 --batch=4 --seconds=0.1` tries the
script itself.
"""

import argparse
import dataclasses
import glob
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from biasjax import partition, probes
from biasjax.engine import benchmark, rates
from biasjax.engine.evaluate import Settings
from biasjax.engine.programs import logits_step
from biasjax.models import load
from biasjax.models.architecture import BATCH_NORM_EPSILON, RESNET50, Architecture
from biasjax.models.resnet import ResNet
from biasjax.probes.base import Victim
from biasjax.probes.decisions import every_class

NETWORKS = {"resnet50": RESNET50, "small": Architecture("basic", (1,), width=8, inner_width=8)}
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
PGD_STEPS = 10


def folded(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Variables whose kernels have BatchNorm's scale in them, and whose biases are all that it adds."""

  def walk(params: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: inner for name, inner in params.items() if name == "fc"}
    for name, inner in params.items():
      if name.startswith("layer"):
        found[name] = walk(inner, stats[name])
      elif "conv" in name:
        norm = name.replace("conv", "bn")
        by = params[norm]["scale"] / np.sqrt(stats[norm]["var"] + BATCH_NORM_EPSILON)
        found[name] = {"kernel": inner["kernel"] * by}
        found[norm] = {"bias": params[norm]["bias"] - stats[norm]["mean"] * by}
    return found

  params = walk(variables["params"], variables["batch_stats"])
  return {"params": params, "normalization": variables["normalization"]}


def apply_folded(architecture: Architecture, precision: str) -> Callable:
  """The network for `folded` variables."""
  network = ResNet(architecture, jnp.bfloat16 if precision == "bfloat16" else None)

  def only_add(following: Callable, args: tuple, kwargs: Mapping, context: Any):
    if not isinstance(context.module, nn.BatchNorm):
      return following(*args, **kwargs)
    (x,) = args
    return x + context.module.get_variable("params", "bias").astype(x.dtype)[None, None, None]

  def apply(variables, images):
    with nn.intercept_methods(only_add):
      return network.apply(variables, images)

  return apply


def forward(apply: Callable, variables: Any, precision: str, images: Any, seconds: float) -> rates.Rate:
  """Images a second through the network alone."""
  split = partition.of_process()
  step = split.compile(logits_step(apply, precision), shared=1)
  on_device, batch = split.share(variables), split.put(images)
  return rates.of_calls(lambda: step(on_device, batch), len(images), seconds)


def by_torch(precision: str, images: np.ndarray, seconds: float) -> float:
  """Images a second by torch.compile, channels last, on the same device."""
  import torch

  from tests import cpu_torchvision

  device = "cpu" if jax.default_backend() == "cpu" else "cuda"
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tensorfloat32"
  network = cpu_torchvision.load().models.resnet50().eval().requires_grad_(False)
  network = network.to(device, memory_format=torch.channels_last)
  x = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).to(device, memory_format=torch.channels_last)
  if precision == "bfloat16":
    network, x = network.bfloat16(), x.bfloat16()
  compiled = torch.compile(network)

  def call() -> None:
    compiled(x)

  def wait() -> None:
    if device == "cuda":
      torch.cuda.synchronize()

  with torch.inference_mode():
    for _ in range(3):
      call()
    wait()
    calls, start = 0, time.perf_counter()
    while not calls or time.perf_counter() - start < seconds:
      for _ in range(8):
        call()
      wait()
      calls += 8
    return len(images) * calls / (time.perf_counter() - start)


def torch_sees_the_device() -> bool:
  """Whether PyTorch is there, and has the device that JAX has."""
  try:
    import torch
  except ImportError:
    return False
  return jax.default_backend() == "cpu" or torch.cuda.is_available()


def pgd_step(model: load.Model, images: np.ndarray) -> float:
  """Seconds of one step of PGD on the batch, what comes before and after the steps taken out."""
  split = partition.of_process()
  logits, variables = logits_step(model.apply, "float32"), split.share(model.variables)
  victim = Victim(logits, every_class, variables, split, load.easing(model.architecture))
  labels = np.asarray(split.get(split.compile(logits, shared=1)(variables, split.put(images)))).argmax(1)
  batch = split.put((images, labels.astype(np.int32)[:, None]))
  keys = split.put(np.zeros((len(images), 2), np.uint32))

  def seconds(steps: int) -> float:
    probe = probes.get(f"pgd:eps=0.01:steps={steps}", images.shape[1])
    assert probe.attack is not None
    taken = []
    for _ in range(3):  # the first one compiles
      start = time.perf_counter()
      for _, attacked in probe.attack(victim, lambda _: keys, *batch):
        jax.block_until_ready(attacked.images)
      taken.append(time.perf_counter() - start)
    return min(taken[1:])

  return (seconds(2 * PGD_STEPS) - seconds(PGD_STEPS)) / PGD_STEPS


def busy(events: Iterator[tuple[float, float]]) -> tuple[float, float]:
  """(how long at least one of the events (start, end) went on, from the first start to the last end)."""
  spans = sorted(events)
  if not spans:
    return 0.0, 0.0
  total, (first, until) = 0.0, spans[0]
  begun = first
  for start, end in spans[1:]:
    if start > until:
      total, begun = total + until - begun, start
    until = max(until, end)
  return total + until - begun, until - first


def traced_idle(call: Callable[[], Any]) -> float | None:
  """The share of `call`'s time on the device in which it did nothing; None where the trace does not say."""
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      call()
    (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
    planes = list(jax.profiler.ProfileData.from_file(path).planes)
    on_cpu = jax.default_backend() == "cpu"
    lines = [
      line
      for plane in planes
      for line in plane.lines
      if (line.name.startswith("tf_XLA") if on_cpu else plane.name.startswith("/device:"))
    ]
    spans = ((event.start_ns, event.start_ns + event.duration_ns) for line in lines for event in line.events)
    working, whole = busy(spans)
  return 1 - working / whole if whole else None


class Clock:
  """How long measurements may still begin, and what was left out."""

  def __init__(self, minutes: float):
    self.until, self.skipped = time.monotonic() + 60 * minutes, list[str]()

  def allows(self, name: str) -> bool:
    """Whether there is time for `name`."""
    if there := time.monotonic() < self.until:
      return there
    self.skipped.append(name)
    return False


def measure(flags: argparse.Namespace) -> dict[str, Any]:
  """All figures, as JSON; rates in images a second."""
  architecture, clock = NETWORKS[flags.network], Clock(flags.minutes)
  images = np.random.default_rng(0).random((flags.batch, flags.size, flags.size, 3), np.float32)
  devices = jax.devices()
  report: dict[str, Any] = {
    "device": devices[0].device_kind,
    "devices": len(devices),
    "jax": jax.__version__,
    "network": flags.network,
    "size": flags.size,
    "batch": flags.batch,
    "forward_per_s": {},
    "perturb_per_s": {},
  }
  model = benchmark.made_model(architecture)
  settings = Settings(batch_size=flags.batch, progress=False)
  asked = [probes.get(name, flags.size) for name in ("accuracy", "spectral", "critical_band")]
  for precision in PRECISIONS:
    for name, apply, variables in (
      (precision, load.apply_function(architecture, precision), model.variables),
      (f"{precision}, BatchNorm folded", apply_folded(architecture, precision), folded(model.variables)),
    ):
      if clock.allows(f"forward, {name}"):
        report["forward_per_s"][name] = forward(apply, variables, precision, images, flags.seconds).per_s
  if clock.allows("PGD"):
    report["pgd_step_s"] = pgd_step(model, images)
    report["pgd_step_over_forward"] = report["pgd_step_s"] * report["forward_per_s"]["float32"] / flags.batch
  for probe in asked[1:]:
    if clock.allows(f"perturbation, {probe.name}"):
      rate = rates.perturbation(probe, flags.size, settings, flags.seconds)
      report["perturb_per_s"][probe.name] = rate.per_s
  if clock.allows("whole pass"):
    made, larger = benchmark.made_source(2 * flags.batch), flags.size * 256 // 224
    source, passed = dataclasses.replace(made, resize=larger, crop=flags.size), []

    def run() -> None:
      passed.append(benchmark.whole_pass([model], asked, source, settings))

    run()  # compiles
    run()
    report["pass_per_s"] = passed[-1]
    report["pass_over_forward"] = passed[-1] / report["forward_per_s"]["float32"]
    report["idle_share"] = traced_idle(run)
  # torchvision's network is ResNet-50.
  beside_torch = flags.torch and flags.network == "resnet50" and torch_sees_the_device()
  for precision in PRECISIONS if beside_torch else ():
    if clock.allows(f"torch.compile, {precision}"):
      report["forward_per_s"][f"torch.compile, {precision}"] = by_torch(precision, images, flags.seconds)
  return report | {"skipped": clock.skipped}


def table(report: Mapping[str, Any]) -> str:
  """The figures for docs/performance.md."""
  rows = [(f"forward, {name}", f"{rate:.1f} images/s") for name, rate in report["forward_per_s"].items()]
  rows += [
    (f"perturbations of {name}", f"{rate:.1f} images/s") for name, rate in report["perturb_per_s"].items()
  ]
  for key, said in (
    ("pgd_step_over_forward", "a step of PGD over a forward pass"),
    ("pass_over_forward", "whole pass over bare forward passes"),
    ("idle_share", "share of the pass in which the device was idle"),
  ):
    if report.get(key) is not None:
      rows.append((said, f"{report[key]:.3g}"))
  rows += [(name, "skipped, no time left") for name in report["skipped"]]
  about = f"{report['network']}, {report['size']} pixels, batch {report['batch']}, {report['device']}"
  return "\n".join([f"| {about} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--network", choices=sorted(NETWORKS), default="resnet50")
  parser.add_argument("--size", type=int, default=224, help="pixels of a side")
  parser.add_argument("--batch", type=int, default=128, help="images at a time")
  parser.add_argument("--seconds", type=float, default=4.0, help="that a measurement goes on for")
  parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing more is begun")
  parser.add_argument(
    "--torch", action=argparse.BooleanOptionalAction, default=True, help="PyTorch beside it, where it is"
  )
  parser.add_argument("--output", type=pathlib.Path, help="where to write the figures as JSON")
  flags = parser.parse_args()
  report = measure(flags)
  if flags.output:
    flags.output.write_text(json.dumps(report, indent=1) + "\n")
  print(table(report))


if __name__ == "__main__":
  main()
