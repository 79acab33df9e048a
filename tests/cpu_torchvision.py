"""torchvision beside a CPU build of torch, where it registers operators that do not exist."""

import contextlib


def load():
  """The module torchvision.

  Raises:
    ImportError: it or torch is not installed.
  """
  import torch

  register = torch.library.register_fake

  def tolerant(*args, **kwargs):
    decorate = register(*args, **kwargs)

    def apply(function):
      with contextlib.suppress(RuntimeError):
        return decorate(function)
      return function

    return apply

  torch.library.register_fake = tolerant
  try:
    import torchvision
  finally:
    torch.library.register_fake = register
  return torchvision
