"""The example of docs/adding-a-probe.md is a whole probe: put into a file, it runs."""

import pathlib
import re
import sys

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.train import interventions

PAGE = pathlib.Path(__file__).parents[2] / "docs/adding-a-probe.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
  """The page's probe, as a file beside the others."""
  (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  (tmp_path / "contrast.py").write_text(code)
  monkeypatch.setattr(probes, "__path__", [*probes.__path__, str(tmp_path)])
  probes.names.cache_clear()
  yield probes.get("contrast")
  probes.names.cache_clear()
  sys.modules.pop("biasjax.probes.contrast", None)


@pytest.mark.parametrize("package", [probes, interventions])
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, package):
  (tmp_path / "broken.py").write_text("import no_such_package\n")
  monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
  package.names.cache_clear()
  try:
    with pytest.raises(BiasjaxError) as raised:
      package.names()
  finally:
    package.names.cache_clear()
  path = tmp_path / "broken.py"
  assert str(raised.value) == (
    f"{path}, line 1: cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"
  )


def test_the_example_is_found_by_its_name(example):
  assert "contrast" in probes.names()
  assert list(example.conditions) == ["contrast=1.0", "contrast=0.3", "contrast=0.1", "contrast=0.03"]


def test_the_example_goes_through_the_pass(example, tmp_path):
  from biasjax.engine import evaluate
  from biasjax.models.architecture import RESNET18
  from biasjax.models.load import Model
  from biasjax.results.store import Store
  from biasjax.results.summary import summarise
  from made_images import encoded, pixels

  images = [pixels(224, 224, seed=seed) for seed in range(5)]

  def apply(variables, batch):  # it always says class 7
    return jnp.zeros((len(batch), 1000)).at[:, 7].set(1.0) + 0 * variables["zero"]

  def read(index):
    return Example(encoded(images[index], "PNG"), 7 if index < 2 else 8, f"{index}.png")

  source = Source("made", 5, read, "five images", "memory")
  model = Model("seven", RESNET18, {"zero": jnp.zeros(())}, apply, "always class 7", {})
  store = Store(tmp_path / "out", 3)
  evaluate.evaluate([model], [example], source, store, evaluate.Settings(batch_size=2))
  metrics = summarise(store, lambda name, size: example).metrics
  assert list(metrics["value"]) == [40.0] * 4  # two of five
  assert list(metrics["metric"]) == [f"contrast/{c}" for c in (1.0, 0.3, 0.1, 0.03)]


def test_the_example_perturbs_as_it_says(example):
  import jax

  image = np.random.default_rng(0).random((64, 64, 3), np.float32)
  faint = example.perturb(jax.random.key(0), jnp.asarray(image), example.conditions["contrast=0.1"])
  noise = np.asarray(faint) - (0.5 + (image - 0.5) * 0.1)
  assert abs(noise.mean()) < 4 * 0.01 / np.sqrt(image.size)
  assert noise.std() == pytest.approx(0.01, rel=0.03)


def test_the_example_summarises_a_made_table(example):
  table = pd.DataFrame({"condition": "contrast=1.0", "rank": [0, 0, 3, 0]})
  rest = [pd.DataFrame({"condition": name, "rank": [1, 0]}) for name in list(example.conditions)[1:]]
  metrics = example.summarise({"contrast": pd.concat([table, *rest])})
  assert [metric.value for metric in metrics] == [75.0, 50.0, 50.0, 50.0]
