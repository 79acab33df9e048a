#!/usr/bin/env bash
# With opt_einsum installed, torch.export fixes the batch size of a network that has an einsum of three operands.
#
# PyTorch asks opt_einsum, where it is there, in which order to multiply, and the order that it chooses by sizes becomes a condition on
# them. Of a network whose first dimension is to be any number of images, `Dim("batch")` and `Dim.DYNAMIC` raise that the code made it a
# constant, which it does not, and `Dim.AUTO` exports a program for the example's number of images without a word. Without that package,
# or with `torch.backends.opt_einsum.enabled = False`, the same network is exported for any number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 opt_einsum==3.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import opt_einsum
import torch

print("torch", torch.__version__, "opt_einsum", opt_einsum.__version__)


class Network(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.first, self.second = (torch.nn.Parameter(torch.randn(size)) for size in ((8, 5), (5, 4)))

  def forward(self, x):
    return torch.einsum("bi,ij,jk->bk", x, self.first, self.second)


def batch_of(kind):
  """The first dimension of the exported program's input; None where it is refused."""
  try:
    exported = torch.export.export(Network().eval(), (torch.randn(2, 8),), dynamic_shapes=({0: kind},))
  except torch._dynamo.exc.UserError as error:
    assert "constant" in str(error), error
    return None
  return [node.meta["val"].shape[0] for node in exported.graph.nodes if node.op == "placeholder"][-1]


kinds = {"Dim('batch')": torch.export.Dim("batch"), "Dim.DYNAMIC": torch.export.Dim.DYNAMIC, "Dim.AUTO": torch.export.Dim.AUTO}
found = {}
for enabled in (True, False):
  torch.backends.opt_einsum.enabled = enabled
  for name, kind in kinds.items():
    found[enabled, name] = batch = batch_of(kind)
    said = "refused: the code made it a constant" if batch is None else f"a program for a batch of {batch}"
    print(f"opt_einsum {'enabled' if enabled else 'disabled'}, {name}: {said}")
fixed = found[True, "Dim('batch')"] is None and found[True, "Dim.DYNAMIC"] is None and found[True, "Dim.AUTO"] == 2
free = all(isinstance(found[False, name], torch.SymInt) for name in kinds)
print("as found" if fixed and free else "the behaviour changed")
sys.exit(not (fixed and free))
PROGRAM
