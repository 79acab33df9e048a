"""Goes on training a converted network on labelled photographs, under interventions.

python run.py --config=configs/finetune.py --init=resnet50.a1_in1k --dataset=folder:/data/imagenet/train \
  --workdir=tuned --config.train.interventions=flip=0.5+random_crop=0.75+stylised=0.5
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.batch_size = 64
  config.train = ConfigDict()
  config.train.name = "finetuned"
  config.train.interventions = "flip=0.5+random_crop=0.75"
  config.train.epochs = 10.0
  config.train.steps = 0  # if not 0, instead of the epochs
  config.train.warmup_epochs = 0.5
  config.train.learning_rate = 0.01
  config.train.optimizer = "sgd"
  config.train.momentum = 0.9
  config.train.weight_decay = 1e-4
  config.train.label_smoothing = 0.1
  config.train.average_decay = 0.0
  config.train.save_every = 500
  config.train.keep_epochs = 0
  config.train.dtype = "float32"
  return config
