"""What distinguishes one ResNet from another, in numbers; imports no JAX, so that names need none."""

import dataclasses

BATCH_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Architecture:
  """What distinguishes one ResNet from another; equal architectures share one compiled program.

  Attributes:
    block: "basic" (two 3x3 convolutions, ResNet-18 and -34) or "bottleneck" (1x1, 3x3, 1x1).
    stage_sizes: blocks in each stage; (3, 4, 6, 3) for ResNet-50.
    width: channels after the stem; 64 as published. Stage i works at width * 2**i.
    inner_width: channels of the 3x3 convolution of a first-stage bottleneck; equals `width` as published,
      twice that in a wide ResNet (Zagoruyko & Komodakis 2016). Equals `width` for basic blocks.
    num_classes: logits.
  """

  block: str
  stage_sizes: tuple[int, ...]
  width: int = 64
  inner_width: int = 64
  num_classes: int = 1000

  def __post_init__(self):
    if self.block not in EXPANSION:
      raise ValueError(f"block must be one of {sorted(EXPANSION)}, not {self.block!r}")
    if self.block == "basic" and self.inner_width != self.width:
      raise ValueError("a basic block has no inner width of its own: inner_width must equal width")

  @property
  def features(self) -> int:
    """Channels that enter the classifier."""
    return self.width * 2 ** (len(self.stage_sizes) - 1) * EXPANSION[self.block]

  def blocks(self) -> list["Residual"]:
    """The residual blocks in the order in which an image goes through them."""
    found: list[Residual] = []
    inputs = self.width
    for stage, size in enumerate(self.stage_sizes, start=1):
      scale = 2 ** (stage - 1)
      channels, inner = self.width * scale * EXPANSION[self.block], self.inner_width * scale
      for index in range(size):
        stride = 2 if stage > 1 and index == 0 else 1
        if self.block == "basic":
          convolutions = ((channels, 3, stride), (channels, 3, 1))
        else:
          convolutions = ((inner, 1, 1), (inner, 3, stride), (channels, 1, 1))
        found.append(Residual(stage, index, inputs, convolutions))
        inputs = channels
    return found


EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its stage's width


@dataclasses.dataclass(frozen=True)
class Residual:
  """One residual block of an architecture.

  Attributes:
    stage: counted from 1, as in torchvision's names.
    index: within the stage, counted from 0.
    inputs: channels that enter.
    convolutions: (channels, kernel size, stride) of each, in order.
  """

  stage: int
  index: int
  inputs: int
  convolutions: tuple[tuple[int, int, int], ...]

  @property
  def channels(self) -> int:
    """That leave."""
    return self.convolutions[-1][0]

  @property
  def stride(self) -> int:
    """Of the block as a whole."""
    return max(stride for _, _, stride in self.convolutions)

  @property
  def project(self) -> bool:
    """Whether the shortcut is a 1x1 convolution, because its shape changes."""
    return self.stride != 1 or self.inputs != self.channels


RESNET18 = Architecture("basic", (2, 2, 2, 2))
RESNET34 = Architecture("basic", (3, 4, 6, 3))
RESNET50 = Architecture("bottleneck", (3, 4, 6, 3))
RESNET101 = Architecture("bottleneck", (3, 4, 23, 3))
RESNET152 = Architecture("bottleneck", (3, 8, 36, 3))
PUBLISHED = {18: RESNET18, 34: RESNET34, 50: RESNET50, 101: RESNET101, 152: RESNET152}  # by depth
