"""How fast is this machine? Add --models and --dataset to measure with your own."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.benchmark = True
  config.probes = ["accuracy", "spectral", "critical_band"]
  config.batch_size = "auto"
  config.workdir = "out/benchmark"
  return config
