"""Do three notions of shape bias agree, and what do they say about generalisation?

Cue conflict (Geirhos et al. 2019), suppression (Burgert et al. 2025) and REFINED-BIAS (Kim et al. 2026) over
one table of networks. How they go together are rank correlations with intervals over the networks,
`bias_by_bias` in study.json.

python run.py --models=A,B --probes=accuracy,shape,suppression@imagenet,corruptions@imagenet,watermark \
  --dataset=imagenet,geirhos_conflict_stimuli,refined_bias_shape,refined_bias_texture --workdir=out
python run.py --config=configs/biases2026.py --table=out/results.csv --categories=... --output=study
"""

from ml_collections import ConfigDict

CLEAN = "top1_acc/imagenet"
# Where notions agree, what is called shape goes up together, and what is called texture goes down with it.
NOTIONS = [
  {"name": "cue_conflict", "label": "Shape bias (cue conflict)", "mean": ["shape-bias"], "human": 0.96},
  {"name": "shape_reliance", "label": "Shape reliance", "mean": ["shape-reliance"]},
  {"name": "texture_reliance", "label": "Texture reliance", "mean": ["texture-reliance"]},
  {"name": "colour_reliance", "label": "Colour reliance", "mean": ["colour-reliance"]},
  {"name": "refined_shape", "label": "REFINED-BIAS, shape", "mean": ["refined-bias/shape"]},
  {"name": "refined_texture", "label": "REFINED-BIAS, texture", "mean": ["refined-bias/texture"]},
]


def get_config() -> ConfigDict:
  study = ConfigDict()
  study.draws = 10_000
  study.columns = []
  study.biases = NOTIONS
  study.axes = [  # the first is in-distribution accuracy, which others are also held against
    {"name": "ID", "label": "In-distribution accuracy", "mean": [CLEAN]},
    {"name": "C", "label": "ImageNet-C's corruptions", "mean": ["top1_acc/corruptions/without-frost"]},
    {"name": "Cbar", "label": "C-bar's corruptions", "mean": ["top1_acc/corruptions/cbar"]},
    {"name": "Watermark", "label": "Accuracy kept under a watermark", "mean": ["watermark/gap"]},
  ]
  study.groups = [{"name": "Total"}]
  study.benchmarks = ["top1_acc/watermark", "watermark/becomes-carton"]
  study.variations = [
    {
      "name": "reliance above chance",
      "biases": [
        {"name": f"{cue}_reliance", "mean": [f"{cue}-reliance/chance-corrected"]}
        for cue in ("shape", "texture", "colour")
      ],
    },
  ]
  return ConfigDict({"study": study})
