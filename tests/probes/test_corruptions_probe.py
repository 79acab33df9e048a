"""The corruptions probe: its conditions, its one program, and its numbers counted by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import biasjax
import made_observations
from biasjax import probes
from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.ops import corruptions_bar
from biasjax.ops.corruptions import CORRUPTIONS

KINDS = (*layouts.FIFTEEN, *layouts.EXTRA)


def summary(name, right):
  return made_observations.summary(name, right, 20)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
  """A stand-in for photographs of frost: grey."""
  folder = tmp_path_factory.mktemp("frost")
  Image.fromarray(np.full((300, 260, 3), 200, np.uint8)).save(folder / "frost1.png")
  return folder


def test_accuracies_and_the_mean_corruption_error_are_those_counted_by_hand():
  found = summary(
    "corruptions", lambda condition: 5 if condition.split("/")[0] in ("fog", "sparkles") else 15
  )
  assert found["top1_acc/corruptions/fog_3"].value == pytest.approx(25)
  assert found["top1_acc/corruptions/without-frost"].value == pytest.approx((17 * 75 + 25) / 18)
  assert found["top1_acc/corruptions/cbar"].value == pytest.approx((9 * 75 + 25) / 10)
  assert found["corruptions/error/cbar"].value == pytest.approx((9 * 25 + 75) / 10)
  counted = [name for name in layouts.FIFTEEN if name != "frost"]
  ratios = [100 * (0.75 if name == "fog" else 0.25) / (layouts.ALEXNET[name] / 100) for name in counted]
  assert found["corruptions/mCE14"].value == pytest.approx(np.mean(ratios))
  assert found["corruptions/mCE14"].low < found["corruptions/mCE14"].value < found["corruptions/mCE14"].high
  assert len(found) == 4 + (18 + 10) * 5
  assert found["top1_acc/corruptions/fog_3"].chance >= 0.1


def test_with_photographs_of_frost_the_published_means_are_there(photographs):
  right = lambda condition: 0 if condition.startswith("frost") else 15  # noqa: E731
  found = summary(f"corruptions:frost_dir={photographs}", right)
  assert found["top1_acc/corruptions"].value == pytest.approx(75 * 18 / 19)
  ratios = [
    100 * (1.0 if name == "frost" else 0.25) / (layouts.ALEXNET[name] / 100) for name in layouts.FIFTEEN
  ]
  assert found["corruptions/mCE15"].value == pytest.approx(np.mean(ratios))
  # What does not depend on frost is called and counted as without it.
  without = summary("corruptions", right)
  assert "corruptions/mCE15" not in without
  for name in set(without) & set(found):
    # Not `==`, by which numbers that are not determined would differ.
    np.testing.assert_equal(dataclasses.astuple(without[name]), dataclasses.astuple(found[name]))
  assert set(without) < set(found)


def test_alexnet_would_have_an_mce_of_100():
  """Errors as near AlexNet's as 20 images allow."""
  found = summary("corruptions", lambda c: round(20 * (1 - layouts.ALEXNET.get(c.split("/")[0], 50.0) / 100)))
  assert found["corruptions/mCE14"].value == pytest.approx(100, abs=2.5)


def test_some_corruptions_alone_have_no_mce():
  found = summary("corruptions:only=fog+snow", lambda condition: 10)
  assert "top1_acc/corruptions:only=fog+snow" in found
  assert not any("mCE" in name for name in found)
  assert len(found) == 1 + 10


def test_a_benchmark_stands_for_its_corruptions():
  kinds = {
    of: {condition.split("/")[0] for condition in probes.get(f"corruptions:only={of}").conditions}
    for of in ("imagenet_c", "imagenet_cbar", "imagenet_cbar+fog")
  }
  assert kinds["imagenet_c"] == set(KINDS) - {"frost"}
  assert kinds["imagenet_cbar"] == set(layouts.CBAR)
  assert kinds["imagenet_cbar+fog"] == {*layouts.CBAR, "fog"}


def test_a_condition_is_its_corruption():
  probe = probes.get("corruptions:only=contrast+pixelate+jpeg_compression+sparkles", 32)
  image = jnp.round(jnp.asarray(np.random.default_rng(0).uniform(size=(32, 32, 3)), jnp.float32) * 255) / 255
  perturb = jax.jit(probe.perturb)
  for name in ("contrast", "pixelate", "jpeg_compression", "sparkles"):
    corrupt = jax.jit({**CORRUPTIONS, **corruptions_bar.CORRUPTIONS}[name])
    for severity in (1, 5):
      found = perturb(jax.random.key(0), image, probe.conditions[f"{name}/{severity}"])
      expected = corrupt(jax.random.key(0), image, jnp.int32(severity - 1))
      np.testing.assert_allclose(found, expected, atol=1 / 255 + 1e-6)
  assert perturb._cache_size() == 1  # one program for all conditions


def test_frost_is_measured_with_the_photographs_and_summarised_without_them(photographs):
  """A network that says whether an image is brighter than half: black ones with frost are not black."""
  images, labels = np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, int)

  def apply(variables, seen):
    bright = seen.mean((1, 2, 3))
    return variables["scale"] * jnp.stack([0.5 - bright, bright - 0.5], axis=1)

  asked = f"corruptions:only=frost:frost_dir={photographs}"
  found = biasjax.measure(apply, {"scale": np.float32(9)}, images, labels, asked).metrics["value"]
  by_severity = [found[f"top1_acc/corruptions:only=frost/frost_{s}"] for s in range(1, 6)]
  shares = [0.4 * 200 / 255, 0.6 * 200 / 255, 0.7 * 200 / 255, 0.7 * 200 / 255, 0.75 * 200 / 255]
  assert by_severity == [100.0 if share < 0.5 else 0.0 for share in shares]
  assert probes.get(asked).name == "corruptions:only=frost"
  assert probes.get("corruptions:only=frost").summarise  # as --summarise asks for it


def test_which_folder_frost_comes_from_plays_no_part(photographs, tmp_path):
  Image.open(photographs / "frost1.png").save(tmp_path / "frost1.png")
  one, other = (probes.get(f"corruptions:frost_dir={folder}", 48) for folder in (photographs, tmp_path))
  assert (one.name, one.parameters) == (other.name, other.parameters)
  assert one.asked != other.asked


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("corruptions:only=fogg", "'fogg': did you mean fog"),
    ("corruptions:frost_dir=/nowhere", "no such folder"),
  ],
)
def test_a_corruption_that_does_not_exist_is_refused(name, message):
  with pytest.raises(BiasjaxError, match=message):
    probes.get(name)


def test_frost_without_photographs_is_refused_before_anything_is_computed():
  images, labels = np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, int)
  with pytest.raises(BiasjaxError, match="frost needs photographs: name their folder, corruptions:frost_dir"):
    biasjax.measure(lambda _, x: x.mean((1, 2)), {}, images, labels, "corruptions:only=frost")
