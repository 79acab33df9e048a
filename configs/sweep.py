"""Does moving a bias move the benchmark? Families of networks along an intervention's strength, over seeds.

python -m biasjax.data.builders.synthetic_conflict --data_dir=data
python run.py --config=configs/sweep.py --data_dir=data --workdir=sweep

Trains each family x strength x seed, measures all of them, and writes a study with a series for each family.
Started again, it goes on.
"""

from ml_collections import ConfigDict

from biasjax.configuration import load

miniature, train = load("miniature"), load("train")
PLAIN = miniature.PLAIN

DRAWN = "tfds:synthetic_conflict/64px_320"


def get_config() -> ConfigDict:
  config = train.get_config()
  del config.train.name  # a sweep names its networks
  config.study = miniature.get_config().study
  config.sweep = ConfigDict()
  config.sweep.dataset = f"{DRAWN}@train"
  config.sweep.seeds = [0, 1, 2]
  config.sweep.families = [
    {
      "name": "stylised",
      "interventions": f"{PLAIN}+stylised={{strength}}",
      "strengths": [0.0, 0.5, 1.0],
      "baseline": PLAIN,
    },
    {
      "name": "gaussian_noise",
      "interventions": f"{PLAIN}+gaussian_noise={{strength}}",
      "strengths": [0.0, 0.2, 0.4],
      "baseline": PLAIN,
    },
    {
      "name": "low_pass",
      "interventions": f"{PLAIN}+low_pass={{strength}}",
      "strengths": [0.0, 0.5, 1.0],
      "baseline": PLAIN,
    },
  ]
  config.sweep.measure = [{"probes": miniature.PROBES, "dataset": miniature.datasets(DRAWN)}]
  return config
