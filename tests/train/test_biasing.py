"""Weights of several biased data sets: closed forms, and what cannot be determined is refused."""

import csv
import resource

import numpy as np
import pytest

from biasjax.data import annotations
from biasjax.errors import BiasjaxError
from biasjax.train import biasing

NAMES = tuple("abcdefgh")


def test_one_data_set_weighs_by_the_inverse_of_its_omega():
  omega = np.array([[1.0], [2.0], [4.0]])
  weights, ratios = biasing.solve(np.zeros(3, int), omega, NAMES[:1])
  np.testing.assert_allclose(weights / weights[0], [1, 0.5, 0.25], rtol=1e-12)
  assert ratios.tolist() == [1]


def test_data_sets_without_bias_weigh_alike():
  weights, ratios = biasing.solve(np.array([0, 0, 1, 2, 2, 2]), np.ones((6, 3)), NAMES[:3])
  np.testing.assert_allclose(weights, 1)
  np.testing.assert_allclose(ratios, 1)


def test_a_part_that_is_sampled_more_weighs_as_the_unbiased_sample_says():
  """omega_1 = 1, omega_2 = 1 on A: A weighs in all n_1A / n_1, and so is W_2 / W_1."""
  within = np.array([True] * 6 + [False] * 34 + [True] * 60)
  domain = np.array([0] * 40 + [1] * 60)
  omega = np.stack([np.ones(100), within.astype(float)], axis=1)
  weights, ratios = biasing.solve(domain, omega, NAMES[:2])
  assert weights[within].sum() / weights.sum() == pytest.approx(6 / 40, abs=1e-12)
  assert ratios[1] == pytest.approx(6 / 40, abs=1e-12)


def test_a_chain_of_data_sets_comes_out_with_equal_classes():
  """Data set k has 1 - gamma of its class and gamma of the next (Vogel et al., section 4.B)."""
  domain, label = [], []
  for k in range(5):
    domain += [k] * 100
    label += [k] * 80 + [(k + 1) % 5] * 20
  domain, label = np.array(domain), np.array(label)
  omega = np.stack([np.bincount(label[domain == k], minlength=5)[label] for k in range(5)], axis=1)
  weights, _ = biasing.solve(domain, omega.astype(float), NAMES[:5])
  np.testing.assert_allclose(np.bincount(label, weights) / weights.sum(), 0.2, atol=1e-9)
  # How an omega is scaled, and in what order the domains come, is no matter.
  scaled = omega * np.array([1e-6, 1, 30, 5, 1e4])
  np.testing.assert_allclose(biasing.solve(domain, scaled, NAMES[:5])[0], weights, rtol=1e-6)
  turned = (domain + 2) % 5
  again = biasing.solve(turned, np.roll(omega, 2, axis=1).astype(float), NAMES[:5])[0]
  np.testing.assert_allclose(again, weights, rtol=1e-6)


def test_the_weights_give_the_mean_of_the_target():
  """Two biased samples of N(0, 1), by densities that are known: the weighted mean of x^2 is 1."""
  rng = np.random.default_rng(0)

  def sample(omega, n):
    x = rng.normal(size=20 * n)
    return x[rng.random(len(x)) < omega(x)][:n]

  first, second = (lambda x: 1 / (1 + np.exp(-2 * x))), (lambda x: np.where(x < 0.5, 0.9, 0.05))
  x = np.concatenate([sample(first, 4000), sample(second, 4000)])
  domain = np.repeat([0, 1], 4000)
  weights, _ = biasing.solve(domain, np.stack([first(x), second(x)], axis=1), NAMES[:2])
  assert np.average(x, weights=weights) == pytest.approx(0, abs=0.05)
  assert np.average(x**2, weights=weights) == pytest.approx(1, abs=0.07)
  assert abs(x.mean()) > 0.03 or abs((x**2).mean() - 1) > 0.07


def test_data_sets_that_do_not_overlap_are_refused_by_name():
  omega = np.kron(np.eye(2), np.ones((3, 1)))
  with pytest.raises(BiasjaxError, match=r"cannot be weighed against each other: (a \| b|b \| a)"):
    biasing.solve(np.array([0, 0, 0, 1, 1, 1]), omega, NAMES[:2])
  # b lies within a, but none of a's examples lies within b: how large b is cannot be told.
  omega = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
  with pytest.raises(BiasjaxError, match="cannot be weighed"):
    biasing.solve(np.array([0, 0, 1]), omega, NAMES[:2])
  with pytest.raises(BiasjaxError, match=r"example 1, of domain b, has omegas \[1.0, 0.0\]"):
    biasing.solve(np.array([0, 1]), np.array([[1.0, 1.0], [1.0, 0.0]]), NAMES[:2])


@pytest.mark.parametrize("overlap", [(1e-5, 1e-8), (1e-9, 1e-11), (1e-30, 1e-10)])
def test_of_domains_that_hardly_overlap_the_weights_are_right_or_refused(overlap):
  """One example of each domain could be the other's: W_2 / W_1 is the root of how likely, over that."""
  domain, omega = np.repeat([0, 1], 500), np.zeros((1000, 2))
  omega[np.arange(1000), domain] = 1
  omega[0, 1], omega[999, 0] = overlap
  if overlap[0] > 1e-6:
    _, ratios = biasing.solve(domain, omega, NAMES[:2])
    assert ratios[1] == pytest.approx(np.sqrt(overlap[0] / overlap[1]), rel=1e-6)
  else:
    with pytest.raises(BiasjaxError, match="the domains overlap too little"):
      biasing.solve(domain, omega, NAMES[:2])


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("example_id,domain,stratum\na,x,s\nb,y,\n", "stratum of b is empty"),
    ("example_id,domain,omega_x,stratum\na,x,1,s\nb,y,1,s\n", "has no column omega_y, as it has of other"),
    ("example_id,domain,omega_x,omega_y\na,x,1,b\nb,y,1,1\n", "an omega is no number"),
  ],
)
def test_what_is_not_said_of_every_example_or_domain_is_refused(tmp_path, text, message):
  (tmp_path / "in.csv").write_text(text)
  with pytest.raises(BiasjaxError, match=message):
    biasing.write(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))


def test_strata_stand_for_omegas_and_the_file_can_be_trained_with(tmp_path):
  rows = [("example_id", "domain", "stratum")]
  rows += [(f"{i}.png", "web", "cat" if i < 15 else "dog") for i in range(20)]
  rows += [(f"{i}.png", "lab", "cat" if i < 25 else "dog") for i in range(20, 60)]
  with (tmp_path / "in.csv").open("w", newline="") as file:
    csv.writer(file).writerows(rows)
  said = biasing.write(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
  read = annotations.read(str(tmp_path / "out.csv"))
  assert read.ids == tuple(row[0] for row in rows[1:])
  assert read.columns["weight"].mean() == pytest.approx(1)
  dog = np.array([row[2] == "dog" for row in rows[1:]])
  assert read.columns["weight"][dog].sum() / 60 == pytest.approx(0.5, abs=1e-6)
  assert "60 weights of mean 1" in said
  assert "effective sample size" in said
  with pytest.raises(BiasjaxError, match="needs the column stratum, or omega_lab, omega_web"):
    biasing.write(str(tmp_path / "out.csv"), str(tmp_path / "again.csv"))


def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(tmp_path):
  rows = "".join(f"{i},{'ab'[i % 2]},s\n" for i in range(400))
  (tmp_path / "in.csv").write_text("example_id,domain,stratum\n" + rows)
  (tmp_path / "out.csv").write_text("before")
  most = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, most[1]))
    with pytest.raises(BiasjaxError, match=r"cannot write .*out\.csv"):
      biasing.write(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, most)
  assert (tmp_path / "out.csv").read_text() == "before"
  assert len(list(tmp_path.iterdir())) == 2
