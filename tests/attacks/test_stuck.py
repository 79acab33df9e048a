"""Attacks where the network gives no gradient: counted, said, and not taken for robustness by AutoAttack."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from made_victims import attacked, victim
from small_scores import pictures, predictions, scores, torch_perceptron, weights

from biasjax import probes

IMAGES = pictures(12)
PLAIN, SATURATED = weights(), weights(scale=1e4)
LABELS = predictions(PLAIN, IMAGES)


def softmax_of_scores(variables, images):
  """Probabilities given as scores."""
  shifted = scores(variables, images)
  odds = jnp.exp(shifted - shifted.max(axis=1, keepdims=True))
  return odds / odds.sum(axis=1, keepdims=True)


def broken_gradient(variables, images):
  """The scores, with a part that is 0 and whose derivative is not a number."""
  zero = (images - images)[:, :3, :3, 0]
  return scores(variables, images) + jnp.sqrt(zero).sum(axis=(1, 2))[:, None] * jnp.arange(6)[None]


@pytest.mark.parametrize("name", ["pgd:steps=5", "fgsm", "pgd:steps=5:keep=best", "pgd:norm=l2:steps=5"])
def test_images_whose_gradient_is_exactly_zero_are_stuck_as_pytorch_says(name):
  torch = pytest.importorskip("torch")

  images = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)).requires_grad_()
  of_images = torch_perceptron(SATURATED)(images)
  torch.nn.functional.cross_entropy(of_images, torch.from_numpy(LABELS).long(), reduction="sum").backward()
  flat = images.grad.abs().amax(dim=(1, 2, 3)).numpy() == 0
  assert flat.sum() > 6
  found = attacked(probes.get(name), victim(SATURATED), IMAGES, LABELS)
  smallest = next(iter(found.values()))[1]
  assert smallest["stuck"][flat].mean() > 0.8  # from a random start a few may leave the plain
  assert not any(
    columns["stuck"].any()
    for _, columns in attacked(probes.get(name), victim(PLAIN), IMAGES, LABELS).values()
  )


def test_autoattack_is_not_stuck_where_pgd_is():
  same = [
    attacked(probes.get("autoattack:eps=4:steps=10:queries=50"), victim(w), IMAGES, LABELS)
    for w in (PLAIN, SATURATED)
  ]
  plain, saturated = (found["eps=4"][1] for found in same)
  assert not saturated["stuck"].any()
  assert (saturated["broken_by"] != "").sum() >= (plain["broken_by"] != "").sum() - 1
  by_ce = "autoattack:eps=4:steps=10:attacks=apgd-ce"
  assert attacked(probes.get(by_ce), victim(SATURATED), IMAGES, LABELS)["eps=4"][1]["stuck"].any()


def test_probabilities_given_as_scores_leave_pgd_without_a_gradient():
  saturated = victim(SATURATED, of=softmax_of_scores)
  found = attacked(probes.get("pgd:eps=1:steps=5"), saturated, IMAGES, LABELS)
  columns = found["eps=1"][1]
  assert columns["stuck"].sum() > 6
  assert (columns["broken_by"][columns["stuck"]] == "").all()


def test_a_gradient_that_is_not_finite_moves_nothing_and_is_counted():
  found = attacked(probes.get("pgd:steps=3"), victim(PLAIN, of=broken_gradient), IMAGES, LABELS)
  for images, columns in found.values():
    assert np.isfinite(images).all()
    np.testing.assert_array_equal(columns["stuck"], columns["broken_by"] == "")
    assert columns["stuck"].any()


def test_an_accuracy_that_rests_on_stuck_images_is_flagged_with_their_number():
  probe = probes.get("pgd:eps=4")
  table = pd.DataFrame(
    {
      "condition": "eps=4",
      "label": [0, 1, 2, 0, 1] * 20,
      "prediction": [0, 1, 2, 1, 0] * 20,
      "rank": [0, 0, 0, 1, 1] * 20,
      "stuck": [True, True, False, False, False] * 20,
    }
  )
  table.attrs |= {"labels": "classes", "classes": 1000}
  table = table.assign(example_id=[f"{i}.png" for i in range(len(table))])
  (metric,) = probe.summarise({"pgd:eps=4": table})
  assert metric.flag == "no gradient to follow on 40 of 100 images, which count as right: use autoattack"
  (metric,) = probe.summarise({"pgd:eps=4": table.assign(stuck=False)})
  assert metric.flag == ""
