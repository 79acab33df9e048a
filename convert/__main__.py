"""Converts a PyTorch ResNet checkpoint to Flax, without torch; nothing in the file is executed.

python -m convert --checkpoint=resnet50.pth --output=checkpoints/mine
"""

import pathlib
import sys

from absl import flags

from biasjax.errors import BiasjaxError


def _flags() -> flags.FlagValues:
  """Flags of its own, fresh for each command, so that run.py's and these can be in one process."""
  values = flags.FlagValues()
  text = "The file: .safetensors, or .pth, .pt, .ckpt, .pth.tar as PyTorch writes them."
  flags.DEFINE_string("checkpoint", None, text, flag_values=values)
  flags.DEFINE_string("output", None, "The folder to write; its name is the network's.", flag_values=values)
  flags.DEFINE_string("name", None, "Short for --output=checkpoints/NAME.", flag_values=values)
  flags.DEFINE_list(
    "mean", None, "Of the input's channels R,G,B; ImageNet's if not given.", flag_values=values
  )
  flags.DEFINE_list(
    "std", None, "Of the input's channels R,G,B; ImageNet's if not given.", flag_values=values
  )
  flags.DEFINE_string("reading", None, "Which state dict, where a file holds several.", flag_values=values)
  text = "Whether another conversion in --output may be replaced."
  flags.DEFINE_bool("overwrite", False, text, flag_values=values)
  flags.DEFINE_bool("help", False, "Shows this.", short_name="h", flag_values=values)
  return values


def run(asked: flags.FlagValues) -> None:
  """Does what the flags ask.

  Raises:
    BiasjaxError: a mistake in what was asked, or in the file.
  """
  if not asked.checkpoint:
    raise BiasjaxError("--checkpoint is needed: see python -m convert --help")
  if bool(asked.output) == bool(asked.name):
    raise BiasjaxError("one of --output (a folder) and --name is needed")
  # Imported late: JAX takes seconds to start, and a misspelt flag should not have to wait for it.
  from convert import conversion
  from convert.certificate import Normalization

  normalization = conversion.ASSUMED
  if (asked.mean is None) != (asked.std is None):
    raise BiasjaxError("--mean and --std belong together")
  if asked.mean is not None:
    mean, std = _numbers("mean", asked.mean), _numbers("std", asked.std)
    normalization = Normalization(mean, std, "given")
  output = pathlib.Path(asked.output or pathlib.Path("checkpoints", asked.name))
  converted = conversion.convert(asked.checkpoint, normalization=normalization, reading=asked.reading)
  written = conversion.write(converted, output, overwrite=asked.overwrite)
  found = converted.certificate
  print(
    f"{asked.checkpoint}: {found['description']}, {found['parameters']:,} parameters "
    f"({found['source']['container']}, {found['source']['layout']})"
  )
  mean, std = _text(normalization.mean), _text(normalization.std)
  print(f"normalisation: mean {mean}, std {std} ({normalization.origin})")
  if found["rounding"]:
    print(f"{len(found['rounding'])} tensors were float64 and have been rounded to float32")
  print(f"{output}: {'written' if written else 'holds this conversion already'}")


def _numbers(flag: str, values: list[str]) -> tuple[float, ...]:
  try:
    return tuple(map(float, values))
  except ValueError:
    text = ",".join(values)
    raise BiasjaxError(f"--{flag}={text}: three numbers are needed, one for each of RGB") from None


def _text(values: tuple[float, ...]) -> str:
  return ", ".join(f"{v:g}" for v in values)


def main(argv: list[str]) -> int:
  """Runs what the flags ask; a user's mistake is one line and exit status 1."""
  asked = _flags()
  try:
    rest = asked(argv)
    if asked.help:
      print(f"{__doc__}\n{asked.get_help()}")
      return 0
    if len(rest) > 1:
      raise BiasjaxError(
        f"unexpected argument {rest[1]!r}: everything is a flag, see python -m convert --help"
      )
    run(asked)
  except flags.Error as error:
    print(f"convert: error: {' '.join(str(error).split())} (see python -m convert --help)", file=sys.stderr)
    return 1
  except BiasjaxError as error:
    print(f"convert: error: {error}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
