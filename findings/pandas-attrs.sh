#!/usr/bin/env bash
# A NumPy value in pandas' DataFrame.attrs decides whether frames can be joined and written.
#
# `attrs` is where a table's own notes go (units, class names, a calibration vector), and operations carry it along. But:
# concat and merge compare the notes with ==, so an array among them raises "The truth value of an array ... is ambiguous", of
# equal notes as of others, unless it is the very same object; arithmetic on the same frames does not compare and works.
# And to_parquet warns that attrs cannot be serialised and that it is "defaulting to empty attributes", and then raises all the
# same, because pyarrow serialises them a second time: no file is written. A NumPy scalar is enough.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import os
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa

print("pandas", pd.__version__, "pyarrow", pa.__version__, "numpy", np.__version__)


def noted(note):
  table = pd.DataFrame({"image": [1, 2], "right": [True, False]})
  table.attrs["note"] = note
  return table


def outcome(work):
  try:
    work()
  except Exception as error:
    return f"{type(error).__name__}: {error}"
  return "works"


one, other = noted(np.arange(3)), noted(np.arange(3))
same = noted(one.attrs["note"])
found = {
  "concat, equal arrays": outcome(lambda: pd.concat([one, other])),
  "merge, equal arrays": outcome(lambda: one.merge(other, on="image")),
  "sum, equal arrays": outcome(lambda: one + other),
  "concat, the same array": outcome(lambda: pd.concat([one, same])),
  "concat, equal lists": outcome(lambda: pd.concat([noted([0, 1, 2]), noted([0, 1, 2])])),
}
with warnings.catch_warnings(record=True) as said:
  warnings.simplefilter("always")
  found["to_parquet, a NumPy number"] = outcome(lambda: noted(np.float32(1.5)).to_parquet("table.parquet"))
found["to_parquet, a Python number"] = outcome(lambda: noted(1.5).to_parquet("plain.parquet"))
for name, what in found.items():
  print(f"{name}: {what}")
promised = [str(w.message) for w in said if "defaulting to empty attributes" in str(w.message)]
print("warned:", *promised)
fails = {name for name, what in found.items() if what != "works"}
as_found = (
  fails == {"concat, equal arrays", "merge, equal arrays", "to_parquet, a NumPy number"}
  and "ambiguous" in found["concat, equal arrays"]
  and "not JSON serializable" in found["to_parquet, a NumPy number"]
  and bool(promised)
  and not (os.path.exists("table.parquet") and os.path.getsize("table.parquet"))
)
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
