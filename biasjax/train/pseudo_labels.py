"""Labels of an unknown bias, from a network that has learnt it (after Barbano et al. 2022).

python -m biasjax.train.pseudo_labels --model=out/models/biased --dataset=biased:worlds/hue/train_0.95
  --output=pseudo.csv [--by=clusters] [--clusters=10] [--seed=0]

A network that was trained plainly, or by `gce`, answers by what is easy. The bias of an example is then what
such a network says of it: its answer (`prediction`), whether that is right (`error`: one bias where it is,
another where it is not, as in Liu et al. 2021), or the cluster of its features (`clusters`: k-means of
features of length 1, the best of five starts by k-means++). How the authors' clusters come about could not be
verified. The file has `example_id`, `bias` and `confidence` (probability of the answer, of the right class,
or the cosine to the cluster's centre), and is what `--annotations` takes.
"""

import argparse
import csv
import io
import os
import pathlib
import sys
from collections.abc import Mapping

import jax
import numpy as np
import scipy.cluster.vq
import scipy.optimize
from etils import epath
from jaxtyping import Float, Int

from biasjax import convert, numerics
from biasjax.data import opening, pipeline
from biasjax.data.sources import Source
from biasjax.errors import BiasjaxError
from biasjax.messages import ended
from biasjax.models import load
from biasjax.models.architecture import Architecture
from biasjax.models.resnet import ResNet
from biasjax.ops.pixels import unit_interval
from biasjax.results.store import write_file
from biasjax.train import command

BY = ("prediction", "clusters", "error")
STARTS, ITERATIONS, ROWS = 5, 100, 256


@numerics.settled()
def answers(
  model: load.Model, source: Source
) -> tuple[list[str], Int[np.ndarray, "n"], Float[np.ndarray, "n k"], Float[np.ndarray, "n d"]]:
  """(ids, labels, probabilities, features before the classifier) of all examples of a source.

  Raises:
    BiasjaxError: the network is no ResNet or has fewer classes than labels, or an image cannot be read.
  """
  if not isinstance(model.architecture, Architecture):
    raise BiasjaxError(f"--model={model.name}: is a traced network; features are taken of ResNets")
  network = ResNet(model.architecture)

  @jax.jit
  def of(variables, pixels):
    logits, seen = network.apply(variables, unit_interval(pixels), mutable=["intermediates"])
    return jax.nn.softmax(logits), seen["intermediates"]["features"][0]

  shown = pipeline.preprocessing(source)
  ids, labels, found = [], [], []
  for start in range(0, source.length, ROWS):
    indices = range(start, min(start + ROWS, source.length))
    examples, pixels = zip(*(pipeline.pixels(source, index, shown) for index in indices), strict=True)
    pixels = np.stack(pixels)
    missing = ROWS - len(pixels)  # one program for all batches
    padded = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)])
    found.append([np.asarray(part)[: len(pixels)] for part in of(model.variables, padded)])
    ids += [example.example_id for example in examples]
    labels += [example.label for example in examples]
  probabilities, features = (np.concatenate(part) for part in zip(*found, strict=True))
  if max(labels) >= probabilities.shape[1]:
    raise BiasjaxError(f"--model={model.name} has {probabilities.shape[1]} classes; a label is {max(labels)}")
  return ids, np.array(labels), probabilities, features


def clustered(
  features: Float[np.ndarray, "n d"], clusters: int, seed: int
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
  """(the cluster of each, the larger first; the cosine to its centre)."""
  unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
  best = (np.inf, unit[:0], np.zeros(0, int))
  for start in range(STARTS):
    rng = np.random.default_rng((seed, start))
    centres, of = scipy.cluster.vq.kmeans2(unit, clusters, iter=ITERATIONS, minit="++", rng=rng)
    inertia = float(((unit - centres[of]) ** 2).sum())
    if inertia < best[0]:
      best = (inertia, centres, of)
  _, centres, of = best
  cosine = (unit * centres[of]).sum(axis=1) / np.maximum(np.linalg.norm(centres[of], axis=1), 1e-12)
  rank = np.argsort(np.argsort(-np.bincount(of, minlength=clusters), kind="stable"), kind="stable")
  return rank[of], cosine


def labelled(
  by: str, labels: np.ndarray, probabilities: np.ndarray, features: np.ndarray, clusters: int, seed: int
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
  """(the pseudo-label of each example, the confidence)."""
  if by == "clusters":
    return clustered(features, clusters, seed)
  answer, each = probabilities.argmax(axis=1), np.arange(len(labels))
  if by == "error":
    return (answer != labels).astype(int), probabilities[each, labels]
  return answer, probabilities[each, answer]


def agreement(bias: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
  """(purity, share of the conflicting examples labelled right) beside the true bias.

  Pseudo-labels stand for the true ones that they agree with most often, one to one. Purity says little: where
  most examples are aligned, the class itself has a high one.
  """
  counts = np.zeros((bias.max() + 1, truth.max() + 1), int)
  np.add.at(counts, (bias, truth), 1)
  rows, columns = scipy.optimize.linear_sum_assignment(-counts)
  named = np.full(len(counts), -1)
  named[rows] = columns
  conflicting = labels != truth
  right = named[bias] == truth
  return float(counts.max(axis=1).sum() / len(bias)), float(
    right[conflicting].mean() if conflicting.any() else 1
  )


def write(model: load.Model, source: Source, output: str, by: str, clusters: int = 0, seed: int = 0) -> str:
  """Writes the pseudo-labels of a source's examples; returns what is to be said of them.

  Args:
    model: the biased network.
    source: what is to be trained on.
    output: the CSV.
    by: one of `BY`.
    clusters: how many, of "clusters"; 0 for as many as there are classes.
    seed: of the clusters' beginnings.

  Raises:
    BiasjaxError: as in `answers`; or by "error" and the labels are of other classes than the network's; or
      `clusters` or `seed` is out of its range; or the file cannot be written.
  """
  if not 0 <= clusters <= source.length:
    raise BiasjaxError(f"--clusters={clusters}: expected a number of clusters, to {source.length} examples")
  if seed < 0:
    raise BiasjaxError(f"--seed={seed}: expected a whole number from 0")
  folder = pathlib.Path(output).expanduser().absolute().parent
  if not os.access(folder, os.W_OK):  # before hours of asking
    reason = "its folder may not be written into" if folder.is_dir() else "its folder is not there"
    raise BiasjaxError(f"--output={output} cannot be written: {reason}")
  if by == "error" and isinstance(model.architecture, Architecture):
    classes, asked = model.architecture.num_classes, command.classes_of(source)
    if classes != asked:
      raise BiasjaxError(
        f"--by=error: {model.name} answers with {classes} classes, and {source.location} has {asked}: other "
        "ones, so that none of its answers is right or wrong"
      )
  ids, labels, probabilities, features = answers(model, source)
  bias, confidence = labelled(by, labels, probabilities, features, clusters or probabilities.shape[1], seed)
  rows = zip(ids, bias.tolist(), (f"{one:.6g}" for one in confidence), strict=True)
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([("example_id", "bias", "confidence"), *rows])
  write_file(epath.Path(output).expanduser(), text.getvalue().encode())
  sizes = ", ".join(map(str, np.bincount(bias)))
  said = f"{output}: {len(ids):,} examples; of each bias {sizes}"
  return said + _beside_truth(bias, labels, ids, source.textures)


def _beside_truth(bias, labels, ids, textures: Mapping[str, int] | None) -> str:
  if textures is None:
    return ""
  purity, right = agreement(bias, labels, np.array([textures[one] for one in ids]))
  return (
    f"; beside the true cues: {right:.1%} of the conflicting examples labelled right, purity {purity:.1%}"
  )


def main() -> int:
  """Parses the flags and writes the labels; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--model", required=True, help="the biased network, as in --models")
  parser.add_argument("--dataset", required=True, help="what is to be trained on")
  parser.add_argument("--data_dir", help="where TFDS datasets were prepared")
  parser.add_argument("--output", required=True, help="the CSV to write")
  parser.add_argument("--by", choices=BY, default="clusters", help="what tells the bias")
  parser.add_argument("--clusters", type=int, default=0, help="how many; by default as many as classes")
  parser.add_argument("--seed", type=int, default=0, help="of the clusters' beginnings")
  given = parser.parse_args()

  def written() -> str:
    (folder, *more) = convert.resolve([given.model])
    if more:
      raise BiasjaxError(f"--model={given.model} names {1 + len(more)} networks; one is needed")
    source = opening.open_dataset(given.dataset, given.data_dir)
    return write(load.load(folder), source, given.output, given.by, given.clusters, given.seed)

  return ended(written, "pseudo_labels")


if __name__ == "__main__":
  sys.exit(main())
