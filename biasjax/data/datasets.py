"""The benchmarks: a row for each, with where it comes from, how it is laid out and what must be there.

Whoever adds a benchmark adds a row. Opening one (`biasjax/data/opening.py`) and preparing one
(`biasjax/data/builders/`) know only what its row says.
"""

import dataclasses
from collections.abc import Iterable

from biasjax.data import layouts
from biasjax.data.classes import SUBSETS, subset
from biasjax.data.layouts import Layout
from biasjax.data.preprocess import CROP, RESIZE
from biasjax.errors import BiasjaxError, suggestion

ID, ROBUSTNESS, CONCEPTS, PEOPLE, SMALL = "in distribution", "robustness", "concepts", "people", "small"
IMAGENET_TERMS = "ImageNet research terms"
VAL = "ILSVRC2012_img_val.tar"
ZENODO = "https://zenodo.org/records/2235448/files"
MODEL_VS_HUMAN = "https://github.com/bethgelab/model-vs-human/releases/download/v0.1"


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file as its authors distribute it.

  Attributes:
    name: of the file.
    where: its address, or how to get it.
    size: bytes, where they are known.
  """

  name: str
  where: str
  size: int | None = None

  def __str__(self) -> str:
    size = f" ({self.size / 1e9:.2f} GB)" if self.size else ""
    return f"{self.name}{size} from {self.where}"


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One benchmark.

  Attributes:
    name: on the command line.
    table: in tables, the paper's naming where it has one: top1_acc/<table>.
    title: what it is.
    axis: what it is about.
    layout: what a file's name says; None for ReaL, whose labels are in a file of their own.
    images: how many there are; 0 where its authors do not say.
    labels: who competes, see `Source.labels`.
    classes: how many of the classes (or categories) it has.
    per_class: the fewest and the most images that a class has within one condition.
    archives: as its authors distribute it, or what it is made from.
    licence: of the images.
    citation: who made it.
    conditions: all of them; () where it has none.
    known: (example id, label) of a few images that must be there.
    resize: short side that images are brought to; None for those that are shown as they are.
    inside: the folder of an archive that examples lie in, where it holds others beside it.
    stock: (TFDS' own dataset, split), if it has the same images.
    prepared: the name under which it is prepared, shared by rows that differ in who competes.
    most_labels: the most classes that are right for one image.
    notes: what to know when reading its numbers.
  """

  name: str
  table: str
  title: str
  axis: str
  layout: Layout | None
  images: int
  labels: str
  classes: int
  per_class: tuple[int, int]
  archives: tuple[Archive, ...]
  licence: str
  citation: str
  conditions: tuple[str, ...] = ()
  known: tuple[tuple[str, int], ...] = ()
  resize: int | None = RESIZE
  inside: str = ""
  stock: tuple[str, str] | None = None
  prepared: str = ""
  most_labels: int = 1
  notes: str = ""

  @property
  def builder(self) -> str:
    """The name of its TFDS dataset, as this project prepares it."""
    return f"biasjax_{self.prepared or self.name}"

  @property
  def competing(self) -> tuple[int, ...]:
    """The labels that its images may have."""
    of = self.prepared or self.name
    if of in SUBSETS:
      return subset(of)
    return tuple(range(16 if self.classes == 16 else 1000))


def _v2(variant: str, name: str, table: str, file: str, size: int) -> Dataset:
  return Dataset(
    name=name,
    table=table,
    title=f"ImageNet-V2, {variant}",
    axis=ID,
    layout=layouts.numbered_folders,
    images=10_000,
    labels="imagenet",
    classes=1000,
    per_class=(10, 10),
    archives=(
      Archive(file, f"https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/{file}", size),
    ),
    licence="MIT",
    citation="Recht et al. 2019, arXiv:1902.10811",
    stock=(f"imagenet_v2/{variant}", "test"),
  )


def _corruptions(names: tuple[str, ...]) -> tuple[str, ...]:
  return tuple(f"{name}/{severity}" for name in names for severity in layouts.SEVERITIES)


_A = Dataset(
  name="imagenet_a",
  table="imagenet-a",
  title="ImageNet-A: photographs that a ResNet-50 gets wrong",
  axis=ROBUSTNESS,
  layout=layouts.class_folders,
  images=7_500,
  labels="imagenet_a",
  classes=200,
  per_class=(1, 100),
  archives=(
    Archive("imagenet-a.tar", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar", 687_552_512),
  ),
  licence="MIT",
  citation="Hendrycks et al. 2021, arXiv:1907.07174",
  known=(("n01498041/0.000116_digital clock _ digital clock_0.865662.jpg", 6),),
  stock=("imagenet_a", "test"),
  notes="its 200 classes compete; mined against torchvision's ResNet-50, which is near 0 % by construction",
)
_R = Dataset(
  name="imagenet_r",
  table="imagenet-r",
  title="ImageNet-R: renditions",
  axis=CONCEPTS,
  layout=layouts.class_folders,
  images=30_000,
  labels="imagenet_r",
  classes=200,
  per_class=(1, 1000),
  archives=(
    Archive("imagenet-r.tar", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar", 2_191_079_936),
  ),
  licence="MIT",
  citation="Hendrycks et al. 2021, arXiv:2006.16241",
  known=(("n01443537/art_0.jpg", 1),),
  stock=("imagenet_r", "test"),
  notes="its 200 classes compete",
)
_IMAGENETTE = Dataset(
  name="imagenette",
  table="imagenette",
  title="imagenette: ten easy classes, all 1,000 compete",
  axis=SMALL,
  layout=layouts.class_folders,
  images=3_925,
  labels="imagenet",
  classes=10,
  per_class=(357, 419),
  archives=(
    Archive(
      "imagenette2-320.tgz",
      "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
      341_663_724,
    ),
  ),
  licence=IMAGENET_TERMS,
  citation="Howard 2019, https://github.com/fastai/imagenette",
  known=(("n02102040/ILSVRC2012_val_00004650.JPEG", 217),),
  inside="val",
  stock=("imagenette/320px-v2", "validation"),
)


def _refined_bias(cue: str, most_labels: int, known: tuple[str, int]) -> tuple[Dataset, Dataset]:
  """Its row as the authors preprocess it, and one that shows the stimuli as they are."""
  row = Dataset(
    name=f"refined_bias_{cue}",
    table=f"refined-bias-{cue}",
    title=f"REFINED-BIAS, {cue}: how high the right class ranks where only {cue} shows it",
    axis=PEOPLE,
    layout=layouts.refined_bias(cue),
    images=3_000,
    labels=f"refined_bias_{cue}",
    classes=10,
    per_class=(300, 300),
    archives=(Archive(f"refined_bias_{cue}/", "https://github.com/PumjunKim/REFINED-BIAS"),),
    licence="none stated",
    citation="Kim et al. 2026, arXiv:2603.10834",
    known=(known,),
    most_labels=most_labels,
    notes="stimuli are 224 x 224, brought to 256 and cropped, as the authors do",
  )
  plain = dataclasses.replace(
    row,
    name=f"{row.name}_plain",
    table=f"{row.table}-plain",
    resize=None,
    prepared=row.name,
    notes="stimuli are 224 x 224 and shown as they are",
  )
  return row, plain


ROWS = (
  Dataset(
    name="imagenet",
    table="imagenet",
    title="ImageNet, validation",
    axis=ID,
    layout=layouts.validation,
    images=50_000,
    labels="imagenet",
    classes=1000,
    per_class=(50, 50),
    archives=(Archive(VAL, "https://image-net.org/download-images (after registration)", 6_744_924_160),),
    licence=IMAGENET_TERMS,
    citation="Russakovsky et al. 2015, arXiv:1409.0575",
    known=(("ILSVRC2012_val_00000293.JPEG", 0), ("ILSVRC2012_val_00000001.JPEG", 65)),
    inside="val",
    stock=("imagenet2012", "validation"),
  ),
  _v2(
    *("matched-frequency", "imagenet_v2", "imagenet-v2"),
    *("imagenetv2-matched-frequency.tar.gz", 1_264_079_360),
  ),
  _v2(
    *("threshold-0.7", "imagenet_v2_threshold", "imagenet-v2-threshold-0.7"),
    *("imagenetv2-threshold0.7.tar.gz", 1_249_906_176),
  ),
  _v2(
    *("topimages", "imagenet_v2_top_images", "imagenet-v2-top-images"),
    *("imagenetv2-top-images.tar.gz", 1_245_927_936),
  ),
  Dataset(
    name="imagenet_real",
    table="imagenet-real",
    title="ReaL: ImageNet's validation images, labelled again; any of an image's labels is right",
    axis=ID,
    layout=None,
    images=46_837,
    labels="imagenet_real",
    classes=1000,
    per_class=(1, 200),
    archives=(
      Archive(VAL, "https://image-net.org/download-images (after registration)", 6_744_924_160),
      Archive(
        "real.json",
        "https://raw.githubusercontent.com/google-research/reassessed-imagenet/master/real.json",
        388_478,
      ),
    ),
    licence="Apache-2.0 (labels)",
    citation="Beyer et al. 2020, arXiv:2006.07159",
    known=(("ILSVRC2012_val_00000002.JPEG", 970), ("ILSVRC2012_val_00000004.JPEG", 809)),
    inside="val",
    most_labels=9,
    notes="the 3,163 images without a label are left out; the mean is over the whole set",
  ),
  _A,
  dataclasses.replace(
    _A,
    name="imagenet_a_unmasked",
    table="imagenet-a-unmasked",
    labels="imagenet",
    prepared="imagenet_a",
    notes="all 1,000 classes compete",
  ),
  Dataset(
    name="imagenet_c",
    table="imagenet-c",
    title="ImageNet-C, as published: 19 corruptions at 5 severities",
    axis=ROBUSTNESS,
    layout=layouts.corrupted((*layouts.FIFTEEN, *layouts.EXTRA)),
    images=50_000 * 95,
    labels="imagenet_c",
    classes=1000,
    per_class=(50, 50),
    archives=(
      Archive("noise.tar", f"{ZENODO}/noise.tar", 22_565_673_785),
      Archive("blur.tar", f"{ZENODO}/blur.tar", 7_112_704_951),
      Archive("weather.tar", f"{ZENODO}/weather.tar", 12_797_438_995),
      Archive("digital.tar", f"{ZENODO}/digital.tar", 7_757_510_705),
      Archive("extra.tar", f"{ZENODO}/extra.tar", 15_789_490_144),
    ),
    licence="CC BY 4.0",
    citation="Hendrycks & Dietterich 2019, arXiv:1903.12261",
    conditions=_corruptions((*layouts.FIFTEEN, *layouts.EXTRA)),
    known=(("fog/3/n01440764/ILSVRC2012_val_00000293.JPEG", 0),),
    resize=None,
    notes="images are 224 x 224 and shown as they are; TFDS' imagenet2012_corrupted is not the same images",
  ),
  Dataset(
    name="imagenet_cbar",
    table="imagenet-cbar",
    title="ImageNet-C-bar: 10 corruptions unlike those of C, at 5 severities",
    axis=ROBUSTNESS,
    layout=layouts.corrupted(layouts.CBAR),
    images=50_000 * 50,
    labels="imagenet_cbar",
    classes=1000,
    per_class=(50, 50),
    archives=(
      Archive("imagenet_c_bar.tar.gz", "https://dl.fbaipublicfiles.com/inc_bar/imagenet_c_bar.tar.gz"),
    ),
    licence="MIT",
    citation="Mintun et al. 2021, arXiv:2102.11273",
    conditions=_corruptions(layouts.CBAR),
    known=(("sparkles/3/n01440764/ILSVRC2012_val_00000293.JPEG", 0),),
    resize=None,
    notes="images are 224 x 224 and shown as they are",
  ),
  _R,
  dataclasses.replace(
    _R,
    name="imagenet_r_unmasked",
    table="imagenet-r-unmasked",
    labels="imagenet",
    prepared="imagenet_r",
    notes="all 1,000 classes compete",
  ),
  Dataset(
    name="imagenet_sketch",
    table="imagenet-sketch",
    title="ImageNet-Sketch",
    axis=CONCEPTS,
    layout=layouts.class_folders,
    images=50_889,
    labels="imagenet",
    classes=1000,
    per_class=(1, 100),
    archives=(
      Archive(
        "ImageNet-Sketch.zip",
        "https://drive.google.com/uc?id=1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA",
        7_593_573_012,
      ),
    ),
    licence="MIT",
    citation="Wang et al. 2019, arXiv:1905.13549",
    known=(("n01440764/sketch_13.JPEG", 0),),
    stock=("imagenet_sketch", "test"),
  ),
  Dataset(
    name="stylized_imagenet",
    table="stylized-imagenet",
    title="Stylized ImageNet, validation: 1,000 classes",
    axis=CONCEPTS,
    layout=layouts.validation,
    images=50_000,
    labels="imagenet",
    classes=1000,
    per_class=(50, 50),
    archives=(
      Archive("stylized-imagenet/", "https://github.com/rgeirhos/Stylized-ImageNet (made from ImageNet)"),
    ),
    licence=IMAGENET_TERMS,
    citation="Geirhos et al. 2019, arXiv:1811.12231",
    inside="val",
  ),
  Dataset(
    name="stylized",
    table="stylized",
    title="Stylized ImageNet as in model-vs-human: 16 categories",
    axis=CONCEPTS,
    layout=layouts.one_experiment("stylized"),
    images=800,
    labels="categories16",
    classes=16,
    per_class=(50, 50),
    archives=(Archive("stylized.tar.gz", f"{MODEL_VS_HUMAN}/stylized.tar.gz"),),
    licence="see its authors",
    citation="Geirhos et al. 2021, arXiv:2106.07411",
    resize=None,
    notes="what the paper calls stylized; also one of the experiments of model_vs_human",
  ),
  Dataset(
    name="model_vs_human",
    table="model-vs-human",
    title="The 17 experiments of model-vs-human: 16 categories",
    known=(("edge/oven/oven10.png", 14), ("cue-conflict/bird/bird3-bird2.png", 3)),
    axis=PEOPLE,
    layout=layouts.experiment,
    images=18_080,
    labels="model_vs_human",
    classes=16,
    per_class=(10, 80),
    conditions=(
      *(f"{name}/{c}" for name, conditions in layouts.PARAMETRIC.items() for c in conditions),
      *(name for name in layouts.EXPERIMENTS if name not in layouts.PARAMETRIC),
    ),
    archives=tuple(
      Archive(f"{name}.tar.gz", f"{MODEL_VS_HUMAN}/{name}.tar.gz") for name in layouts.EXPERIMENTS
    ),
    licence="see its authors",
    citation="Geirhos et al. 2021, arXiv:2106.07411",
    resize=None,
    notes="images are 224 x 224 and shown as they are",
  ),
  Dataset(
    name="geirhos_conflict_stimuli",
    table="cue-conflict",
    title="Shape/texture conflict stimuli, for shape bias",
    axis=PEOPLE,
    layout=layouts.cue_conflict,
    images=1_280,
    labels="cue_conflict",
    classes=16,
    per_class=(80, 80),
    archives=(Archive("cue-conflict.tar.gz", f"{MODEL_VS_HUMAN}/cue-conflict.tar.gz"),),
    licence="CC BY 4.0",
    citation="Geirhos et al. 2019, arXiv:1811.12231",
    known=(("bird/bird3-bird2.png", 3),),
    resize=None,
    stock=("geirhos_conflict_stimuli", "test"),
    notes="images are 224 x 224 and shown as they are",
  ),
  Dataset(
    name="laion_c",
    table="laion-c",
    title="LAION-C: 6 distortions that web images do not have, at 5 intensities; 16 superclasses",
    axis=ROBUSTNESS,
    layout=layouts.laion_c,
    images=0,
    labels="laion_c",
    classes=16,
    per_class=(1, 100_000),
    archives=(Archive("laion-c/", "https://zenodo.org/records/14051887"),),
    licence="see its authors",
    citation="Li et al. 2025, arXiv:2506.16950",
    conditions=_corruptions(layouts.LAION_C),
    resize=CROP,
    notes="images are brought to 224, as the authors do; how many there should be is not checked",
  ),
  *_refined_bias("shape", 3, ("ipod/ipod_10.png", 605)),
  *_refined_bias("texture", 2, ("zebra/16x16_zebra_182.png", 340)),
  _IMAGENETTE,
  dataclasses.replace(
    _IMAGENETTE,
    name="imagenette_10",
    table="imagenette-10",
    title="imagenette: ten easy classes, only these compete",
    labels="imagenette",
    prepared="imagenette",
  ),
)
DATASETS: dict[str, Dataset] = {row.name: row for row in ROWS}


def builders() -> frozenset[str]:
  """What TFDS calls these benchmarks, as prepared here and by itself, without their variants."""
  own = {row.builder for row in ROWS}
  return frozenset(own | {row.stock[0].partition("/")[0] for row in ROWS if row.stock})


def get(name: str, others: Iterable[str] = ()) -> Dataset:
  """The row called `name`; "-" and "_" are the same.

  Args:
    name: as written.
    others: that could have been meant, for the suggestion.

  Raises:
    BiasjaxError: there is none; the nearest is suggested.
  """
  found = DATASETS.get(name.replace("-", "_"))
  if not found:
    hint = suggestion(name.replace("-", "_"), (*DATASETS, *others))
    raise BiasjaxError(f"no dataset is called {name!r}: {hint}")
  return found
