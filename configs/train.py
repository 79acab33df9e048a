"""Trains a narrow ResNet-50 on the drawn pictures; intervene, or train anything else.

python -m biasjax.data.builders.synthetic_conflict --data_dir=data
python run.py --config=configs/train.py --data_dir=data --workdir=trained \
  --config.train.name=stylised --config.train.interventions=flip=0.5+stylised=1

docs/training.md says what each setting is, docs/interventions.md which interventions there are.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.dataset = ["tfds:synthetic_conflict/64px_320@train"]
  config.batch_size = 64
  config.train = ConfigDict()
  config.train.name = "baseline"
  config.train.architecture = "resnet50"
  config.train.width = 8
  config.train.interventions = "flip=0.5"
  config.train.epochs = 10.0
  config.train.steps = 0  # if not 0, instead of the epochs
  config.train.warmup_epochs = 0.5
  config.train.learning_rate = 0.2
  config.train.optimizer = "sgd"
  config.train.momentum = 0.9
  config.train.weight_decay = 5e-4
  config.train.label_smoothing = 0.05
  config.train.average_decay = 0.99
  config.train.save_every = 160
  config.train.keep_epochs = 0
  config.train.dtype = "float16"
  return config
