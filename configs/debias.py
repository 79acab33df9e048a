"""What debiasing does in a world where a cue goes with the class, at three rates, over seeds.

python -m biasjax.data.builders.synthetic_biased --output=worlds/hue
python run.py --config=configs/debias.py --workdir=debiased

Trains each method x rho x seed, measures accuracy where the cue agrees with the class, where it does not and
where it is independent, and how often the answer is the cue's class; and writes a study with a series along
rho for each method. Started again, it goes on. --limit=128 tries it out. For another world change WORLD in a
copy.
"""

from ml_collections import ConfigDict

from biasjax.configuration import load

miniature, train = load("miniature"), load("train")

WORLD = "worlds/hue"
RHOS = [0.9, 0.95, 0.98]
METHODS = {
  "plain": "none",
  "lff": "lff=1",
  "greedy": "greedy=1",
  "end": "end:beta=10=1",
  "reweighted": "reweighted=1",
  "balanced_logits": "balanced_logits=1",
}
ALIGNED, CONFLICTING, UNBIASED = "aligned", "conflicting", "unbiased"
CUE_SHARE = f"cue_share/{CONFLICTING}"


def definitions() -> ConfigDict:
  study = miniature.get_config().study
  study.biases = [
    {
      "name": "cue_share",
      "label": "Cue share",
      "about": "per cent of the answers that are the cue's class, where that is not the picture's",
      "mean": [CUE_SHARE],
    }
  ]
  about = {
    ALIGNED: "the cue is that of the class",
    UNBIASED: "the cue is independent of the class",
    CONFLICTING: "the cue is that of another class",
  }
  study.axes = [
    {
      "name": split.capitalize(),
      "label": f"Accuracy, {split}",
      "about": f"top-1 accuracy where {said}",
      "mean": [f"top1_acc/{split}"],
    }
    for split, said in about.items()
  ]
  study.groups = [{"name": "Total"}]
  study.benchmarks = []
  study.variations = []
  return study


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.batch_size = 64
  config.train = train.get_config().train
  del config.train.name  # a sweep names its networks
  config.train.update(
    {
      "architecture": "resnet10",
      "interventions": "none",  # each family has its own
      "epochs": 10.0,
      "warmup_epochs": 0.5,
      "optimizer": "adam",  # no matter how small an objective makes the loss
      "learning_rate": 0.002,
      "label_smoothing": 0.0,
      "average_decay": 0.0,
      "save_every": 500,
      "dtype": "float32",
    }
  )
  config.study = definitions()
  config.sweep = ConfigDict()
  config.sweep.dataset = f"biased:{WORLD}/train_{{strength}}"
  config.sweep.seeds = [0, 1, 2]
  config.sweep.families = [
    {
      "name": name,
      "interventions": spec,
      "annotations": f"{WORLD}/train_{{strength}}.csv",
      "strengths": RHOS,
      "factor": "rho",
    }
    for name, spec in METHODS.items()
  ]
  splits = [f"{split}=biased:{WORLD}/{split}" for split in (ALIGNED, CONFLICTING, UNBIASED)]
  config.sweep.measure = [{"probes": ["accuracy"], "dataset": splits}]
  return config
