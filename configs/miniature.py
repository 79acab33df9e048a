"""How networks that were trained on the drawn pictures are studied: the paper's questions in miniature."""

from ml_collections import ConfigDict

from biasjax.configuration import load

ABOUT = load("study").ABOUT
# Beside any intervention. Without colour and contrast being varied, networks are lost on the critical-band
# probe's faint grey images.
PLAIN = "flip=0.5+greyscale=0.2+contrast=0.8"
CLEAN = "top1_acc/drawn"
CHANCE = 100 / 16  # per cent, of the drawn categories
CUTOFFS = ("0.1", "0.2", "0.3", "0.4", "0.5")
CORRUPTIONS = ("gaussian_noise", "impulse_noise", "defocus_blur", "fog", "contrast", "pixelate")
BAND = "criticalband/continuous"
PGD = "top1_acc/PGD-10:eps=1/eps=1"
RENDITIONS = ("shape_only", "texture_only", "silhouette", "edges")
PROBES = [
  "accuracy",
  "shape@conflict",
  "spectral@drawn",
  "critical_band@drawn",
  "pgd:eps=1:steps=10@drawn",
]


def datasets(prepared: str) -> list[str]:
  """What is measured, of the drawn pictures as they were prepared ("tfds:synthetic_conflict/64px_320")."""
  splits = ("conflict", *RENDITIONS, *(f"{corruption}_2" for corruption in CORRUPTIONS))
  return [f"drawn={prepared}@validation", *(f"{split}={prepared}@{split}" for split in splits)]


def get_config() -> ConfigDict:
  study = ConfigDict()
  study.draws = 2_000
  study.columns = []
  study.biases = [
    {"name": "shape_bias", "label": "Shape bias", "mean": ["shape-bias"]},
    {"name": "LPP", "label": "Low-frequency bias", "mean": [f"metric/bandpass/LFC/{c}" for c in CUTOFFS]},
    {"name": "HPP", "label": "High-frequency bias", "mean": [f"metric/bandpass/HFC/{c}" for c in CUTOFFS]},
    {"name": "critical_bw", "label": "Critical bandwidth", "mean": [f"{BAND}/bw_norm"]},
    {"name": "critical_cf", "label": "Critical centre", "mean": [f"{BAND}/cf_norm"]},
    {"name": "critical_pns", "label": "Peak noise sensitivity", "mean": [f"{BAND}/pns_norm"]},
  ]
  for bias in study.biases:
    bias["about"] = ABOUT[bias["name"]]
  study.axes = [  # the first is in-distribution accuracy, which others are also held against
    {
      "name": "ID",
      "label": "In-distribution accuracy",
      "about": "top-1 accuracy on drawn pictures like those of training",
      "mean": [CLEAN],
    },
    {
      "name": "Robustness",
      "label": "Robustness to corruptions",
      "about": f"mean top-1 accuracy on drawn pictures under {len(CORRUPTIONS)} corruptions",
      "mean": [f"top1_acc/{corruption}_2" for corruption in CORRUPTIONS],
    },
    {
      "name": "Concepts",
      "label": "Renditions of the shape",
      "about": "mean top-1 accuracy on bare shapes, silhouettes and edges",
      "mean": [f"top1_acc/{rendition}" for rendition in RENDITIONS if rendition != "texture_only"],
    },
    {
      "name": "Adversarial",
      "label": "Adversarial robustness",
      "about": "top-1 accuracy under PGD of 10 steps, at most 1/255 a pixel",
      "mean": [PGD],
    },
  ]
  study.groups = [{"name": "Total"}, {"name": "Other", "without": ["linf_adversarial"]}]
  study.benchmarks = ["top1_acc/texture_only", "top1_acc/gaussian_noise_2", "top1_acc/defocus_blur_2"]
  study.variations = [
    {
      "name": "raw accuracy, not its ratio to clean accuracy",
      "biases": [
        {"name": "LPP", "mean": [f"metric/bandpass/LFC/{c}" for c in CUTOFFS], "times": CLEAN},
        {"name": "HPP", "mean": [f"metric/bandpass/HFC/{c}" for c in CUTOFFS], "times": CLEAN},
      ],
    },
    {
      "name": "chance-corrected",
      "biases": [
        {
          "name": name,
          "mean": [f"metric/bandpass/{band}/{c}" for c in CUTOFFS],
          "times": CLEAN,
          "chance": CHANCE,
        }
        for name, band in (("LPP", "LFC"), ("HPP", "HFC"))
      ],
    },
    {
      "name": "Concepts without edges",
      "axes": [
        {"name": "Concepts", "mean": ["top1_acc/shape_only", "top1_acc/silhouette"]},
      ],
    },
  ]
  study.series = []
  study.sizes = []
  study.checkpoints = r"(?P<run>.+)[@_-]epoch(?P<epoch>\d+)"
  study.certificates = "models"
  return ConfigDict({"study": study})
