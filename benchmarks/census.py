"""Which families of networks can be traced, and how near their logits and image gradients are to PyTorch's.

python -m benchmarks.census [--networks=resnet26,volo_d1_224] [--output=census.jsonl]

Each network is one of its family with fewer blocks, where its depth can be said, and small images; every
variable, BatchNorm's statistics included, is drawn at random. It is compared in float32 with PyTorch in
float64 on two drawn images: the largest difference of a logit over the largest logit, and the 2-norm of the
difference of the gradients over that of the gradient; beside them what PyTorch's own float32 differs by.
Where an activation has a corner (ReLU) a value beside it falls on the other side by rounding, and the
gradient jumps, in PyTorch's float32 as here: then other images are drawn, five times at most. What is wrong
is wrong for all. A network that is near for none is computed in float64 here, too, which tells an operation
that is wrong from rounding that grows. Needs requirements-dev.txt.
"""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags

from biasjax.convert import modules, tracing
from biasjax.errors import BiasjaxError
from biasjax.traced import interpreter
from tests import cpu_torchvision, torch_networks

NETWORKS = flags.DEFINE_list("networks", [], "Some of the census; all if not given.")
OUTPUT = flags.DEFINE_string("output", None, "Where to add a line of JSON for each.")

CLASSES, SEED, DRAWS = 10, 0, 5
LOGITS, GRADIENTS = 1e-5, 1e-3  # what is near enough
# family: {name: (pixels, what its builder is told)}; a name of timm, or of torchvision after "torchvision:";
# "+reparameterised" is with one branch where several were trained.
FAMILIES = {
  "ResNet": {
    "resnet26": (64, {}),
    "resnetv2_50": (64, {"layers": (1, 1, 1, 1)}),
    "res2net50_26w_4s": (64, {}),
    "resnest14d": (64, {}),
    "skresnet18": (64, {}),
    "nf_resnet26": (64, {}),
    "resnetv2_50d_evos": (64, {}),
  },
  "RegNet": {"regnety_002": (64, {}), "torchvision:regnet_y_400mf": (64, {})},
  "DenseNet": {
    "densenet121": (64, {"block_config": (2, 2, 2, 2)}),
    "torchvision:densenet121": (64, {}),
  },
  "VGG": {"vgg11_bn": (64, {})},
  "Inception, Xception": {
    "inception_v3": (96, {}),
    "xception41": (96, {}),
    "torchvision:inception_v3": (96, {"init_weights": False}),
    "torchvision:googlenet": (64, {"init_weights": False}),
    "inception_v4": (96, {}),
    "inception_resnet_v2": (96, {}),
    "legacy_xception": (64, {}),
  },
  "RepVGG": {"repvgg_a0": (64, {}), "repvgg_a0+reparameterised": (64, {})},
  "MobileOne": {"mobileone_s0": (64, {}), "mobileone_s0+reparameterised": (64, {})},
  "SqueezeNet": {"torchvision:squeezenet1_1": (64, {})},
  "GCViT, TinyViT": {"gcvit_xxtiny": (224, {}), "tiny_vit_5m_224": (224, {})},
  "DLA": {"dla46_c": (64, {})},
  "HRNet": {"hrnet_w18_small": (64, {})},
  "EfficientNet": {
    "tf_efficientnet_lite0": (64, {}),
    "efficientnet_b0": (64, {}),
    "tf_efficientnetv2_b0": (64, {}),
  },
  "MobileNet": {
    "mobilenetv3_small_050": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "mnasnet_small": (64, {}),
    "torchvision:mnasnet0_5": (64, {}),
    "rexnet_100": (64, {}),
    "mixnet_s": (64, {}),
    "mobilenetv5_base": (64, {}),
    "torchvision:mobilenet_v2": (64, {}),
  },
  "ShuffleNet": {"torchvision:shufflenet_v2_x0_5": (64, {})},
  "GhostNet": {
    "ghostnetv2_100": (64, {}),
    "ghostnetv3_050": (64, {}),
    "ghostnetv3_050+reparameterised": (64, {}),
    "repghostnet_050": (64, {}),
    "repghostnet_050+reparameterised": (64, {}),
  },
  "ConvNeXt": {
    "convnext_atto": (64, {"depths": (1, 1, 1, 1)}),
    "convnextv2_atto": (64, {"depths": (1, 1, 1, 1)}),
    "inception_next_atto": (64, {"depths": (1, 1, 1, 1)}),
    "torchvision:convnext_tiny": (64, {}),
  },
  "EdgeNeXt": {"edgenext_xx_small": (64, {"depths": (1, 1, 1, 1)})},
  "MetaFormer": {
    "poolformer_s12": (64, {}),
    "caformer_s18": (64, {}),
    "convformer_s18": (64, {}),
  },
  "FastViT, MobileViT": {
    "fastvit_t8": (64, {"layers": (1, 1, 1, 1)}),
    "mobilevitv2_050": (64, {}),
    "fastvit_t8+reparameterised": (64, {"layers": (1, 1, 1, 1)}),
  },
  "ViT": {
    "vit_tiny_patch16_224": (64, {"depth": 1, "img_size": 64}),
    "vit_base_patch32_clip_224": (64, {"depth": 1, "img_size": 64}),
    "vit_small_patch14_dinov2": (56, {"depth": 1, "img_size": 56}),
    "vit_small_patch16_dinov3": (64, {"depth": 1, "img_size": 64}),
    "vit_base_patch16_siglip_224": (64, {"depth": 1, "img_size": 64}),
    "deit3_small_patch16_224": (64, {"depth": 1, "img_size": 64}),
    "vit_medium_patch16_reg4_gap_256": (64, {"depth": 1, "img_size": 64}),
    "vit_so400m_patch14_siglip_224": (56, {"depth": 1, "img_size": 56}),
    "vit_pe_core_tiny_patch16_384": (64, {"depth": 1, "img_size": 64}),
    "naflexvit_base_patch16_map": (64, {"depth": 1}),
    "vit_betwixt_patch16_rope_reg4_gap_256": (64, {"depth": 1, "img_size": 64}),
    "vit_small_patch16_rope_mixed_ape_224": (64, {"depth": 1, "img_size": 64}),
    "torchvision:vit_b_16": (64, {"image_size": 64}),
  },
  "EVA, BEiT": {
    "eva02_tiny_patch14_224": (56, {"depth": 1, "img_size": 56}),
    "beit_base_patch16_224": (64, {"depth": 1, "img_size": 64}),
  },
  "CaiT, XCiT": {
    "cait_xxs24_224": (64, {"depth": 1, "img_size": 64}),
    "xcit_nano_12_p16_224": (64, {"depth": 1, "cls_attn_layers": 1, "img_size": 64}),
  },
  "Swin": {
    "swin_tiny_patch4_window7_224": (56, {"depths": (2, 1), "num_heads": (3, 6), "img_size": 56}),
    "swinv2_tiny_window8_256": (64, {"depths": (2, 1), "num_heads": (3, 6), "img_size": 64}),
    "torchvision:swin_v2_t": (64, {}),
    "swinv2_cr_tiny_224": (64, {"depths": (1, 1, 1, 1), "img_size": 64}),
  },
  "MaxViT, CoAtNet": {
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64}),
    "coatnet_pico_rw_224": (64, {"img_size": 64}),
    "maxxvit_rmlp_nano_rw_256": (64, {"img_size": 64}),
    "maxxvitv2_nano_rw_256": (64, {"img_size": 64}),
    "torchvision:maxvit_t": (224, {}),
  },
  "MViT, PVT, Twins": {
    "mvitv2_tiny": (64, {"img_size": 64}),
    "pvt_v2_b0": (64, {}),
    "twins_svt_small": (64, {"depths": (1, 1, 1, 1), "img_size": 64}),
    "twins_pcpvt_small": (64, {"depths": (1, 1, 1, 1), "img_size": 64}),
  },
  "LeViT, EfficientFormer, EfficientViT": {
    "levit_128s": (224, {}),
    "efficientformer_l1": (224, {"depths": (1, 1, 1, 2)}),
    "efficientformerv2_s0": (224, {}),
    "efficientvit_b0": (64, {}),
    "levit_conv_128s": (224, {}),
  },
  "VOLO": {"volo_d1_224": (64, {"img_size": 64})},
  "CrossViT, PiT": {"crossvit_9_240": (240, {}), "pit_ti_224": (224, {"depth": (1, 1, 1)})},
  "DaViT, FocalNet": {
    "davit_tiny": (64, {"depths": (1, 1, 1, 1)}),
    "focalnet_tiny_srf": (64, {}),
  },
  "Hiera, NesT": {
    "hiera_tiny_224": (224, {"stages": (1, 1, 1, 1)}),
    "hieradet_small": (64, {}),
    "nest_tiny": (224, {}),
  },
  "MLP": {
    "mixer_s32_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
    "gmlp_s16_224": (64, {"img_size": 64}),
  },
  "ConViT": {"convit_tiny": (224, {"depth": 2, "local_up_to_layer": 1})},
  "Sequencer": {"sequencer2d_s": (64, {"layers": (1, 1, 1, 1), "img_size": 64})},
  "BoTNet, HaloNet": {"botnet26t_256": (256, {}), "halonet26t": (256, {})},
  "VoVNet, SelecSLS": {"ese_vovnet19b_dw": (64, {}), "selecsls42b": (64, {})},
  "CSPNet": {"cspresnet50": (64, {}), "cspnext_tiny": (64, {})},
  "DPN": {"dpn48b": (64, {})},
  "RepViT": {"repvit_m0_9": (64, {}), "repvit_m0_9+reparameterised": (64, {})},
  "StarNet, MambaOut": {"starnet_s1": (64, {}), "mambaout_femto": (64, {"depths": (1, 1, 1, 1)})},
  "NFNet, TResNet": {
    "nfnet_l0": (64, {}),
    "eca_nfnet_l0": (64, {}),
    "dm_nfnet_f0": (64, {}),
    "tresnet_m": (64, {}),
  },
  "RDNet, FasterNet": {"rdnet_tiny": (64, {}), "fasternet_t0": (64, {})},
  "SHViT, SwiftFormer": {"shvit_s1": (64, {}), "swiftformer_xs": (224, {})},
  "EfficientViM, Visformer": {
    "efficientvim_m1": (224, {}),
    "visformer_tiny": (224, {}),
    "efficientvit_m0": (224, {}),
    "nextvit_small": (64, {}),
  },
  "HardCoRe-NAS, LCNet": {"hardcorenas_a": (64, {}), "lcnetv2_small": (64, {})},
  "iFormer, LowFormer, CPUBone": {
    "iformer_t": (64, {}),
    "lowformer_b0": (64, {}),
    "cpubone_nano": (64, {}),
  },
  "TNT, CoaT": {
    "tnt_s_patch16_224": (64, {"depth": 1, "img_size": 64}),
    "coat_lite_tiny": (64, {"img_size": 64}),
  },
  "Relative positions, hybrids, SAM": {
    "vit_relpos_small_patch16_224": (64, {"depth": 1, "img_size": 64}),
    "vit_tiny_r_s16_p8_224": (64, {"depth": 1, "img_size": 64}),
    "samvit_base_patch16_224": (64, {"depth": 1, "img_size": 64}),
  },
  "HGNet, CSATv2": {"hgnet_tiny": (64, {}), "csatv2": (64, {})},
  "SENet": {"legacy_seresnet18": (64, {})},
  "ConvMixer": {"convmixer_768_32": (64, {})},
  "ViTamin": {"vitamin_small_224": (64, {"img_size": 64})},
  "Eyes of language models": {
    "qwen3_vit_88m": (64, {"depth": 1}),
    "deepseek_vit_412m": (56, {"depth": 1}),
    "gemma4_vit_167m": (64, {"depth": 1}),
  },
}


def built(name: str, told: dict):
  """A network of the census, every variable drawn."""
  import timm
  from timm.utils import reparameterize_model

  library, _, name = name.rpartition(":")
  name, _, branches = name.partition("+")
  if library:
    module = cpu_torchvision.load().models.get_model(name, weights=None, num_classes=CLASSES, **told)
  else:
    module = timm.create_model(name, num_classes=CLASSES, **told)
  module = torch_networks.randomise(module, SEED)
  return reparameterize_model(module) if branches else module


def norm(found: np.ndarray, expected: np.ndarray) -> float:
  return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def largest(found: np.ndarray, expected: np.ndarray) -> float:
  return float(np.abs(found - expected).max() / np.abs(expected).max())


def of_torch(module, images: np.ndarray, weights: np.ndarray, dtype) -> tuple[np.ndarray, np.ndarray]:
  """(logits, gradient of their weighted sum with respect to the images)."""
  x = torch.tensor(images, dtype=dtype, requires_grad=True)
  logits = module.to(dtype)((x - 0.5).permute(0, 3, 1, 2) * 4)
  (logits * torch.tensor(weights, dtype=dtype)).sum().backward()
  assert x.grad is not None
  return logits.detach().numpy(), x.grad.numpy()


def compared(name: str, size: int, told: dict) -> dict[str, object]:
  """What was found of one network; an "error" where it cannot be traced."""
  try:
    module = built(name, told)
    module.requires_grad_(False)
    traced = tracing.trace(module, size)
    interpreter.check(traced.program, name)
  except BiasjaxError as error:
    return {"error": str(error)}
  apply = interpreter.apply_function(traced.program)
  variables = tracing.variables(traced.weights, np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32))

  def total(x, weights, variables):
    logits = apply(variables, x)
    return (logits * weights).sum(), logits

  differentiated = jax.jit(jax.grad(total, has_aux=True))
  rng = np.random.default_rng(SEED)
  for draw in range(DRAWS):
    images = rng.random((2, size, size, 3), np.float32)
    weights = rng.normal(size=(2, CLASSES)).astype(np.float32)
    gradient, logits = map(np.asarray, differentiated(jnp.asarray(images), weights, variables))
    single, double = (of_torch(module, images, weights, dtype) for dtype in (torch.float32, torch.float64))
    module.float()
    assert np.ptp(double[0], 0).max() > 1e-3 * np.abs(double[0]).max()  # the two images differ
    found = {
      "nodes": len(traced.program.nodes),
      "logits": largest(logits, double[0]),
      "torch_logits": largest(single[0], double[0]),
      "gradients": norm(gradient, double[1]),
      "torch_gradients": norm(single[1], double[1]),
      "draws": draw + 1,
    }
    if near(found):
      return found
  exact = modules.in_float64(traced.program, variables, images, weights)
  measured = zip((largest, norm), exact, double, strict=True)
  return found | {"in_float64": [measure(*pair) for measure, *pair in measured]}


def near(found: dict) -> bool:
  return found["logits"] <= LOGITS and found["gradients"] <= GRADIENTS


def row(family: str, name: str, found: dict) -> str:
  """A line of the table."""
  if "error" in found:
    return f"| {family} | `{name}` | {found['error']} | | | | |"
  figures = (found[key] for key in ("logits", "torch_logits", "gradients", "torch_gradients"))
  shown = " | ".join(f"{figure:.0e}" for figure in figures)
  if "in_float64" in found:
    shown += " | in float64 " + ", ".join(f"{figure:.0e}" for figure in found["in_float64"])
  return f"| {family} | `{name}`{'' if near(found) else ' (not near)'} | {shown} | {found['draws']} |"


def main(argv: list[str]) -> None:
  del argv
  torch.set_num_threads(1)  # float64 convolutions of single channels are many small steps
  cpu_torchvision.load()
  known = {name for networks in FAMILIES.values() for name in networks}
  if unknown := set(NETWORKS.value) - known:
    raise app.UsageError(f"--networks: {', '.join(sorted(unknown))} not in the census")
  for family, networks in FAMILIES.items():
    for name, (size, told) in networks.items():
      if NETWORKS.value and name not in NETWORKS.value:
        continue
      start = time.perf_counter()
      try:
        found = compared(name, size, told)
      except Exception as error:  # one network does not end the census
        found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
      found["seconds"] = round(time.perf_counter() - start, 1)
      print(row(family, name, found), flush=True)
      if OUTPUT.value:
        with open(OUTPUT.value, "a") as file:
          file.write(json.dumps({"family": family, "name": name} | found) + "\n")
      jax.clear_caches()


if __name__ == "__main__":
  app.run(main)
