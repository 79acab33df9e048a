"""The first screen of a page as a small picture, by a Chromium on PATH.

python -m examples.screens --page=demo/out/study/index.html --output=docs/figures/page_demo.webp
python -m examples.screens --page=study/index.html --output=docs/figures/page_published.webp
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl import app, flags
from PIL import Image

from biasjax.errors import BiasjaxError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120


def picture(page: pathlib.Path, size: tuple[int, int]) -> Image.Image:
  """What a window of so many pixels shows of a file when it is opened.

  Raises:
    BiasjaxError: there is no browser, no such page, or the browser gave no picture.
  """
  browser = next(filter(None, map(shutil.which, BROWSERS)), None)
  if browser is None:
    raise BiasjaxError(f"none of {', '.join(BROWSERS)} is on PATH: install one")
  if not page.is_file():
    raise BiasjaxError(f"--page={page}: no such file")
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    shot = pathlib.Path(folder) / "screen.png"
    flags_of_it = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags_of_it += [f"--user-data-dir={folder}/profile", f"--window-size={size[0]},{size[1]}"]
    command = [browser, *flags_of_it, f"--screenshot={shot}", page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if not shot.is_file():
      raise BiasjaxError(f"{browser} made no picture: {done.stderr.strip()[-200:]}")
    with Image.open(shot) as image:
      return image.convert("RGB")


def main(argv: list[str]) -> None:
  """Writes the picture."""
  del argv
  asked = flags.FLAGS
  try:
    found = picture(pathlib.Path(asked.page), (asked.width, asked.height))
    found.save(asked.output, quality=80, method=6)
    print(asked.output)
  except (BiasjaxError, OSError) as error:
    sys.exit(f"screens.py: error: {error}")


if __name__ == "__main__":
  flags.DEFINE_string("page", "demo/out/study/index.html", "An HTML file.")
  flags.DEFINE_string("output", "page.webp", "The picture; its ending says which kind.")
  flags.DEFINE_integer("width", 1280, "Pixels.", lower_bound=100)
  flags.DEFINE_integer("height", 960, "Pixels.", lower_bound=100)
  app.run(main)
