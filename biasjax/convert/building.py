"""A PyTorch network of timm, of torchvision or of one's own: built, given its weights, traced, and tried.

Needs torch, as `tracing.py` does. Weights are read by this project's own reader; only a module of one's own
is foreign code that runs: in a process of its own (`apart.py`).
"""

import dataclasses
import importlib
import importlib.metadata
import math
import pathlib
import re
import unittest.mock
from collections.abc import Mapping
from typing import Any

import numpy as np

from biasjax import named
from biasjax.convert import (
  certificate,
  download,
  families,
  foreign,
  readers,
  readings,
  stated,
  tracing,
)
from biasjax.convert.conversion import FLOATS
from biasjax.convert.normalization import ASSUMED, Normalization, check, of_values
from biasjax.errors import BiasjaxError

KINDS = ("timm", "torchvision", "module")
PRECISIONS = ("float32", "float64")
LIBRARIES = ("torch", "timm", "torchvision")
OTHERS = "not of the network that was read"


@dataclasses.dataclass(frozen=True)
class Wanted:
  """A network that is to be converted.

  Attributes:
    kind: one of `KINDS`.
    name: of timm's network, with or without its weights' tag; of torchvision's; or PACKAGE.MODULE:FUNCTION,
      which is imported and called.
    checkpoint: the file of weights; None fetches what timm or torchvision names.
    size: pixels of a side; None takes the network's own.
    normalization: of its input; None takes what its makers say, else ImageNet's.
    reading: which state dict, where the file holds several.
    offline: whether the network may not be used.
  """

  kind: str
  name: str
  checkpoint: str | None = None
  size: int | None = None
  normalization: Normalization | None = None
  reading: str | None = None
  offline: bool = False

  def __str__(self) -> str:
    """As it is asked for."""
    return f"--{self.kind}={self.name}"


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


@dataclasses.dataclass(frozen=True)
class Tried:
  """A traced network, and what PyTorch itself makes of the certificate's images; plain data.

  Attributes:
    text: the program, as `traced.program.dump` writes it; to be checked.
    weights: arrays by path in the variables.
    names: the module's own name of each path.
    normalization, preprocessing: see `Built`.
    file: what the certificate says of the file of weights; None if there is none.
    dropped: what of that file was not used, each with the reason.
    logits, gradients: by those of `PRECISIONS` in which PyTorch computed them: of the images of
      `certificate.probe`, and with respect to them of the sum of logits times `coefficients`. "float64" is
      absent where layers ask for float32.
    versions: of `LIBRARIES`, None where one is absent.
  """

  text: str
  weights: Mapping[tuple[str, ...], np.ndarray]
  names: Mapping[tuple[str, ...], str]
  normalization: Normalization
  preprocessing: dict[str, Any] | None
  file: dict[str, Any] | None
  dropped: dict[str, str]
  logits: Mapping[str, np.ndarray]
  gradients: Mapping[str, np.ndarray]
  versions: dict[str, str | None]


def tried(wanted: Wanted) -> Tried:
  """Builds a network, loads its weights, traces it and asks PyTorch.

  Raises:
    BiasjaxError: torch or the library is absent, there is no such network, the weights do not fit, or it
      cannot be traced.
  """
  file = None if wanted.checkpoint is None else readers.read(wanted.checkpoint)
  said = _config(file) if file and wanted.kind == "timm" else {}
  if wanted.offline and wanted.kind == "timm" and re.match("hf[-_]hub:", wanted.name):
    raise BiasjaxError(f"{wanted}: timm asks the hub what it is: not with --offline")
  build = {"timm": _timm, "torchvision": _torchvision, "module": _module}[wanted.kind]
  built = _given(build(wanted.name, wanted.size or said.get("size")), wanted, file, said)
  if file is None and not built.source and wanted.kind != "module":
    raise BiasjaxError(f"{wanted}: nobody says where its weights are: give --checkpoint=FILE")
  if file is None and built.source:
    file = readers.read(_found(built.source, wanted.offline))
  layout, dropped = ("", {}) if file is None else _load(built, file, wanted.reading)
  traced = tracing.trace(built.module, built.size)
  logits, gradients = _asked(built, traced.program.size, traced.program.classes)
  return Tried(
    *(traced.program.text, traced.weights, traced.names, built.normalization, built.preprocessing),
    *(_of_file(file) | {"layout": layout} if file else None, dropped, logits, gradients),
    {library: _version(library) for library in LIBRARIES},
  )


def coefficients(images: int, classes: int) -> np.ndarray:
  """Of the sum of logits whose gradient is compared, float32 [images, classes]."""
  b, k = np.meshgrid(np.arange(images), np.arange(classes), indexing="ij")
  return (((3 * k + 7 * b) % 11 - 5) / 5).astype(np.float32)


def _asked(built: Built, size: int, classes: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """What PyTorch says, see `Tried`."""
  import torch

  images, module = certificate.probe(size), built.module
  mean, std = (np.array(getattr(built.normalization, key), np.float32) for key in ("mean", "std"))
  weights = coefficients(len(images), classes)

  def theirs(dtype):
    x = torch.tensor(images, dtype=dtype, requires_grad=True)
    normalised = (x - torch.tensor(mean, dtype=dtype)) / torch.tensor(std, dtype=dtype)
    # The one result may be in a dict or the like.
    wide = module.double() if dtype == torch.float64 else module.float()  # complex weights stay complex
    (result,) = tracing.results(wide(normalised.permute(0, 3, 1, 2)))
    (result * torch.tensor(weights, dtype=dtype)).sum().backward()
    assert x.grad is not None
    return result.detach().numpy(), x.grad.numpy()

  module.requires_grad_(False)  # of the images alone
  threads = torch.get_num_threads()
  if any(getattr(layer, "groups", 1) > 1 for layer in module.modules()):
    # A convolution of single channels in float64 is thousands of small steps, between which threads wait for
    # each other far longer than they compute.
    torch.set_num_threads(1)
  found = {}
  try:
    for precision in PRECISIONS:
      found[precision] = theirs(getattr(torch, precision))
  except Exception as error:  # layers of one's own may ask for float32
    if not found:
      reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
      raise BiasjaxError(
        f"{type(module).__name__}: PyTorch cannot compute it and its gradient, to compare with: {reason}"
      ) from error
  finally:
    torch.set_num_threads(threads)
  module.float()
  return {key: of[0] for key, of in found.items()}, {key: of[1] for key, of in found.items()}


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
    raise BiasjaxError(f"--{flag} needs {library} ({error}): pip install 'biasjax[torch]'") from error
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
      module, rename = _as_trained(timm, name, given)
    except TypeError:  # convolutions take any size, and no argument for it
      module, rename = _as_trained(timm, name, {})
  except Exception as error:
    raise BiasjaxError(f"--timm={name}: {' '.join(str(error).split())[:200]}") from error
  if not getattr(module, "num_classes", 1):
    raise BiasjaxError(f"--timm={name}: gives features, it has no classifier and so no logits")
  said = module.pretrained_cfg
  built = _stated(module, said, size, f"--timm={name}", "timm's pretrained_cfg")

  def adapt(state: dict[str, Any]) -> dict[str, Any]:
    if rename is not None:
      try:
        state = rename(state, module)
      except TypeError:  # some take no network
        state = rename(state)
    return _without_offset(state, said.get("classifier"), said.get("label_offset") or 0)

  return dataclasses.replace(built, adapt=adapt)


def _as_trained(timm: Any, name: str, given: dict[str, Any]) -> tuple[Any, Any]:
  """A network as timm builds it for its own weights, without them, and what adapts a file's names and sizes.

  Both differ from what it says elsewhere: `fbnetc_100` has another epsilon with its weights, `flexivit_small`
  interpolates position embeddings otherwise than its family. So timm is asked for weights, and what would
  load them takes note instead.
  """
  builder = importlib.import_module("timm.models._builder")
  with unittest.mock.patch.object(builder, "load_pretrained") as load:
    module = timm.create_model(name, pretrained=True, **given)
  return module, load.call_args.kwargs.get("filter_fn") if load.called else None


def _without_offset(state: dict[str, Any], classifiers: str | tuple[str, ...], offset: int) -> dict[str, Any]:
  """Without the background class that stands before the others in some files, as timm has it."""
  for name in (classifiers,) if isinstance(classifiers, str) else classifiers or ():
    ends = (f"{name}.weight", f"{name}.bias")
    state |= {key: state[key][offset:] for key in ends if offset and key in state}
  return state


def _stated(module: Any, said: Mapping[str, Any], size: int | None, flag: str, origin: str) -> Built:
  """A module with what its `pretrained_cfg` says, in timm's terms."""
  pixels = size or said["input_size"][-1]
  if said.get("crop_mode", "center") not in ("center", "squash"):
    raise BiasjaxError(f"{flag}: its crop_mode {said['crop_mode']!r} is not supported")
  preprocessing = {
    "resize": math.floor(pixels / (said.get("crop_pct") or 0.875)),
    "crop": pixels,
    "interpolation": said.get("interpolation") or "bicubic",
    "squash": said.get("crop_mode") == "squash",
    "origin": origin,
  }
  source = said.get("file") or said.get("url") or ""
  if said.get("hf_hub_id"):
    source = f"hf:{said['hf_hub_id']}/{said.get('hf_hub_filename') or 'model.safetensors'}"
  try:
    normalization = of_values(tuple(said["mean"]), tuple(said["std"]), origin)
  except BiasjaxError as error:
    raise BiasjaxError(f"{flag}: {error}") from error
  return Built(module, pixels, normalization, preprocessing, source)


def _torchvision(name: str, size: int | None) -> Built:
  _imported("torch", "torchvision")
  models = _imported("torchvision", "torchvision").models
  network, _, tag = name.partition(".")
  if network in set(models.list_models()) - set(models.list_models(module=models)):
    raise BiasjaxError(f"--torchvision={name}: is no classifier of images in float32")
  try:
    weights = models.get_model_weights(network)
    if tag and tag not in weights.__members__:
      raise ValueError(f"it has no weights of that name, but {', '.join(weights.__members__)}")
    weights = weights[tag] if tag else weights.DEFAULT
    transforms = weights.transforms()
    crop = size or transforms.crop_size[0]
    module = models.get_model(network, weights=None, **_beside_weights(network, crop))
  except ValueError as error:
    raise BiasjaxError(f"--torchvision={name}: {' '.join(str(error).split())[:200]}") from error
  origin = f"torchvision's {weights}"
  preprocessing = {
    "resize": round(transforms.resize_size[0] * crop / transforms.crop_size[0]),
    "crop": crop,
    "interpolation": transforms.interpolation.value,
    "squash": False,
    "origin": origin,
  }
  normalization = Normalization(tuple(transforms.mean), tuple(transforms.std), origin)
  return Built(module, crop, normalization, preprocessing, weights.url)


def _beside_weights(network: str, pixels: int) -> dict[str, Any]:
  """What torchvision's builders set where they are given weights, which they would fetch themselves."""
  if network in ("googlenet", "inception_v3"):
    # To the mean and std of the TensorFlow networks that these were.
    return {"transform_input": True, "init_weights": False}
  return {"image_size": pixels} if network.startswith("vit_") else {}


def _module(name: str, size: int | None) -> Built:
  torch = _imported("torch", "module")
  module = named.called("--module", name)
  parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
  while isinstance(module, parallel) or hasattr(module, "_orig_mod"):  # the latter of torch.compile
    module = module.module if isinstance(module, parallel) else module._orig_mod
  if not isinstance(module, torch.nn.Module):
    raise BiasjaxError(f"--module={name}: gives {type(module).__name__}, not a torch.nn.Module")
  if not hasattr(module, "pretrained_cfg"):
    return Built(module, size or 224, ASSUMED, None)
  try:
    return _stated(module, module.pretrained_cfg, size, f"--module={name}", "its pretrained_cfg")
  except (AttributeError, KeyError, TypeError) as error:
    reason = f"{type(error).__name__}: {error}"
    raise BiasjaxError(f"--module={name}: its pretrained_cfg is not as timm's are ({reason})") from error


def _config(file: readers.File) -> dict[str, Any]:
  """What the config.json that timm writes beside weights says of their input, and "size", its pixels."""
  path = file.path.parent / "config.json"
  content = stated.load(path) if path.is_file() else None
  said = content.get("pretrained_cfg") if isinstance(content, dict) else None
  keys = ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")
  found = {key: said[key] for key in keys if said.get(key) is not None} if isinstance(said, dict) else {}
  pixels = found.get("input_size")
  if isinstance(pixels, list) and pixels and isinstance(pixels[-1], int):
    found["size"] = pixels[-1]
  return found


def _given(built: Built, wanted: Wanted, file: readers.File | None, said: Mapping[str, Any]) -> Built:
  """What was built, its input as is asked for, else as is said of the weights of one's own that it is given.

  Raises:
    BiasjaxError: the weights are said to be another network's, or what is said cannot be.
  """
  normalization = wanted.normalization
  if normalization:
    check(normalization)
  if file and wanted.kind != "module":  # whose state dict may hold what it subtracts itself
    statements = stated.collect(file)
    _refuse_another(wanted, file, statements)
    normalization = normalization or stated.stated_normalization(statements, str(file.path))
  if said:
    try:
      config = {**built.module.pretrained_cfg, **said}
      stating = _stated(built.module, config, wanted.size, str(wanted), "config.json beside the weights")
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
      raise BiasjaxError(
        f"{file and file.path}: config.json beside it is not as timm's are ({error})"
      ) from error
    built = dataclasses.replace(stating, adapt=built.adapt)
  return dataclasses.replace(built, normalization=normalization or built.normalization)


def _refuse_another(wanted: Wanted, file: readers.File, statements: list[stated.Statement]) -> None:
  """Raises BiasjaxError where weights are said to be of another network, whose tensors theirs may fit."""
  library = importlib.import_module("timm" if wanted.kind == "timm" else "torchvision.models")
  known = set(library.list_models())
  for statement in statements:
    name = statement.value.partition(".")[0] if isinstance(statement.value, str) else ""
    key = re.split(r"[ .]", statement.where)[-1]
    if key in ("arch", "architecture", "model") and name in known and name != wanted.name.partition(".")[0]:
      raise BiasjaxError(
        f"{file.path}: {statement}, not {wanted.name}: --{wanted.kind}={name}, or move away what says so"
      )


def _load(built: Built, file: readers.File, reading: str | None) -> tuple[str, dict[str, str]]:
  """Puts a file's tensors into the module; each must be there, in its shape, and no other.

  Returns:
    Where in the file they are, in words, and what is beside them, each with the reason.
  """
  own = built.module.state_dict()
  wanted = {name: tuple(value.shape) for name, value in own.items()}
  found = _candidates(file.tree, wanted)
  if reading is not None and found:
    one = readings.choose(found, reading, file)
    found = {one: found[one]}
  room = file.size + sum(value.nbytes for value in own.values())
  problems, chosen = [], []
  for where, (tensors, _) in found.items():
    problem = _misfit(tensors, wanted)
    state = {} if problem and not built.adapt else _values(file, tensors, room)
    if problem and built.adapt:
      try:
        state = built.adapt(state)
        problem = _misfit(state, wanted) and problem
      except Exception:  # timm's renaming meets names that are not its own
        pass
    if problem:
      problems.append(problem)
    else:
      _check_types(file, tensors, state, own)
      chosen.append((where, state))
  if len(chosen) > 1:
    ways = readings.quoted(where for where, _ in chosen)
    raise BiasjaxError(f"{file.path}: can be read in {len(chosen)} ways; choose one: --reading={ways}")
  if not problems and not chosen:
    raise BiasjaxError(f"{file.path}: {foreign.explain(file.tree, file.path, None)}")
  if not chosen:
    raise BiasjaxError(f"{file.path}: does not fit the network: {problems[0]}")
  where, state = chosen[0]
  built.module.load_state_dict(state, strict=False)  # what may be missing is counters
  return where.layout, found[where][1]


def _candidates(
  tree: Any, wanted: Mapping[str, Any]
) -> dict[readings.Reading, tuple[dict[str, readers.Tensor], dict[str, str]]]:
  """State dicts of a file's tree, each without a prefix that the module's names have there.

  With each, what is beside it, and why that is not used.
  """
  first = next((name for name in wanted if not name.endswith("num_batches_tracked")), "")
  found = {}
  for location, mapping in families.mappings(tree):
    beside, around = {}, tree
    for key in location:
      beside |= {str(other)[:200]: "beside the state dict" for other in around if other != key}
      around = around[key]
    named = {str(name): value for name, value in mapping.items() if readers.is_tensor(value)}
    prefixes = {name.removesuffix(first) for name in named if name.endswith(first)} | {""}
    for prefix in sorted(prefixes) if named else ():
      of_prefix = {n.removeprefix(prefix): value for n, value in named.items() if n.startswith(prefix)}
      others = {str(n)[:200]: OTHERS for n in mapping if str(n) not in named or not str(n).startswith(prefix)}
      found[readings.Reading(location, prefix)] = of_prefix, beside | others
  return found


def _values(file: readers.File, tensors: Mapping[str, readers.Tensor], room: int) -> dict[str, Any]:
  """What of a state dict PyTorch can hold, as its tensors."""
  torch = importlib.import_module("torch")
  if (claimed := sum(tensor.nbytes for tensor in tensors.values())) > room:
    raise BiasjaxError(f"{file.path}: its tensors claim {claimed:,} bytes and share them: it is not read")
  found = {}
  for name, tensor in tensors.items():
    kind = tensor.numbers.dtype
    if kind is not None and (kind in FLOATS or kind.kind in "iuc"):
      values = tensor.read()
      values = values.astype(np.float32) if values.dtype.name == "bfloat16" else values
      found[name] = torch.from_numpy(np.array(values))
  return found


def _check_types(
  file: readers.File, tensors: Mapping[str, readers.Tensor], state: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
  """Raises BiasjaxError where weights are no such numbers: whole ones would want a scale, say."""
  for name, value in own.items():
    given = state.get(name)
    if given is None and name not in tensors:
      continue
    complex_ = given is not None and given.is_complex() != value.is_complex()
    if given is None or complex_ or (value.is_floating_point() and not given.is_floating_point()):
      kind = tensors[name].numbers if given is None or name in tensors else given.dtype
      raise BiasjaxError(
        f"{file.path}: {name[:100]!r} is {kind}; weights are float16, bfloat16, float32 or float64"
      )


def _misfit(state: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> str:
  """What of a state dict is not as the module wants it; "" if nothing is."""
  counters = {name for name in wanted if name.endswith("num_batches_tracked")}
  missing, more = sorted(wanted.keys() - state.keys() - counters), sorted(state.keys() - wanted.keys())
  if missing or more:
    named = [f"{kind} {names[0][:80]!r}" for kind, names in (("lacks", missing), ("has", more)) if names]
    return f"{' and '.join(named)} ({len(missing)} missing, {len(more)} not the network's)"
  differ = [name for name, shape in wanted.items() if name in state and tuple(state[name].shape) != shape]
  if differ:
    found, own = tuple(state[differ[0]].shape), wanted[differ[0]]
    layers = {name.rpartition(".")[0] for name in differ}
    classes = (
      "; of other classes it is built by --module" if len(layers) == 1 and found[1:] == own[1:] else ""
    )
    return f"{differ[0]!r} is {list(found)}, the network's {list(own)}{classes}"
  return ""
