"""What the command line can do, as text: the page of --help, and --list."""

import fnmatch
import importlib
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from absl import flags

WIDTH = 110  # columns of the page
TEXT_AT = 30  # the column where what a flag is for begins
GROUPS = {  # every flag of run.py, once
  "what to measure": ("models", "probes", "dataset", "limit", "preprocess", "keep_adversarial", "seed"),
  "where things are": ("workdir", "data_dir", "manual_dir", "config", "offline", "allow_incomplete"),
  "the machine": ("batch_size", "chunk_size", "precision", "partitioner", "tune_cpu"),
  "several processes": ("shard", "distributed", "coordinator", "num_processes", "process_id"),
  "other than measuring": ("list", "dry_run", "benchmark", "profile", "prepare", "summarise", "trials"),
  "studying a table": ("table", "categories", "compare", "output"),
  "training, with --config=configs/train.py": ("init",),
}
LISTS = ("models", "probes", "datasets", "conditions")


def page(head: str, values: flags.FlagValues) -> str:
  """`head`, then each flag with its default and what it is for, by group; no line is longer than `WIDTH`."""
  lines = [head.strip()]
  for title, names in GROUPS.items():
    lines += ["", f"{title}:", *(_described(values[name]) for name in names)]
  return "\n".join([*lines, "", "A default stands after the =. --helpfull has the flags of libraries too."])


def _described(flag: flags.Flag) -> str:
  default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
  shown = f"--{flag.name}={'' if default is None else default}"
  if flag.boolean:
    shown = f"--[no]{flag.name}=true" if default else f"--{flag.name}"
  indent = " " * TEXT_AT
  return textwrap.fill(
    f"  {shown:<{TEXT_AT - 3}} {flag.help}", WIDTH, subsequent_indent=indent, break_on_hyphens=False
  )


def listing(what: str, asked: Mapping[str, Any]) -> str:
  """One of `LISTS`: what of the models --models names, of the benchmarks --dataset; conditions of --probes.

  Raises:
    BiasjaxError: there is no such probe.
  """
  # Each list imports what it needs, as the commands do.
  if what == "models":
    from convert import describe

    return describe.listing(asked["models"] or ["*"])
  if what == "datasets":
    return _datasets(asked["dataset"] or ["*"])
  return _probes() if what == "probes" else _conditions(asked["probes"])


def _datasets(patterns: list[str]) -> str:
  from biasjax.data import datasets

  rows = [r for r in datasets.ROWS if any(fnmatch.fnmatch(r.name, pattern) for pattern in patterns)]
  table = [
    (row.name, f"{row.images:,} images", row.axis, f"{row.title} ({row.citation}; {row.licence})")
    for row in rows
  ]
  head = "by name; also folder:PATH, tfds:NAME and others, see docs/datasets.md"
  return "\n".join([head, *_columns(table)])


def _probes() -> str:
  from biasjax import probes

  table = []
  for name in probes.names():
    module = importlib.import_module(f"biasjax.probes.{name}")
    options = [
      f"{parameter.name}={parameter.default}"
      for parameter in inspect.signature(module.make).parameters.values()
      if parameter.kind is parameter.KEYWORD_ONLY
    ]
    what = (inspect.getdoc(module) or "").split("\n")[0]
    table.append((name, what, " ".join(options)))
  head = "NAME[:OPTION=VALUE...][@DATASET]; options stand with their defaults"
  return "\n".join([head, *_columns(table)])


def _conditions(names: list[str]) -> str:
  from biasjax import probes

  lines = []
  for name in names:
    probe = probes.get(probes.located(name)[0])
    lines += [
      f"{probe.name} ({len(probe.conditions)})",
      *(f"  {condition}" for condition in probe.conditions),
    ]
  return "\n".join(lines)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
