"""Which models look at which images together: those whose images are brought to size in the same way."""

import dataclasses
from collections.abc import Sequence

from biasjax.data.sources import Source
from biasjax.models.load import Model
from biasjax.models.zoo import ZOO

RECIPES = ("paper", "native")


def split(models: Sequence[Model], source: Source, recipe: str = "paper") -> list[tuple[list[Model], Source]]:
  """The passes over one dataset: models, and the source as they see it.

  Args:
    models: in order.
    source: the images.
    recipe: "paper", one pass in which all models see images as the dataset's row says; or "native", in which
      a network of the zoo sees them as its authors did (`Checkpoint.native`), and others as in "paper".
      Images that are shown as they are stay so.

  Returns:
    A pass for each way of resizing, in the order of the models.
  """
  if recipe == "paper" or source.resize is None:
    return [(list(models), source)]
  groups: dict[tuple[int, str], list[Model]] = {}
  for model in models:
    known = ZOO.get(model.name)
    wanted = known.native if known else (source.resize, source.interpolation)
    groups.setdefault(wanted, []).append(model)
  return [
    (members, dataclasses.replace(source, resize=resize, interpolation=interpolation))
    for (resize, interpolation), members in groups.items()
  ]
