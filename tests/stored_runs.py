"""Stored decisions, laid out as a run lays them out, by the code that reads them for tables."""

import json

import numpy as np
import pytest

from biasjax.data.sources import Source
from biasjax.results.store import Store, chunks
from biasjax.results.unit import Unit


def images(name: str, length: int, fingerprint: str = "f", location: str = "here") -> Source:
  """A source of which nothing is read."""
  return Source(name, length, lambda _: pytest.fail("an image was read"), fingerprint, location)


def write(folder, decisions, dataset="drawn", probe="accuracy", ids=None, labels="imagenet", chunk=3):
  """Writes {model: {condition: (label, prediction, confidence)}}, arrays of one length, and a results.csv."""
  n = len(next(iter(next(iter(decisions.values())).values()))[0])
  store = Store(folder, chunk_size=chunk)
  units = [
    Unit(model, dataset, probe, {"model": model, "seed": 0, "labels": labels, "preprocess": {"crop": 224}})
    for model in decisions
  ]
  store.register(images(dataset, n), units)
  for unit in units:
    for start, stop in chunks(n, chunk):
      rows = {name: [] for name in ("condition", "example_id", "label", "prediction", "rank", "confidence")}
      for condition, (label, prediction, confidence) in decisions[unit.model].items():
        for i in range(start, stop):
          values = (
            condition,
            ids[i] if ids else f"image{i}",
            label[i],
            prediction[i],
            int(label[i] != prediction[i]),
            confidence[i],
          )
          for name, value in zip(rows, values, strict=True):
            rows[name].append(value)
      rows |= {name: [0.0] * len(rows["label"]) for name in ("nll", "brier")}  # nobody here asks for them
      store.write(unit, (start, stop), rows, {})
  assert json.loads((folder / "run.json").read_text())["units"]


def decisions(label, prediction, confidence=None):
  """One condition's, as arrays."""
  label, prediction = np.asarray(label), np.asarray(prediction)
  return label, prediction, np.full(len(label), 0.5) if confidence is None else np.asarray(confidence)
