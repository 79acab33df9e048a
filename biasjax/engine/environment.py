"""What computes: recorded with every chunk, since other versions and devices give other last bits."""

import os
from collections.abc import Mapping

import jax
import jaxlib.version
import PIL
from PIL import features

from biasjax import compiling
from biasjax.partition import Partition


def describe(split: Partition, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
  """Libraries, device and XLA's flags, each as a string; equal for runs on one machine.

  Args:
    split: the devices that compute.
    variables: of the environment.
  """
  device = split.devices[0]
  turbo = features.version_feature("libjpeg_turbo")
  return {
    "jax": jax.__version__,
    "jaxlib": jaxlib.version.__version__,
    "pillow": PIL.__version__,
    "libjpeg": f"turbo {turbo}" if turbo else str(features.version_codec("jpg")),
    "device": device.device_kind,
    "platform": " ".join(device.client.platform_version.split()),
    "compiler_options": compiling.said(device.platform),
    "xla_flags": " ".join(variables.get("XLA_FLAGS", "").split()),
  }
