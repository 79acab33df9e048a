"""Small copies of the benchmarks in their authors' layout, with the odd files that the real ones have."""

import dataclasses
import io
import json
import pathlib
import tarfile
import zipfile

import numpy as np
from PIL import Image

from biasjax.data import datasets, layouts
from made_images import encoded, pixels

TENCH, GOLDFISH = "n01440764", "n01443537"  # classes 0 and 1


def jpeg(seed: int, size: int = 32) -> bytes:
  return encoded(pixels(size, size, seed=seed))


def cmyk(seed: int, size: int = 32) -> bytes:
  """As 22 of ImageNet's JPEG files are."""
  return encoded(Image.fromarray(pixels(size, size, seed=seed)).convert("CMYK"))


def png_named_jpeg(seed: int, size: int = 32) -> bytes:
  """As one of ImageNet's JPEG files is."""
  return encoded(pixels(size, size, seed=seed), "PNG")


def grey(seed: int, size: int = 32) -> bytes:
  return encoded(Image.fromarray(pixels(size, size, seed=seed)).convert("L"))


def palette(seed: int, size: int = 32) -> bytes:
  return encoded(Image.fromarray(pixels(size, size, seed=seed)).convert("P"), "PNG")


@dataclasses.dataclass(frozen=True)
class Made:
  """Files by their path in the archive, and what is right: {example id: label}, or labels.

  `junk` lies beside them and is no example.
  """

  files: dict[str, bytes]
  expected: dict[str, tuple[int, ...]]
  junk: dict[str, bytes] = dataclasses.field(default_factory=dict)


def _of(prefix: str, examples: dict[str, tuple[bytes, int]], junk: dict[str, bytes] | None = None) -> Made:
  return Made(
    {prefix + name: content for name, (content, _) in examples.items()},
    {name: (label,) for name, (_, label) in examples.items()},
    junk or {},
  )


def imagenet() -> Made:
  # Flat, as in ILSVRC2012_img_val.tar. Labels looked up by hand: 1 is a snake (n01751748, class
  # 65), 293 a tench.
  return _of(
    "",
    {
      "ILSVRC2012_val_00000001.JPEG": (cmyk(1), 65),
      "ILSVRC2012_val_00000293.JPEG": (png_named_jpeg(2), 0),
    },
  )


def imagenet_v2() -> Made:
  names = {"0/0af3.jpeg": 0, "2/ffee.jpeg": 2, "10/01ab.jpeg": 10, "999/77aa.jpeg": 999}
  root = "imagenetv2-matched-frequency-format-val/"
  return _of(root, {name: (jpeg(i), label) for i, (name, label) in enumerate(names.items())})


def imagenet_a() -> Made:
  odd = "n01498041/0.000116_digital clock _ digital clock_0.865662.jpg"  # spaces, and dots before the suffix
  examples = {odd: (grey(1), 6), "n01531178/0.1_x.jpg": (jpeg(2), 11), "n01531178/0.2_y.jpg": (jpeg(3), 11)}
  return _of("imagenet-a/", examples, {"imagenet-a/README.txt": b"text"})


def imagenet_r() -> Made:
  examples = {"n01443537/art_0.jpg": (palette(1), 1), "n12267677/toy_11.jpg": (jpeg(2), 988)}
  return _of("imagenet-r/", examples, {"imagenet-r/README.txt": b"text"})


def imagenet_sketch() -> Made:
  examples = {f"{TENCH}/sketch_13.JPEG": (grey(1), 0), "n15075141/sketch_2.JPEG": (png_named_jpeg(2), 999)}
  return _of("sketch/", examples, {"__MACOSX/sketch/._sketch_13.JPEG": b"junk"})


def imagenet_c() -> Made:
  examples = {}
  for i, condition in enumerate(datasets.get("imagenet_c").conditions):
    examples[f"{condition}/{TENCH}/ILSVRC2012_val_00000293.JPEG"] = (jpeg(i, 224), 0)
    examples[f"{condition}/{GOLDFISH}/ILSVRC2012_val_00000236.JPEG"] = (jpeg(i + 200, 224), 1)
  return _of("", examples)


def imagenet_cbar() -> Made:
  examples = {
    f"{condition}/{TENCH}/ILSVRC2012_val_00000293.JPEG": (jpeg(i, 224), 0)
    for i, condition in enumerate(datasets.get("imagenet_cbar").conditions)
  }
  return _of("cbar_download/", examples)


def laion_c() -> Made:
  files, expected = {}, {}
  for i, condition in enumerate(datasets.get("laion_c").conditions):
    distortion, level = condition.split("/")
    for superclass, label in (("fish", 9), ("snakes", 13)):
      files[f"laion-c/{distortion}/intensity_level_{level}/{superclass}/{i}.jpg"] = jpeg(
        2 * i + label % 2, 224
      )
      expected[f"{condition}/{superclass}/{i}.jpg"] = (label,)
  return Made(files, expected, {"laion-c/mosaic/intensity_level_6/fish/1.txt": b"text"})


def stylized_imagenet() -> Made:
  examples = {f"{TENCH}/ILSVRC2012_val_00000293.png": (encoded(pixels(24, 24), "PNG"), 0)}
  junk = {f"stylized-imagenet/train/{TENCH}/n01440764_1.png": encoded(pixels(24, 24, seed=5), "PNG")}
  return _of("stylized-imagenet/val/", examples, junk)


def stylized() -> Made:
  name = "stylized/dnn/session-1/0001_sty_dnn_0_bicycle_00_bicycle-0011-ILSVRC2012-val-00011821.png"
  other = "stylized/dnn/session-1/0002_sty_dnn_0_truck_00_truck-0265-ILSVRC2012-val-00010166.png"
  return _of("", {name: (encoded(pixels(224, 224), "PNG"), 2), other: (palette(3, 224), 15)})


def model_vs_human() -> Made:
  # Conditions as in the files; airplane 0, bear 1, bird 3, clock 9, oven 14.
  names = {
    "colour/dnn/session-1/0001_cl_dnn_cr_oven_40_n04111531_14126.png": 14,
    "high-pass/dnn/session-1/0003_hp_dnn_3.0_bear_10_n02134084_5274.png": 1,
    "high-pass/dnn/session-1/0004_hp_dnn_inf_bear_10_n02134084_5275.png": 1,
    "uniform-noise/dnn/session-1/0001_nse_dnn_0.90_clock_10_n03196217_10246.png": 9,
    "false-colour/dnn/session-1/0001_fc_dnn_True_airplane_35_n02690373_4183.png": 0,
    "sketch/dnn/session-1/0001_ske_dnn_0_airplane_00_airplane-0068-sketch-23.png": 0,
    "edge/airplane/airplane4.png": 0,
    "silhouette/bear/bear5.png": 1,
    "cue-conflict/bird/bird3-clock2.png": 3,
  }
  return _of("", {name: (grey(i, 224), label) for i, (name, label) in enumerate(names.items())})


def cue_conflict() -> Made:
  examples = {"bird/bird3-bird2.png": (grey(1, 224), 3), "dog/dog10-elephant1.png": (palette(2, 224), 10)}
  return _of("cue-conflict/", examples)


def imagenette() -> Made:
  examples = {
    f"{TENCH}/n01440764_10040.JPEG": (jpeg(1), 0),
    "n02102040/ILSVRC2012_val_00004650.JPEG": (cmyk(2), 217),
  }
  junk = {
    f"imagenette2-320/train/{TENCH}/n01440764_1.JPEG": jpeg(3),
    "imagenette2-320/.DS_Store": b"junk",
  }
  return _of("imagenette2-320/val/", examples, junk)


def refined_bias_shape() -> Made:
  """One class with one right class of ImageNet, one with three."""
  files = {"ipod/ipod_10.png": grey(1, 224), "clock/clock_7.png": palette(2, 224)}
  # Analog clock, digital clock, wall clock.
  expected = {"ipod/ipod_10.png": (605,), "clock/clock_7.png": (409, 530, 892)}
  return Made({f"refined_bias_shape/{name}": data for name, data in files.items()}, expected)


def refined_bias_texture() -> Made:
  """As above."""
  files = {"zebra/16x16_zebra_182.png": grey(1, 224), "elephant/4x4_elephant_1.png": palette(2, 224)}
  expected = {"zebra/16x16_zebra_182.png": (340,), "elephant/4x4_elephant_1.png": (385, 386)}
  return Made({f"refined_bias_texture/{name}": data for name, data in files.items()}, expected)


def imagenet_real() -> Made:
  """Three images: one with two labels, one without any, one whose label is another than ImageNet's."""
  files = {f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(number) for number in (1, 2, 3)}
  expected = {"ILSVRC2012_val_00000001.JPEG": (65, 62), "ILSVRC2012_val_00000003.JPEG": (231,)}
  return Made(files, expected)


def real_json(folder: pathlib.Path) -> None:
  """The labels of `imagenet_real`, for all 50,000 numbers."""
  real: list[list[int]] = [[] for _ in range(layouts.VALIDATION_COUNT)]
  real[0], real[2] = [65, 62], [231]
  (folder / "real.json").write_text(json.dumps(real))


MADE = {
  "imagenet": imagenet,
  "imagenet_v2": imagenet_v2,
  "imagenet_v2_threshold": imagenet_v2,
  "imagenet_v2_top_images": imagenet_v2,
  "imagenet_real": imagenet_real,
  "imagenet_a": imagenet_a,
  "imagenet_a_unmasked": imagenet_a,
  "imagenet_c": imagenet_c,
  "imagenet_cbar": imagenet_cbar,
  "laion_c": laion_c,
  "imagenet_r": imagenet_r,
  "imagenet_r_unmasked": imagenet_r,
  "imagenet_sketch": imagenet_sketch,
  "stylized_imagenet": stylized_imagenet,
  "stylized": stylized,
  "model_vs_human": model_vs_human,
  "geirhos_conflict_stimuli": cue_conflict,
  "refined_bias_shape": refined_bias_shape,
  "refined_bias_shape_plain": refined_bias_shape,
  "refined_bias_texture": refined_bias_texture,
  "refined_bias_texture_plain": refined_bias_texture,
  "imagenette": imagenette,
  "imagenette_10": imagenette,
}


def unpack(made: Made, root: pathlib.Path) -> pathlib.Path:
  """The folder that unpacking gives."""
  for name, content in {**made.files, **made.junk}.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
  return root


# Which corruptions are in which archive of ImageNet-C.
PARTS = {
  "noise.tar": ("gaussian_noise", "shot_noise", "impulse_noise"),
  "blur.tar": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
  "weather.tar": ("snow", "frost", "fog", "brightness"),
  "digital.tar": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
  "extra.tar": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}


def pack(made: Made, row: datasets.Dataset, folder: pathlib.Path) -> pathlib.Path:
  """The archive or archives that its authors distribute, in `folder`, which is returned."""
  folder.mkdir(parents=True, exist_ok=True)
  content = {**made.files, **made.junk}
  names = [archive.name for archive in row.archives if archive.name != "real.json"]
  for name in names:
    mine = content
    if len(names) > 1:
      top = PARTS.get(name, (name.removesuffix(".tar.gz"),))
      mine = {path: data for path, data in content.items() if path.split("/")[0] in top}
      if not mine:
        continue
    if name.endswith("/"):
      unpack(made, folder)
    elif name.endswith(".zip"):
      with zipfile.ZipFile(folder / name, "w") as archive:
        for path, data in mine.items():
          archive.writestr(path, data)
    else:
      # ImageNet-V2's .tar.gz are not compressed.
      compressed = name.endswith((".tar.gz", ".tgz")) and not row.name.startswith("imagenet_v2")
      with tarfile.open(folder / name, "w:gz" if compressed else "w") as archive:
        for path, data in mine.items():
          member = tarfile.TarInfo(("./" if row.name == "imagenet_cbar" else "") + path)
          member.size = len(data)
          archive.addfile(member, io.BytesIO(data))
  return folder


def right_counts(made: Made, row: datasets.Dataset) -> datasets.Dataset:
  """`row` with the counts of the small copy, so that it is complete."""
  labels = [labels[0] for labels in made.expected.values()]
  return dataclasses.replace(
    row,
    images=len(made.expected),
    classes=len(set(labels)),
    per_class=(1, int(np.bincount(labels).max())),
    conditions=() if row.name == "model_vs_human" else row.conditions,
    known=tuple(known for known in row.known if known[0] in made.expected),
  )
