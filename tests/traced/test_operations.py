"""Each operation of the table against PyTorch's own in float64, with its gradient; ties are among them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from operation_cases import CASES, CONSTANT, RNG

from biasjax.convert.tracing import ELEMENTS, PLACEMENT
from biasjax.traced import table
from biasjax.traced.operations import OPERATIONS, PRODUCTS


def torch_operation(name: str):
  _, packet, kind = name.split(".")
  return getattr(getattr(torch.ops.aten, packet), kind)


def by_name(name: str, arguments: tuple) -> dict:
  schema = torch_operation(name)._schema.arguments
  given = {a.name: v for a, v in zip(schema, arguments, strict=False)}
  return {key: value for key, value in given.items() if key not in PLACEMENT}


def theirs(arguments: dict, leaves: dict, constant: tuple = ()):
  """Arguments as PyTorch's: float64, arrays that take gradients noted in `leaves`."""

  def convert(value, key):
    if isinstance(value, np.ndarray | np.generic):
      tensor = torch.tensor(value)
      if tensor.is_floating_point() and key[0] in constant:
        return tensor.double()
      if tensor.is_floating_point() or tensor.is_complex():
        wide = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
        leaves[key] = wide.requires_grad_()
        return leaves[key]
      return tensor
    if isinstance(value, list):
      return [convert(v, (*key, i)) for i, v in enumerate(value)]
    return value

  return {key: convert(value, (key,)) for key, value in arguments.items()}


def ours(arguments: dict):
  def convert(value):
    if isinstance(value, np.ndarray | np.generic):
      return jnp.asarray(value)
    if isinstance(value, torch.dtype):
      return table.DType(ELEMENTS[str(value)])
    return [convert(v) for v in value] if isinstance(value, list) else value

  return {key: convert(value) for key, value in arguments.items()}


def results_of(name: str) -> int | None:
  """How many results are compared: what training alone would need is not there."""
  return 1 if "native_batch_norm" in name or "max_pool2d" in name else None


def floats(results) -> list:
  """What of results there is, complex numbers as pairs."""
  several = results if isinstance(results, list | tuple) else [results]
  return [_pairs(r) for r in several if r is not None and np.size(r)]


def _pairs(values):
  if isinstance(values, torch.Tensor):
    return torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
  return jnp.stack([values.real, values.imag], -1) if jnp.iscomplexobj(values) else values


@pytest.mark.filterwarnings("ignore:.*as_strided|.*upsample")
@pytest.mark.parametrize("name", CASES)
def test_an_operation_computes_what_pytorch_computes_and_has_its_gradient(name):
  for case in CASES[name]:
    arguments = by_name(name, case)
    leaves: dict = {}
    expected = torch_operation(name)(**theirs(arguments, leaves, CONSTANT.get(name, ())))
    given = ours(arguments)
    table.bind(name, given)
    expected = expected[: results_of(name)] if isinstance(expected, list | tuple) else expected
    wanted = floats(expected)
    wanted = [e.detach() if isinstance(e, torch.Tensor) else torch.tensor(e) for e in wanted]
    cotangents = [RNG.normal(size=e.shape).astype(np.float32) for e in wanted]
    smooth = [isinstance(e, torch.Tensor) and e.requires_grad for e in floats(expected)]
    if any(smooth):
      chosen = [
        (e, torch.tensor(c).double())
        for e, c, s in zip(floats(expected), cotangents, smooth, strict=True)
        if s
      ]
      torch.autograd.backward(*map(list, zip(*chosen, strict=True)))

    def total(values, given=given, cotangents=cotangents, smooth=smooth):
      with jax.numpy_rank_promotion("allow"):
        results = floats(OPERATIONS[name](**_replaced(given, values)))
        assert len(results) == len(cotangents)
        parts = [jnp.vdot(r, c) for r, c, s in zip(results, cotangents, smooth, strict=True) if s]
      return sum(parts, jnp.zeros(())), results

    values = {key: _at(given, key) for key in leaves}
    gradients, found = jax.jit(jax.grad(total, has_aux=True))(values)
    for e, f in zip(wanted, found, strict=True):
      assert tuple(e.shape) == np.shape(f)
      assert np.asarray(f).dtype.kind == e.numpy().dtype.kind
      np.testing.assert_allclose(np.asarray(f), e.numpy(), rtol=5e-6, atol=5e-6)
    for key, leaf in leaves.items():
      wanted_gradient = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.resolve_conj().numpy()
      np.testing.assert_allclose(
        np.conj(gradients[key]), wanted_gradient, rtol=1e-5, atol=1e-5, err_msg=f"{name} {key}"
      )


def _at(arguments: dict, key: tuple):
  value = arguments[key[0]]
  return value[key[1]] if len(key) > 1 else value


def _replaced(arguments: dict, values: dict) -> dict:
  result = {key: list(value) if isinstance(value, list) else value for key, value in arguments.items()}
  for key, value in values.items():
    if len(key) > 1:
      result[key[0]][key[1]] = value
    else:
      result[key[0]] = value
  return result


def test_bytes_are_no_places():
  with pytest.raises(table.Refused, match="a mask"):
    OPERATIONS["aten.index.Tensor"](self=jnp.arange(3.0), indices=[jnp.array([1, 0, 1], jnp.uint8)])


def test_every_operation_of_the_table_is_compared():
  assert {name for name in OPERATIONS if name.startswith("aten.")} == set(CASES)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("aten.")])
def test_parameters_have_the_names_of_the_schema(name):
  schema = {argument.name: argument for argument in torch_operation(name)._schema.arguments}
  known = table.parameters(name)
  for argument in schema.values():
    left_out = argument.has_default_value() or argument.name in PLACEMENT
    assert argument.name in known or left_out, f"{argument.name} is left out"
  for key, parameter in known.items():
    if parameter.default is inspect.Parameter.empty:
      assert key in schema
    elif key in schema and schema[key].has_default_value() and schema[key].default_value not in (None, []):
      assert parameter.default == schema[key].default_value, key


def test_products_are_those_of_matrices_and_kernels():
  assert {name.split(".")[1] for name in PRODUCTS} == {
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "scaled_dot_product_attention", "convolution"),
    *("addmv", "_trilinear"),
  }
