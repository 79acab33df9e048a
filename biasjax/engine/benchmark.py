"""What a machine makes of a pass: rates of its parts and of the whole, compile times, memory, limits."""

import dataclasses
import io
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from PIL import Image

from biasjax import compiling, partition
from biasjax.data.sources import Example, Source
from biasjax.engine import evaluate, rates
from biasjax.engine.evaluate import Settings
from biasjax.models import load
from biasjax.models.architecture import RESNET50, Architecture
from biasjax.models.load import Model
from biasjax.probes.base import Probe
from biasjax.results.store import Store, write_file
from biasjax.version import __version__

logger = logging.getLogger(__name__)
MATRIX = 4096  # rows and columns of the products that measure the device's limit
PASS_S = 60.0  # that the measured pass takes, about


def made_model(architecture: Architecture = RESNET50, precision: str = "float32") -> Model:
  """A network with drawn variables, float32, to measure time with; `precision` as in `load.load`."""
  rng = np.random.default_rng(0)

  def draw(leaf):
    scale = np.prod(leaf.shape[:-1]) ** -0.5 if leaf.ndim > 1 else 0.1
    around = 1.0 if leaf.ndim == 1 else 0.0  # variances and scales are positive
    return (around + scale * rng.standard_normal(leaf.shape)).astype(np.float32)

  variables = jax.tree.map(draw, load.variable_shapes(architecture))
  apply = load.apply_function(architecture, precision)
  return Model("made", architecture, variables, apply, "drawn", {})


def made_source(length: int = 256) -> Source:
  """JPEG pictures of 500 x 375 pixels, ImageNet's usual size, drawn smooth with some noise."""
  rng = np.random.default_rng(0)

  def picture(index: int) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    fine = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
    noisy = np.clip(fine + rng.normal(0, 12, fine.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

  pictures = [picture(index) for index in range(min(length, 64))]

  def read(index: int) -> Example:
    return Example(pictures[index % len(pictures)], index % 1000, f"made_{index:06d}.JPEG")

  return Source("made", length, read, f"{length} made pictures", "memory")


def products(precision: str, seconds: float = rates.SECONDS) -> float:
  """Floating-point operations a second of large matrix products on one device."""
  dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
  size = MATRIX if jax.default_backend() != "cpu" else MATRIX // 4
  a = jnp.ones((size, size), dtype)

  @jax.jit
  def product(a):
    with jax.default_matmul_precision(precision):
      return a @ a

  return 2 * size**3 * rates.of_calls(lambda: product(a), 1, seconds).per_s


def flops(model: evaluate.Network, crop: int, rows: int) -> float:
  """Operations of one image's forward pass, as the compiler counts them."""
  images = jax.ShapeDtypeStruct((rows, crop, crop, 3), np.float32)
  shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), model.variables)
  analysis = jax.jit(model.apply).lower(shapes, images).cost_analysis()
  return float((analysis or {}).get("flops", np.nan)) / rows


def whole_pass(
  models: Sequence[evaluate.Network], probes: Sequence[Probe], source: Source, settings: Settings
) -> float:
  """Images x conditions x models a second of a whole pass, observations written, programs compiled before."""
  with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    evaluate.evaluate(models, probes, source, Store(folder, source.length), settings)
    return (
      source.length * len(models) * sum(len(p.conditions) for p in probes) / (time.perf_counter() - start)
    )


def measure(
  models: Sequence[evaluate.Network],
  planned: Mapping[str, Sequence[Probe]],
  sources: Sequence[Source],
  settings: Settings,
) -> dict[str, Any]:
  """Everything about the first of `sources` with its probes, as JSON.

  Rates are in images a second; `total` over all devices of this process.
  """
  source, split = sources[0], partition.of_process(settings.partitioner)
  probes = [probe for probe in planned[source.name] if probe.attack is None]
  devices = len(split.devices)
  rows = settings.batch_size * devices
  report: dict[str, Any] = {
    "biasjax": __version__,
    "jax": jax.__version__,
    "device": split.devices[0].device_kind,
    "devices": devices,
    "compiler_options": compiling.said(split.devices[0].platform),
    "cores": os.cpu_count(),
    "settings": {n: getattr(settings, n) for n in ("batch_size", "precision", "partitioner")},
    "dataset": source.name,
    "images": source.length,
  }
  report["decode_per_s"] = rates.decoding(source, settings.threads)
  report["perturb_per_s"], report["compile_s"] = {}, {}
  for probe in probes:
    rate = rates.perturbation(probe, source.crop, settings)
    report["perturb_per_s"][probe.name] = rate.per_s
    report["compile_s"][probe.name] = rate.compile_s
  model = rates.largest(models)
  rate = rates.forward(model, probes[0], source, settings)
  report["compile_s"]["network"] = rate.compile_s
  report["forward_per_s"] = {"total": rate.per_s, "per_device": rate.per_s / devices}
  operations, limit = flops(model, source.crop, settings.batch_size), products(settings.precision)
  report["operations_per_image"] = operations
  report["matrix_products_per_s"] = limit
  report["share_of_matrix_products"] = operations * rate.per_s / devices / limit
  for batches in (1, _batches(rate.per_s, len(models) * sum(len(p.conditions) for p in probes), rows)):
    part = dataclasses.replace(source, length=min(source.length, batches * rows))
    passed = whole_pass(models, probes, part, settings)  # the first time compiles
  report["pass_images"] = part.length
  report["pass_per_s"] = {"total": passed, "per_device": passed / devices}
  report["share_of_forward_rate"] = passed / rate.per_s
  report["peak_host_memory_bytes"] = peak_memory()
  stats = split.devices[0].memory_stats() or {}
  report["peak_device_memory_bytes"] = stats.get("peak_bytes_in_use")
  return report


def _batches(forward_per_s: float, looks: int, rows: int) -> int:
  """How many batches, each looked at so often, take about `PASS_S`; two at least, so that they overlap."""
  return max(2, round(PASS_S * forward_per_s / (looks * rows)))


def peak_memory() -> int:
  """Bytes that this process has had in memory at most."""
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write(report: Mapping[str, Any], path: epath.Path) -> str:
  """Writes the report as JSON; returns the text.

  Raises:
    BiasjaxError: it cannot be written.
  """
  text = json.dumps(report, indent=1)
  write_file(path, f"{text}\n".encode())
  return text
