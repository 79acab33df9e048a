"""The bundled networks, and what is measured of them: every probe, on the drawn pictures.

python -m biasjax.data.builders.synthetic_conflict --data_dir=DIR --per_category=0
python run.py --config=configs/demo.py --data_dir=DIR --workdir=OUT
python run.py --config=configs/miniature.py --table=OUT/results.csv --categories=demo/zoo/categories.json
"""

from ml_collections import ConfigDict

from biasjax.configuration import load

miniature = load("miniature")


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.models = ["demo/zoo/*.safetensors"]
  config.probes = miniature.PROBES
  config.dataset = miniature.datasets("tfds:synthetic_conflict/64px_0")
  return config
