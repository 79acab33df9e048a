"""Which models look at which images together: those whose images are brought to size in the same way."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from biasjax.data.preprocess import INTERPOLATIONS
from biasjax.data.sources import Source
from biasjax.engine.evaluate import Network
from biasjax.errors import BiasjaxError
from biasjax.models.zoo import ZOO, Checkpoint

RECIPES = ("paper", "native")
LARGEST = 2**14  # pixels that a certificate may ask for


M = TypeVar("M", bound=Network)


def split(models: Sequence[M], source: Source, recipe: str = "paper") -> list[tuple[list[M], Source]]:
  """The passes over one dataset: models, and the source as they see it.

  Networks that see one size only (traced ones) get images of that size. In "paper" the short side is then in
  the proportion of the dataset's row, 256 to 224; stimuli that are shown as they are are brought to that size
  as a whole, bilinearly, in both recipes.

  Args:
    models: in order.
    source: the images.
    recipe: "paper", in which models see images as the dataset's row says; or "native", in which a network of
      the zoo sees them as its authors did (`Checkpoint.native`), a traced one as its certificate says
      ("preprocessing"), and others as in "paper".

  Returns:
    A pass for each way of bringing images to size, in the order of the models.

  Raises:
    BiasjaxError: a certificate's preprocessing is none.
  """
  groups: dict[tuple, list[M]] = {}
  for model in models:
    groups.setdefault(tuple(_recipe(model, source, recipe).items()), []).append(model)
  return [(members, dataclasses.replace(source, **dict(seen))) for seen, members in groups.items()]


def at_size(source: Source, size: int) -> Source:
  """The source as a network sees it that sees images of `size` pixels a side, by the paper's recipe."""
  return dataclasses.replace(source, **_of_size(source, size))


def _of_size(source: Source, size: int) -> dict[str, Any]:
  if source.resize is None:
    other = size != source.crop
    return {"crop": size, "stimulus": source.crop, "interpolation": "bilinear"} if other else {}
  resize = round(source.resize * size / source.crop)
  return _as_given(source) | {"crop": size, "resize": resize}


def _as_given(source: Source) -> dict[str, Any]:
  return {name: getattr(source, name) for name in ("resize", "crop", "interpolation", "squash")}


def _recipe(model: Network, source: Source, recipe: str) -> Mapping[str, Any]:
  """What of a source a model sees in another way."""
  size = model.size or source.crop
  if source.resize is None:
    return _of_size(source, size)
  if recipe == "native" and (row := _row(model)):
    resize, interpolation = row.native
    return _as_given(source) | {"resize": resize, "interpolation": interpolation}
  stated = model.certificate.get("preprocessing")
  if recipe == "native" and stated is not None:
    return _checked(stated, model)
  return _of_size(source, size)


def _row(model: Network) -> Checkpoint | None:
  """The row of the zoo that a network was converted as; its name does not tell, folders have any."""
  converted_as = model.certificate.get("model")
  return ZOO.get(str(converted_as.get("name"))) if isinstance(converted_as, Mapping) else None


def _checked(stated: Any, model: Network) -> Mapping[str, Any]:
  try:
    resize, crop = stated["resize"], stated["crop"]
    interpolation, squash = stated["interpolation"], stated["squash"]
    numbers = all(type(n) is int and 0 < n <= LARGEST for n in (resize, crop))
    sound = numbers and crop <= resize and type(squash) is bool and interpolation in INTERPOLATIONS
  except (TypeError, KeyError):
    sound = False
  if not sound:
    raise BiasjaxError(
      f"{model.name}: the preprocessing in its certificate is not supported: use --preprocess=paper"
    )
  if model.size not in (None, crop):
    raise BiasjaxError(f"{model.name}: its certificate asks for {crop} pixels, its program for {model.size}")
  return {"resize": resize, "crop": crop, "interpolation": interpolation, "squash": squash}
