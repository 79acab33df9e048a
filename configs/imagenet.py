"""Accuracy and spectral bias on ImageNet's validation images; add --models, and --dataset to move it."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.probes = ["accuracy", "spectral"]
  config.dataset = ["folder:/data/imagenet/val"]
  config.batch_size = 256
  return config
