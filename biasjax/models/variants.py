"""Names of networks that have a plain ResNet's tensors, or nearly, and are another function.

Tensors alone do not tell a ResNet-50 from one that blurs before it strides, has another activation, or
strides in its 1x1 convolutions: names, shapes and the number of parameters are the same.
"""

import re

from biasjax.models.architecture import PUBLISHED

# What a message says of a network that is no plain ResNet.
TRACED = (
  "with PyTorch it can be traced: python -m convert --timm=NAME, --torchvision=NAME or "
  "--module=PACKAGE.MODULE:FUNCTION, with --checkpoint=FILE for weights of your own"
)

ACTIVATIONS = {
  *("celu", "elu", "frelu", "gelu", "hardswish", "hardsigmoid", "hswish", "leaky", "leakyrelu", "mish"),
  *("prelu", "relu6", "selu", "sigmoid", "silu", "softplus", "swish", "tanh", "psilu", "pssilu"),
}
# (pattern of an architecture's name in small letters, what is other about it). The first are safe also for a
# file's name, in which "blur" may well be what the network was trained on.
EXACT = (
  (r"resnetblur\d|blurresnet\d|resnet\d+_?blurpool", "blurs before it strides"),
  (r"resnetaa\d|aaresnet\d|resnet\d+_?lpf\d", "averages before it strides (anti-aliasing)"),
  (r"resnet_?\d+[-_]caffe|caffe[-_]resnet", "strides in its 1x1 convolutions and takes BGR images (caffe)"),
  (r"resnet_?v1_?(50|101|152|200)(?!\d)", "strides in its 1x1 convolutions (v1)"),
)
LOOSE = (
  (r"blur", "blurs before it strides"),
  (r"anti_?alias|(^|_)aa(_|$)|(^|_)lpf\d?(_|$)", "averages or blurs before it strides (anti-aliasing)"),
  (r"caffe|msra", "strides in its 1x1 convolutions and takes BGR images (caffe)"),
  (r"resnet_?\d+_v1(?![a-z._]|5)", "strides in its 1x1 convolutions (v1)"),
  (r"dilat|deeplab|(^|_)d?os_?(8|16)(_|$)|(^|_)d(8|16)(_|$)", "has dilated convolutions instead of strides"),
  (r"(se|eca|ge|gc|sk|cbam|bat|lambda|bot|halo|nf)_?resne[xs]?t", "has further layers"),
  (r"resnext|resnest|res2net|resnet_?v2|preact|resnetrs|tresnet", "is another family"),
  (r"resnet_?\d+(c|d|s|t|ts|vd|tn|_v1[c-z])(_|$)", "has another stem or another downsampling"),
  (r"(^|_)(gn|groupnorm|evos?|evonorm|frn|ln)(_|$)", "has another normalisation"),
  (r"(^|_)(ws|weightstd|stdconv|bit)(_|$)", "standardises its weights"),
)
# Of a plain ResNet's name, the depth: resnet50, resnet-50, gluon_resnet50_v1b, wide_resnet50_2, ResNet50.
PLAIN = re.compile(r"(?:[a-z0-9]+_)*resnet_?(\d{2,3})(?:_?v1b|_?v1_5|_2)?")


def _words(name: str) -> list[str]:
  """The parts of a path, a tag (resnet50.a1_in1k) or a class (torchvision.models.resnet50), small, with _."""
  text = name.lower().replace("v1.5", "v1_5")
  return [re.sub(r"[^a-z0-9]+", "_", part).strip("_") for part in re.split(r"[/.:@\\]+", text)]


def other_function(name: str, *, exactly: bool = False) -> str | None:
  """What is other about a network of this name than about a plain ResNet; None if nothing is known to be.

  Args:
    name: an architecture's ("resnetaa50", "timm/resnetaa50.a1h_in1k", "torchvision.models.resnet50").
    exactly: whether only what can mean nothing else counts, as in a file's name.
  """
  for word in _words(name):
    if "res" not in word:
      continue
    for pattern, what in EXACT if exactly else EXACT + LOOSE:
      if re.search(pattern, word):
        return what
    if "resnet" in word and (found := sorted(ACTIVATIONS & set(word.split("_")))):
      return f"has another activation ({found[0]})"
  return None


def depth(name: str) -> int | None:
  """The depth that a plain ResNet's name says, e.g. 50; None if it says none that is published."""
  for word in _words(name):
    found = PLAIN.fullmatch(word)
    if found and int(found[1]) in PUBLISHED:
      return int(found[1])
  return None
