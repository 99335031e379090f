"""Reductions over any axes, and places of extremes."""
import itertools

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import (ALL, FLOATS, HALVES, INEXACT, INTS, REALS, SHAPES, check, check_error, compare,
                    from_mx, numbers, specials, to_mx)

# Sums and products of halves: ours are taken in float32, so the reference's are too.
def wide(op, **kw):
    def ref(x):
        half = op in ("sum", "prod") and x.dtype in (mx.float16, mx.bfloat16)
        return getattr(mx, op)(x.astype(mx.float32), **kw).astype(x.dtype) if half else getattr(mx, op)(x, **kw)
    return ref


LOOSE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "float64": 1e-12, "complex64": 5e-5}


@pytest.mark.parametrize("op", ["all", "any", "sum", "prod", "max", "min"])
def test_over_everything(op):
    for shape in SHAPES:
        if (op in ("max", "min") and 0 in shape) or (op == "prod" and len(shape) and max(shape) > 100):
            continue
        for keep in (False, True):
            check(op, shape, args=(keep,), dtypes=ALL, rtol=LOOSE, atol=LOOSE, low=-2, high=2,
                  ref=wide(op, keepdims=keep))


@pytest.mark.parametrize("op", ["all", "any", "sum", "prod", "max", "min"])
def test_over_every_choice_of_axes(op):
    shape = (3, 1, 5, 7)
    for n in range(5):
        for axes in itertools.combinations(range(4), n):
            check(op + "_axes", shape, args=(list(axes), n == 2), dtypes=ALL if n < 3 else ["float32"],
                  rtol=LOOSE, atol=LOOSE, low=-2, high=2,
                  ref=wide(op, axis=axes, keepdims=n == 2))


@pytest.mark.parametrize("shape,axes", [
    ((1000, 33), [0]), ((1000, 33), [1]), ((70, 50, 40), [1]), ((70, 50, 40), [0, 2]),
    ((3, 100000), [1]), ((100000, 3), [0]), ((300000,), [0]), ((2, 300, 600), [0]), ((600, 700), [0]),
    ((5, 4097), [1]), ((65, 257), [0]), ((20000, 2), [1])])
def test_large(shape, axes):
    for op in ("sum", "max", "min", "any"):
        for dtype in ("float32", "float16", "int32", "uint8", "complex64", "float64"):
            x = numbers(shape, dtype)
            a = mlxc.op(op + "_axes", x, axes, False).numpy()
            if op == "sum" and dtype in ("float32", "float64", "float16", "complex64"):
                w = np.complex128 if dtype == "complex64" else np.float64
                exact = x.astype(w).sum(tuple(axes))
                size = np.abs(x).astype(np.float64).sum(tuple(axes))
                eps = {"float16": 1e-3, "float64": 1e-15}.get(dtype, 1.2e-7)
                assert np.all(np.abs(a.astype(w) - exact) <= eps * (np.abs(exact) + 0.5 * size) + 1e-6 * eps)
            else:
                np.testing.assert_array_equal(a, from_mx(getattr(mx, op)(to_mx(x), axis=axes)))


def test_sum_is_at_least_as_exact_as_numpy():
    x = numbers((4000000,), "float32", 0, 1)
    exact = x.astype(np.float64).sum()
    ours = abs(float(mlxc.op("sum", x, False).numpy()) - exact)
    assert ours <= abs(float(x.sum()) - exact) + exact * 6e-8


@pytest.mark.parametrize("op", ["max", "min", "argmax", "argmin"])
def test_nan_and_zeros(op):
    for dtype in INEXACT:
        s = specials(dtype)
        if dtype == "complex64" and op in ("max", "min"):
            s = s[np.isfinite(s)]
        for x in (s, np.tile(s, 40), np.stack([s, s[::-1]]), np.stack([s, s[::-1]]).T.copy(), s[-1:],
                  s[s == s]):
            axis = 0 if x.ndim == 1 else 1
            check(op + "_axis", x, args=(axis, False), dtypes=(dtype,),
                  ref=lambda a: getattr(mx, op)(a, axis=axis))


def test_sums_of_specials():
    for dtype in INEXACT[:-1]:
        for v in ([np.inf, 1], [np.inf, -np.inf], [np.nan, 1], [-0.0, -0.0]):
            x = np.array(v).astype(mlxc.numpy_dtype(dtype))
            check("sum", x, args=(False,), dtypes=(dtype,), ref=lambda a: mx.sum(a))


@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_places(op):
    for shape in SHAPES:
        if 0 in shape:
            continue
        if shape:
            check(op, shape, args=(True,), dtypes=ALL, ref=lambda x: getattr(mx, op)(x, keepdims=True))
        check(op, shape, args=(False,), ref=lambda x: getattr(mx, op)(x))
        for axis in range(-len(shape), len(shape)):
            check(op + "_axis", shape, args=(axis, axis > 0), dtypes=ALL,
                  ref=lambda x: getattr(mx, op)(x, axis=axis, keepdims=axis > 0))
    for shape in [(3, 5000), (5000, 3), (300, 300)]:
        for axis in (0, 1):
            check(op + "_axis", shape, args=(axis, False), dtypes=("float32", "int8", "float16"),
                  ref=lambda x: getattr(mx, op)(x, axis=axis))


@pytest.mark.parametrize("op", ["sum", "max", "all", "logsumexp"])
def test_wrong_axes(op):
    for axes in ([2], [-3], [0, 0], [0, -2], [0, 1, 2]):
        check_error(op + "_axes", (2, 3), args=(axes, False), ref=lambda x: getattr(mx, op)(x, axis=axes))
    check_error(op + "_axis", (), args=(0, False), ref=lambda x: getattr(mx, op)(x, axis=0))


def test_nothing_to_choose_from():
    for op in ("max", "min", "argmax", "argmin", "logsumexp"):
        check_error(op, (0, 3), args=(False,), ref=lambda x: getattr(mx, op)(x))
        check_error(op + "_axis", (0, 3), args=(1, False), ref=lambda x: getattr(mx, op)(x, axis=1))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "float32", "complex64"])
def test_all_of_nothing_is_true(dtype):
    for op, truth in (("all", 1), ("any", 0)):
        for shape, axis, n in (((0,), 0, 1), ((2, 0), 1, 2), ((0, 3), 0, 3)):
            x = mlxc.array(np.zeros(shape, np.float32).astype(mlxc.numpy_dtype(dtype)))
            for out in (mlxc.op(op + "_axis", x, axis, False), mlxc.op(op, x, False)):
                bits = out.numpy().view(np.uint8)  # a bool is the byte 0 or 1, or it counts for more
                np.testing.assert_array_equal(bits, np.full(bits.shape, truth))
                sums = mlxc.op("sum", out, False).numpy()
                assert sums == truth * bits.size, (op, shape, axis)
