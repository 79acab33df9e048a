"""Decisions of a run on a traced network against an independent pipeline: Pillow, NumPy's FFT, PyTorch.

python run.py --models=checkpoints/lite0 --dataset=imagenet=folder:FOLDER,cue_conflict:STIMULI \\
  --probes=accuracy,spectral,shape --workdir=out
python -m benchmarks.real_networks --workdir=out --model=lite0 --module=examples.lite:lite0 \\
  --images=imagenet=FOLDER --stimuli=cue-conflict=STIMULI

The function gives the module, which says what it sees and where its weights are in `pretrained_cfg`
(examples/lite.py); torch reads them. Every image that the run stored is decided anew, in the paper's recipe:
short side 256/224 of the network's size, bilinear, the central square; stimuli whole. The decision over the
16 categories is by the mean probability of a category's classes. Needs requirements-dev.txt.
"""

import importlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from absl import app, flags
from PIL import Image

from biasjax.data.classes import category_classes
from biasjax.results.store import Store
from tests import cpu_torchvision

WORKDIR = flags.DEFINE_string("workdir", None, "Of the run.", required=True)
MODEL = flags.DEFINE_string("model", None, "What the run called the network.", required=True)
MODULE = flags.DEFINE_string("module", None, "PACKAGE.MODULE:FUNCTION of the module.", required=True)
IMAGES = flags.DEFINE_list("images", [], "DATASET=FOLDER of class folders, as the run called it.")
STIMULI = flags.DEFINE_list("stimuli", [], "DATASET=FOLDER of cue-conflict stimuli.")
CONDITIONS = flags.DEFINE_list(
  "conditions",
  ["low/0.2", "low/0.4", "high/0.9", "high/0.99"],
  "Spectral conditions, where the run has them.",
)
BATCH = flags.DEFINE_integer("batch", 10, "Images at a time.", lower_bound=1)


def network() -> tuple[torch.nn.Module, Mapping]:
  """(the module with its weights, what it says of itself)."""
  where, _, function = MODULE.value.partition(":")
  module = getattr(importlib.import_module(where), function)()
  stated = module.pretrained_cfg
  module.load_state_dict(torch.load(stated["file"], weights_only=True))
  return module.eval(), stated


def pixels(path: pathlib.Path, size: int, whole: bool) -> np.ndarray:
  """float64 [size, size, 3] in [0, 1]."""
  transforms = cpu_torchvision.load().transforms
  image = Image.open(path).convert("RGB")
  if whole:
    image = image.resize((size, size), Image.Resampling.BILINEAR) if image.size != (size, size) else image
  else:
    image = transforms.CenterCrop(size)(transforms.Resize(round(256 * size / 224))(image))
  return np.asarray(image) / 255


def filtered(image: np.ndarray, condition: str) -> np.ndarray:
  """The image with the centred block of its spectrum kept or removed, clipped to [0, 1]."""
  band, _, share = condition.partition("/")
  half = len(image) // 2
  radius = int((float(share) if band == "low" else 1 - float(share)) * half)
  spectrum = np.fft.fftshift(np.fft.fft2(image, axes=(0, 1)), axes=(0, 1))
  mask = np.full((len(image), len(image), 1), float(band == "high"))
  mask[half - radius : half + radius, half - radius : half + radius] = float(band == "low")
  return np.fft.ifft2(np.fft.ifftshift(spectrum * mask, axes=(0, 1)), axes=(0, 1)).real.clip(0, 1)


def scores(module: torch.nn.Module, stated: Mapping, images: Iterator[np.ndarray]) -> np.ndarray:
  """Logits float64 [n, classes]."""
  found, batch = [], []
  for image in [*images, None]:
    if image is not None:
      batch.append((image - np.array(stated["mean"])) / np.array(stated["std"]))
    if batch and (image is None or len(batch) == BATCH.value):
      x = torch.from_numpy(np.stack(batch).astype(np.float32)).permute(0, 3, 1, 2)
      with torch.inference_mode():
        found.append(module(x).double().numpy())
      batch = []
  return np.concatenate(found)


def of_categories(logits: np.ndarray) -> np.ndarray:
  """Mean probabilities float64 [n, 16]."""
  odds = np.exp(logits - logits.max(1, keepdims=True))
  probabilities = odds / odds.sum(1, keepdims=True)
  return np.stack([probabilities[:, list(members)].mean(1) for members in category_classes().values()], 1)


def compared(stored, decided: np.ndarray, expected: np.ndarray) -> dict[str, object]:
  """How many decisions are equal, and the margins, of the best over the second, of those that are not."""
  best = np.sort(expected, 1)
  margins = best[:, -1] - best[:, -2]
  differ = decided != expected.argmax(1)
  return {
    "decisions": len(decided),
    "equal": int((~differ).sum()),
    "different": {
      str(name): float(f"{margin:.2g}")
      for name, margin in zip(stored["example_id"][differ], margins[differ], strict=True)
    },
    "right": int((stored["rank"] == 0).sum()),
  }


def main(argv: list[str]) -> None:
  del argv
  module, stated = network()
  size = stated["input_size"][-1]
  store = Store(WORKDIR.value)
  folders = {
    name: (pathlib.Path(folder), False) for name, _, folder in (s.partition("=") for s in IMAGES.value)
  }
  folders |= {
    name: (pathlib.Path(folder), True) for name, _, folder in (s.partition("=") for s in STIMULI.value)
  }
  wanted = {"accuracy": {"clean"}, "shape": {"cue-conflict"}, "spectral": set(CONDITIONS.value)}
  for unit in store.units():
    if unit.model != MODEL.value or unit.dataset not in folders or unit.probe not in wanted:
      continue
    folder, whole = folders[unit.dataset]
    observations = store.read(unit)[0]
    for condition, stored in observations.groupby("condition", sort=False):
      if condition not in wanted[unit.probe]:
        continue
      seen = (pixels(folder / str(name), size, whole) for name in stored["example_id"])
      if unit.probe == "spectral":
        seen = (filtered(image, str(condition)) for image in seen)
      expected = scores(module, stated, seen)
      if unit.probe == "shape":
        expected = of_categories(expected)
      found = compared(stored, stored["prediction"].to_numpy(), expected)
      print(json.dumps({"dataset": unit.dataset, "condition": str(condition)} | found), flush=True)


if __name__ == "__main__":
  app.run(main)
