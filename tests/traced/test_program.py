"""A program is something that anybody may have written: it never allocates what it claims."""

import copy
import json
import math
import os
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import made_programs
from biasjax.errors import BiasjaxError
from biasjax.traced import interpreter, program
from made_programs import CLASSES, SIZE

FUZZ = int(os.environ.get("BIASJAX_FUZZ", "600"))  # mutations; 20,000 take some minutes


@pytest.fixture(scope="module")
def made() -> program.Program:
  return program.parse(made_programs.written(), "made")


def check(content: dict) -> None:
  interpreter.check(program.parse(json.dumps(content), "program.json"), "program.json")


def content(**changed) -> dict:
  return json.loads(made_programs.written()) | changed


def images(count: int, size: int = SIZE) -> np.ndarray:
  return np.random.default_rng(0).random((count, size, size, 3), np.float32)


def test_a_program_gives_logits_and_each_image_has_its_own(made):
  variables = made_programs.drawn(made)
  apply = interpreter.apply_function(made)
  together = apply(variables, images(3))
  assert together.shape == (3, CLASSES)
  for i in range(3):
    np.testing.assert_allclose(apply(variables, images(3)[i : i + 1])[0], together[i], rtol=1e-5, atol=1e-6)


def test_equal_texts_share_one_function_and_weights_are_arguments(made):
  again = program.parse(made_programs.written(), "another")
  assert interpreter.apply_function(again) is interpreter.apply_function(made)
  lowered = jax.jit(interpreter.apply_function(made)).lower(made_programs.drawn(made), images(1)).as_text()
  longest = max(len(line) for line in lowered.splitlines() if "constant" in line)
  assert longest < 300  # a weight as a constant would be a long one


def test_vmap_and_grad_go_through(made):
  variables = made_programs.drawn(made)
  apply = interpreter.apply_function(made)
  each = jax.vmap(lambda image: apply(variables, image[None])[0])(jnp.asarray(images(3)))
  np.testing.assert_allclose(each, apply(variables, images(3)), rtol=1e-5, atol=1e-6)
  gradient = jax.grad(lambda x: apply(variables, x).sum())(jnp.asarray(images(2)))
  assert np.isfinite(gradient).all()
  assert np.abs(gradient).max() > 0


def test_bfloat16_rounds_products_and_nothing_else(made):
  variables = made_programs.drawn(made)
  full = interpreter.apply_function(made)(variables, images(2))
  reduced = interpreter.apply_function(made, "bfloat16")(variables, images(2))
  assert reduced.dtype == np.float32
  difference = np.abs(full - reduced).max() / np.abs(full).max()
  assert 1e-4 < difference < 3e-2


def test_another_size_of_images_is_refused(made):
  with pytest.raises(BiasjaxError, match=r"sees images of 16 x 16 x 3, not \[17, 17, 3\]"):
    interpreter.run(made, made_programs.drawn(made), images(1, 17))


WRONG = {
  "an unknown operation": (
    "nodes",
    [["aten.system.default", {}]],
    "'aten.system.default' is not in the table",
  ),
  "no operation": ("nodes", [[7, {}]], "no operation with arguments"),
  "a missing argument": ("nodes", [["aten.relu.default", {}]], "lacks 'self'"),
  "an argument too many": ("nodes", [["aten.relu.default", {"self": {"v": 0}, "x": 1}]], "no argument 'x'"),
  "a cycle": ("nodes", [["aten.relu.default", {"self": {"v": 12}}]], "not before it"),
  "a value of later": ("nodes", [["aten.relu.default", {"self": {"v": 99}}]], "not before it"),
  "text for an array": ("nodes", [["aten.relu.default", {"self": "x"}]], "'self' is of a wrong kind"),
  "a huge array": (
    "nodes",
    [["aten.full.default", {"size": [2**20, 2**20], "fill_value": 1}]],
    "beyond memory",
  ),
  "a huge range": ("nodes", [["aten.arange.default", {"end": 2**30}]], "cannot be computed"),
  "a huge copy": (
    "nodes",
    [["aten.repeat.default", {"self": {"v": 0}, "repeats": [1, 2**20, 2**10, 1]}]],
    "beyond memory",
  ),
  "a huge number": ("nodes", [["operator.mul", {"a": 2**62, "b": 2**62}]], "beyond 64 bits"),
  "a repeated text": ("nodes", [["operator.mul", {"a": "x", "b": 2**40}]], "'a' is of a wrong kind"),
  "a huge integer": ("nodes", [["operator.mul", {"a": 10**30, "b": 1}]], "beyond 64 bits"),
  "another result": ("nodes", [["aten.relu.default", {"self": {"v": 0}}]], "not logits float32"),
  "a deep list": ("nodes", [["aten.relu.default", {"self": [[[[[[0]]]]]]}]], "too deep"),
  "no list": ("nodes", {}, "no list"),
  "another format": ("format", 2, "another format"),
  "no size": ("size", 0, "size"),
  "an enormous image": ("size", 10**6, "size"),
  "no output": ("output", 3, "no node"),
  "a weight beyond memory": ("weights", [[["params", "w"], "float32", [2**19, 2**19]]], "bytes"),
  "a weight of a terabyte and more": ("weights", [[["params", "w"], "float32", [2**30, 2**30]]], "numbers"),
  "a weight out of the tree": ("weights", [[["..", "w"], "float32", [1]]], "path"),
  "two weights in one place": ("weights", [[["params", "w"], "float32", [1]]] * 2, "same path"),
  "a weight in another": (
    "weights",
    [[["params", "w"], "float32", []], [["params", "w", "x"], "float32", []]],
    "in another",
  ),
  "no element type": ("weights", [[["params", "w"], "object", [1]]], "element type"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_before_anything_is_allocated(what):
  key, value, message = WRONG[what]
  changed = content(**{key: value})
  if key == "weights":
    changed["nodes"] = [["aten.relu.default", {"self": {"v": 0}}]]
    changed["output"] = 1 + len(value)
  elif key == "nodes" and isinstance(value, list):
    changed["output"] = len(changed["weights"]) + len(value)
  with pytest.raises(BiasjaxError, match=r"^program\.json: ") as raised:
    check(changed)
  assert message in str(raised.value)
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "nul", "[" * 100_000, '{"size": NaN}', "9" * 5000])
def test_text_that_is_no_program_is_refused(text):
  with pytest.raises(BiasjaxError, match=r"^program\.json: "):
    program.parse(text, "program.json")


def places(node, path=()):
  """Paths of everything inside a JSON value."""
  yield path
  if isinstance(node, dict | list):
    for key in node if isinstance(node, dict) else range(len(node)):
      yield from places(node[key], (*path, key))


STRANGE = [
  *(
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    2**31,
    -(2**31),
    2**40,
    2**62,
    10**30,
    1e308,
    -0.5,
    0.0,
    "",
    "float32",
  ),
  *(
    "x" * 300,
    [],
    [0],
    [-1, -1],
    [2**20] * 3,
    [[0]],
    {},
    {"v": 0},
    {"v": 1},
    {"v": 14},
    {"v": -1},
    {"float": "nan"},
  ),
  *({"dtype": "bool"}, {"dtype": "int32"}, {"dtype": "complex64"}, {"v": 10**9}, {"v": True}, [{"v": 0}] * 2),
]


def mutate(value, rng: random.Random):
  """A copy with one to three places changed: replaced, removed, doubled, exchanged or moved a little."""
  value = copy.deepcopy(value)
  for _ in range(rng.randint(1, 3)):
    path = rng.choice([p for p in places(value) if p] or [()])
    if not path:
      return value
    parent = value
    for key in path[:-1]:
      parent = parent[key]
    here = parent[path[-1]]
    match rng.randrange(6):
      case 0 | 1:
        parent[path[-1]] = copy.deepcopy(rng.choice(STRANGE))
      case 2:
        del parent[path[-1]]
      case 3 if isinstance(here, int):
        parent[path[-1]] = here + rng.choice([-2, -1, 1, 2, here])
      case 4 if isinstance(parent, list):
        parent.insert(path[-1], copy.deepcopy(rng.choice(parent)))
      case _:
        other = rng.choice([p for p in places(value) if p])
        found = value
        for key in other:
          found = found[key]
        parent[path[-1]] = copy.deepcopy(found)
  return value


def test_mutations_end_in_success_or_in_one_line():
  original, rng = content(), random.Random(2)
  names = sorted(interpreter.OPERATIONS)
  right, said = 0, []
  for _ in range(FUZZ):
    mutated = mutate(original, rng)
    if rng.random() < 0.3 and isinstance(mutated.get("nodes"), list) and mutated["nodes"]:
      node = rng.choice(mutated["nodes"])
      if isinstance(node, list) and node:
        node[0] = rng.choice(names)
    try:
      check(mutated)
      right += 1
    except BiasjaxError as error:
      said.append(str(error))
  assert min(right, len(said)) > 0.01 * FUZZ
  assert [error for error in said if "\n" in error or len(error) > 600] == []


def test_sizes_are_bounded_for_an_image_not_for_a_batch(made):
  largest = jax.eval_shape(
    lambda x: interpreter.run(made, made_programs.drawn(made), x),
    jax.ShapeDtypeStruct((2**15, SIZE, SIZE, 3), np.float32),
  )
  assert math.prod(largest.shape) == 2**15 * CLASSES
