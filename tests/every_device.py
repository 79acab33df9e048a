"""What a program, lowered for GPUs and TPUs, may hold: no call that one lacks, and whole float32 products."""

import re

PRODUCT = re.compile(r"stablehlo\.(dot_general|convolution).*")


def assert_for_all(text: str) -> None:
  """Asserts it of a program as StableHLO."""
  assert "custom_call" not in text
  for product in PRODUCT.finditer(text):
    assert product[0].count("HIGHEST") == 2, product[0]
