"""Corruptions beside the NumPy, SciPy, OpenCV and Pillow that they were published with: time, on one core.

python -m benchmarks.corruptions [--only=fog,snow] [--rounds=3] [--batch=16] [--size=224]

The two alternate in one run, on one core, and what counts is the processor's time; each round goes through
all severities. Ours is compiled, a batch at a time; compiling is left out and said. The published code draws
with NumPy's older generator, and reads a photograph of frost each time. Printed are milliseconds for an image
and condition, medians over rounds, and their ratio.
"""

import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
  os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before anything makes threads

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import originals
from biasjax.data import layouts, synthetic
from biasjax.ops import corruptions, corruptions_bar, frost, spatter
from biasjax.terminal import aligned

flags.DEFINE_list("only", None, "Some of the corruptions.")
flags.DEFINE_integer("rounds", 3, "Of which the median is taken.", lower_bound=1)
flags.DEFINE_integer("batch", 16, "Images at a time.", lower_bound=1)
flags.DEFINE_integer("size", 224, "Pixels of a side.", lower_bound=32)

SEVERITIES = range(5)


def drawing(size: int, path: pathlib.Path) -> dict[str, Callable]:
  """{name: (image, severity, rng) -> image}: the originals with what they draw, as their authors draw it."""

  def glass(image, severity, rng):
    _, reach, times = corruptions.GLASS[severity]
    return originals.glass_blur(image, severity, rng.randint(-reach, reach, (times, 2, size, size)))

  def frosted(image, severity, rng):
    photograph = cv2.imread(str(path))[..., ::-1]  # each time, as published
    top, left = (rng.randint(0, side - size) for side in photograph.shape[:2])
    return originals.frosted(image, severity, photograph, top, left)

  def noisy(name, shape):
    return lambda image, severity, rng: getattr(originals, name)(image, severity, rng.normal(size=shape))

  def plain(name):
    return lambda image, severity, rng: getattr(originals, name)(image, severity)

  normal = {name: noisy(name, (size, size, 3)) for name in ("gaussian_noise", "speckle_noise")}
  fixed = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
  bar = {
    name: lambda image, severity, rng, of=name: getattr(originals, of)(
      image,
      severity,
      **{
        part: np.asarray(value)
        for part, value in corruptions_bar.DRAWN[of](jax.random.key(rng.randint(1 << 30)), size).items()
      },
    )
    for name in layouts.CBAR
  }
  return {
    **normal,
    **{name: plain(name) for name in (*fixed, "gaussian_blur", "saturate")},
    "spatter": noisy("spatter", (size, size)),
    "shot_noise": originals.shot_noise,
    "fog": originals.fog,
    "frost": frosted,
    "glass_blur": glass,
    "impulse_noise": lambda image, severity, rng: originals.impulse_noise(
      image, severity, rng.random_sample(image.shape), rng.random_sample(image.shape)
    ),
    "motion_blur": lambda image, severity, rng: originals.motion_blur(image, severity, rng.uniform(-45, 45)),
    "snow": lambda image, severity, rng: originals.snow(
      image, severity, rng.normal(size=(size, size)), rng.uniform(-135, -45)
    ),
    "elastic_transform": lambda image, severity, rng: originals.elastic_transform(
      image, severity, rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, (2, size, size))
    ),
    **bar,
  }


def main(argv: list[str]) -> None:
  """Prints a row for each corruption."""
  del argv
  asked, rng = flags.FLAGS, np.random.RandomState(0)
  cv2.setNumThreads(1)
  size, batch = asked.size, asked.batch
  drawn = np.random.default_rng(0)
  images = np.stack([synthetic.picture(drawn, "fish", "circle", size) for _ in range(batch)])
  folder = tempfile.mkdtemp()
  path = pathlib.Path(folder, "frost1.png")
  cv2.imwrite(str(path), synthetic.picture(drawn, "circle", "fish", 3 * size))
  photographs = frost.read(folder, size)
  theirs = drawing(size, path)
  ours = {
    **corruptions.CORRUPTIONS,
    "spatter": spatter.spatter,
    "frost": lambda key, image, severity: frost.frost(key, image, severity, photographs),
    **corruptions_bar.CORRUPTIONS,
  }
  keys = jax.random.split(jax.random.key(0), batch)
  given = jnp.asarray(images, jnp.float32) / 255
  rows = [["corruption", "original ms", "here ms", "ratio", "compiling s"]]
  names = asked.only or (*layouts.FIFTEEN, *layouts.EXTRA, *layouts.CBAR)
  for name in names:
    start = time.process_time()
    run = jax.jit(jax.vmap(ours[name], in_axes=(0, 0, None))).lower(keys, given, jnp.int32(0)).compile()
    compiling = time.process_time() - start
    # A batch is held while the next one is made: its memory would else go back to the system each time.
    held = [run(keys, given, jnp.int32(0)).block_until_ready()]
    slow = name in layouts.CBAR or name == "glass_blur"
    spent = []
    for number in range(1 if slow else asked.rounds):
      start = time.process_time()
      for severity in SEVERITIES:
        for image in images[: 1 if slow else 4]:
          theirs[name](image, severity, rng)
      middle = time.process_time()
      for severity in SEVERITIES:
        held[0] = run(keys, given, jnp.int32(severity)).block_until_ready()
      end = time.process_time()
      spent.append([(middle - start) / 5 / (1 if slow else 4), (end - middle) / 5 / batch])
      del number
    original, here = 1e3 * np.median(spent, axis=0)
    rows.append([name, f"{original:.2f}", f"{here:.2f}", f"{original / here:.1f}", f"{compiling:.1f}"])
    print(*(cell.ljust(27) for cell in rows[-1][:1]), *rows[-1][1:], file=sys.stderr, flush=True)
  print(aligned(rows))


if __name__ == "__main__":
  app.run(main)
