"""How many decisions change with --precision, on the same photographs.

python -m benchmarks.precision --images=FOLDER --model=NETWORK [--limit=100] [--probes=accuracy]

On a CPU tensorfloat32 is float32, and bfloat16 is emulated, slowly.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import pandas as pd
from absl import app, flags

IMAGES = flags.DEFINE_string("images", None, "A folder of class folders.", required=True)
MODEL = flags.DEFINE_string("model", None, "As run.py's --models.", required=True)
LIMIT = flags.DEFINE_integer("limit", 100, "How many photographs.", lower_bound=1)
PROBES = flags.DEFINE_list("probes", ["accuracy"], "As run.py's.")

KEYS = ["probe", "condition", "example_id"]


def observed(precision: str) -> pd.DataFrame:
  """Prediction, rank and confidence of every look, by probe, condition and example."""
  with tempfile.TemporaryDirectory() as workdir:
    command = [sys.executable, "run.py", f"--models={MODEL.value}", f"--dataset=folder:{IMAGES.value}"]
    command += [f"--limit={LIMIT.value}", f"--probes={','.join(PROBES.value)}", f"--workdir={workdir}"]
    command += [f"--precision={precision}", "--batch_size=20"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    read = pd.read_parquet(pathlib.Path(workdir) / "observations")
  return read.set_index(KEYS).sort_index()[["prediction", "rank", "confidence"]]


def main(argv: list[str]) -> None:
  del argv
  full = observed("float32")
  for precision in ("tensorfloat32", "bfloat16"):
    other = observed(precision)
    assert other.index.equals(full.index)
    report = {
      "precision": precision,
      "looks": len(full),
      "predictions that changed": int((other["prediction"] != full["prediction"]).sum()),
      "top-1 right, float32": int((full["rank"] == 0).sum()),
      "top-1 right": int((other["rank"] == 0).sum()),
      "largest change of confidence": float((other["confidence"] - full["confidence"]).abs().max()),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
  app.run(main)
