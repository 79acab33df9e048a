#!/usr/bin/env bash
# safetensors.torch.save_file writes a tensor whose conjugation or negation PyTorch has put off with the wrong sign.
#
# PyTorch conjugates and negates lazily: a conjugate is a view of the same memory with a bit that says so. torch.save
# keeps the bit; save_file copies the memory and drops it, without a word, so that what is loaded is the conjugate (or
# the negative) of what was saved. Reported as safetensors/safetensors#831.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 safetensors==0.8.0 numpy==2.4.6 packaging
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import importlib.metadata
import io
import sys

import torch
from safetensors.torch import load_file, save_file

print("torch", torch.__version__, "safetensors", importlib.metadata.version("safetensors"))
saved = {
  "conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj(),
  "negated": torch._neg_view(torch.tensor([1.0, -2.0])),
}
as_found = True
for name, value in saved.items():
  save_file({"x": value}, "x.safetensors")
  by_safetensors = load_file("x.safetensors")["x"]
  buffer = io.BytesIO()
  torch.save({"x": value}, buffer)
  buffer.seek(0)
  by_torch = torch.load(buffer, weights_only=True)["x"]
  print(f"{name}: saved {value.tolist()}; torch.save gives {by_torch.tolist()}, save_file {by_safetensors.tolist()}")
  as_found &= torch.equal(by_torch, value) and not torch.equal(by_safetensors, value)
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
