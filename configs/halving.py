"""Which recipe is best in error and in disparity between classes? A grid, by successive halving.

python -m biasjax.data.builders.synthetic_conflict --data_dir=data
python run.py --config=configs/halving.py --data_dir=data --workdir=halving

All recipes are trained for a quarter of the epochs, the better half of them for a half, a quarter for all.
Started again, it goes on. docs/training.md says more.
"""

from ml_collections import ConfigDict

from biasjax.configuration import load

miniature, train = load("miniature"), load("train")
DRAWN = "tfds:synthetic_conflict/64px_320"


def get_config() -> ConfigDict:
  config = train.get_config()
  del config.train.name  # a sweep names its networks
  config.train.epochs = 12.0
  config.sweep = ConfigDict()
  config.sweep.dataset = f"{DRAWN}@train"
  config.sweep.seeds = [0]
  config.sweep.grid = ConfigDict()
  config.sweep.grid.factors = {
    "width": [4, 8],
    "learning_rate": [0.1, 0.3],
    "interventions": [miniature.PLAIN, f"{miniature.PLAIN}+low_pass=0.5"],
  }
  config.sweep.grid.rungs = 3
  config.sweep.measure = [{"probes": ["accuracy"], "dataset": [f"drawn={DRAWN}@validation"]}]
  return config
