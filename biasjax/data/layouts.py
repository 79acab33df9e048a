"""How benchmarks name and nest their files: a file's name tells its label, its id and its condition.

A layout looks at the end of a path only, so that it does not matter from how far above the files are named:
the archive, the folder that it unpacks into, or the folder above that.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

from biasjax.data.classes import category_index, class_index, class_names, cues
from biasjax.data.files import File, readable
from biasjax.errors import BiasjaxError

# ImageNet's own names, and those of the Hugging Face hub, which append the class.
VALIDATION_NAME = re.compile(r"(ILSVRC2012_val_(\d{8}))(?:_(n\d{8}))?(\.[A-Za-z]+)")
TRAINING_NAME = re.compile(r"((n\d{8})_\d+)(?:_(n\d{8}))?(\.[A-Za-z]+)")
VALIDATION_COUNT = 50_000
FIFTEEN = (
  *(
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
  ),
  *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
# AlexNet's error in per cent: of each, its mean over the severities; and on clean images. Hendrycks &
# Dietterich 2019, with the digits that codes which compute mCE use; their appendix rounds to one.
ALEXNET = dict(
  zip(
    FIFTEEN,
    (
      *(88.6428, 89.4468, 92.264, 81.988, 82.6268, 78.5948, 79.836, 86.6816),
      *(82.6572, 81.9324, 56.4592, 85.3204, 64.6056, 71.784, 60.65),
    ),
    strict=True,
  )
)
ALEXNET_CLEAN = 43.48
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CBAR = (
  *("blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout"),
  *("cocentric_sine_waves", "inverse_sparkles", "perlin_noise", "plasma_noise"),
  *("single_frequency_greyscale", "sparkles"),
)
LAION_C = ("geometric_shapes", "glitched", "luminance_checkerboard", "mosaic", "stickers", "vertical_lines")
# REFINED-BIAS (Kim et al. 2026): the classes of its stimuli and the ImageNet classes that are right for each.
REFINED_BIAS = {
  "shape": {
    "balloon": ("n02782093",),
    "book": ("n06596364",),
    "camera": ("n03976467", "n04069434"),
    "cassette": ("n02978881",),
    "clock": ("n02708093", "n03196217", "n04548280"),
    "hourglass": ("n03544143",),
    "ipod": ("n03584254",),
    "mouse": ("n03793489",),
    "revolver": ("n04086273",),
    "soccer_ball": ("n04254680",),
  },
  "texture": {
    "brain_coral": ("n01917289",),
    "broccoli": ("n07714990",),
    "cheetah": ("n02130308",),
    "dishrag": ("n03207743",),
    "elephant": ("n02504013", "n02504458"),
    "honeycomb": ("n03530642",),
    "porcupine": ("n02346627",),
    "strawberry": ("n07745940",),
    "tiger": ("n02129604",),
    "zebra": ("n02391049",),
  },
}
SEVERITIES = ("1", "2", "3", "4", "5")
_REACH = ("1", "2", "4", "8", "16", "32", "64", "128")
# Experiments of model-vs-human (Geirhos et al. 2021) and their conditions, in `canonical` spelling.
PARAMETRIC = {
  "colour": ("cr", "bw"),
  "contrast": ("c100", "c50", "c30", "c15", "c10", "c05", "c03", "c01"),
  "high-pass": ("inf", "3", "1.5", "1", "0.7", "0.55", "0.45", "0.4"),
  "low-pass": ("0", "1", "3", "5", "7", "10", "15", "40"),
  "phase-scrambling": ("0", "30", "60", "90", "120", "150", "180"),
  "power-equalisation": ("0", "pow"),
  "false-colour": ("true", "false"),
  "rotation": ("0", "90", "180", "270"),
  "eidolonI": tuple(f"{reach}-10-10" for reach in _REACH),
  "eidolonII": tuple(f"{reach}-3-10" for reach in _REACH),
  "eidolonIII": tuple(f"{reach}-0-10" for reach in _REACH),
  "uniform-noise": ("0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9"),
}
# The others have no conditions.
EXPERIMENTS = (*PARAMETRIC, "sketch", "stylized", "edge", "silhouette", "cue-conflict")
# Left out of the mean over experiments: the undistorted conditions, and those that people get right in no
# more than 20 % of trials (Geirhos et al. 2021).
NOT_OUT_OF_DISTRIBUTION = frozenset(
  f"{name}/{condition}"
  for name, conditions in {
    "colour": ("cr",),
    "contrast": ("c100", "c03", "c01"),
    "high-pass": ("inf", "0.55", "0.45", "0.4"),
    "low-pass": ("0", "15", "40"),
    "phase-scrambling": ("0", "150", "180"),
    "power-equalisation": ("0",),
    "false-colour": ("true",),
    "rotation": ("0",),
    "eidolonI": ("1-10-10", "64-10-10", "128-10-10"),
    "eidolonII": ("1-3-10", "32-3-10", "64-3-10", "128-3-10"),
    "eidolonIII": ("1-0-10", "16-0-10", "32-0-10", "64-0-10", "128-0-10"),
    "uniform-noise": ("0", "0.6", "0.9"),
  }.items()
  for condition in conditions
)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
  """What a file's name says.

  Attributes:
    example_id: the end of the path; the same in a folder, an archive and a prepared dataset.
    label: an index into the 1,000 classes or the 16 categories.
    condition: of how an image was distorted ("fog/3", "contrast/c05"); "" where there are none.
    also: further classes that are right.
  """

  example_id: str
  label: int
  condition: str = ""
  also: tuple[int, ...] = ()


# A file's path -> what it says, or None where it is not part of the dataset.
Layout = Callable[[Sequence[str]], Place | None]


def class_folders(parts: Sequence[str]) -> Place | None:
  """<WordNet id>/<file>."""
  if len(parts) < 2 or parts[-2] not in class_index():
    return None
  return Place(f"{parts[-2]}/{own_name(parts[-1])}", class_index()[parts[-2]])


def own_name(name: str) -> str:
  """ImageNet's own name of a file: the hub's ILSVRC2012_val_00000293_n01440764.JPEG without its class.

  What is known by a file's name (its noise, whether it is in a subset) is so the same for both.
  """
  match = VALIDATION_NAME.fullmatch(name) or TRAINING_NAME.fullmatch(name)
  return match[1] + match[4] if match else name


def class_of_name(name: str) -> int | None:
  """The class that the name of an ImageNet file tells, by itself or by its number; None for other names.

  None also where the class that the hub appended is not the file's.
  """
  number, training = validation_number(name), TRAINING_NAME.fullmatch(name)
  if not (number or training):
    return None
  own = validation_labels()[number - 1] if number else class_index().get(training[2] if training else "")
  appended = (VALIDATION_NAME.fullmatch(name) or TRAINING_NAME.fullmatch(name) or [None] * 4)[3]
  return own if appended is None or class_index().get(appended) == own else None


def flat(name: str) -> Place | None:
  """A file that lies in no class folder, ImageNet's by its name, which tells the class."""
  label = class_of_name(name)
  return None if label is None else Place(own_name(name), label)


def validation(parts: Sequence[str]) -> Place | None:
  """<WordNet id>/<file>, or ILSVRC2012_val_<number>.JPEG flat, as ILSVRC2012_img_val.tar holds them.

  The label of a flat file follows from its number.
  """
  return class_folders(parts) or (flat(parts[-1]) if validation_number(parts[-1]) else None)


def numbered_folders(parts: Sequence[str]) -> Place | None:
  """<class index>/<file>: "0" to "999" (ImageNet-V2), which sorted as strings would be another order."""
  if len(parts) < 2 or not re.fullmatch(r"0|[1-9]\d{0,2}", parts[-2]):
    return None
  return Place("/".join(parts[-2:]), int(parts[-2]))


def corrupted(corruptions: Iterable[str]) -> Layout:
  """<corruption>/<severity>/<WordNet id>/<file>: ImageNet-C and ImageNet-C-bar."""
  known = frozenset(corruptions)

  def layout(parts: Sequence[str]) -> Place | None:
    if (
      len(parts) < 4
      or parts[-4] not in known
      or parts[-3] not in SEVERITIES
      or parts[-2] not in class_index()
    ):
      return None
    return Place("/".join(parts[-4:]), class_index()[parts[-2]], f"{parts[-4]}/{parts[-3]}")

  return layout


def laion_c(parts: Sequence[str]) -> Place | None:
  """<distortion>/intensity_level_<1 to 5>/<superclass>/<file> (Li et al. 2025)."""
  superclasses = class_names("laion_c")
  if len(parts) < 4 or parts[-4] not in LAION_C or parts[-2] not in superclasses:
    return None
  level = parts[-3].removeprefix("intensity_level_")
  if level not in SEVERITIES:
    return None
  where = f"{parts[-4]}/{level}"
  return Place(f"{where}/{parts[-2]}/{parts[-1]}", superclasses.index(parts[-2]), where)


def experiment(parts: Sequence[str]) -> Place | None:
  """A stimulus of model-vs-human (Geirhos et al. 2021).

  <experiment>/dnn/session-1/<..>_<..>_<..>_<condition>_<category>_<..>.png; for edge, silhouette and
  cue-conflict, which have no conditions, <experiment>/<category>/<..>.png.
  """
  found = [i for i, part in enumerate(parts[:-1]) if part in EXPERIMENTS]
  if not found:
    return None
  first = found[-1]
  name, fields = parts[first], parts[-1].split("_")
  if name in PARAMETRIC or name in ("sketch", "stylized"):
    if len(fields) < 6:
      return None
    condition, category = fields[3], fields[4]
  else:
    condition, category = "0", parts[-2]
  if category not in category_index():
    return None
  where = f"{name}/{canonical(condition)}" if name in PARAMETRIC else name
  return Place("/".join(parts[first:]), category_index()[category], where)


def one_experiment(name: str) -> Layout:
  """`experiment`, but of one; the folder that is named for it may also be the one that is given."""

  def layout(parts: Sequence[str]) -> Place | None:
    inside = parts if name in parts[:-1] else (name, *parts)
    place = experiment(inside)
    return place if place and place.condition.split("/")[0] == name else None

  return layout


def cue_conflict(parts: Sequence[str]) -> Place | None:
  """<shape>/<shape>N-<texture>M.png (Geirhos et al. 2019); the label is the shape."""
  if len(parts) < 2 or parts[-2] not in category_index():
    return None
  try:
    shape, _ = cues(parts[-1])
  except BiasjaxError:
    return None
  return Place("/".join(parts[-2:]), category_index()[shape]) if shape == parts[-2] else None


def refined_bias(cue: str) -> Layout:
  """<class>/<file>, of `REFINED_BIAS`[cue]; every ImageNet class that is right for the class is a label."""
  right = {name: tuple(class_index()[w] for w in wnids) for name, wnids in REFINED_BIAS[cue].items()}

  def layout(parts: Sequence[str]) -> Place | None:
    if len(parts) < 2 or parts[-2] not in right:
      return None
    first, *others = right[parts[-2]]
    return Place("/".join(parts[-2:]), first, "", tuple(others))

  return layout


def canonical(condition: str) -> str:
  """One spelling of a condition, of which stimuli and trials have several: 0.90 and 0.9, True and true."""
  try:
    return f"{float(condition):g}"
  except ValueError:
    return condition.lower()


def validation_number(name: str) -> int:
  """The number of an ILSVRC2012_val_<number>.JPEG, 1..50,000; 0 for another name."""
  match = VALIDATION_NAME.fullmatch(name)
  number = int(match[2]) if match else 0
  return number if number <= VALIDATION_COUNT else 0


@functools.cache
def validation_labels() -> tuple[int, ...]:
  """The class of ILSVRC2012_val_00000001.JPEG and following, as TFDS has it in its package."""
  import tensorflow_datasets as tfds_lib

  path = tfds_lib.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
  return tuple(class_index()[wnid] for wnid in path.read_text().split())


def reassessed(real: Sequence[Sequence[int]]) -> Layout:
  """The validation images with the labels of `real` (Beyer et al. 2020), by file number; none: left out.

  Args:
    real: the right classes of image 1, 2, ...; as in real.json.
  """

  def layout(parts: Sequence[str]) -> Place | None:
    number = validation_number(parts[-1])
    if not number or not real[number - 1]:
      return None
    first, *others = real[number - 1]
    return Place(own_name(parts[-1]), first, "", tuple(others))

  return layout


def read_real(path: pathlib.Path) -> list[list[int]]:
  """real.json: for each of the 50,000 validation images, in the order of their numbers, its right classes.

  Raises:
    BiasjaxError: it is no such file.
  """
  try:
    real = json.loads(path.read_text())
    fine = len(real) == VALIDATION_COUNT and all(type(c) is int and 0 <= c < 1000 for cs in real for c in cs)
  except (OSError, ValueError, TypeError) as error:
    raise BiasjaxError(f"{path} cannot be read ({error}): get real.json again") from error
  if not fine:
    raise BiasjaxError(f"{path} should hold the classes of {VALIDATION_COUNT:,} images: get real.json again")
  return real


@dataclasses.dataclass(frozen=True)
class Listing:
  """A dataset's files, in the order of their ids.

  Attributes:
    files: where each example is.
    places: what each one's name says.
    others: names of images that are not laid out as the dataset's.
    unreadable: names of what cannot be read, with the reason.
  """

  files: list[File]
  places: list[Place]
  others: list[str]
  unreadable: list[str] = dataclasses.field(default_factory=list)


def arrange(files: Sequence[File], layout: Layout, inside: str = "") -> Listing:
  """Which of `files` are examples, ordered by id (with numbers in numeric order).

  Args:
    files: image files.
    layout: what a name says.
    inside: a folder that examples lie in ("val") where the archive holds others beside it ("train"); where no
      path has it, all files are meant.

  Raises:
    BiasjaxError: two files are the same example.
  """
  files, unreadable = readable(files)
  if inside and any(f"/{inside}/" in f"/{file.name}" for file in files):
    files = [file for file in files if f"/{inside}/" in f"/{file.name}"]
  found: list[tuple[Place, File]] = []
  others = []
  for file in files:
    place = layout(file.name.split("/"))
    if place:
      found.append((place, file))
    else:
      others.append(file.name)
  found.sort(key=lambda pair: _order(pair[0].example_id))
  for (place, file), (following, other) in itertools.pairwise(found):
    if place.example_id == following.example_id:
      raise BiasjaxError(f"{file.name} and {other.name} are the same example: name the folder of one copy")
  return Listing([file for _, file in found], [place for place, _ in found], others, unreadable)


def _order(example_id: str) -> tuple[int, str]:
  """By name, but a leading number counts as one: 2/a before 10/a."""
  first, _, rest = example_id.partition("/")
  return (int(first), rest) if first.isdigit() else (-1, example_id)
