"""The 48 ResNet-50 of Gavrikov & Keuper 2024, and a few relatives: a row for each checkpoint.

A row says where a network's file is, how it is laid out (a family in convert/families.py), and what its input
is normalised with. Whoever adds a checkpoint adds a row. Nothing here reads a file or a network.
"""

import dataclasses
import fnmatch

from biasjax.errors import BiasjaxError, suggestion
from biasjax.models import variants
from biasjax.models.architecture import IMAGENET_MEAN, IMAGENET_STD

CATEGORIES = (
  *("baseline", "training_recipes", "augmentation", "stylized", "freezing", "adversarial_training"),
  "contrastive",
)
OTHER = "other"  # not among the 48


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """One network that somebody else trained and published.

  Attributes:
    name: the paper's.
    category: one of `CATEGORIES`, or `OTHER`.
    title: what it is.
    source: "hf:OWNER/REPOSITORY/FILE" (Hugging Face), "drive:ID" (Google Drive) or an https URL.
    family: how the file is laid out, see convert/families.py.
    citation: who trained it.
    licence: of the weights, as far as anything is stated.
    sha256: of the file, where it is known.
    megabytes: of the file, where it is known.
    head: the source of the classifier, where it is a file of its own.
    mean: that the network subtracts from images in [0, 1].
    std: that it divides by.
    top1: on ImageNet's validation set in percent, as its authors report it (with their own preprocessing).
    native: (short side, interpolation) that its authors bring images to before the central 224 x 224.
    unverified: facts of this row that nobody could check.
    notes: what to know when reading this network's numbers.
  """

  name: str
  category: str
  title: str
  source: str
  family: str
  citation: str
  licence: str
  sha256: str | None = None
  megabytes: int | None = None
  head: str | None = None
  mean: tuple[float, float, float] = IMAGENET_MEAN
  std: tuple[float, float, float] = IMAGENET_STD
  top1: float | None = None
  native: tuple[int, str] = (256, "bilinear")
  unverified: str = ""
  notes: str = ""


# timm's usual: a crop of 0.95 of the short side, so 224 of floor(224 / 0.95).
TIMM = (235, "bicubic")
ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # no normalisation


def _timm(
  name: str, title: str, citation: str, licence: str, category: str = OTHER, repository: str = "", **more
) -> Checkpoint:
  return Checkpoint(
    name=name,
    category=category,
    title=title,
    source=f"hf:timm/{repository or name}/model.safetensors",
    family="plain",
    citation=citation,
    licence=licence,
    **more,
  )


def _recipe(recipe: str, title: str, top1: float, sha256: str | None = None) -> Checkpoint:
  """ResNet strikes back: timm's recipes."""
  return _timm(
    f"resnet50.{recipe}_in1k",
    f"timm, recipe {title}",
    "Wightman, Touvron & Jégou 2021, arXiv:2110.00476",
    "Apache-2.0",
    "training_recipes",
    sha256=sha256,
    megabytes=102,
    top1=top1,
    native=(224, "bicubic") if recipe == "a1h" else TIMM,
    notes="its authors evaluate with bicubic interpolation and a crop of 0.95 (a1h: of 1)",
  )


def _robust(norm: str, epsilon: str, top1: float, sha256: str | None) -> Checkpoint:
  """Adversarially trained with the library `robustness`."""
  budget = f"{epsilon}/255" if norm == "linf" else epsilon
  standard = ", that is, standard training" if epsilon == "0" else ""
  return Checkpoint(
    name=f"robust_resnet50_{norm}_eps{epsilon}",
    category="adversarial_training",
    title=f"adversarially trained, {norm} epsilon {budget}{standard}",
    source=f"hf:madrylab/robust-imagenet-models/resnet50_{norm}_eps{epsilon}.ckpt",
    family="robustness",
    citation="Salman et al. 2020, arXiv:2007.08489",
    licence="MIT",
    sha256=sha256,
    megabytes=205,
    top1=top1,
  )


TEXTURE_SHAPE = "https://bitbucket.org/robert_geirhos/texture-vs-shape-pretrained-models/raw"


def _stylized(name: str, title: str, path: str, top1: float) -> Checkpoint:
  return Checkpoint(
    name=name,
    category="stylized",
    title=title,
    source=f"{TEXTURE_SHAPE}/{path}.pth.tar",
    family="data_parallel",
    citation="Geirhos et al. 2019, arXiv:1811.12231",
    licence="not stated for the weights",
    top1=top1,
  )


def _augmented(
  name: str, title: str, source: str, family: str, citation: str, licence: str, **more
) -> Checkpoint:
  return Checkpoint(name, "augmentation", title, source, family, citation, licence, **more)


FACEBOOK = "https://dl.fbaipublicfiles.com"


def _moco(epochs: int, top1: float) -> Checkpoint:
  return Checkpoint(
    name=f"resnet50_moco_v3_{epochs}ep",
    category="contrastive",
    title=f"MoCo v3, {epochs} epochs, linear probe",
    source=f"{FACEBOOK}/moco-v3/r-50-{epochs}ep/linear-{epochs}ep.pth.tar",
    family="data_parallel",
    citation="Chen, Xie & He 2021, arXiv:2104.02057",
    licence="CC BY-NC 4.0",
    top1=top1,
  )


AUGMIX = "Hendrycks et al. 2020, arXiv:1912.02781"
MANY_FACES = "Hendrycks et al. 2021, arXiv:2006.16241"
PIXMIX = "Hendrycks et al. 2022, arXiv:2112.05135"
DEBIASED = "Li et al. 2021, arXiv:2010.05981"
PREFIX_UNKNOWN = "whether names begin with 'module.' (either is accepted)"

ROWS = (
  _timm(
    "tv_resnet50",
    "torchvision, first weights",
    "He et al. 2016, arXiv:1512.03385; torchvision",
    "BSD-3-Clause",
    "baseline",
    repository="resnet50.tv_in1k",
    sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    megabytes=102,
    top1=76.13,
  ),
  Checkpoint(
    name="tv2_resnet50",
    category="training_recipes",
    title="torchvision, second weights",
    source="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
    family="plain",
    citation="Vryniotis 2021, torchvision",
    licence="BSD-3-Clause",
    top1=80.858,
    native=(232, "bilinear"),
    notes="its authors resize to 232",
  ),
  _recipe("a1", "A1", 80.2, "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb"),
  _recipe("a2", "A2", 79.828, "f531f9aca4dde1b89e9a465c5b9e3b916a2d1b20a216acf3b9473d1e1212ecf6"),
  _recipe("a3", "A3, trained at 160 pixels", 78.052),
  _recipe("a1h", "A1 with stronger regularisation, trained at 176 pixels", 80.654),
  _recipe("b1k", "B", 79.564, "cd64707e0ef72aa0526ac6d46fba6495ad2088717adb47a62a0b526eb3cd3480"),
  _recipe("b2k", "B, variant 2", 79.388, "0c89502f61808f6fac8c7044eb59c072877c171529fc001bc85403982115232c"),
  _recipe("c1", "C1", 79.766),
  _recipe("c2", "C2", 79.868),
  _recipe("d", "D", 79.904, "d8ed291891c8ee5777f68136665a4eee2f9ddeb2a9bc88acf4b1676b3bbebf55"),
  _augmented(
    "resnet50_augmix_180ep",
    "AugMix, 180 epochs",
    "drive:1z-1V3rdFiwqSECz7Wkmn4VJVefJGJGiF",
    "data_parallel",
    AUGMIX,
    "Apache-2.0",
    top1=77.53,
  ),
  _augmented(
    "resnet50_deepaugment",
    "DeepAugment",
    "drive:1DPRElQnBG66nd7GUphVm1t-5NroL7t7k",
    "data_parallel",
    MANY_FACES,
    "MIT",
    top1=76.7,
  ),
  _augmented(
    "resnet50_deepaugment_augmix",
    "DeepAugment and AugMix",
    "drive:1QKmc_p6-qDkh51WvsaS9HKFv8bX5jLnP",
    "data_parallel",
    MANY_FACES,
    "MIT",
    top1=75.8,
  ),
  _augmented(
    "resnet50_noisymix",
    "NoisyMix",
    "drive:1Na79fzPZ0Azg01h6kGn1Xu5NoWOElSuG",
    "noisymix",
    "Erichson et al. 2022, arXiv:2202.01263",
    "GPL-3.0 (of the code)",
    top1=77.05,
    unverified="whether the state dict is nested, and the prefix (all that fit are accepted)",
  ),
  _augmented(
    "resnet50_pixmix_90ep",
    "PixMix, 90 epochs",
    "drive:1_i45yvC88hos50QjkoD97OgbDGreKdp9",
    "maybe_parallel",
    PIXMIX,
    "MIT",
    unverified=PREFIX_UNKNOWN,
  ),
  _augmented(
    "resnet50_pixmix_180ep",
    "PixMix, 180 epochs",
    "drive:1cgKYXDym3wgquf-4hwr_Ra3qje6GNHPH",
    "maybe_parallel",
    PIXMIX,
    "MIT",
    unverified=PREFIX_UNKNOWN,
  ),
  _augmented(
    "resnet50_tsbias_tbias",
    "biased towards texture",
    "drive:1tFy2Q28rAqqreaS-27jifpyPzlohKDPH",
    "auxiliary_batch_norm",
    DEBIASED,
    "MIT",
  ),
  _augmented(
    "resnet50_tsbias_sbias",
    "biased towards shape",
    "drive:1p0fZ9rU-J1v943tA7PlNMLuDXk_1Iy3K",
    "auxiliary_batch_norm",
    DEBIASED,
    "MIT",
  ),
  _augmented(
    "resnet50_tsbias_debiased",
    "shape-texture debiased",
    "drive:1r-OSfTtrlFhB9GPiQXUE1h6cqosaBePw",
    "auxiliary_batch_norm",
    DEBIASED,
    "MIT",
    top1=76.9,
  ),
  _augmented(
    "resnet50_prime",
    "PRIME, without JSD",
    "https://zenodo.org/record/5801872/files/ResNet50_ImageNet_PRIME_noJSD.ckpt?download=1",
    "prime",
    "Modas et al. 2022, arXiv:2112.13547",
    "Apache-2.0 (of the code)",
    top1=77.0,
    unverified="whether the state dict is nested (either is accepted)",
  ),
  _augmented(
    "resnet50_opticsaugment",
    "OpticsAugment",
    "drive:1y0MSlVfzZBKZQEiZF2FCOmsk-91miIHR",
    "opticsaugment",
    "Müller, Braun & Keuper 2023, ICCV workshops",
    "see the authors' repository",
  ),
  _augmented(
    "resnet50_diffusionnoise_fixed_nonoise",
    "trained on diffusion noise, evaluated without",
    "hf:paulgavrikov/resnet50.in1k_diffusionnoise_90ep/resnet50_diffusionnoise_nonorm_last.pth",
    "diffusion_noise",
    "after Jaini, Clark & Geirhos 2024, arXiv:2309.16779",
    "not stated",
    megabytes=205,
    top1=67.22,
    mean=ZERO,
    std=ONE,
  ),
  _stylized(
    "resnet50_trained_on_SIN",
    "trained on Stylized-ImageNet",
    "6f41d2e86fc60566f78de64ecff35cc61eb6436f/resnet50_train_60_epochs-c8e5653e",
    60.18,
  ),
  _stylized(
    "resnet50_trained_on_SIN_and_IN",
    "trained on Stylized-ImageNet and ImageNet",
    "60b770e128fffcbd8562a3ab3546c1a735432d03/resnet50_train_45_epochs_combined_IN_SF-2a0d100e",
    74.59,
  ),
  _stylized(
    "resnet50_trained_on_SIN_and_IN_then_finetuned_on_IN",
    "trained on both, then fine-tuned on ImageNet",
    "60b770e128fffcbd8562a3ab3546c1a735432d03/resnet50_finetune_60_epochs_lr_decay_after_30_start_"
    "resnet50_train_45_epochs_combined_IN_SF-ca06340c",
    76.72,
  ),
  Checkpoint(
    name="resnet50_frozen_random",
    category="freezing",
    title="spatial convolutions frozen at random values",
    source="drive:1IT65JJauql-Jdw-0AjAhEGGApGMVx-VE",
    family="anywhere",
    citation="Gavrikov & Keuper 2023, arXiv:2301.11360",
    licence="not stated",
    unverified="where the state dict lies (the four usual places are accepted)",
  ),
  _robust("l2", "0", 75.8, "72d4a99582db5d7fa86c3fd2a089f0bfd6a10f69d635bca51f6ad72ac6b458f0"),
  _robust("l2", "0.01", 75.68, "53d7a7c09d2733b113e255ac9fc578091f44adb8d00eee274c0e71dd1f4dc41e"),
  _robust("l2", "0.03", 75.76, "e375df3bf07bf1360c04b0aff5cc19bb215e850b1af713327c87cf0353a5598f"),
  _robust("l2", "0.05", 75.59, "e09d8763fcf825542f07389a1904adf15930451b8661a0de209c3bc39828c2ea"),
  _robust("l2", "0.1", 74.78, "3298f8cf689e514d096df883ab491a11ee32c3b8d456d674add29d7b50721a43"),
  _robust("l2", "0.25", 74.14, None),
  _robust("l2", "0.5", 73.16, "a5fc6fcc54946b73af7bd74289b0003cc9d2744fa0ff55c1a3d9fb2bce8fbd30"),
  _robust("l2", "1", 70.43, "09f5273a568830ae23caf9162a06f4831a920293e0da1801aa182289052dcf90"),
  _robust("l2", "3", 62.83, "380b14e6f9750bffa1447cf7017f65da4dc5ce71a3dd112f107515dcf7b14d9d"),
  _robust("l2", "5", 56.13, "c50db4bbd9a61bc0e0a33290e1f07a79080e16489aa5ada869efc88306f497be"),
  _robust("linf", "0.5", 73.73, "9612d8096ef5378b4a32746072f72fedcb02c7ff4b747bc7163274f7ec2f0fd8"),
  _robust("linf", "1.0", 72.05, None),
  _robust("linf", "2.0", 69.1, "59f28de783a049cb4d91ba1c0a09c314db2cc4bb1e859566e023f842b02772ac"),
  _robust("linf", "4.0", 63.86, "9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db"),
  _robust("linf", "8.0", 54.53, "b907957f8e3ce209816813d8811c682e965a1b0f48455def828d35a4cc2953dc"),
  _moco(100, 68.9),
  _moco(300, 72.8),
  _moco(1000, 74.6),
  Checkpoint(
    name="resnet50_dino",
    category="contrastive",
    title="DINO, linear probe",
    source=f"{FACEBOOK}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
    head=f"{FACEBOOK}/dino/dino_resnet50_pretrain/dino_resnet50_linearweights.pth",
    family="dino",
    citation="Caron et al. 2021, arXiv:2104.14294",
    licence="Apache-2.0",
    top1=75.3,
  ),
  Checkpoint(
    name="resnet50_swav",
    category="contrastive",
    title="SwAV, 800 epochs, linear probe",
    source=f"{FACEBOOK}/deepcluster/swav_800ep_pretrain.pth.tar",
    head=f"{FACEBOOK}/deepcluster/swav_800ep_eval_linear.pth.tar",
    family="swav",
    citation="Caron et al. 2020, arXiv:2006.09882",
    licence="CC BY-NC 4.0",
    top1=75.3,
    notes="trained with std 0.228 where the paper's evaluation, and this row, have 0.229",
  ),
  Checkpoint(
    name="resnet50_simclrv2",
    category="contrastive",
    title="SimCLRv2, 1x, without selective kernels",
    source="drive:1fDaMhujPnxo4SYOe4asPqCKQ3XB_sZvj",
    family="simclrv2",
    citation="Chen et al. 2020, arXiv:2006.10029",
    licence="Apache-2.0",
    unverified="which of SimCLRv2's checkpoints it is; at 74.9 % it is not the linear probe",
    notes="trained in TensorFlow, whose stem pools with padding (0, 1); here as in the paper it is (1, 1), "
    "a shift of one pixel",
    mean=ZERO,
    std=ONE,
  ),
  _timm(
    "resnet18",
    "timm, recipe A1",
    "Wightman, Touvron & Jégou 2021, arXiv:2110.00476",
    "see its page",
    repository="resnet18.a1_in1k",
    native=TIMM,
  ),
  _timm(
    "resnet34",
    "timm, recipe A1",
    "Wightman, Touvron & Jégou 2021, arXiv:2110.00476",
    "see its page",
    repository="resnet34.a1_in1k",
    native=TIMM,
  ),
  _timm(
    "resnet101",
    "timm, recipe A1 with stronger regularisation",
    "Wightman, Touvron & Jégou 2021, arXiv:2110.00476",
    "see its page",
    repository="resnet101.a1h_in1k",
    native=TIMM,
  ),
  _timm(
    "resnet152",
    "timm, recipe A1 with stronger regularisation",
    "Wightman, Touvron & Jégou 2021, arXiv:2110.00476",
    "see its page",
    repository="resnet152.a1h_in1k",
    native=TIMM,
  ),
  _timm(
    "ssl_resnet50",
    "semi-supervised, with YFCC-100M",
    "Yalniz et al. 2019, arXiv:1905.00546",
    "CC BY-NC 4.0",
    repository="resnet50.fb_ssl_yfcc100m_ft_in1k",
    notes="saw more data than ImageNet",
  ),
  _timm(
    "swsl_resnet50",
    "semi-weakly supervised, with a billion tagged images",
    "Yalniz et al. 2019, arXiv:1905.00546",
    "CC BY-NC 4.0",
    repository="resnet50.fb_swsl_ig1b_ft_in1k",
    notes="saw more data than ImageNet",
  ),
  Checkpoint(
    name="microsoft_resnet50",
    category=OTHER,
    title="as the library transformers has it",
    source="hf:microsoft/resnet-50/model.safetensors",
    family="transformers",
    citation="He et al. 2016, arXiv:1512.03385",
    licence="Apache-2.0",
    native=(256, "bicubic"),
    unverified="by which recipe it was trained",
  ),
)
ZOO: dict[str, Checkpoint] = {row.name: row for row in ROWS}
STUDY = tuple(row.name for row in ROWS if row.category != OTHER)  # the paper's 48


def matching(pattern: str, names: list[str]) -> list[str]:
  """The names that a name or a pattern with wildcards (*, ?, [abc]) stands for, in order.

  Raises:
    BiasjaxError: none; the nearest are suggested.
  """
  found = [name for name in names if name == pattern] or fnmatch.filter(names, pattern)
  if not found and (what := variants.other_function(pattern)):
    raise BiasjaxError(
      f"no model is called {pattern!r}: such a network {what}, and only plain ResNets are covered; "
      f"{variants.TRACED}"
    )
  if not found:
    hint = suggestion(pattern, names, most=3, otherwise="see python run.py --list=models")
    raise BiasjaxError(f"no model is called {pattern!r}: {hint}")
  return found
