"""The example of docs/adding-a-probe.md is a whole probe: put into a file, it runs."""

import contextlib
import dataclasses
import pathlib
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data.sources import Example, Source
from biasjax.errors import BiasjaxError
from biasjax.probes.base import Metric, Probe
from biasjax.train import interventions

PAGE = pathlib.Path(__file__).parents[2] / "docs/adding-a-probe.md"


CODE, VARIANT = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@contextlib.contextmanager
def beside_the_others(folder, monkeypatch, name, code):
  """A probe as a file."""
  (folder / f"{name}.py").write_text(code)
  monkeypatch.setattr(probes, "__path__", [*probes.__path__, str(folder)])
  probes.names.cache_clear()
  try:
    yield
  finally:
    probes.names.cache_clear()
    sys.modules.pop(f"biasjax.probes.{name}", None)


@pytest.fixture
def example(tmp_path, monkeypatch):
  """The page's probe."""
  with beside_the_others(tmp_path, monkeypatch, "contrast", CODE):
    yield probes.get("contrast")


def test_a_variant_of_the_example_has_its_option_in_its_names(tmp_path, monkeypatch):
  code = CODE.replace("NOISE *", 'condition["noise"] *').replace("(observations)", "(observations, name)")
  code = code.replace('observations["contrast"]', "observations[name]").replace('"contrast/{', '"{name}/{')
  imports = "import functools\nfrom biasjax.errors import BiasjaxError\n"
  code = (imports + code + VARIANT).replace("contrast", "faint")
  with beside_the_others(tmp_path, monkeypatch, "faint", code):
    probe = probes.get("faint:noise=0.02")
    assert probe.name == "faint:noise=0.02"
    table = pd.concat([pd.DataFrame({"condition": name, "rank": [1, 0]}) for name in probe.conditions])
    assert probe.summarise({probe.name: table})[0].name == "faint:noise=0.02/1.0"
    grey = jnp.full((64, 64, 3), 0.5)
    for name, sd in ((probe.name, 0.02), ("faint", 0.01)):
      of = probes.get(name)
      noisy = np.asarray(of.perturb(jax.random.key(0), grey, of.conditions["faint=0.1"]))
      assert noisy.std() == pytest.approx(sd, rel=0.03)
    with pytest.raises(BiasjaxError, match="noise=much: expected a number"):
      probes.get("faint:noise=much")


def test_a_variant_that_goes_by_the_name_of_another_probe_is_refused(tmp_path, monkeypatch):
  """Asked for by its name, the other one would be measured in its place."""
  code = CODE.replace("size: int = 224", "size: int = 224, *, of: str = '1.0'").replace("contrast", "pale")
  code = code.replace("for c in CONTRASTS}", "for c in [*map(float, of.split('+'))]}")
  with beside_the_others(tmp_path, monkeypatch, "pale", code):
    message = "probe 'pale:of=0.3' calls itself 'pale', which is another probe: its options belong"
    with pytest.raises(BiasjaxError, match=message):
      probes.get("pale:of=0.3")
    assert probes.get("pale:of=1.0") is probes.get("pale", 224)  # what is so by default is no variant


def test_parameters_that_are_no_json_are_one_line(tmp_path, monkeypatch):
  code = CODE.replace('"noise": NOISE', '"noise": np.float32(NOISE)').replace("contrast", "dim")
  message = r"probe 'dim': parameters have to be plain numbers.*float32"
  with beside_the_others(tmp_path, monkeypatch, "dim", code), pytest.raises(BiasjaxError, match=message):
    probes.get("dim")


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


@pytest.mark.parametrize(
  ("package", "asked", "kind"),
  [(probes, probes.get, "a Probe"), (interventions, interventions.parse, "an Intervention")],
)
@pytest.mark.parametrize(
  ("body", "said"),
  [
    ("raise ValueError('no such\\nfolder')", "its make raises ValueError: no such folder ({path}, line 3)"),
    (
      "return float('x')",
      "its make raises ValueError: could not convert string to float: 'x' ({path}, line 3)",
    ),
    ("return 5", "its make gives int, not {kind}"),
  ],
)
def test_a_make_that_fails_is_one_line(tmp_path, monkeypatch, package, asked, kind, body, said):
  path = tmp_path / "failing.py"
  path.write_text(f"# of one's own\ndef make(number):\n  {body}\n")
  monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
  package.names.cache_clear()
  try:
    with pytest.raises(BiasjaxError) as raised:
      asked("failing" if package is probes else "failing=1")
  finally:
    package.names.cache_clear()
    sys.modules.pop(f"{package.__name__}.failing", None)
  named = "probe 'failing'" if package is probes else "interventions: 'failing=1'"
  assert str(raised.value) == f"{named}: {said.format(path=path, kind=kind)}"


def test_the_example_is_found_by_its_name(example):
  assert "contrast" in probes.names()
  assert list(example.conditions) == ["contrast=1.0", "contrast=0.3", "contrast=0.1", "contrast=0.03"]


def seven(folder):
  """A network that always says class 7, five images of which two are, and where answers are kept."""
  from biasjax.models.architecture import RESNET18
  from biasjax.models.load import Model
  from biasjax.results.store import Store
  from made_images import encoded, pixels

  images = [pixels(224, 224, seed=seed) for seed in range(5)]

  def apply(variables, batch):
    return jnp.zeros((len(batch), 1000)).at[:, 7].set(1.0) + 0 * variables["zero"]

  def read(index):
    return Example(encoded(images[index], "PNG"), 7 if index < 2 else 8, f"{index}.png")

  source = Source("made", 5, read, "five images", "memory")
  model = Model("seven", RESNET18, {"zero": jnp.zeros(())}, apply, "always class 7", {})
  return model, source, Store(folder / "out", 3)


def test_the_example_goes_through_the_pass(example, tmp_path):
  from biasjax.engine import evaluate
  from biasjax.results.summary import summarise

  model, source, store = seven(tmp_path)
  evaluate.evaluate([model], [example], source, store, evaluate.Settings(batch_size=2))
  metrics = summarise(store, lambda name, size: example).metrics
  assert list(metrics["value"]) == [40.0] * 4  # two of five
  assert list(metrics["metric"]) == [f"contrast/{c}" for c in (1.0, 0.3, 0.1, 0.03)]


PIXELS = np.tile(np.array([0, 100, 200, 255], np.uint8)[:, None, None, None], (1, 32, 32, 3))


def asked(probe):
  """The numbers of a probe of one's own, of a network that tells light images, class 1, from dark ones."""
  from biasjax import library

  def apply(variables, images):
    return jnp.stack([jnp.full(len(images), 0.5), images.mean((1, 2, 3))], axis=1)

  return library.measure(apply, {}, PIXELS, [0, 0, 1, 1], [probe], progress=False).metrics


def own(**changes):
  """A probe of one's own, whose one condition shows images as they are, and whose number is the accuracy."""

  def summarise(observations):
    return [Metric("right", float((observations["own"]["rank"] == 0).mean()), 0.0, 1.0, 4)]

  plain = {"conditions": {"same": {"times": np.float32(1)}}, "summarise": summarise}
  perturb = lambda key, image, condition: image * condition["times"]  # noqa: E731
  return Probe(**{"name": "own", "perturb": perturb, **plain, **changes})


def said_as(**changes):
  """A number as `Metric` has it, whose types nothing checks."""
  plain = {field.name: field.default for field in dataclasses.fields(Metric)}
  return types.SimpleNamespace(
    **plain | {"name": "x", "value": 1.0, "low": 0.0, "high": 1.0, "n": 4} | changes
  )


def test_a_probe_of_ones_own_is_asked():
  assert asked(own())["value"].to_dict() == {"right": 1.0}
  dark = {"same": {"times": np.float32(1)}, "dark": {"times": np.float32(0)}}
  assert asked(own(conditions=dark))["value"].to_dict() == {"right": 0.75}  # 4 of 4, and 2 of 4


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    (
      {"perturb": lambda key, image, condition: image[::2]},
      r"its perturb gives float32 \[16, 32, 3\], no image",
    ),
    ({"perturb": lambda key, image, condition: image.mean(-1)}, r"its perturb gives float32 \[32, 32\], no"),
    (
      {"perturb": lambda key, image, condition: (255 * image).astype(jnp.uint8)},
      r"its perturb gives uint8 \[32, 32, 3\], no image float32 \[32, 32, 3\]",
    ),
    ({"perturb": lambda key, image, condition: None}, "its perturb gives nothing, no image"),
    (
      {"perturb": lambda key, image, condition: image + jnp.zeros((5, 7))},
      r"its perturb raises (Type|Value)Error: .*test_adding_a_probe.py, line \d+",
    ),
    ({"prepare": lambda image: image.reshape(5)}, r"its prepare raises .*test_adding_a_probe.py, line \d+"),
    (
      {"perturb": lambda key, image, condition: 255 * image},
      "under 'same' .* from 0 to 255, and networks take",
    ),
    ({"perturb": lambda key, image, condition: 2 * image - 1}, "under 'same' it shows .* from -1 to 1, and"),
    ({"perturb": lambda key, image, condition: image / (0 * image)}, "under 'same' it shows .* nan to nan"),
    ({"conditions": {"same": {"times": "one"}}}, "condition 'same' holds something else than numbers"),
    ({"conditions": {"same": {"times": object()}}}, "condition 'same' holds something else than numbers"),
    (
      {"conditions": {"same": {"times": np.float32(1)}, "other": {"by": np.float32(1)}}},
      "conditions 'same' and 'other' have not the same keys",
    ),
    (
      {"conditions": {"same": {"times": np.ones(3)}, "other": {"times": np.ones(1)}}},
      "conditions 'same' and 'other' have not the same keys and shapes",
    ),
    ({"conditions": {}}, "its conditions are no dictionary, or an empty one"),
    (
      {"summarise": lambda observations: observations["nothing"]},
      r"its summarise raises KeyError: 'nothing' \(.*test_adding_a_probe.py, line \d+\)",
    ),
    ({"summarise": lambda observations: None}, "its summarise gives NoneType, no list of Metric"),
    (
      {"summarise": lambda of: [said_as(value="high")]},
      "its summarise gives str as value of x, not a number",
    ),
    (
      {"summarise": lambda of: [said_as(low=np.ones(2))]},
      "its summarise gives ndarray as low of x, not a num",
    ),
    ({"summarise": lambda of: [said_as(flag=None)]}, "its summarise gives NoneType as flag of x, not a text"),
    ({"summarise": lambda of: [said_as(name=5)]}, "its summarise calls a number 5: expected a text"),
    (
      {"summarise": lambda of: [said_as(name="{of}")]},
      "its summarise calls a number '{of}': expected a text",
    ),
  ],
)
def test_a_mistake_in_a_probe_is_one_line_that_says_where(changes, said):
  with pytest.raises(BiasjaxError, match=f"probe own: {said}") as raised:
    asked(own(**changes))
  assert "\n" not in str(raised.value)


def test_images_may_leave_their_range_where_the_probe_says_so():
  beyond = own(perturb=lambda key, image, condition: 2 * image, unclipped=True)
  assert asked(beyond)["value"].to_dict() == {"right": 0.75}  # 100 of 255 is light then


def test_a_summary_that_fails_leaves_the_others_numbers(example, tmp_path):
  from biasjax.engine import evaluate
  from biasjax.results.summary import summarise

  def fails(observations):
    return 1 / len(observations["contrast"][:0])

  failing = dataclasses.replace(example, summarise=fails)
  both = {"contrast": failing, "own": own()}
  model, source, store = seven(tmp_path)
  evaluate.evaluate([model], list(both.values()), source, store, evaluate.Settings(batch_size=2))
  found = summarise(store, lambda name, size: both[name])
  assert list(found.metrics["metric"]) == ["right"]
  (said,) = found.incomplete
  assert said.startswith(
    "seven, contrast on made: its summarise raises ZeroDivisionError: division by zero ("
  )
  mended = summarise(store, lambda name, size: example if name == "contrast" else both[name])
  assert list(mended.metrics["value"]) == [40.0] * 4 + [0.4]


def test_the_example_perturbs_as_it_says(example):
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
