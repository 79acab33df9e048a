#!/usr/bin/env bash
# On CPUs PyTorch's BatchNorm gives a wrong gradient for one image that lies channels last, as pictures do.
#
# `torch.from_numpy(picture).permute(2, 0, 1)[None]`, or `unsqueeze(0)`, is how a picture [height, width, 3] becomes a batch of one.
# The axis that is added has a stride of 3, not of a whole image. Both answer `is_contiguous(memory_format=channels_last)` with True,
# and forward passes agree to rounding; but the gradients of the input and of the weights are wrong by as much as they are large, in
# training and in evaluation, and PyTorch's own gradcheck says so. Gradients are right after `.contiguous()`, for `batch[:1]` in place
# of `batch[0][None]`, and where the incoming gradient is channels last, too. Saliency maps and attacks of single images meet it in
# networks that begin with BatchNorm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import numpy as np
import torch

print("torch", torch.__version__)
rng = np.random.default_rng(0)
pictures = torch.from_numpy(rng.normal(size=(2, 8, 8, 3))).permute(0, 3, 1, 2)
incoming = torch.from_numpy(rng.normal(size=(1, 3, 8, 8)))
ways = {
  "batch[0][None]": pictures[0][None],
  "picture.permute(2, 0, 1).unsqueeze(0)": torch.from_numpy(rng.normal(size=(8, 8, 3))).permute(2, 0, 1).unsqueeze(0),
  "batch[0][None].contiguous()": pictures[0][None].contiguous(),
  "batch[:1]": pictures[:1],
}
wrong = {}
for name, image in ways.items():
  for training in (False, True):
    norm = torch.nn.BatchNorm2d(3).double().train(training)
    image = image.detach().requires_grad_()
    checked = torch.autograd.gradcheck(norm, (image,), raise_exception=False)
    answer = norm(image)
    (gradient,) = torch.autograd.grad(answer, image, incoming)
    said = f"{name}, strides {image.stride()}, {'training' if training else 'evaluation'}: gradcheck {checked}"
    if not training:  # then the layer is a product with a known number
      by = 1 / (norm.running_var + norm.eps).sqrt()[:, None, None]
      forward = (answer - image * by).abs().max().item()
      said += f"; off by {forward:.1e} forward, {(gradient - incoming * by).abs().max().item():.1e} backward"
    print(said)
    wrong[name, training] = not checked
as_found = all(wrong[name, training] == (name in list(ways)[:2]) for name, training in wrong)
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
