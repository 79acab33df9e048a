"""The configs that come with biasjax: where they lie, and how one builds on another."""

import importlib.util
import pathlib
import types

_PACKAGE = pathlib.Path(__file__).parent
# Inside the package where it is installed, since a package beside it there may be called `configs`; in the
# repository beside it.
FOLDER = next(folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir())


def load(name: str) -> types.ModuleType:
  """The module of the config `name`, "study" say; by its file, since a user may have a package `configs`."""
  spec = importlib.util.spec_from_file_location(f"biasjax_config_{name}", FOLDER / f"{name}.py")
  if spec is None or spec.loader is None:
    raise ImportError(f"{FOLDER / name}.py cannot be loaded")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
