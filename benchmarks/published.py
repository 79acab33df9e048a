"""Perturbations in the published way: an image at a time, each condition anew. Needs requirements-dev.txt."""

import numpy as np
import pyrtools
import torch
from PIL import Image

from biasjax.probes import critical_band


def band_pass(image: np.ndarray, band: str, radius: int) -> torch.Tensor:
  """float32 [3, 224, 224]: the centred block of a spectrum kept (band "low") or zeroed ("high")."""
  x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
  centred = torch.fft.fftshift(torch.fft.fft2(x))
  mask = torch.full_like(centred, float(band == "high"))
  mask[:, 112 - radius : 112 + radius, 112 - radius : 112 + radius] = float(band == "low")
  return torch.fft.ifft2(torch.fft.ifftshift(centred * mask)).real.clip(0, 1)


def noisy(image: np.ndarray, level: int, sd: float) -> np.ndarray:
  """float64 [224, 224]: grey at low contrast, with one octave of noise where `sd` is not 0."""
  grey = np.asarray(Image.fromarray(image).convert("L")) / 255
  light = (grey - grey.mean()) * critical_band.CONTRAST + critical_band.MEAN
  return add_noise(light, sd, level) if sd else light


def add_noise(light: np.ndarray, sd: float, level: int) -> np.ndarray:
  """One octave of noise on one image, with the repair pixel by pixel."""
  pyramid = pyrtools.pyramids.LaplacianPyramid(np.random.standard_normal(light.shape) * sd)
  octave, finest = pyramid.recon_pyr(levels=level), pyramid.recon_pyr(levels=0)
  octave *= np.sqrt((finest**2).mean() / (octave**2).mean())
  noisy = light + octave
  if noisy.min() >= 0 and noisy.max() <= 1:
    return noisy
  for i in range(light.shape[0]):
    for j in range(light.shape[1]):
      if noisy[i, j] < 0 or noisy[i, j] > 1:
        edge = critical_band.MARGIN if noisy[i, j] < 0 else 1 - critical_band.MARGIN
        moved = edge - octave[i, j]
        while not 0 <= moved <= 1 and not 0 <= light[i, j] + octave[i, j] <= 1:
          octave[i, j] = np.random.standard_normal() * sd
        light[i, j] = moved if 0 <= moved <= 1 else light[i, j]
  return light + octave
