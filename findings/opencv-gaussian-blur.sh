#!/usr/bin/env bash
# OpenCV's GaussianBlur of 8-bit images rounds its weights to 1/256, so that a weak blur is off by two levels.
#
# getGaussianKernel gives the weights in floating point; for 8-bit images they are rounded to 8 fractional bits before
# they are used. With sigma 0.33 the outer weight is 2.54 / 256 and becomes 3 / 256. The same image as float32 is blurred
# with the exact weights, and an answer in 8 bits could be within half a level of that. The hint ALGO_HINT_ACCURATE
# changes nothing. Whoever takes one as the reference for the other (a corruption's published code, say) compares blurs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import cv2
import numpy as np

print("OpenCV", cv2.__version__)
image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
as_found = True
for sigma, least in ((0.33, 1.9), (0.5, 1.0)):
  exact = cv2.GaussianBlur(image.astype(np.float32), (3, 3), sigma)
  weights = cv2.getGaussianKernel(3, sigma).ravel()
  found = {}
  for name in ("ALGO_HINT_DEFAULT", "ALGO_HINT_ACCURATE"):
    blurred = cv2.GaussianBlur(image, (3, 3), sigma, hint=getattr(cv2, name))
    found[name] = np.abs(blurred - exact)
    as_found &= bool(found[name].max() > least)
  outer = np.rint(256 * weights[0]) / 256
  rounded = cv2.sepFilter2D(image.astype(np.float32), -1, *2 * (np.array([outer, 1 - 2 * outer, outer], np.float32),))
  by_rounded = np.abs(cv2.GaussianBlur(image, (3, 3), sigma) - rounded).max()
  as_found &= bool(by_rounded <= 0.51)
  print(
    f"sigma {sigma}: weights x 256 {np.round(256 * weights, 2).tolist()}; 8-bit against float32: "
    + ", ".join(f"{name} up to {of.max():.2f} levels, {np.mean(of > 0.51):.0%} beyond half a level" for name, of in found.items())
    + f"; against weights rounded to 1/256: {by_rounded:.2f}"
  )
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
