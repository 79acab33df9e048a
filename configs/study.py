"""The published study: its biases, axes and groups, and the definitions that each claim is tried with.

python run.py --config=configs/study.py --table=benchmark.csv --categories=categories.json --output=study/

Any part can be changed here, in a copy, or on the command line (--config.study.draws=1000). A measure is the
plain mean of its columns; docs/study.md says what else can be set.
"""

from ml_collections import ConfigDict

from biasjax.data.layouts import FIFTEEN

CLEAN = "top1_acc/imagenet"
V2, REAL = "top1_acc/imagenet-v2", "top1_acc/imagenet-real"
A, C, CBAR = "top1_acc/imagenet-a", "top1_acc/imagenet-c", "top1_acc/imagenet-cbar"
SKETCH, R, STYLIZED = "top1_acc/imagenet-sketch", "top1_acc/imagenet-r", "top1_acc/stylized"
CUTOFFS = ("0.1", "0.2", "0.3", "0.4", "0.5")
LOW = [f"metric/bandpass/LFC/{c}" for c in CUTOFFS]
HIGH = [f"metric/bandpass/HFC/{c}" for c in CUTOFFS]
PGD_LOW, PGD_HIGH = "top1_acc/PGD-40/low", "top1_acc/PGD-40/high"
BAND = "metric/criticalband"
# What the biases are, on a study's page.
ABOUT = {
  "shape_bias": "where shape and texture disagree: the share of decisions for the shape",
  "LPP": "accuracy with low frequencies only, as a share of clean accuracy",
  "HPP": "accuracy with high frequencies only, as a share of clean accuracy",
  "critical_bw": "width, in octaves, of the band of frequencies in which noise disturbs",
  "critical_cf": "centre of that band, in cycles an image",
  "critical_pns": "how much noise disturbs at that centre; 1: even the weakest that was tried",
}
# The rows of the published table; the paper studies the 48 that its categories name.
PUBLISHED = [
  *("tv_resnet50", "tv2_resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnet50_untrained"),
  *(f"resnet50.{recipe}_in1k" for recipe in ("a1", "a1h", "a2", "a3", "b1k", "b2k", "c1", "c2", "d")),
  *(
    f"robust_resnet50_l2_eps{eps}"
    for eps in ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
  ),
  *(f"robust_resnet50_linf_eps{eps}" for eps in ("0.5", "1.0", "2.0", "4.0", "8.0")),
  *(
    f"resnet50_{name}" for name in ("prime", "noisymix", "opticsaugment", "deepaugment", "deepaugment_augmix")
  ),
  *("resnet50_augmix_180ep", "resnet50_pixmix_90ep", "resnet50_pixmix_180ep", "resnet50_lpmix"),
  *("resnet50_freqmix", "resnet50_diffusionnoise", "resnet50_diffusionnoise_fixed"),
  *("resnet50_diffusionnoise_fixed_nonoise", "resnet50_tsbias_tbias", "resnet50_tsbias_sbias"),
  *("resnet50_tsbias_debiased", "resnet50_trained_on_SIN", "resnet50_trained_on_SIN_and_IN"),
  *("resnet50_trained_on_SIN_and_IN_then_finetuned_on_IN", "resnet50_frozen_random", "resnet50_simclrv2"),
  *("resnet50_swav", "resnet50_dino", "resnet50_moco_v3_100ep", "resnet50_moco_v3_300ep"),
  *("resnet50_moco_v3_1000ep", "resnet50_gn", "ssl_resnet50", "swsl_resnet50", "vonenet_resnet50"),
  *("nf_resnet50", "lambda_resnet50ts", "resnetv2_50x1_bit_distilled", "vit_base_patch32_224.augreg_in1k"),
  *(
    f"vit_base_patch16_224.{of}"
    for of in ("mae_in1k", "dino_in1k", "torchvision_deit", "augreg_in1k", "sam_in1k")
  ),
]


def get_config():
  study = ConfigDict()
  study.draws = 10_000
  study.columns = [
    {
      "name": "C with 15 corruptions",
      "mean": [f"top1_acc/{c}_{s}" for c in FIFTEEN for s in range(1, 6)],
    },
  ]
  study.biases = [
    {"name": "shape_bias", "label": "Shape bias", "mean": ["shape-bias"], "human": 0.96},
    {"name": "LPP", "label": "Low-frequency bias", "mean": LOW},
    {"name": "HPP", "label": "High-frequency bias", "mean": HIGH},
    {"name": "critical_bw", "label": "Critical bandwidth", "mean": [f"{BAND}/bw_norm"], "human": 1.0},
    {"name": "critical_cf", "label": "Critical centre", "mean": [f"{BAND}/cf_norm"], "human": 39.6},
    {"name": "critical_pns", "label": "Peak noise sensitivity", "mean": [f"{BAND}/pns_norm"], "human": 1.0},
  ]
  for bias in study.biases:
    bias["about"] = ABOUT[bias["name"]]
  study.axes = [  # the first is in-distribution accuracy, which others are also held against
    {
      "name": "ID",
      "label": "In-distribution accuracy",
      "about": "mean top-1 accuracy on ImageNet, ImageNet-V2 and ReaL",
      "mean": [CLEAN, V2, REAL],
    },
    {
      "name": "Robustness",
      "label": "Robustness",
      "about": "mean top-1 accuracy on ImageNet-A, -C and -C-bar",
      "mean": [A, C, CBAR],
    },
    {
      "name": "Concepts",
      "label": "Concepts",
      "about": "mean top-1 accuracy on other renditions: Sketch, ImageNet-R, Stylized",
      "mean": [SKETCH, R, STYLIZED],
    },
    {
      "name": "Adversarial",
      "label": "Adversarial robustness",
      "about": "top-1 accuracy under PGD of 40 steps, at its low budget",
      "mean": [PGD_LOW],
    },
  ]
  study.groups = [  # the first holds all models
    {"name": "Total"},
    {"name": "AT", "only": ["adversarial_training"]},
    {"name": "Other", "without": ["adversarial_training"]},
  ]
  study.benchmarks = [
    *(PGD_HIGH, "top1_acc/cue-conflict", "top1_acc/ood_mean"),
    *("top1_acc/sketch", "top1_acc/edge", "top1_acc/silhouette"),
  ]
  study.variations = [
    {"name": "ID without ReaL", "axes": [{"name": "ID", "mean": [CLEAN, V2]}]},
    {
      "name": "Robustness with 15 corruptions, not 19",
      "axes": [{"name": "Robustness", "mean": [A, "C with 15 corruptions", CBAR]}],
    },
    {"name": "Robustness without ImageNet-A", "axes": [{"name": "Robustness", "mean": [C, CBAR]}]},
    {"name": "Concepts without Stylized", "axes": [{"name": "Concepts", "mean": [SKETCH, R]}]},
    {"name": "Adversarial at the high budget", "axes": [{"name": "Adversarial", "mean": [PGD_HIGH]}]},
    {
      "name": "z-scored benchmarks",
      "axes": [
        {"name": "ID", "mean": [CLEAN, V2, REAL], "standardized": True},
        {"name": "Robustness", "mean": [A, C, CBAR], "standardized": True},
        {"name": "Concepts", "mean": [SKETCH, R, STYLIZED], "standardized": True},
      ],
    },
    {
      "name": "raw accuracy, not its ratio to clean accuracy",
      "biases": [
        {"name": "LPP", "mean": LOW, "times": CLEAN},
        {"name": "HPP", "mean": HIGH, "times": CLEAN},
      ],
    },
    {
      "name": "high-pass accuracy above chance",
      "biases": [{"name": "HPP", "mean": HIGH, "times": CLEAN, "chance": 0.1}],
    },
    {
      "name": "critical band of raw accuracy",
      "biases": [{"name": f"critical_{name}", "mean": [f"{BAND}/{name}"]} for name in ("bw", "cf", "pns")],
    },
    {"name": "eps 0 not counted as adversarial training", "move": [["robust_resnet50_l2_eps0", "baseline"]]},
  ]
  study.series = [
    {
      "name": "L2 adversarial training",
      "pattern": r"robust_resnet50_l2_eps(?P<x>[\d.]+)",
      "factor": "eps (L2)",
    },
    {
      "name": "Linf adversarial training",
      "pattern": r"robust_resnet50_linf_eps(?P<x>[\d.]+)",
      "factor": "eps (Linf, 1/255)",
      "extra": [["robust_resnet50_l2_eps0", 0.0]],
    },
    {"name": "MoCo v3 epochs", "pattern": r"resnet50_moco_v3_(?P<x>\d+)ep", "factor": "epochs"},
  ]
  # Images (or decisions) behind the published numbers, for their sampling error: of these rows and no others.
  study.sizes = [
    {
      "name": "published",
      "models": PUBLISHED,
      "columns": [
        *([CLEAN, 50_000], [V2, 10_000], [REAL, 326], [A, 7_500], [C, 50_000], [CBAR, 50_000]),
        *([SKETCH, 50_889], [R, 30_000], [STYLIZED, 800], [PGD_LOW, 50_000], [PGD_HIGH, 50_000]),
        ["shape-bias", 700],
      ],
    }
  ]
  # Models that are checkpoints of one run, for what training forgets.
  study.checkpoints = r"(?P<run>.+)[@_-]epoch(?P<epoch>\d+)"
  # Where converted checkpoints are, <model>/certificate.json, for the models' pages.
  study.certificates = "checkpoints"
  return ConfigDict({"study": study})
