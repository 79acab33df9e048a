"""What each operation of the table is compared on: arguments by its name; ties and edges are among them."""

import numpy as np
import torch

RNG = np.random.default_rng(0)
INF = float("inf")


def normal(*shape: int) -> np.ndarray:
  return RNG.normal(size=shape).astype(np.float32)


def whole(*shape: int, below: int = 4) -> np.ndarray:
  return RNG.integers(0, below, shape).astype(np.int64)


def mask(*shape: int) -> np.ndarray:
  return RNG.random(shape) < 0.5


# Every edge of the piecewise functions, met exactly, and between them.
EDGES = np.array([-20, -6, -3, -1, -0.5, 0, 0.25, 0.5, 1, 2, 3, 5, 6, 7, 20.5], np.float32)
X = normal(2, 3, 5, 7)
POSITIVE = np.abs(X) + 0.1
ROWS = normal(40, 40) + 200 * np.eye(40, dtype=np.float32)  # exp(200) is beyond float32
EQUALS = np.array([[1, 3, 3, 2], [0, 0, 0, 0], [-1, 2, -5, 2]], np.float32)
BYTES = np.array([200, 100, 3], np.uint8)
UNARY = {
  **dict.fromkeys(
    [
      "abs",
      "cos",
      "cosh",
      "erf",
      "erfc",
      "asinh",
      "exp",
      "exp2",
      "expm1",
      "floor",
      "neg",
      "relu",
      "round",
      "sigmoid",
      "sign",
      "silu",
      "sin",
      "sinh",
    ],
    EDGES / 4,
  ),
  **dict.fromkeys(
    [
      "square",
      "tan",
      "tanh",
      "trunc",
      "ceil",
      "log_sigmoid",
      "mish",
      "gelu",
      "elu",
      "leaky_relu",
      "softplus",
    ],
    EDGES / 4,
  ),
  **dict.fromkeys(
    ("hardtanh", "relu6", "hardsigmoid", "hardswish", "detach", "alias", "clone", "lift_fresh_copy"), EDGES
  ),
  **dict.fromkeys(
    ("log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt", "lgamma", "digamma"), POSITIVE
  ),
  **dict.fromkeys(("acos", "asin", "atan", "atanh", "erfinv"), np.tanh(X)),
  "acosh": 1 + POSITIVE,
  **dict.fromkeys(("isinf", "isnan"), np.array([0, INF, -INF, np.nan], np.float32)),
  **dict.fromkeys(("logical_not", "bitwise_not"), mask(6)),
  "contiguous": X,
  "alias_copy": X,
}
BINARY = {
  **dict.fromkeys(
    ("add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"),
    (EQUALS, EQUALS[::-1].copy()),
  ),
  **dict.fromkeys(("fmod", "remainder", "floor_divide", "atan2", "hypot"), (X, POSITIVE[:1] / 3)),
  **dict.fromkeys(("logical_and", "logical_or", "logical_xor"), (mask(8), mask(8))),
  **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), (whole(8), whole(8))),
}
SCALAR = {
  **dict.fromkeys(
    ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "fmod", "remainder"), (EQUALS, 2)
  ),
  **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), (whole(8), 2)),
}
REDUCED = {
  "mean.default": [(X,)],
  "mean.dim": [(X, [1, -1]), (X, [2], True)],
  "sum.default": [(X,), (whole(5),), (BYTES,)],
  "sum.dim_IntList": [(X, [0, 3], True), (mask(4, 5), [1])],
  "amax.default": [(EQUALS, [1]), (EQUALS, [], True)],
  "amin.default": [(EQUALS, [-1], True)],
  "max.default": [(EQUALS,)],
  "min.default": [(EQUALS,)],
  "max.dim": [(EQUALS, 1), (EQUALS, -2, True)],
  "min.dim": [(EQUALS, 1)],
  **dict.fromkeys(("argmax.default", "argmin.default"), ((EQUALS, 1), (EQUALS,), (EQUALS, -1, True))),
  "_cdist_forward.default": [
    (X, normal(4, 7), 2.0, None),
    (EQUALS, EQUALS[1:], 2.0, None),  # a row's distance from itself
  ],
  "_euclidean_dist.default": [(X, normal(4, 7)), (5 * normal(3, 4), 5 * normal(6, 4))],
  "any.default": [(mask(3, 4),)],
  "any.dim": [(mask(3, 4), 1, True)],
  "any.dims": [(mask(3, 4), [0, 1]), (mask(3, 4), []), (whole(3, 4), None, True)],
  "all.default": [(mask(3, 4),)],
  "all.dim": [(mask(3, 4), 0)],
  "all.dims": [(mask(3, 4), [1]), (mask(3, 4), [])],
  "prod.default": [(X[0, 0],), (BYTES,)],
  "prod.dim_int": [(X, 1)],
  "var.correction": [(X, [1, 2]), (X, None), (X, [3], None, True)],
  "var_mean.correction": [(X, [2, 3])],
  "std.correction": [(X, [1])],
  "linalg_vector_norm.default": [
    *((np.concatenate([X[0], 0 * X[0]]), order, [1, 2]) for order in (2, 1, INF)),
    (X, 1, [1], True),
    (X, INF, [1]),
    *((np.concatenate([X[0], 0 * X[0]]), order, [1, 2]) for order in (3, 2.5, 1.5)),
    (EQUALS, 3, [1], True),
  ],
  "softmax.int": [(X, 1), (X, -1), *((normal(2, n), -1) for n in (31, 32, 33, 48, 197)), (ROWS, -1)],
  "_softmax.default": [(X, 1, False)],
  "log_softmax.int": [(X, -1)],
  "_log_softmax.default": [(X, -1, False)],
  "logsumexp.default": [(X, [1]), (X, [2, 3], True)],
  "cumsum.default": [(X, 2), (whole(2, 5), 1), (BYTES, 0)],
  "cumprod.default": [(X, 2), (EQUALS, 1), (whole(2, 5), 1), (BYTES, 0)],
  "logcumsumexp.default": [(X, 2), (50 * X, -1)],
  **dict.fromkeys(("cummax.default", "cummin.default"), ((X, 2), (EQUALS, 1), (EQUALS, 0))),
  "kthvalue.default": [(X, 3), (X, 1, 2, True)],
  "median.dim": [(X, 3), (X[:, :, :4], 2, True)],
  "topk.default": [(X, 3), (X, 2, 1, False)],
  "sort.default": [(X, 1), (X, -1, True)],
}
Q, K, V = normal(2, 3, 5, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 2)
HIDDEN = np.ones((5, 6), bool)
HIDDEN[1], HIDDEN[2, 3:] = False, False
PRODUCT = {
  "linear.default": [(X, normal(4, 7)), (X, normal(4, 7), normal(4))],
  "matmul.default": [
    (X, normal(7, 2)),
    (normal(7), normal(7)),
    (X, normal(7)),
    (normal(4, 1, 5, 7), normal(3, 7, 2)),
  ],
  "mm.default": [(normal(3, 4), normal(4, 2))],
  "bmm.default": [(normal(2, 3, 4), normal(2, 4, 2))],
  "addmm.default": [
    (normal(2), normal(3, 4), normal(4, 2)),
    (normal(3, 2), normal(3, 4), normal(4, 2), 2, 0.5),
    (np.full(2, np.nan, np.float32), normal(3, 4), normal(4, 2), 0),
  ],
  "addmv.default": [
    (normal(3), normal(3, 4), normal(4)),
    (normal(3), normal(3, 4), normal(4), 0.5, 2),
  ],
  "_trilinear.default": [
    (normal(6, 4), normal(3, 4, 5), normal(6, 5), [1, 3], [0], [1, 2], [2, 3]),
    (normal(6, 4), normal(6, 4), normal(6, 4), [], [], [], [1]),
  ],
  "baddbmm.default": [(normal(2, 3, 2), normal(2, 3, 4), normal(2, 4, 2), 1, 0.5)],
  "scaled_dot_product_attention.default": [
    *((Q, K, V), (Q, K, V, normal(5, 6)), (Q, K, V, HIDDEN), (Q, K, V, None, 0.0, False, 0.3)),
    (Q, K, V, np.where(HIDDEN, normal(5, 6), np.float32(-INF))),
    *((Q, Q, Q, None, 0.0, True), (normal(2, 6, 5, 4), K, V, None, 0.0, False, None, True)),
  ],
  "convolution.default": [
    *(
      (normal(2, 3, 20, 17), normal(6, 3, 8, 8), bias, stride, [0, 0], [1, 1], False, [0, 0], 1)
      for bias, stride in ((None, [8, 8]), (normal(6), [8]))
    ),
    *(
      (normal(2, 4, 9, 8), normal(6, 4 // groups, 3, 2), bias, stride, pad, dilation, False, [0, 0], groups)
      for bias, stride, pad, dilation, groups in (
        *((None, [1, 1], [0, 0], [1, 1], 1), (normal(6), [2, 1], [1, 0], [1, 2], 2)),
        (normal(6), [2], [1], [1], 1),
      )
    ),
    *(
      (normal(2, 4, 9, 8), normal(4, 1, *kernel), normal(4), stride, pad, dilation, False, [0, 0], 4)
      for kernel, stride, pad, dilation in (
        *(
          ((3, 3), [1, 1], [1, 1], [1, 1]),
          ((3, 3), [2, 2], [1, 1], [1, 1]),
          ((5, 3), [2, 3], [2, 0], [1, 1]),
        ),
        *(
          ((3, 3), [1, 2], [2, 2], [2, 2]),
          ((2, 2), [3, 3], [0, 0], [1, 1]),
          ((9, 8), [1, 1], [0, 0], [1, 1]),
        ),
        ((3, 3), [1, 1], [4, 4], [1, 1]),
      )
    ),
    (normal(2, 4, 9, 8), normal(8, 1, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 4),
    # Of many groups: by taps, and where they are wide by a product of each, but not over many places.
    *(
      (
        normal(2, 8 * width, 9, 8),
        normal(8 * out, width, *kernel),
        bias,
        stride,
        pad,
        dilation,
        False,
        [0],
        8,
      )
      for width, out, kernel, bias, stride, pad, dilation in (
        (1, 2, (3, 3), None, [1], [1], [1]),
        (2, 3, (3, 2), normal(24), [2, 1], [1, 0], [1]),
        (4, 4, (1, 1), None, [3], [0], [1]),
        (2, 2, (5, 3), None, [2, 3], [4, 0], [1]),
        (10, 9, (3, 3), normal(72), [1], [1], [1]),
        (12, 3, (3, 2), None, [2, 3], [0, 2], [1]),
        (2, 2, (3, 3), None, [1], [2], [2]),
      )
    ),
    (normal(1, 80, 16, 16), normal(80, 10, 3, 3), None, [1], [1], [1], False, [0], 8),
    (normal(2, 4, 9), normal(6, 4, 3), None, [2], [1], [1], False, [0], 1),
    (
      normal(1, 2, 4, 5, 4),
      normal(3, 2, 2, 3, 2),
      None,
      [1, 2, 1],
      [0, 1, 0],
      [1, 1, 1],
      False,
      [0, 0, 0],
      1,
    ),
    (normal(2, 4, 5, 4), normal(4, 3, 3, 2), normal(6), [2, 1], [1, 0], [1, 2], True, [1, 0], 2),
    (normal(2, 4, 5, 4), normal(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1),
  ],
}
SPECTRUM = (normal(2, 4, 5) + 1j * normal(2, 4, 5)).astype(np.complex64)
SPECTRA = {
  "_fft_r2c.default": [(X, [2, 3], n, half) for n, half in ((0, True), (1, True), (2, False))]
  + [(X, [1], 0, True)],
  "_fft_c2c.default": [(SPECTRUM, [1, 2], 0, True), (SPECTRUM, [2, 1], 1, False), (SPECTRUM, [0], 2, True)],
  "_fft_c2r.default": [(SPECTRUM, [1, 2], 1, 8), (SPECTRUM, [1, 2], 2, 9), (SPECTRUM, [2], 0, 8)],
  "view_as_complex.default": [(normal(3, 2),)],
  "view_as_real.default": [(SPECTRUM,)],
  "abs.default": [(np.array([0, 3 - 4j, -2], np.complex64),)],
  "complex.default": [(X, normal(2, 3, 5, 7)), (X, normal(7))],
  "polar.default": [(POSITIVE, X)],
  "angle.default": [
    (SPECTRUM,),
    (np.array([0, 3 - 4j, -2 + 1j, 1j], np.complex64),),
    (np.array([-1, 0, 2, np.nan], np.float32),),
  ],
  **{f"{name}.default": [(SPECTRUM,)] for name in ("_conj", "_conj_physical", "conj_physical")},
  "pow.Tensor_Scalar": [(SPECTRUM, 2), (SPECTRUM, 2.0)],
  "_to_copy.default": [(X, torch.complex64), (SPECTRUM, torch.float32)],
  "mul.Tensor": [(SPECTRUM, SPECTRUM[:, :1])],
}
# Outside, on the border, on pixels' centres, between, and far away.
GRID = np.array([[-1.7, 0.3], [-1, 1], [0, 0.3], [0.5, -0.25], [0.99, -3.3], [1, -1], [0.1, 5.2]], np.float32)
GRID = np.stack([np.stack([GRID, GRID[::-1]]), np.tanh(normal(2, 7, 2))])
SAMPLING = {
  "grid_sampler_2d.default": [
    (X, GRID, mode, padding, corners) for mode in (0, 1) for padding in (0, 1, 2) for corners in (False, True)
  ],
}
STATISTICS = (normal(3), np.abs(normal(3)) + 0.1)
NORMALISING = {
  "_native_batch_norm_legit_no_training.default": [(X, normal(3), normal(3), *STATISTICS, 0.1, 1e-3)],
  "_native_batch_norm_legit.no_stats": [
    (X, normal(3), normal(3), True, 0.0, 1e-3),
    (X, None, None, True, 0.0, 1e-5),
  ],
  "layer_norm.default": [(X, [7], normal(7), normal(7), 1e-6), (X, [5, 7])],
  "rms_norm.default": [(X, [7], normal(7), 1e-6), (X, [7])],
  "group_norm.default": [(normal(2, 6, 4, 3), 3, normal(6), normal(6), 1e-5), (normal(2, 6, 4), 1)],
}
TIED = np.round(normal(2, 3, 8, 7) * 2) / 2
POOLING = {
  "max_pool2d.default": [
    *((TIED, [3, 3], [2, 2], [1, 1]), (TIED, [2]), (TIED, [3, 2], [2, 3], [1, 0], [1, 2], True)),
    *((TIED, [2, 2], [2, 2], [0, 0], [1, 1], True), (TIED, [3, 3], [2, 2], [0, 0], [1, 1], True)),
    (TIED, [3, 3], [2, 2], [1, 1], [1, 1], True),
    (TIED[:, :, :3], [4, 3], [2, 2], [0, 0], [1, 2], True),
  ],
  "avg_pool2d.default": [
    *(
      (X, [2, 2]),
      (X, [3, 3], [2, 2], [1, 1]),
      (X, [3, 3], [2, 2], [1, 1], True, False),
      (X, [2], [2], [0], True),
    ),
    *(
      (X, [3, 2], [2, 2], [1, 1], True, True),
      (X, [6, 2], [3, 2], [0, 0], True),
      (X, [3, 3], [1, 1], [1, 1], False, False),
      (X, [2], [], [0], False, True, 3),
    ),
  ],
  "max_pool2d_with_indices.default": [(TIED, [3, 2], [2, 3], [1, 0], [1, 2], True), (TIED, [1, 3], [1, 2])],
  "avg_pool3d.default": [
    (normal(1, 1, 5, 4, 6), [3, 1, 1], [1]),
    (normal(1, 2, 5, 4, 6), [3, 2, 2], [2, 2, 1], [1, 0, 1], True, False),
    (normal(1, 2, 5, 4, 6), [2], [2], [0], False, True, 3),
  ],
  "adaptive_max_pool2d.default": [(TIED, [1, 1]), (TIED, [3, 4]), (TIED, [9, 2])],
  "adaptive_avg_pool2d.default": [(X, [1, 1]), (X, [3, 4]), (X, [7, 9])],
  "_adaptive_avg_pool2d.default": [(X, [2, 2])],
}
SIZES = ([4, 9], None), ([10, 14], None), (None, [2.0, 1.5]), (None, [0.6, 0.5]), ([5, 7], None)
SIZED = [
  (X, size, corners, factors)
  for size, factors in SIZES
  for corners in (False, True)
  if not (corners and factors)
]
RESIZING = {
  "upsample_nearest2d.vec": [(X, *one) for one in SIZES],
  "_upsample_nearest_exact2d.vec": [(X, *one) for one in SIZES],
  **{
    f"{name}.vec": SIZED
    for name in (
      "upsample_bilinear2d",
      "upsample_bicubic2d",
      "_upsample_bilinear2d_aa",
      "_upsample_bicubic2d_aa",
    )
  },
}
ARRANGING = {
  **dict.fromkeys(
    ("view.default", "_unsafe_view.default", "view_copy.default", "reshape.default"), ((X, [6, -1]),)
  ),
  "flatten.using_ints": [(X, 1), (X, 0, -2)],
  **dict.fromkeys(("permute.default", "permute_copy.default"), ((X, [0, -1, 1, 2]),)),
  "transpose.int": [(X, 1, -1)],
  "t.default": [(normal(3, 4),), (normal(3),)],
  "unsqueeze.default": [(X, 1), (X, -1)],
  "squeeze.dim": [(normal(1, 3, 1), 0), (normal(1, 3, 1), 1)],
  "squeeze.dims": [(normal(1, 3, 1), [0, 2])],
  "expand.default": [(normal(1, 3, 1), [2, -1, 4]), (normal(3), [4, 3])],
  "cat.default": [([X, X[:, :1]], 1), *(([np.zeros(0, np.float32), x], 0) for x in (X, whole(3)))],
  "stack.default": [([X, 2 * X], 1)],
  "select.int": [(X, 2, -2)],
  "slice.Tensor": [(X, 2, 1, 2**63 - 1), (X, -1, None, -2, 2), (X, 3, -3, 100)],
  "slice_scatter.default": [(X, normal(2, 3, 2, 7), 2, 1, 3)],
  "select_scatter.default": [(X, normal(2, 3, 7), 2, -1)],
  "split_with_sizes.default": [(X, [2, 5], 3)],
  "split.Tensor": [(X, 3, 3)],
  "unbind.int": [(X, 1)],
  "flip.default": [(X, [0, -1]), (X, [])],
  "roll.default": [(X, [2, -3], [2, 3]), (X, [5])],
  "repeat.default": [(X[0], [2, 1, 3, 1])],
  "constant_pad_nd.default": [(X, [1, 2, -1, 3], 0.5), (X, [1, 0])],
  **dict.fromkeys(("reflection_pad2d.default", "replication_pad2d.default"), ((X, [2, 1, 0, 3]),)),
  **dict.fromkeys(("reflection_pad1d.default", "replication_pad1d.default"), ((X[0], [2, 1]),)),
  **{
    f"{name}.Tensor": [
      (X, [None, None, whole(4, 1), whole(6)]),
      (X, [whole(5, below=2), None, whole(5)]),
      (X, [whole(3, 2, below=2)]),
    ]
    for name in ("index", "_unsafe_index")
  },
  **{
    f"{name}.default": [
      (X, [None, None, whole(4, 1), whole(6)], normal(2, 3, 4, 6), True),  # places that repeat
      (X, [whole(5, below=2), None, whole(5)], normal(7), True),
      (X, [None, np.array([2, 0], np.int64)], normal(2, 1, 5, 7)),
      (X, [np.array([[0], [1]], np.int64), np.array([1, 2], np.int64)], normal(2, 2, 5, 7), False),
    ]
    for name in ("index_put", "_unsafe_index_put")
  },
  "_pad_circular.default": [(X, [2, 1, 0, 3]), (X[0], [7, 0]), (X[0], [-2, 1])],
  "scatter.src": [
    (X, 2, np.array([[[[4], [1], [0]]]], np.int64), normal(1, 1, 3, 1)),
    (X, -1, whole(2, 3, 5, 1), X[..., :1]),
  ],
  "scatter.value": [(X, 2, whole(1, 3, 4, 7), 0.5), (X, 0, whole(2, 1, 5, 2, below=2), 1)],
  "scatter_add.default": [
    (X, 2, whole(2, 2, 4, 7), normal(2, 2, 4, 7)),
    (X, 0, whole(3, 3, 5, 2, below=2), normal(3, 3, 5, 2)),
  ],
  "diagonal.default": [(X, 1, 2, 3), (X, -1, -1, 0), (X,)],
  "unfold.default": [(X, 3, 3, 2), (X, -2, 2, 1), (X, 1, 3, 5)],
  "index_select.default": [(X, 3, whole(5))],
  "gather.default": [(X, 2, whole(2, 3, 2, 4))],
  "embedding.default": [(normal(5, 3), whole(2, 4))],
  "as_strided.default": [(X, [2, 3, 5], [105, 35, 7], 2), (X, [6, 35], [35, 1]), (X, [2, 4], [1, 1])],
  "pixel_shuffle.default": [(normal(2, 12, 3, 4), 2)],
  "pixel_unshuffle.default": [(normal(2, 3, 4, 6), 2)],
  "copy.default": [(X, normal(7))],
  "arange.default": [(5,)],
  "arange.start": [(2, 7)],
  "arange.start_step": [(1, 9, 2), (0.5, 3.0, 0.5)],
  "full.default": [([2, 3], 1.5), ([2], 3)],
  "full_like.default": [(X, 2), (whole(3), 1)],
  "scalar_tensor.default": [(1.5,), (2,), (True,)],
  "_to_copy.default": [(X,)],
  "to.dtype": [(whole(3), torch.float32), (X * 5, torch.int64), (X, torch.bool)],
  "dropout.default": [(X, 0.5, False)],
  "_local_scalar_dense.default": [(np.float32(2.5),), (np.array([3], np.int64),)],
  "sym_size.int": [(X, 2)],
}
FURTHER = {
  "add.Tensor": [(X, normal(7), 0.5), (whole(4), normal(4)), (mask(4), whole(4))],
  "sub.Tensor": [(X, normal(3, 1, 1), 2)],
  "mul.Tensor": [(whole(4), normal(4)), (mask(4), normal(4))],
  "div.Tensor": [(whole(4) + 1, whole(4) + 1)],
  "rsub.Scalar": [(X, 1.5), (X, 1, 2)],
  "rsub.Tensor": [(X, normal(7))],
  "div.Tensor_mode": [(X, POSITIVE, rounding) for rounding in ("floor", "trunc", None)]
  + [(whole(9) - 2, whole(9) + 1, rounding) for rounding in ("floor", "trunc")],
  "div.Scalar_mode": [(whole(9) - 2, 3, "floor"), (X, 0.3, "trunc")],
  "floor_divide.default": [(whole(9) - 2, whole(9) + 1)],
  "pow.Tensor_Scalar": [
    *((EDGES, 2), (EDGES, 3), (POSITIVE, 0.5), (POSITIVE, -1.5), (EDGES, 0), (whole(4), 2)),
    *((whole(4), 2.0), (whole(4), 0.5), (mask(4), 2)),
  ],
  "pow.Tensor_Tensor": [
    (POSITIVE, X),
    (np.array([0, 0, 0, 2, -2, -2], np.float32), np.array([0, 1, 2, 0, 0, 2], np.int64)),
    (np.array([0, 0, 0, 2], np.float32), np.array([0, 1, 0.5, 0], np.float32)),
  ],
  "pow.Scalar": [(2.0, X), (0, np.array([0, 1, 2.5], np.float32))],
  "gelu.default": [(EDGES, "tanh")],
  "elu.default": [(EDGES, 0.7, 1.3, 2.0)],
  "rrelu.default": [(EDGES,), (EDGES, 0.1, 0.6, False)],
  "prelu.default": [(X, normal(3)), (EDGES, normal(1))],
  "_prelu_kernel.default": [(X, normal(3, 1, 1))],
  "softplus.default": [(EDGES, 2.0, 6.0)],
  "threshold.default": [(EDGES, 1.0, 5.0), (np.array([np.nan, 1, 2], np.float32), 1.0, 5.0)],
  "hardtanh.default": [(EDGES, 0.0, 6.0)],
  "clamp.default": [(EDGES, -3, 3.0), (EDGES, None, 1.0), (EDGES, 0.25)],
  "clamp.Tensor": [
    *((EDGES, EDGES[::-1].copy(), None), (EDGES, None, np.float32(2))),
    (EQUALS, np.array([0, 1, 3, 2], np.float32), np.array([1, 1, 2, 2], np.float32)),
  ],
  **{f"clamp_{end}.default": [(EDGES, 0.5)] for end in ("min", "max")},
  **{f"clamp_{end}.Tensor": [(EDGES, np.full(15, 2, np.float32))] for end in ("min", "max")},
  "where.self": [(X > 0, X, normal(7))],
  "where.ScalarOther": [(X > 0, X, 0.5)],
  "where.ScalarSelf": [(X > 0, 0.5, X)],
  "where.Scalar": [(X > 0, 1.0, -1.0)],
  "masked_fill.Scalar": [(X, X > 0, -INF)],
  "masked_fill.Tensor": [(X, X > 0, np.float32(2))],
  "index_put.default": [
    (X, [where], value, adding)
    for where, value in ((X > 0, np.float32(0.5)), (X[:, :, 0, 0] > 0, normal(1)))
    for adding in (False, True)
  ],
  "lerp.Scalar": [(X, normal(7), 0.3)],
  "lerp.Tensor": [(X, normal(7), np.abs(np.tanh(X)))],
  "addcmul.default": [(X, X, X, 0.5)],
}
# What PyTorch itself has no gradient of.
CONSTANT = {
  "aten.floor_divide.default": ("self", "other"),
  "aten.copy.default": ("self", "src"),
  "aten._native_batch_norm_legit_no_training.default": ("running_mean", "running_var"),
}
CASES: dict[str, list] = {}
for _name, _x in UNARY.items():
  CASES.setdefault(f"aten.{_name}.default", []).append((_x,))
for _name, _both in BINARY.items():
  _kind = "Tensor" if hasattr(getattr(torch.ops.aten, _name), "Tensor") else "default"
  CASES.setdefault(f"aten.{_name}.{_kind}", []).append(_both)
for _name, _both in SCALAR.items():
  CASES.setdefault(f"aten.{_name}.Scalar", []).append(_both)
for _table in (REDUCED, PRODUCT, NORMALISING, POOLING, RESIZING, SPECTRA, SAMPLING, ARRANGING, FURTHER):
  for _name, _cases in _table.items():
    CASES.setdefault(f"aten.{_name}", []).extend(_cases)
