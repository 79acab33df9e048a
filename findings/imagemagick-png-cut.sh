#!/usr/bin/env bash
# ImageMagick 6.9.11 cuts what it writes as an 8-bit PNG, and rounds the same image in other formats: half a level.
#
# It computes with 16 bits a channel. Of a blurred 8-bit image, written as PGM, BMP or TIFF each value v is
# round(v / 257), and within half a level of what was computed; as PNG it is floor(v / 257), on average half a level
# darker. By its history it does so since 6.9.10-69, of October 2019 (not run here). The published code of ImageNet-C, which
# is older, takes motion blur and snow from a PNG that ImageMagick writes.
#
# Needs Debian 12 and its lists of packages (apt-get update); nothing is installed outside a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$folder"
no=(--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances)
apt-cache depends --recurse "${no[@]}" imagemagick-6.q16 | grep '^[a-z]' | sort -u > needed
xargs apt-get download < needed > /dev/null 2>&1
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(find "$folder/root" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
MAGICK_CONFIGURE_PATH=$(find "$folder/root" -type d \( -path '*config-Q16*' -o -path '*/etc/ImageMagick-6' \) | tr '\n' ':')
MAGICK_CODER_MODULE_PATH=$(find "$folder/root" -type d -name coders)
export MAGICK_CONFIGURE_PATH MAGICK_CODER_MODULE_PATH
magick() { LD_LIBRARY_PATH="$libraries" root/usr/bin/convert-im6.q16 "$@"; }
magick --version | head -1
magick --version | grep -q ' 6\.9\.11-60 '
venv/bin/python -c '
import numpy as np
from PIL import Image
Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save("given.png")'
magick given.png -blur 0x2 -depth 16 computed.pgm
for format in pgm bmp tif png; do magick given.png -blur 0x2 "written.$format"; done
venv/bin/python - <<'PROGRAM'
import pathlib
import sys

import numpy as np
from PIL import Image

side = 64
computed = np.frombuffer(pathlib.Path("computed.pgm").read_bytes()[-2 * side * side :], ">u2").reshape(side, side).astype(float)
rounded, cut = np.floor(computed / 257 + 0.5), np.floor(computed / 257)
as_found = True
for name in ("pgm", "bmp", "tif", "png"):
  written = np.asarray(Image.open(f"written.{name}").convert("L")).astype(float)
  found = {"rounded": (written == rounded).mean(), "cut": (written == cut).mean()}
  as_found &= bool(found["cut" if name == "png" else "rounded"] == 1) and bool(min(found.values()) < 0.6)
  print(
    f"{name}: as rounded in {found['rounded']:.1%} of values, as cut in {found['cut']:.1%}; "
    f"mean of written - computed {(written - computed / 257).mean():+.3f} levels"
  )
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
