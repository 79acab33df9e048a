#!/usr/bin/env bash
# scipy.optimize.curve_fit with bounds stops inside a bound that holds a parameter down, at another distance for each input, so that equal optima do not tie.
#
# A good engineer expects the best fit within bounds to be on the bound where more would fit better, as the exact answer is: 4 for every vector whose free optimum is above 4.
# The bounded method (trf) keeps strictly inside and stops when its steps are small, between rounding and 1e-8 before the bound here, and further elsewhere.
# Whoever ranks such parameters, by Spearman's rho say, ranks the optimiser's last step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import itertools
import sys

import numpy as np
import scipy
from scipy.optimize import curve_fit

print("scipy", scipy.__version__, "numpy", np.__version__)
at = np.arange(7.0)


def bell(x, height, centre, width):
  return height * np.exp(-((x - centre) ** 2) / (2 * width**2))


def fitted(values, most):
  bounds = ((0, -np.inf, -np.inf), (most, np.inf, np.inf))
  return curve_fit(bell, at, values, p0=(1.0, 0.0, 1.0), bounds=bounds)[0][0]


found = set()
for height, centre, width in itertools.product((4.6, 5.0, 5.5, 6.0), np.arange(0, 6.1, 0.5), (0.6, 0.9, 1.2, 1.6, 2.0, 2.5)):
  values = tuple(np.round(bell(at, height, centre, width)))
  try:
    if fitted(values, np.inf) > 4.2:
      found.add((values, float(fitted(values, 4.0))))
  except RuntimeError:
    continue
below = 4 - np.array([height for _, height in sorted(found)])
kinds = np.unique(below)
print(f"{len(below)} rounded bells whose free optimum is above 4.2; heights found within [0, 4]:")
print(f"  exactly 4: {(below == 0).sum()}; different numbers: {len(kinds)}, below 4 by {below.min():.0e} to {below.max():.0e}")
as_found = len(below) > 50 and (below > 0).all() and len(kinds) > 3 and below.max() > 1e-9
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
