"""The complete protocol of Gavrikov & Keuper 2024: 48 networks, their biases, and how they generalise.

python run.py --config=configs/paper.py --data_dir=... --manual_dir=... --dry_run

Datasets are looked for where they were prepared (--data_dir) and as they are distributed (--manual_dir):
docs/datasets.md says what to get. Then python run.py --table=out/results.csv studies the result.
"""

from ml_collections import ConfigDict

from biasjax.models.zoo import STUDY

DATASETS = (
  *("imagenet", "imagenet_v2", "imagenet_real"),  # in distribution
  *("imagenet_a", "imagenet_c", "imagenet_cbar"),  # robustness
  *("imagenet_sketch", "imagenet_r", "model_vs_human"),  # concepts; the last has the paper's stylized
  "geirhos_conflict_stimuli",  # shape bias
)

PROBES = ("accuracy", "shape", "spectral@imagenet", "critical_band@imagenet", "pgd@imagenet")


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.models = list(STUDY)
  config.probes = list(PROBES)
  config.dataset = list(DATASETS)
  config.batch_size = "auto"
  config.workdir = "out/paper"
  return config
