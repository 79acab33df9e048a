"""Every benchmark and every probe, for the paper's 48 networks; add --models for others."""

from ml_collections import ConfigDict

from biasjax.configuration import load

paper = load("paper")


def get_config() -> ConfigDict:
  config = paper.get_config()
  config.dataset = [
    *paper.DATASETS,
    *("imagenet_v2_threshold", "imagenet_v2_top_images"),
    *("imagenet_a_unmasked", "imagenet_r_unmasked"),
    *("stylized_imagenet", "imagenette", "imagenette_10"),
    *("refined_bias_shape", "refined_bias_texture", "refined_bias_shape_plain", "refined_bias_texture_plain"),
    "laion_c",
  ]
  config.probes = [
    *(*paper.PROBES, "fgsm@imagenet", "autoattack@imagenet"),
    *("suppression@imagenet", "corruptions@imagenet", "watermark@imagenet"),
    *("sensitivity@imagenet", "gradient_spectrum@imagenet"),
  ]
  config.workdir = "out/all"
  return config
