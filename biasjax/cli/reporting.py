"""The page of one or two networks: --report, and the end of a run."""

import dataclasses
import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from biasjax import probes
from biasjax.configuration import load
from biasjax.data import opening, pipeline, synthetic
from biasjax.data.sources import Source
from biasjax.engine import pictures
from biasjax.errors import BiasjaxError
from biasjax.messages import warn
from biasjax.probes import Probe
from biasjax.recorded import files, people, trials
from biasjax.report import drawing, flips, network, paired, scores, standing
from biasjax.report.drawing import quoted
from biasjax.report.flips import Flip
from biasjax.report.network import Beside, Flipped, Picture
from biasjax.report.scores import Scores, module
from biasjax.results import summary
from biasjax.results.store import Store, write_file
from biasjax.results.unit import Unit
from biasjax.study import stored

MOST_SHOWN = 6  # conditions of a probe; and pictures that flip, of a network
MOST_OF_PROBE = 2
# Which conditions are shown, of probes that have many.
SHOWN = {
  "spectral": ("low/0.1", "low/0.3", "low/0.5", "high/0.5", "high/0.3", "high/0.1"),
  "critical_band": ("clean", "f=1/sd=0.16", "f=2/sd=0.16", "f=3/sd=0.16", "f=4/sd=0.16", "f=5/sd=0.16"),
  "sensitivity": ("*/45",),
  "corruptions": ("gaussian_noise*3", "defocus_blur*3", "fog*3", "contrast*3", "pixelate*3", "jpeg*3"),
}
WORDS = (
  (r"clean", "grey, of low contrast"),
  (r"low/(.+)", "lowest {0} of the frequency axis"),
  (r"high/(.+)", "highest {0} of the frequency axis"),
  (r"f=(\d+)/sd=(.+)", "noise of octave {0}, SD {1}"),
  (r"r=(\d+)/(.+)", "a wave of {0} cycles an image, at {1} degrees"),
  (r"i=(.+)/j=(.+)", "a wave of {0} cycles an image down, {1} across"),
)


def from_workdir(asked: Mapping[str, Any]) -> int:
  """Writes the page of what a working directory holds; returns the exit status.

  Raises:
    BiasjaxError: there are no results, a network is unknown, or more than two are meant.
  """
  store = Store(asked["workdir"])
  found = scores.read(store.workdir, asked["models"] or (), summary.columns)
  again = {name: opening.open_again(known) for name, known in store.manifest["datasets"].items()}
  sources = {name: source for name, source in again.items() if source}
  path, _ = write(store, found, asked, sources)
  print(path)
  return 0


def after_run(
  store: Store, models: Sequence[str], asked: Mapping[str, Any], sources: Mapping[str, Source], rows: int
) -> dict[str, dict[str, np.ndarray]]:
  """The same at the end of a run, whose tables are there: what goes wrong here takes nothing away.

  Args:
    store: of the run.
    models: its networks.
    asked: flags.
    sources: what it looked at, by name.
    rows: of its batches.

  Returns:
    {model: the figures of the page by name, uint8 [h, w, 3]}, where `asked` sends them on.

  Raises:
    BiasjaxError: --report asks for the page, and it cannot be made; without the flag that is a warning.
  """
  try:
    found = scores.read(store.workdir, models, summary.columns)
    path, drawn = write(store, found, asked, sources, rows)
  except BiasjaxError as error:
    if asked.get("report"):
      raise
    warn(f"no report was written: {error}")
    return {}
  print(path)
  if not asked.get("report_to"):
    return {}
  figures = {of.name: drawing.pixels(of) for of in drawn}
  return dict.fromkeys(found.models, figures)


def write(
  store: Store,
  found: Scores,
  asked: Mapping[str, Any],
  sources: Mapping[str, Source],
  rows: int | None = None,
) -> tuple[epath.Path, list[drawing.Drawing]]:
  """Writes the page, and of two networks their differences; returns its path and its figures.

  Raises:
    BiasjaxError: stored decisions or recorded trials cannot be read, or the folder cannot be written.
  """
  observed = stored.of(store)
  mine = [unit for unit in observed.units.values() if unit.model in found.models]
  kinds = {unit.dataset: str(unit.key.get("labels", "imagenet")) for unit in mine}
  pixels = {unit.dataset: _crop(unit) for unit in mine if module(unit.probe) == "critical_band"}
  differences = paired.differences(found, observed, probes.get) if len(found.models) == 2 else None
  if differences is not None:
    write_file(store.workdir / f"differences{_whose(found)}.csv", differences.to_csv(index=False).encode())
  conditions, flipped = _pictures(observed, found.models, sources, rows)
  definitions = load("study").get_config().to_dict()["study"]
  beside = Beside(
    kinds=kinds,
    classes=observed.classes(),
    pixels=pixels,
    people=_people(asked.get("trials")),
    differences=differences,
    differences_file=f"differences{_whose(found)}.csv",
    among=standing.references(found.others, asked.get("beside") or (), found.models),
    means={measure["name"]: measure["mean"] for name in ("biases", "axes") for measure in definitions[name]},
    conditions=conditions,
    flips=flipped,
    notes=[
      f"{name}: {note}"
      for name, known in sorted(store.manifest["datasets"].items())
      if name in kinds
      for note in known.get("notes", ())
    ],
  )
  drawn = network.drawings(found, beside)
  path = store.workdir / f"report{_whose(found)}.html"
  write_file(path, network.html(found, beside, drawn, store.workdir.name).encode())
  return path, drawn


def _whose(found: Scores) -> str:
  """In names of files: whose they are, where a directory holds other networks too."""
  if not len(found.others):
    return ""
  return "-" + "+".join(quoted(model) for model in found.models)  # a name has no "+" when it is quoted


def _crop(unit: Unit) -> int:
  return int(unit.key.get("preprocess", {}).get("crop", 0))


def _people(pattern: str | None) -> pd.DataFrame | None:
  """What recorded people decided about cue-conflict stimuli, by category; None where none are named."""
  if not pattern:
    return None
  recordings = [files.read(path) for path in files.matching(pattern)]
  observers, _ = files.by_observer(recordings)
  mine = [trials.decisions_of(t) for t in observers if t.attrs["experiment"] == files.CONFLICT]
  persons, _ = people.split(mine)
  if not persons:
    raise BiasjaxError(f"--trials={pattern}: no person decided about cue-conflict stimuli there")
  return trials.by_category(persons)


# --- Pictures ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Image:
  """An image as a network sees it, with what its noise belongs to."""

  pixels: np.ndarray
  noise_id: np.ndarray


def _pictures(
  observed: stored.Observations, models: Sequence[str], sources: Mapping[str, Source], rows: int | None
) -> tuple[list[tuple[str, list[Picture]]], list[Flipped]]:
  """One image under the conditions of each probe, and images that flip."""
  shown, flipped = [], []
  for probe, dataset in _perturbing(observed, models):
    of_models = ((model, dataset, probe.name) for model in models)
    units = [observed.units[key] for key in of_models if key in observed.units]
    wanted = _wanted(probe)
    source = sources.get(dataset)
    source = source and dataclasses.replace(source, **units[0].key["preprocess"])
    found = [flip for unit in units for flip in _flips(observed, unit, wanted, flipped)]
    images: dict[str, _Image] = {}
    for flip in found:
      image = source and _read(source, flip)
      if image:
        images[flip.example_id] = image
    changed: dict[str, np.ndarray] = {}
    if not probe.attack:
      example = _first(source) if source else None
      title = f"{probe.name}: an image of {dataset}" if example else f"{probe.name}: a drawn picture"
      everything = [example or _drawn(_crop(units[0])), *images.values()]
      changed = pictures.perturbed(
        probe,
        wanted,
        np.stack([image.pixels for image in everything]),
        np.stack([image.noise_id for image in everything]),
        seed=int(units[0].key.get("seed", 0)),
        rows=rows if rows and rows >= len(everything) else None,
      )
      as_it_is = Picture("as it is", everything[0].pixels)
      shown.append((title, [as_it_is, *(Picture(words(c), changed[c][0]) for c in wanted)]))
    order = {name: at for at, name in enumerate(images, 1)}
    names = observed.classes()[dataset]
    for flip in found:
      at = order.get(flip.example_id)
      seen = None if at is None or flip.condition not in changed else changed[flip.condition][at]
      right, instead = (names.get(label, str(label)) for label in (flip.label, flip.instead))
      what = words(flip.condition) if not probe.attack else f"{probe.name} {flip.condition}"
      clean = images[flip.example_id].pixels if at is not None else None
      flipped.append(Flipped(flip.model, what, flip.example_id, right, instead, clean, seen))
  return shown, flipped


def _perturbing(observed: stored.Observations, models: Sequence[str]) -> list[tuple[Probe, str]]:
  """The probes that change images, each with one dataset that it was asked about."""
  found: dict[str, tuple[Probe, str]] = {}
  for model, dataset, name in sorted(observed.units, key=lambda key: (key[1] != "imagenet", key)):
    if model not in models or name in found:
      continue
    try:
      probe = probes.get(name, _crop(observed.units[model, dataset, name]))
    except BiasjaxError:  # a probe that is not here any more
      continue
    if len(probe.conditions) > 1 or probe.attack:
      found[name] = probe, dataset
  return sorted(found.values(), key=lambda of: scores.ORDER.get(module(of[0].name), len(scores.ORDER)))


def _wanted(probe: Probe) -> list[str]:
  """A handful of a probe's conditions."""
  patterns = SHOWN.get(module(probe.name), ("*",))
  found = [c for pattern in patterns for c in probe.conditions if fnmatch.fnmatchcase(c, pattern)]
  found = found or list(probe.conditions)
  return [found[at] for at in np.linspace(0, len(found) - 1, min(len(found), MOST_SHOWN)).round().astype(int)]


def _flips(
  observed: stored.Observations, unit: Unit, wanted: Sequence[str], taken: Sequence[Flipped]
) -> list[Flip]:
  clean = observed.units.get((unit.model, unit.dataset, "accuracy"))
  mine = [flip for flip in taken if flip.model == unit.model]
  if clean is None or len(mine) >= MOST_SHOWN:
    return []
  most = min(MOST_SHOWN - len(mine), MOST_OF_PROBE)
  return flips.find(observed.store, unit, clean, wanted, {flip.example_id for flip in mine}, most)


def _read(source: Source, flip: Flip) -> _Image | None:
  """The image of a flip; None where it cannot be read."""
  for index in range(flip.at, source.length):  # excluded images lie before it
    try:
      example = source.example(index)
      if example.example_id == flip.example_id:
        pixels = pipeline.preprocessing(source)(example.encoded)
        return _Image(pixels, pipeline.noise_id(example.example_id, example.label))
    except (BiasjaxError, OSError, ValueError):
      return None
  return None


def _first(source: Source) -> _Image | None:
  """The first image that can be read."""
  try:
    example = source.example(0)
    pixels = pipeline.preprocessing(source)(example.encoded)
  except (BiasjaxError, OSError, ValueError):
    return None
  return _Image(pixels, pipeline.noise_id(example.example_id, example.label))


def _drawn(side: int) -> _Image:
  pixels = synthetic.picture(np.random.default_rng(3), "fish", "circle", side)
  return _Image(pixels, pipeline.noise_id("drawn", 0))


def words(condition: str) -> str:
  """A condition, for people."""
  for pattern, said in WORDS:
    match = re.fullmatch(pattern, condition)
    if match:
      return said.format(*match.groups())
  return condition
