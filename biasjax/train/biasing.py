"""Weights by which several biased data sets stand for one (Vogel, Clemencon & Laforgue, arXiv:2109.02357).

python -m biasjax.train.biasing --annotations=domains.csv --output=weights.csv

Data set k has density omega_k(x) / Omega_k relative to the target; how the omegas are scaled does not matter.
The annotations have `example_id`, the `domain` of each example, and either `omega_<domain>` for every domain,
the value of each one's omega at the example, or `stratum`: omega_k is then the share of a stratum in domain
k. Weights are those of Gill, Vardi & Wellner (1988): with lambda_k the share of examples in data set k, u
minimises the mean of log(sum_k e^u_k omega_k(x)) - sum_k lambda_k u_k, and an example weighs in inverse
proportion to sum_k e^u_k omega_k(x). They are written with mean 1, for `reweighted:by=weight`.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.sparse
from etils import epath
from jaxtyping import Float, Int

from biasjax.data import annotations
from biasjax.errors import BiasjaxError
from biasjax.messages import ended
from biasjax.results.store import write_file
from biasjax.train.interventions.reweighted import effective

TOLERANCE = 1e-9  # of u: where domains hardly overlap the gradient is all but 0 wherever u is
TOO_LITTLE = "the weights cannot be determined: the domains overlap too little"
FLATTEST = 1e-10  # the least curvature in u in which rounding does not yet say where the minimum is


def solve(
  domain: Int[np.ndarray, "n"], omega: Float[np.ndarray, "n k"], names: Sequence[str]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "k"]]:
  """(weights of mean 1, W_k = Omega_k relative to the first's).

  Args:
    domain: of each example, 0 to k - 1.
    omega: from 0.
    names: of the domains, for messages.

  Raises:
    BiasjaxError: an example cannot come from its domain, or the domains overlap too little.
  """
  n, k = omega.shape
  own = omega[np.arange(n), domain]
  if not (omega >= 0).all() or not np.isfinite(omega).all() or not (own > 0).all():
    at = int(np.flatnonzero(~(own > 0) | ~np.isfinite(omega).all(1) | (omega < 0).any(1))[0])
    raise BiasjaxError(
      f"example {at}, of domain {names[domain[at]]}, has omegas {omega[at].tolist()}: expected "
      "numbers from 0, above 0 in its own domain"
    )
  _connected(domain, omega, names)
  # Scaled to like sizes, so that u is near 0; that changes W by the same factors and no weight.
  scale = omega.mean(axis=0)
  scaled, share = omega / scale, np.bincount(domain, minlength=k) / n

  def whole(rest):
    return np.concatenate([[0.0], rest])

  def value(rest):
    u = whole(rest)
    return float(np.mean(np.log(scaled @ np.exp(u))) - share @ u)

  def parts(rest):
    each = scaled * np.exp(whole(rest))
    return each / each.sum(axis=1, keepdims=True)

  def gradient(rest):
    return (parts(rest).mean(axis=0) - share)[1:]

  def hessian(rest):
    of = parts(rest)
    return (np.diag(of.mean(axis=0)) - of.T @ of / n)[1:, 1:]

  rest = np.zeros(k - 1)
  if k > 1:
    further = rest
    rest = scipy.optimize.minimize(value, rest, jac=gradient, method="L-BFGS-B").x
    for _ in range(50):  # Newton's method ends what was begun: the value is convex
      curvature = hessian(rest)
      if not np.linalg.eigvalsh(curvature).min() > FLATTEST:
        raise BiasjaxError(TOO_LITTLE)
      further = np.linalg.solve(curvature, gradient(rest))
      rest = rest - further
      if np.abs(further).max() < TOLERANCE:
        break
    if not np.abs(further).max() < 1e3 * TOLERANCE:
      raise BiasjaxError(TOO_LITTLE)
  weights = 1 / (scaled @ np.exp(whole(rest)))
  ratios = share * np.exp(-whole(rest)) * scale
  return weights / weights.mean(), ratios / ratios[0]


def _connected(domain, omega, names) -> None:
  """Refuses domains of which some can never be weighed against others."""
  k = len(names)
  # From k to l where some example of k could have come from l too.
  reaches = np.array([(omega[domain == one] > 0).any(axis=0) for one in range(k)])
  parts, part = scipy.sparse.csgraph.connected_components(
    scipy.sparse.csr_array(reaches), directed=True, connection="strong"
  )
  if parts > 1:
    groups = [", ".join(name for name, of in zip(names, part, strict=True) if of == p) for p in range(parts)]
    raise BiasjaxError(
      f"the domains fall into parts that cannot be weighed against each other: {' | '.join(groups)}; each "
      "must have examples that could have come from another"
    )


def omegas(read: annotations.Annotations, domain: np.ndarray, names: Sequence[str]) -> np.ndarray:
  """Omega of each example in each domain, float [n, k], from the annotations' further columns.

  Raises:
    BiasjaxError: they have neither strata nor an omega for every domain, or one is no number.
  """
  wanted = [f"omega_{name}" for name in names]
  lacking = [name for name in wanted if name not in read.further]
  if 0 < len(lacking) < len(wanted):
    raise BiasjaxError(f"--annotations={read.path} has no column {lacking[0]}, as it has of other domains")
  if not lacking:
    try:
      return np.stack([read.further[name].astype(float) for name in wanted], axis=1)
    except ValueError as error:
      raise BiasjaxError(f"--annotations={read.path}: an omega is no number: {error}") from error
  if "stratum" not in read.further:
    raise BiasjaxError(f"--annotations={read.path} needs the column stratum, or {', '.join(wanted)}")
  if "" in read.further["stratum"]:
    empty = read.ids[read.further["stratum"].tolist().index("")]
    raise BiasjaxError(f"--annotations={read.path}: stratum of {empty} is empty")
  stratum, strata = annotations.codes(read.further["stratum"])
  counts = np.zeros((len(names), len(strata)))
  np.add.at(counts, (domain, stratum), 1)
  return (counts / counts.sum(axis=1, keepdims=True))[:, stratum].T


def write(source: str, output: str) -> str:
  """Writes the weights of annotated examples; returns what is to be said of them.

  Raises:
    BiasjaxError: as in `solve` and `omegas`, or a file cannot be read or written.
  """
  read = annotations.read(source)
  read.need(["domain"], "weighing domains")
  domain, names = annotations.codes(read.columns["domain"])
  weights, ratios = solve(domain, omegas(read, domain, names), names)
  rows = zip(read.ids, (f"{weight:.9g}" for weight in weights), read.columns["domain"], strict=True)
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([("example_id", "weight", "domain"), *rows])
  write_file(epath.Path(output).expanduser(), text.getvalue().encode())
  said = ", ".join(f"{name} {ratio:.4g}" for name, ratio in zip(names, ratios, strict=True))
  return (
    f"{output}: {len(weights):,} weights of mean 1, the largest {weights.max():.3g}; effective sample size "
    f"{effective(weights):,.0f}; W of the domains: {said}"
  )


def main() -> int:
  """Parses the flags and writes the weights; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument(
    "--annotations", required=True, help="a CSV with example_id, domain, stratum or omega_..."
  )
  parser.add_argument("--output", required=True, help="the CSV to write")
  given = parser.parse_args()
  return ended(lambda: write(given.annotations, given.output), "biasing")


if __name__ == "__main__":
  sys.exit(main())
