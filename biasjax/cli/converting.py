"""Converts PyTorch ResNet checkpoints to Flax, without torch; nothing in a file is executed.

python -m convert --list                                 the zoo; --version
python -m convert --model=robust_resnet50_l2_eps3
python -m convert --checkpoint=resnet50.pth --output=checkpoints/mine
python -m convert --checkpoint=my.pth.tar --name=mine --mean=0.5,0.5,0.5 --std=0.5,0.5,0.5
python -m convert --timm=vit_small_patch16_224.augreg_in1k
python -m convert --inspect=my.ckpt
python -m convert --verify=mine
python -m convert --export=mine --output=mine.safetensors
"""

import pathlib
import re
import sys

from absl import flags

from biasjax.cli import exits, paths, usage
from biasjax.errors import BiasjaxError, suggestion
from biasjax.messages import refused, warn

TEXTS = {
  "model": "A network of the zoo, or a pattern such as 'robust_*': fetched, verified, converted, cached.",
  "checkpoint": "A .safetensors, a .pth, .pt or .ckpt of PyTorch, an index of shards, a Hugging Face folder.",
  "head": "The classifier, if it is not called fc: its file, or its name, such as last_linear.",
  "output": "The folder to write, whose name is the network's; with --export, the file.",
  "timm": "A network of timm, traced; needs torch, timm (pip install 'biasjax[torch]').",
  "torchvision": "A network of torchvision, traced; needs these too.",
  "module": "PACKAGE.MODULE:FUNCTION of your own, traced: your code runs, in a process of its own.",
  "name": "Writes into the cache under this name, which run.py --models then knows.",
  "family": "How the file is laid out; recognised if not given.",
  "reading": "Which state dict, where a file holds several.",
  "inspect": "Says what is in a file, without converting it.",
  "verify": "Computes a converted network's certificate again; a name or a folder.",
  "export": "Writes a converted network to --output, a .safetensors file with torchvision's names.",
}
SWITCHES = {
  "list": "Lists the zoo, as python run.py --list=models does.",
  "parity": "Also compares with a plain ResNet in PyTorch, which must be installed.",
  "plain": "It is a plain ResNet, whatever its name, configuration or arguments say.",
  "tensors": "Lists every tensor: where it is, type, shape.",
  "offline": "Never uses the network.",
  "overwrite": "Replaces another conversion that is there.",
}
LISTS = {
  "mean": "Of the channels R,G,B; if not given, the zoo's, else ImageNet's.",
  "std": "Of the channels R,G,B; if not given, the zoo's, else ImageNet's.",
}
HELP = {
  "One of": ("list", "model", "checkpoint", "timm", "torchvision", "module", "inspect", "verify", "export"),
  "Beside --model, --checkpoint and those that are traced": (
    *("output", "name", "reading", "mean std", "offline", "overwrite"),
  ),
  "Beside --model and --checkpoint alone": ("head", "family", "plain", "parity"),
  "Beside --timm, --torchvision and --module": ("size",),
  "Beside --inspect": ("tensors",),
  "Other": ("help",),
}
TRACED = ("timm", "torchvision", "module")
ACTIONS = ("list", "inspect", "verify", "export", *TRACED, "model", "checkpoint")
_WRITING = ("checkpoint", "output", "name", "reading", "mean", "std", "overwrite")
# What may stand beside each, besides --offline.
BESIDE = {
  "list": (),
  "inspect": ("tensors",),
  "verify": (),
  "export": ("output",),
  **dict.fromkeys(TRACED, (*_WRITING, "size")),
  "model": (*_WRITING, "plain", "parity"),
  "checkpoint": (*_WRITING, "model", "plain", "parity", "head", "family"),
}


def _flags() -> flags.FlagValues:
  """Flags of its own, fresh for each command, so that run.py's and these can be in one process."""
  values = flags.FlagValues()
  for name, text in TEXTS.items():
    flags.DEFINE_string(name, None, text, flag_values=values)
  for name, text in LISTS.items():
    flags.DEFINE_list(name, None, text, flag_values=values)
  for name, text in SWITCHES.items():
    flags.DEFINE_bool(name, False, text, flag_values=values)
  flags.DEFINE_integer("size", None, "Pixels of a side, of a traced network.", 1, 4096, flag_values=values)
  flags.DEFINE_bool("help", False, "Shows this.", short_name="h", flag_values=values)
  return values


def run(asked: flags.FlagValues) -> None:
  """Does what the flags ask; ~ is the user's home in all of them.

  Raises:
    BiasjaxError: a mistake in what was asked, or in a file.
  """
  written = {name: asked[name].value for name in asked}
  for name, meant in paths.understood(written, lists=()).items():
    asked[name].value = meant
  actions = [name for name in ACTIONS if asked[name].value]
  pairs = [["model", "checkpoint"], *([name, "checkpoint"] for name in TRACED)]
  if actions not in ([name] for name in ACTIONS) and actions not in pairs:
    given = ", not " + " and ".join(f"--{name}" for name in actions) if actions else ""
    wanted = ", ".join(f"--{name}" for name in ACTIONS)
    raise BiasjaxError(f"one of {wanted} is needed{given}: see python -m convert --help")
  used = BESIDE[actions[-1] if actions[0] == "model" else actions[0]]
  for name in asked:
    if asked[name].value and name not in (*actions, *used, "offline"):
      raise BiasjaxError(f"--{name} is not used with --{actions[0]}: leave it out")
  if (asked.mean is None) != (asked.std is None):
    raise BiasjaxError("--mean and --std belong together")
  if actions[0] == "list":
    from biasjax.convert import listing

    usage.show(listing.listing())
    return
  # Imported late: JAX takes seconds to start, and a misspelt flag should not have to wait for it.
  from biasjax.engine import launch

  launch.import_jax()
  if actions[0] != "inspect":
    launch.devices()
  from etils import epath

  from biasjax.convert import certificate, describe, export, readers
  from biasjax.models import load

  match actions[0]:
    case "inspect":
      print(describe.inspection(readers.read(asked.inspect), tensors=asked.tensors))
    case "verify":
      print(certificate.verify(epath.Path(_folder(asked.verify))))
    case "export":
      if not asked.output:
        raise BiasjaxError("--export needs --output=FILE.safetensors")
      model = load.load(_folder(asked.export))
      print(f"{asked.output}: {export.write(model, asked.output)} tensors written, with torchvision's names")
    case "timm" | "torchvision" | "module":
      _convert_module(asked, actions[0])
    case "model" if not asked.checkpoint:
      _convert_models(asked)
    case _:
      _convert_file(asked)


def _folder(spec: str) -> pathlib.Path:
  from biasjax.convert import cached

  if pathlib.Path(spec).is_dir():
    return pathlib.Path(spec)
  if spec in cached.converted_names():
    return cached.models_directory() / spec
  raise BiasjaxError(f"{spec}: is neither the folder nor the name of a converted checkpoint")


def _convert_models(asked: flags.FlagValues) -> None:
  """Fetches and converts rows of the zoo."""
  from biasjax.convert import cached, conversion, download
  from biasjax.models import zoo

  names = zoo.matching(asked.model, list(zoo.ZOO))
  if len(names) > 1 and (asked.output or asked.name):
    raise BiasjaxError(f"--model={asked.model} is {len(names)} networks: leave out --output and --name")
  for name in names:
    row = zoo.ZOO[name]
    plain = not (asked.output or asked.name or asked.mean or asked.overwrite or asked.parity or asked.reading)
    if plain and cached.is_current(row):
      print(f"{name}: is converted already, in {cached.models_directory() / name}")
      continue
    if not (asked.output or asked.name or asked.mean):
      asked.overwrite = True  # what the cache holds under this name is an older conversion of the same row
    checkpoint = download.fetch(row.source, sha256=row.sha256, offline=asked.offline)
    head = download.fetch(row.head, offline=asked.offline) if row.head else None
    converted = conversion.convert(
      checkpoint,
      head=head,
      row=row,
      normalization=_normalization(asked),
      reading=asked.reading,
      plain=asked.plain,
    )
    _finish(asked, converted, name, _output(asked, default=name))


def _convert_module(asked: flags.FlagValues, kind: str) -> None:
  """Traces a PyTorch network; it is compared with PyTorch before it is written."""
  from biasjax.convert import building, conversion, modules
  from biasjax.models import zoo

  spec = str(asked[kind].value)
  name = re.sub(r"[^A-Za-z0-9_.+-]", "_", spec)
  if name in zoo.ZOO and not (asked.output or asked.name):
    raise BiasjaxError(f"{name} is a network of the zoo, and stays that: give --name or --output")
  output = _output(asked, default=name)
  size = asked["size"].value
  if kind == "module":
    warn(f"{spec} is imported and called in a process of its own: it runs with your rights", "convert")
  wanted = building.Wanted(
    *(kind, spec, asked.checkpoint, size, _normalization(asked)),
    reading=asked.reading,
    offline=asked.offline,
  )
  converted = modules.convert(wanted)
  found = converted.certificate
  written = conversion.write(converted, output, overwrite=asked.overwrite)
  print(f"{spec}: {found['description']}, {found['parameters']:,} parameters")
  normalization = found["normalization"]
  mean, std = _text(normalization["mean"]), _text(normalization["std"])
  print(f"normalisation: mean {mean}, std {std} ({normalization['origin']})")
  _say_unused(found)
  if found["scores"] != "logits":
    why = found["scores"].partition(": ")[2]
    warn(
      f"{spec}: its scores are probabilities ({why}), not logits: another softmax is taken of them, so "
      "confidence, nll, brier and calibration are wrong and attacks are weak; leave its own out",
      "convert",
    )
  parity = found["parity"]
  wide = parity["torch_logits"] is not None
  beside = "which cannot compute it in float64"
  if wide:
    beside = f"PyTorch's float32: {parity['torch_logits']:.1g}, {parity['torch_gradients']:.1g}"
  print(
    f"from PyTorch in {'float64' if wide else 'float32'}: logits {parity['logits']:.1g} of the largest, "
    f"gradients {parity['gradients']:.1g} ({beside})"
  )
  if "gradients_in_float64" in parity:
    exact = f"{parity['gradients_in_float64']:.1g}"
    print(f"gradients computed in float64, too: {exact}; the rest is rounding, beside corners such as ReLU's")
  print(f"{output}: {'written' if written else 'holds this conversion already'}")


def _convert_file(asked: flags.FlagValues) -> None:
  """Converts a file that the user has."""
  from biasjax.convert import conversion, families
  from biasjax.models import zoo

  if asked.family and asked.family not in families.FAMILIES:
    hint = suggestion(asked.family, families.FAMILIES)
    raise BiasjaxError(f"--family={asked.family} is unknown: {hint}")
  row = None
  if asked.model:
    names = zoo.matching(asked.model, list(zoo.ZOO))
    if len(names) > 1:
      raise BiasjaxError(f"--model={asked.model} is {len(names)} networks, and --checkpoint one: name it")
    row = zoo.ZOO[names[0]]
  output = _output(asked, default=row.name if row else None)
  converted = conversion.convert(
    asked.checkpoint,
    head=asked.head,
    normalization=_normalization(asked),
    family=asked.family,
    reading=asked.reading,
    plain=asked.plain,
    row=row,
  )
  if row and row.sha256 and converted.certificate["source"]["sha256"] != row.sha256:
    found = converted.certificate["source"]["sha256"]
    raise BiasjaxError(f"{asked.checkpoint}: its sha256 is {found}; {row.name}'s is {row.sha256}")
  _finish(asked, converted, asked.checkpoint, output)


def _output(asked: flags.FlagValues, default: str | None) -> pathlib.Path:
  from biasjax.convert import cached
  from biasjax.models import zoo

  if asked.output and asked.name:
    raise BiasjaxError("one of --output (a folder) and --name is needed, not both")
  if asked.output:
    return pathlib.Path(asked.output)
  if not (asked.name or default):
    raise BiasjaxError("one of --output (a folder) and --name is needed")
  if asked.name and (
    not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", asked.name) or asked.name in zoo.ZOO
  ):
    raise BiasjaxError(f"--name={asked.name}: letters, digits and _.+-, and not a name of the zoo")
  return cached.models_directory() / (asked.name or default or "")


def _normalization(asked: flags.FlagValues):
  from biasjax.convert.normalization import Normalization

  if asked.mean is None:
    return None
  return Normalization(_numbers("mean", asked.mean), _numbers("std", asked.std), "given")


def _numbers(flag: str, values: list[str]) -> tuple[float, ...]:
  try:
    return tuple(map(float, values))
  except ValueError:
    text = ",".join(values)
    raise BiasjaxError(f"--{flag}={text}: three numbers are needed, one for each of RGB") from None


def _finish(asked: flags.FlagValues, converted, source: str, output: pathlib.Path) -> None:
  """Measures parity if asked, writes, and says what was found and where it is."""
  from biasjax.convert import conversion, parity, stated
  from biasjax.convert.pickles import printable

  found = converted.certificate
  if asked.parity:
    found["parity"] = parity.measure(converted)
  written = conversion.write(converted, output, overwrite=asked.overwrite)
  if asked.parity and not written:
    conversion.write_certificate(output, found)
  origin = f"{found['source']['container']}, {found['source']['layout']}"
  says = [
    f"{where} {value!r}" for where, value in found["function"]["stated"].items() if isinstance(value, str)
  ]
  known = f"; said of it: {printable(', '.join(says[:3]))}" if says else ""
  print(
    f"{source}: {found['description']}, {found['parameters']:,} parameters ({origin}); "
    f"taken for a plain ResNet: {stated.IN_SHORT}{known}"
  )
  normalization = found["normalization"]
  mean, std = _text(normalization["mean"]), _text(normalization["std"])
  print(f"normalisation: mean {mean}, std {std} ({normalization['origin']})")
  _say_unused(found)
  if found["rounding"]:
    print(f"{len(found['rounding'])} tensors were float64 and have been rounded to float32")
  if asked.parity:
    print(
      f"parity: logits differ from PyTorch's by {found['parity']['difference']:.1g} of the largest (of a "
      "plain ResNet with these tensors: that the checkpoint is of one, this does not show)"
    )
  print(f"{output}: {'written' if written else 'holds this conversion already'}")


def _say_unused(found) -> None:
  """What of the file was not used, of a certificate."""
  from biasjax.convert.pickles import printable
  from biasjax.convert.torchvision import COUNTER

  unused = [printable(name) for name in found["dropped"] if not name.endswith(COUNTER)]
  if unused:
    print(f"not used: {', '.join(unused[:4])}{f' and {len(unused) - 4} more' if len(unused) > 4 else ''}")


def _text(values: tuple[float, ...]) -> str:
  return ", ".join(f"{v:g}" for v in values)


def main(argv: list[str]) -> int:
  """Runs what the flags ask; a user's mistake is one line and exit status 1."""
  if "--version" in argv[1:]:
    usage.version()
    return 0
  asked = _flags()
  try:
    rest = asked(argv)
    if asked.help:
      usage.show(usage.page(asked, __doc__ or "", HELP))
      return 0
    if len(rest) > 1:
      raise BiasjaxError(f"unexpected argument {rest[1]!r}: see python -m convert --help")
    run(asked)
  except flags.Error as error:
    message = f"{' '.join(str(error).split())} (see python -m convert --help)"
  except BiasjaxError as error:
    message = str(error)
  except OSError as error:  # of a file that may not be read, a disk that is full
    message = refused(error)
  else:
    return 0
  warn(f"error: {message}", program="convert")
  return exits.MISTAKE


def start() -> None:
  """Parses the command line and runs it; see `starting`."""
  sys.exit(main(sys.argv))


if __name__ == "__main__":
  start()
