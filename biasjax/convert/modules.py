"""A PyTorch network of timm, of torchvision or of one's own: built, given its weights, traced, compared.

Needs torch, as `tracing.py` does. Weights are read by this project's own reader; only a module of one's own
is foreign code that runs.
"""

import dataclasses
import importlib
import importlib.metadata
import math
import pathlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from biasjax import numerics
from biasjax.convert import certificate, download, readers, tracing
from biasjax.convert.certificate import Normalization
from biasjax.convert.conversion import ASSUMED, Conversion
from biasjax.errors import BiasjaxError
from biasjax.models import load
from biasjax.traced import interpreter
from biasjax.version import __version__

KINDS = ("timm", "torchvision", "module")
# Largest differences from PyTorch in float64, of logits over the largest and of gradients in the 2-norm,
# unless PyTorch's own float32 differs by a tenth of that.
LOGITS, GRADIENTS = 1e-3, 1e-2


@dataclasses.dataclass(frozen=True)
class Built:
  """A module and what its makers say of its input.

  Attributes:
    module: the `torch.nn.Module`, its weights not yet there.
    size: pixels of a side.
    normalization: of images in [0, 1].
    preprocessing: {"resize", "crop", "interpolation", "squash", "origin"}, where they say.
    source: where its weights are, a file or in the zoo's notation; "" if nobody says.
    adapt: (state dict) -> state dict with the module's names, of files with older ones.
  """

  module: Any
  size: int
  normalization: Normalization
  preprocessing: dict[str, Any] | None
  source: str = ""
  adapt: Any = None


def convert(
  kind: str,
  name: str,
  *,
  checkpoint: str | None = None,
  size: int | None = None,
  normalization: Normalization | None = None,
  reading: str | None = None,
  offline: bool = False,
) -> Conversion:
  """Traces a network and compares what comes out with PyTorch.

  Args:
    kind: one of `KINDS`.
    name: of timm's network, with or without its weights' tag; of torchvision's; or PACKAGE.MODULE:FUNCTION,
      which is imported and called.
    checkpoint: the file of weights; None fetches what timm or torchvision names.
    size: pixels of a side; None takes the network's own.
    normalization: of its input; None takes what its makers say, else ImageNet's.
    reading: which state dict, where the file holds several.
    offline: whether the network may not be used.

  Raises:
    BiasjaxError: torch or the library is absent, there is no such network, the weights do not fit, it cannot
      be traced, or the result is not PyTorch's.
  """
  built = {"timm": _timm, "torchvision": _torchvision, "module": _module}[kind](name, size)
  built = dataclasses.replace(built, normalization=normalization or built.normalization)
  source = built.source
  if checkpoint is None and not source and kind != "module":
    raise BiasjaxError(f"--{kind}={name}: nobody says where its weights are: give --checkpoint=FILE")
  file = None
  if checkpoint is not None or source:
    path = checkpoint or _found(source, offline)
    file = readers.read(path)
    _load(built, file, reading)
  traced = tracing.trace(built.module, built.size)
  interpreter.check(traced.program, name)
  mean, std = (np.array(getattr(built.normalization, key), np.float32) for key in ("mean", "std"))
  variables = tracing.variables(traced, mean, std)
  program = traced.program
  for path, value in traced.weights.items():
    if path[0] == "params" and not np.isfinite(value).all():
      raise BiasjaxError(f"{name}: {traced.names[path]!r} holds values that are not finite")
  found = {
    "format": certificate.FORMAT,
    "model": None,
    "source": {"network": f"{kind}:{name}"} | (_of_file(file) if file else {"file": None}),
    "architecture": load.describe(program),
    "description": certificate.description(program),
    "parameters": certificate.parameter_count(program),
    "normalization": dataclasses.asdict(built.normalization),
    "preprocessing": built.preprocessing,
    "tensors": {
      traced.names[path]: {"to": "/".join(path), "shape": value.shape, "dtype": str(value.dtype)}
      for path, value in traced.weights.items()
    },
    "rounding": {},
    "dropped": {},
    "fingerprint": load.fingerprint(program, variables),
    "logits": certificate.logits(program, variables),
    "parity": parity(built.module, program, variables),
    "versions": {"biasjax": __version__, "python": platform.python_version()}
    | {library: importlib.metadata.version(library) for library in certificate.LIBRARIES}
    | {library: _version(library) for library in ("torch", "timm", "torchvision")},
  }
  return Conversion(program, variables, {}, found)


def _found(source: str, offline: bool) -> Any:
  """The file of weights that a network names: one that is here, or fetched."""
  return source if pathlib.Path(source).is_file() else download.fetch(source, offline=offline)


def _version(library: str) -> str | None:
  try:
    return importlib.metadata.version(library)
  except importlib.metadata.PackageNotFoundError:
    return None


def _of_file(file: readers.File) -> dict[str, Any]:
  return {
    "file": file.path.name,
    "sha256": file.sha256(),
    "bytes": file.size,
    "container": file.container,
    "globals": file.globals,
  }


def _imported(library: str, flag: str) -> Any:
  try:
    return importlib.import_module(library)
  except ImportError as error:
    raise BiasjaxError(f"--{flag} needs {library} ({error}): pip install torch timm torchvision") from error
  except Exception as error:  # builds of torch and torchvision that do not belong together raise RuntimeError
    raise BiasjaxError(
      f"--{flag}: {library} cannot be imported ({' '.join(str(error).split())[:150]}): install builds of "
      "torch and torchvision that belong together"
    ) from error


def _timm(name: str, size: int | None) -> Built:
  _imported("torch", "timm")
  timm = _imported("timm", "timm")
  given = {} if size is None else {"img_size": size}
  try:
    try:
      module = timm.create_model(name, pretrained=False, **given)
    except TypeError:  # convolutions take any size, and no argument for it
      module = timm.create_model(name, pretrained=False)
  except Exception as error:
    raise BiasjaxError(f"--timm={name}: {' '.join(str(error).split())[:200]}") from error
  stated = module.pretrained_cfg
  built = _stated(module, stated, size, f"--timm={name}", "timm's pretrained_cfg")
  home = importlib.import_module(type(module).__module__)
  rename = getattr(home, "checkpoint_filter_fn", None)

  def adapt(state: dict[str, Any]) -> dict[str, Any]:
    state = state if rename is None else rename(state, module)
    return _without_offset(state, stated.get("classifier"), stated.get("label_offset") or 0)

  return dataclasses.replace(built, adapt=adapt)


def _without_offset(state: dict[str, Any], classifiers: str | tuple[str, ...], offset: int) -> dict[str, Any]:
  """Without the background class that stands before the others in some files, as timm has it."""
  for name in (classifiers,) if isinstance(classifiers, str) else classifiers or ():
    ends = (f"{name}.weight", f"{name}.bias")
    state |= {key: state[key][offset:] for key in ends if offset and key in state}
  return state


def _stated(module: Any, stated: Mapping[str, Any], size: int | None, flag: str, origin: str) -> Built:
  """A module with what its `pretrained_cfg` says, in timm's terms."""
  pixels = size or stated["input_size"][-1]
  if stated.get("crop_mode", "center") not in ("center", "squash"):
    raise BiasjaxError(f"{flag}: its crop_mode {stated['crop_mode']!r} is not supported")
  preprocessing = {
    "resize": math.floor(pixels / (stated.get("crop_pct") or 0.875)),
    "crop": pixels,
    "interpolation": stated.get("interpolation") or "bicubic",
    "squash": stated.get("crop_mode") == "squash",
    "origin": origin,
  }
  source = stated.get("file") or stated.get("url") or ""
  if stated.get("hf_hub_id"):
    source = f"hf:{stated['hf_hub_id']}/{stated.get('hf_hub_filename') or 'model.safetensors'}"
  normalization = Normalization(tuple(stated["mean"]), tuple(stated["std"]), origin)
  return Built(module, pixels, normalization, preprocessing, source)


def _torchvision(name: str, size: int | None) -> Built:
  _imported("torch", "torchvision")
  models = _imported("torchvision", "torchvision").models
  network, _, tag = name.partition(".")
  try:
    module = models.get_model(network, weights=None)
    weights = models.get_model_weights(network)
    weights = weights[tag] if tag else weights.DEFAULT
  except (ValueError, KeyError) as error:
    raise BiasjaxError(f"--torchvision={name}: {' '.join(str(error).split())[:200]}") from error
  transforms = weights.transforms()
  origin = f"torchvision's {weights}"
  crop = size or transforms.crop_size[0]
  preprocessing = {
    "resize": round(transforms.resize_size[0] * crop / transforms.crop_size[0]),
    "crop": crop,
    "interpolation": transforms.interpolation.value,
    "squash": False,
    "origin": origin,
  }
  normalization = Normalization(tuple(transforms.mean), tuple(transforms.std), origin)
  return Built(module, crop, normalization, preprocessing, weights.url)


def _module(name: str, size: int | None) -> Built:
  torch = _imported("torch", "module")
  where, _, function = name.partition(":")
  try:
    module = getattr(importlib.import_module(where), function)()
  except Exception as error:  # it is the user's code
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise BiasjaxError(f"--module={name}: {reason}; expected PACKAGE.MODULE:FUNCTION") from error
  if not isinstance(module, torch.nn.Module):
    raise BiasjaxError(f"--module={name}: gives {type(module).__name__}, not a torch.nn.Module")
  if not hasattr(module, "pretrained_cfg"):
    return Built(module, size or 224, ASSUMED, None)
  try:
    return _stated(module, module.pretrained_cfg, size, f"--module={name}", "its pretrained_cfg")
  except (AttributeError, KeyError, TypeError) as error:
    reason = f"{type(error).__name__}: {error}"
    raise BiasjaxError(f"--module={name}: its pretrained_cfg is not as timm's are ({reason})") from error


def _load(built: Built, file: readers.File, reading: str | None) -> None:
  """Puts a file's tensors into the module; each must be there, in its shape, and no other."""
  torch = importlib.import_module("torch")
  wanted = {name: tuple(value.shape) for name, value in built.module.state_dict().items()}
  fits: dict[str, dict[str, Any]] = {}
  for location, mapping in _mappings(file.tree):
    named = {str(name): value for name, value in mapping.items() if readers.is_tensor(value)}
    if not named:
      continue
    first = next((name for name in wanted if not name.endswith("num_batches_tracked")), "")
    prefixes = {name.removesuffix(first) for name in named if name.endswith(first)} | {""}
    for prefix in prefixes:
      own = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
      fits["/".join((*location, prefix))] = own
  problems = []
  chosen = []
  for where, tensors in fits.items():
    if reading is not None and where != reading:
      continue
    state = {name: torch.from_numpy(_readable(tensor)) for name, tensor in tensors.items()}
    for adapted in (state, built.adapt):
      try:
        candidate = adapted if isinstance(adapted, dict) else adapted(dict(state)) if adapted else None
      except Exception:  # timm's renaming meets names that are not its own
        continue
      if candidate is None:
        continue
      problem = _misfit(candidate, wanted)
      if not problem:
        chosen.append((where, candidate))
        break
      problems.append(problem)
  if len(chosen) > 1:
    ways = " or ".join(repr(where) for where, _ in chosen)
    raise BiasjaxError(f"{file.path}: can be read in {len(chosen)} ways: give --reading={ways}")
  if not chosen:
    raise BiasjaxError(f"{file.path}: does not fit the network: {problems[0] if problems else 'no tensors'}")
  built.module.load_state_dict(chosen[0][1], strict=False)  # what may be missing is counters


def _mappings(tree: Any, location: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping]]:
  """Dicts within dicts, four deep at most, with the names that lead to each."""
  if isinstance(tree, dict):
    yield location, tree
    for key, value in tree.items() if len(location) < 4 else ():
      if isinstance(key, str):
        yield from _mappings(value, (*location, key))


def _readable(tensor: readers.Tensor) -> np.ndarray:
  values = tensor.read()
  return np.array(values.astype(np.float32) if values.dtype.name == "bfloat16" else values)


def _misfit(state: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> str:
  """What of a state dict is not as the module wants it; "" if nothing is."""
  counters = {name for name in wanted if name.endswith("num_batches_tracked")}
  missing, more = sorted(wanted.keys() - state.keys() - counters), sorted(state.keys() - wanted.keys())
  if missing or more:
    named = [f"{kind} {names[0][:80]!r}" for kind, names in (("lacks", missing), ("has", more)) if names]
    return f"{' and '.join(named)} ({len(missing)} missing, {len(more)} not the network's)"
  for name, shape in wanted.items():
    if name in state and tuple(state[name].shape) != shape:
      return f"{name!r} is {list(state[name].shape)}, the network's {list(shape)}"
  return ""


@numerics.settled()
def parity(module: Any, program: Any, variables: Any) -> dict[str, Any]:
  """How far logits and image gradients are from PyTorch's in float64, beside PyTorch's own float32.

  Raises:
    BiasjaxError: further than rounding explains.
  """
  import jax
  import jax.numpy as jnp
  import torch

  images = certificate.probe(program.size)
  mean, std = variables["normalization"]["mean"], variables["normalization"]["std"]
  b, k = np.meshgrid(np.arange(len(images)), np.arange(program.classes), indexing="ij")
  weights = (((3 * k + 7 * b) % 11 - 5) / 5).astype(np.float32)
  apply = interpreter.apply_function(program)

  def total(x):
    logits = apply(variables, x)
    return jnp.sum(logits * weights), logits

  gradient, logits = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(images))

  def theirs(dtype):
    x = torch.tensor(images, dtype=dtype, requires_grad=True)
    normalised = (x - torch.tensor(mean, dtype=dtype)) / torch.tensor(std, dtype=dtype)
    result = module.to(dtype)(normalised.permute(0, 3, 1, 2))
    (result * torch.tensor(weights, dtype=dtype)).sum().backward()
    assert x.grad is not None
    return result.detach().numpy(), x.grad.numpy()

  module.requires_grad_(False)  # of the images alone
  threads = torch.get_num_threads()
  if any(getattr(layer, "groups", 1) > 1 for layer in module.modules()):
    # A convolution of single channels in float64 is thousands of small steps, between which threads wait for
    # each other far longer than they compute.
    torch.set_num_threads(1)
  try:
    single, double = theirs(torch.float32), theirs(torch.float64)
  finally:
    torch.set_num_threads(threads)
  module.float()

  def norm(found, expected):
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))

  found = {
    "logits": certificate.difference(logits, double[0]),
    "gradients": norm(np.asarray(gradient), double[1]),
    "torch_logits": certificate.difference(single[0], double[0]),
    "torch_gradients": norm(single[1], double[1]),
  }
  for key, most in (("logits", LOGITS), ("gradients", GRADIENTS)):
    if not found[key] <= max(most, 10 * found[f"torch_{key}"]):
      raise BiasjaxError(
        f"the traced network's {key} differ from PyTorch's by {found[key]:.2g} (PyTorch's float32: "
        f"{found[f'torch_{key}']:.2g}): it is not written"
      )
  return {key: float(f"{value:.2g}") for key, value in found.items()} | {"torch": torch.__version__}
