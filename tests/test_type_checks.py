"""The tests check types: of what states shapes, and of what states none."""

import dataclasses
from collections.abc import Callable

import beartype
import jaxtyping
import numpy as np
import pytest
from jaxtyping import Array, Float

import type_checks
from biasjax import types


def decorated(found):
  return jaxtyping.jaxtyped(found, typechecker=beartype.beartype)


def test_axes_of_one_name_have_one_length():
  @decorated
  def total(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"] | None) -> Float[np.ndarray, " n"]:
    return a if b is None else a + b

  assert total(np.ones(3), np.ones(3)).tolist() == [2, 2, 2]
  with pytest.raises(jaxtyping.TypeCheckError, match=r"return value|parameters"):
    total(np.ones(3), np.ones(1))


def test_arguments_and_results_that_are_no_arrays_are_checked():
  @decorated
  def halved(number: int) -> int:
    return number // 2 if number % 2 == 0 else number / 2  # pyright: ignore[reportReturnType]

  assert halved(4) == 2
  for wrong in (3, "4"):
    with pytest.raises(beartype.roar.BeartypeCallHintViolation):
      halved(wrong)


@pytest.mark.parametrize(("kind", "right"), [(int, 3), (Float[np.ndarray, "n 2"], np.ones((3, 2)))])
def test_fields_of_a_dataclass_are_checked(kind, right):
  @decorated
  @dataclasses.dataclass(frozen=True)
  class Held:
    value: kind  # pyright: ignore[reportInvalidTypeForm]

  assert Held(right).value is right
  with pytest.raises((jaxtyping.TypeCheckError, beartype.roar.BeartypeCallHintViolation)):
    Held(np.ones((3, 3)))


@pytest.mark.parametrize(
  ("hint", "expected"),
  [
    (types.Images | None, True),
    (dict[str, tuple[types.Logits, int]], True),
    (Callable[[types.Images], int], True),
    (Callable[[int], Float[Array, " n"]], True),
    ("Images", True),
    (dict[str, int] | None, False),
    (Callable[..., int], False),
  ],
)
def test_shapes_are_found_inside_of_other_types(hint, expected):
  assert type_checks.states_shapes(hint) == expected
