"""The corruptions probe: its conditions, its one program, and its numbers counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from biasjax import probes
from biasjax.data import layouts
from biasjax.errors import BiasjaxError
from biasjax.ops.corruptions import CORRUPTIONS

IDS = [f"{i}.png" for i in range(20)]


def observed(right):
  """Observations with the first so many of 20 examples right, for each condition."""
  rows = [
    (c, i, n, n if n < count else 99, 0 if n < count else 3)
    for c, count in right.items()
    for n, i in enumerate(IDS)
  ]
  table = pd.DataFrame(rows, columns=["condition", "example_id", "label", "prediction", "rank"])
  table.attrs["labels"] = "imagenet"
  return table


def summary(name, right):
  probe = probes.get(name)
  table = observed({condition: right(condition) for condition in probe.conditions})
  return {metric.name: metric for metric in probe.summarise({name: table})}


def test_accuracies_and_the_mean_corruption_error_are_those_counted_by_hand():
  found = summary("corruptions", lambda condition: {"fog": 5, "spatter": 0}.get(condition.split("/")[0], 15))
  assert found["top1_acc/corruptions/fog_3"].value == pytest.approx(25)
  assert found["top1_acc/corruptions"].value == pytest.approx((16 * 75 + 25) / 17)
  counted = [name for name in layouts.FIFTEEN if name != "frost"]
  ratios = [100 * (0.75 if name == "fog" else 0.25) / (layouts.ALEXNET[name] / 100) for name in counted]
  assert found["corruptions/mCE14"].value == pytest.approx(np.mean(ratios))
  assert found["corruptions/mCE14"].low < found["corruptions/mCE14"].value < found["corruptions/mCE14"].high
  assert len(found) == 2 + 17 * 5
  assert found["top1_acc/corruptions/fog_3"].chance >= 0.1


def test_alexnet_would_have_an_mce_of_100():
  """Errors as near AlexNet's as 20 images allow."""
  found = summary("corruptions", lambda c: round(20 * (1 - layouts.ALEXNET.get(c.split("/")[0], 50.0) / 100)))
  assert found["corruptions/mCE14"].value == pytest.approx(100, abs=2.5)


def test_some_corruptions_alone_have_no_mce():
  found = summary("corruptions:only=fog+snow", lambda condition: 10)
  assert "top1_acc/corruptions:only=fog+snow" in found
  assert not any("mCE" in name for name in found)
  assert len(found) == 1 + 10


def test_a_condition_is_its_corruption():
  probe = probes.get("corruptions", 32)
  image = jnp.round(jnp.asarray(np.random.default_rng(0).uniform(size=(32, 32, 3)), jnp.float32) * 255) / 255
  perturb = jax.jit(probe.perturb)
  for name in ("contrast", "pixelate", "jpeg_compression"):
    for severity in (1, 5):
      found = perturb(jax.random.key(0), image, probe.conditions[f"{name}/{severity}"])
      expected = CORRUPTIONS[name](jax.random.key(0), image, jnp.int32(severity - 1))
      np.testing.assert_allclose(found, expected, atol=1 / 255 + 1e-6)
  assert perturb._cache_size() == 1  # one program for all conditions


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("corruptions:only=frost", "'frost': it is left out"),
    ("corruptions:only=fogg", "'fogg': did you mean fog"),
  ],
)
def test_a_corruption_that_does_not_exist_is_refused(name, message):
  with pytest.raises(BiasjaxError, match=message):
    probes.get(name)
