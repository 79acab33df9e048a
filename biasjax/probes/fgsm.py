"""Accuracy under the fast gradient sign method: one step of length eps (Goodfellow et al. 2015)."""

from typing import cast

from biasjax.ops.attacks import threat
from biasjax.ops.attacks.pgd import Pgd
from biasjax.probes import adversary, pgd
from biasjax.probes.base import Probe

DEFAULTS = {"eps": "", "norm": "linf"}


def make(size: int = 224, *, eps: str = DEFAULTS["eps"], norm: str = DEFAULTS["norm"]) -> Probe:
  """The probe for size x size images.

  Args:
    size: pixels of a side.
    eps: budgets, ascending and joined by "+"; in 1/255 for linf. By default those of PGD.
    norm: linf or l2, the length of the step and the norm in which it is steepest.

  Raises:
    BiasjaxError: another value.
  """
  del size  # nothing here depends on it
  given = {"eps": eps, "norm": norm}
  adversary.one_of("fgsm", "norm", norm, ("linf", "l2"))
  published = norm == "linf" and not eps
  budgets = dict(pgd.PUBLISHED) if published else adversary.budgets("fgsm", eps or pgd.L2_EPS, norm)
  attack = Pgd(cast(threat.Norm, norm), iterations=1, step_size=1.0, relative=True, start_at="image")
  return pgd.build(
    adversary.variant("fgsm", given, DEFAULTS),
    adversary.variant("FGSM", given, DEFAULTS),
    adversary.Stage("fgsm", attack),
    budgets,
    norm=norm,
    keep=False,
    curve=False,
  )
