"""The notebook runs from top to bottom, and so does the example of a network of one's own."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import biasjax
from biasjax.errors import BiasjaxError
from biasjax.report.pictures import SHOWN
from deadline import DEADLINE_S
from examples import page_pictures, pictures, screens, vit

ROOT = pathlib.Path(__file__).parents[1]


def test_the_notebook_runs_as_it_is(tmp_path):
  cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
  code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
  # What the text says of the two networks.
  shown = """
assert shape["stylised"].loc["shape-bias", "low"] > shape["baseline"].loc["shape-bias", "value"]
assert shape["stylised"].loc["shape-bias", "value"] > shape["baseline"].loc["shape-bias", "high"]
assert spectral["stylised"].metrics.loc["LPP", "low"] > 0.8
assert 0.5 < spectral["baseline"].metrics.loc["LPP", "value"] < 0.65
print("as told")
"""
  (tmp_path / "tour.py").write_text("\n\n".join([*code, shown]))
  done = subprocess.run(
    [sys.executable, "-W", "error", str(tmp_path / "tour.py")],
    cwd=ROOT / "docs",
    env=os.environ | {"MPLBACKEND": "Agg", "BIASJAX_CACHE": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=DEADLINE_S,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "as told\n"


def test_the_notebook_is_kept_without_outputs():
  cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
  assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_a_vision_transformer_is_measured(monkeypatch):
  kept = {}
  train = vit.train

  def noted(network, pictures, labels):
    kept["variables"] = train(network, pictures, labels)
    return kept["variables"]

  monkeypatch.setattr(vit, "train", noted)
  monkeypatch.setattr(vit, "STEPS", 100)  # a quarter of the example's
  metrics = vit.main()
  pictures, labels, _ = vit.draw(128, seed=1)
  logits = vit.ViT().apply(kept["variables"], pictures.astype(np.float32) / 255)
  right = (np.argmax(np.asarray(logits), axis=1) == labels).sum()
  assert metrics.loc["top1_acc/images", "value"] == 100 * right / 128
  weak, strong = (metrics.loc[f"top1_acc/PGD-5:eps=1+4/eps={eps}", "value"] for eps in (1, 4))
  assert strong <= weak < metrics.loc["top1_acc/images", "value"]
  conflict = vit.draw(128, seed=2, conflict=True)
  said = np.argmax(vit.ViT().apply(kept["variables"], conflict[0].astype(np.float32) / 255), axis=1)
  shape, texture = (said == conflict[1]).sum(), (said == conflict[2]).sum()
  assert metrics.loc["shape-bias", "value"] == shape / (shape + texture)
  assert {"LPP", "HPP", "metric/criticalband/bw", "criticalband/continuous/bw"} <= set(metrics.index)


def test_pictures_of_conditions_are_what_a_network_sees(tmp_path):
  encoded = tmp_path / "drawn.png"
  pixels = pictures.load(None, 64)
  Image.fromarray(pixels).save(encoded)
  shown = pictures.under_conditions("critical_band", ["clean", "f=3/*"], pixels, encoded)
  assert list(shown) == ["clean", *(f"f=3/sd={sd}" for sd in (0.02, 0.04, 0.08, 0.16))]
  seen = []

  def apply(variables, images):
    jax.debug.callback(lambda images: seen.append(np.asarray(images)), images)
    return jnp.zeros((len(images), 10))

  biasjax.measure(apply, {}, pixels[None], [0], "critical_band", names=[encoded.name], batch_size=1)
  jax.effects_barrier()
  for condition, image in shown.items():
    assert any(np.array_equal(image, images[0]) for images in seen), condition


def test_pictures_are_drawn_by_the_command(tmp_path):
  figure = tmp_path / "out.png"
  specs = "stylised=1,flip=1+greyscale=1"
  command = [sys.executable, "-m", "examples.pictures", f"--output={figure}", "--size=32"]
  done = subprocess.run([*command, f"--interventions={specs}"], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  with Image.open(figure) as image:
    assert np.asarray(image.convert("L")).std() > 20  # not an empty page
  wrong = [*command, "--probe=pgd", "--conditions=nothing"]
  done = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1
  assert "needs a network" in done.stderr
  assert "Traceback" not in done.stderr
  with pytest.raises(BiasjaxError, match="has no condition nothing"):
    pictures.under_conditions("spectral", ["nothing"], pictures.load(None, 32), figure)


def test_the_pages_pictures_are_what_the_script_draws():
  drawn = page_pictures.draw()
  kept = {path.stem: path for path in page_pictures.FOLDER.glob("*.webp")}
  assert kept.keys() == drawn.keys() == {name for shown in SHOWN.values() for name in shown}
  for name, picture in drawn.items():
    with Image.open(kept[name]) as image:
      grey = (np.asarray(of.convert("L"), int) for of in (image, Image.fromarray(picture)))
      apart = np.abs(np.subtract(*grey))
    assert apart.mean() < 6, name  # what WebP loses, of noise most


@pytest.mark.skipif(not any(map(shutil.which, screens.BROWSERS)), reason="no Chromium on PATH")
def test_a_screen_is_what_a_browser_shows(tmp_path):
  page = tmp_path / "page.html"
  page.write_text("<body style='margin: 0; background: #204060'></body>")
  found = screens.picture(page, (500, 300))
  assert found.size == (500, 300)
  assert found.getpixel((250, 100)) == (0x20, 0x40, 0x60)


def test_a_page_that_is_not_there_is_named(tmp_path):
  with pytest.raises(BiasjaxError, match=r"no such file|is on PATH"):
    screens.picture(tmp_path / "absent.html", (500, 300))


@pytest.mark.parametrize("name", ["page_demo", "page_published"])
def test_the_first_screens_are_small_files(name):
  path = ROOT / "docs" / "figures" / f"{name}.webp"
  assert path.stat().st_size < 150_000
  with Image.open(path) as image:
    assert image.size == (1280, 960)
