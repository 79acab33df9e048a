"""The way back: a converted checkpoint to a .safetensors file with torchvision's names."""

import os
import pathlib
import uuid

import ml_dtypes
import numpy as np
from safetensors.numpy import save

from biasjax import processes
from biasjax.convert import torchvision
from biasjax.errors import BiasjaxError
from biasjax.models.load import Model, flatten
from biasjax.traced.program import Program


def state_dict(model: Model) -> dict[str, np.ndarray]:
  """A network's tensors under torchvision's names, in the types and with the counters of its source.

  A traced network's have the names of the module that it was, but for numbers that the module computes.
  What was float16, bfloat16 or float32 comes back bit for bit; float64 as it was rounded to float32.
  """
  variables = flatten(model.variables)
  recorded = model.certificate.get("tensors", {})
  if isinstance(model.architecture, Program):
    return {
      name: _typed(variables[tuple(entry["to"].split("/"))], entry["dtype"])
      for name, entry in recorded.items()
    }
  tensors = {}
  for name, entry in torchvision.entries(model.architecture).items():
    dtype = recorded.get(name, {}).get("dtype", "float32")
    values = torchvision.to_torch(variables[entry.path])
    tensors[name] = _typed(values, dtype)
  counters = model.certificate.get("counters", {})
  return tensors | {name: np.array(count, np.int64) for name, count in counters.items()}


def _typed(values: np.ndarray, dtype: str) -> np.ndarray:
  return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def write(model: Model, path: str | os.PathLike) -> int:
  """Writes a network for `safetensors.torch.load_file` and `load_state_dict`; returns the number of tensors.

  Raises:
    BiasjaxError: the file exists, or storage failed.
  """
  path = pathlib.Path(path)
  if path.suffix != ".safetensors":
    raise BiasjaxError(f"--output={path}: must end in .safetensors, which every PyTorch library reads")
  if path.exists():
    raise BiasjaxError(f"{path}: exists already: choose another name")
  processes.forget_unfinished(path)
  tensors = state_dict(model)
  temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(save(tensors, metadata={"format": "pt"}))
    os.replace(temporary, path)
  except OSError as error:
    temporary.unlink(missing_ok=True)
    raise BiasjaxError(f"{path}: cannot be written ({error.strerror or error})") from error
  return len(tensors)
