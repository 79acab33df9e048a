"""What each choice of spectral filter does to images: python -m benchmarks.spectral_masks --images=FOLDER

Means over images, channels and the cutoffs .1 to .5, in per cent, as a Markdown table.
"""

import pathlib

import numpy as np
from absl import app, flags

from biasjax.data import preprocess
from biasjax.probes import spectral

IMAGES = flags.DEFINE_string("images", None, "A folder of images.", required=True)
COUNT = flags.DEFINE_integer("count", 60, "How many, spread over the folder.", lower_bound=1)

CHOICES = (
  ("half-open", False),
  ("symmetric", False),
  ("radial", False),
  ("half-open", True),
  ("symmetric", True),
)


def filtered(image: np.ndarray, mask: str, keep_mean: bool, band: str, cutoff: float) -> list[float]:
  """Imaginary part dropped, pixels clipped, energy outside the band after clipping: of the mean, other."""
  r = spectral.radius(band, cutoff, len(image))
  block = np.asarray(spectral.MASKS[mask](*image.shape[:2], np.int32(r)))
  kept = block == (band == "low")
  kept[0, 0] |= keep_mean
  result = np.fft.ifft2(np.fft.fft2(image, axes=(0, 1)) * kept[..., None], axes=(0, 1))
  shown = np.clip(result.real, 0, 1)
  energy = (np.abs(np.fft.fft2(shown, axes=(0, 1))) ** 2).sum(2)
  stop, mean = energy[~kept].sum() / energy.sum(), energy[0, 0] * ~kept[0, 0] / energy.sum()
  clipped = (result.real < -1e-9) | (result.real > 1 + 1e-9)
  imaginary = np.sqrt((result.imag**2).mean() / (np.abs(result) ** 2).mean())
  return [100 * imaginary, 100 * clipped.mean(), 100 * mean, 100 * (stop - mean)]


def main(argv: list[str]) -> None:
  del argv
  paths = sorted(p for p in pathlib.Path(IMAGES.value).rglob("*") if p.is_file())
  paths = paths[:: max(len(paths) // COUNT.value, 1)][: COUNT.value]
  images = [preprocess.preprocess(path.read_bytes()) / 255 for path in paths]
  print(f"{len(images)} images\n")
  columns = ("filter", "mask", "mean kept", "imaginary part dropped", "pixels clipped")
  print("| " + " | ".join([*columns, "mean let through", "other energy let through"]) + " |")
  print("| --- | --- | --- | --- | --- | --- | --- |")
  for band in ("low", "high"):
    for mask, keep_mean in CHOICES:
      if keep_mean and band == "low":
        continue
      rows = [filtered(i, mask, keep_mean, band, c) for i in images for c in spectral.BIAS_CUTOFFS]
      imaginary, clipped, mean, stop = np.mean(rows, axis=0)
      kept = "yes" if keep_mean or band == "low" else "no"
      print(f"| {band}-pass | {mask} | {kept} | {imaginary:.1f} | {clipped:.1f} | {mean:.1f} | {stop:.1f} |")


if __name__ == "__main__":
  app.run(main)
