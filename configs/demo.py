"""What `make demo` measures of the bundled zoo: decisions on conflicting cues, renditions, corruptions."""

from ml_collections import ConfigDict

DRAWN = "tfds:demo/out/data/synthetic_conflict/64px_0/1.0.0"
ZOO = (
  *("baseline_seed0", "baseline_seed1", "stylised_seed0", "stylised_seed1", "low_pass", "high_pass"),
  *("gaussian_noise", "patch_shuffle", "linf_eps2", "mixup", "frozen_filters"),
)
RENDITIONS = ("shape_only", "texture_only", "silhouette", "edges")
CORRUPTIONS = ("gaussian_noise", "impulse_noise", "defocus_blur", "fog", "contrast", "pixelate")


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.models = [f"demo/zoo/{name}/{name}.safetensors" for name in ZOO]
  config.probes = ["accuracy", "shape"]
  config.dataset = [
    f"conflict={DRAWN}@conflict",
    f"drawn={DRAWN}@validation",
    *(f"{rendition}={DRAWN}@{rendition}" for rendition in RENDITIONS),
    *(f"{corruption}_2={DRAWN}@{corruption}_2" for corruption in CORRUPTIONS),
  ]
  config.workdir = "demo/out/results"
  config.batch_size = 160
  config.chunk_size = 480
  return config
