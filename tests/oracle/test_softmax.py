"""Softmax and log-sum-exp."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, FLOATS, INEXACT, REALS, SHAPES, check, check_error, numbers

# MLX's exp, of float64 too, is a few units of float32 off.
LOOSE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 2e-5, "complex64": 1e-4}


@pytest.mark.parametrize("precise", [False, True])
def test_softmax(precise):
    for shape in SHAPES:
        check("softmax", shape, args=(precise,), dtypes=REALS, rtol=LOOSE, low=-8, high=8,
              ref=lambda x: mx.softmax(x, precise=True))
        for axis in range(-len(shape), len(shape)):
            check("softmax_axis", shape, args=(axis, precise), dtypes=FLOATS + ["int8"], rtol=LOOSE,
                  atol=LOOSE, low=-8, high=8, ref=lambda x: mx.softmax(x, axis=axis, precise=True))
    check("softmax_axes", (3, 4, 5), args=([0, 2], precise), dtypes=FLOATS, rtol=LOOSE, atol=LOOSE,
          ref=lambda x: mx.softmax(x, axis=(0, 2), precise=True))


def test_long_rows():
    for shape in [(49152,), (3, 1000), (700, 513), (2, 512), (2, 511), (1, 16), (5, 17)]:
        check("softmax_axis", shape, args=(-1, True), dtypes=FLOATS, rtol=LOOSE, low=-30, high=30,
              atol={"float16": 2e-7, "bfloat16": 1e-12}, ref=lambda x: mx.softmax(x, axis=-1, precise=True))
        check("logsumexp_axis", shape, args=(-1, False), dtypes=FLOATS, rtol=LOOSE, low=-30, high=30,
              ref=lambda x: mx.logsumexp(x.astype(mx.float32) if x.dtype.size == 2 else x,
                                         axis=-1).astype(x.dtype))


def test_exactness():
    for shape in [(49152,), (40, 577), (3, 1000)]:
        for dtype, eps in (("float32", 4e-6), ("float64", 1e-13)):
            x = numbers(shape, dtype, -30, 30)
            e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True).astype(np.float64))
            sums = e.sum(-1, keepdims=True)
            np.testing.assert_allclose(mlxc.op("softmax_axis", x, -1, False).numpy(), e / sums, rtol=eps)
            np.testing.assert_allclose(mlxc.op("logsumexp_axis", x, -1, True).numpy(),
                                       np.log(sums) + x.max(-1, keepdims=True), rtol=eps)


SPECIAL = [[np.inf, 1, 2], [-np.inf, 1, 2], [-np.inf, -np.inf], [np.nan, 1], [1, np.nan], [1e4, -1e4],
           [np.inf, np.inf], [-3e38, 3e38], [0.0], [-87, -88, -104]]


def test_specials():
    for v in SPECIAL:
        for dtype in FLOATS[:2]:
            x = np.array(v).astype(dtype)
            check("softmax_axis", x, args=(0, False), dtypes=(dtype,), rtol=1e-5, ref=lambda a: mx.softmax(a, axis=0))
            check("logsumexp_axis", x, args=(0, False), dtypes=(dtype,), rtol=1e-5, ref=lambda a: mx.logsumexp(a, axis=0))
            y = np.stack([x, x], -1)
            check("softmax_axis", y, args=(0, False), dtypes=(dtype,), rtol=1e-5, ref=lambda a: mx.softmax(a, axis=0))
            check("logsumexp_axis", y, args=(0, False), dtypes=(dtype,), rtol=1e-5, ref=lambda a: mx.logsumexp(a, axis=0))


def test_logsumexp():
    for shape in [s for s in SHAPES if 0 not in s]:
        check("logsumexp", shape, args=(True,), dtypes=FLOATS + ["int32"], rtol=LOOSE, atol=LOOSE,
              ref=lambda x: mx.logsumexp(x.astype(mx.float32), keepdims=True).astype(
                  x.dtype if x.dtype.size == 2 else mx.logsumexp(x).dtype))
        for axis in range(len(shape)):
            check("logsumexp_axis", shape, args=(axis, False), dtypes=FLOATS + ["int16"], rtol=LOOSE,
                  atol={"float16": 4e-3, "bfloat16": 4e-2}, ref=lambda x: mx.logsumexp(x, axis=axis))
    check("logsumexp_axes", (3, 4, 5), args=([0, 2], True), dtypes=FLOATS[:2], rtol=LOOSE,
          ref=lambda x: mx.logsumexp(x, axis=(0, 2), keepdims=True))


def test_complex():
    check("softmax_axis", (3, 5), args=(1, False), dtypes=("complex64",), rtol=1e-4, atol=1e-4,
          low=-1, high=1, ref=lambda x: mx.exp(x) / mx.sum(mx.exp(x), axis=1, keepdims=True))


def test_errors():
    check_error("softmax_axis", (2, 3), args=(2, False), ref=lambda x: mx.softmax(x, axis=2))
    check_error("softmax_axis", (), args=(0, False), ref=lambda x: mx.softmax(x, axis=0))
    check_error("softmax_axes", (2, 3), args=([0, 0], False), ref=lambda x: mx.softmax(x, axis=(0, 0)))
