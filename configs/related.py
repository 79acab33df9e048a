"""What the related papers measure, held against generalisation: sensitivity to frequencies, disparity.

python run.py --models=A,B --dataset=imagenet \\
  --probes=accuracy,sensitivity@imagenet,gradient_spectrum@imagenet,corruptions@imagenet --workdir=out
python run.py --groups=class --workdir=out
python run.py --config=configs/related.py --table=out/results.csv --categories=... --output=study
"""

from ml_collections import ConfigDict

BANDS = ("mean", "low", "mid", "high")


def get_config() -> ConfigDict:
  study = ConfigDict()
  study.draws = 10_000
  study.columns = []
  study.biases = [
    {
      "name": f"sensitivity_{band}",
      "label": f"Sensitivity ({band})",
      "about": "by how many points the error rises when a wave of such a frequency is added",
      "mean": [f"sensitivity/{band}"],
    }
    for band in BANDS
  ]
  study.biases += [
    {
      "name": "sensitivity_centroid",
      "label": "Centroid of sensitivity",
      "about": "the mean frequency of that rise, cycles an image",
      "mean": ["sensitivity/centroid"],
    },
    {
      "name": "gradient_centroid",
      "label": "Centroid of the loss gradient",
      "about": "the mean frequency of the power of the loss gradient, cycles an image",
      "mean": ["gradient-spectrum/centroid"],
    },
    {
      "name": "disparity",
      "label": "Disparity between groups",
      "about": "the gap between the best and the worst group of images, points of per cent",
      "mean": ["disparity/imagenet"],
    },
  ]
  study.axes = [  # the first is in-distribution accuracy, which others are also held against
    {"name": "ID", "label": "In-distribution accuracy", "mean": ["top1_acc/imagenet"]},
    {"name": "C", "label": "ImageNet-C's corruptions", "mean": ["top1_acc/corruptions/without-frost"]},
    {"name": "Cbar", "label": "C-bar's corruptions", "mean": ["top1_acc/corruptions/cbar"]},
  ]
  study.groups = [{"name": "Total"}]
  study.variations = [
    {
      "name": "as a share of the clean accuracy",
      "biases": [{"name": f"sensitivity_{band}", "mean": [f"sensitivity/{band}/relative"]} for band in BANDS],
    },
    {
      "name": "beyond the gap that equal groups would show",
      "biases": [{"name": "disparity", "mean": ["disparity/imagenet/beyond-chance"]}],
    },
  ]
  return ConfigDict({"study": study})
