"""Running reductions."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from closures import vjp
from oracle import ALL, FLOATS, INTS, SHAPES, check, check_error, specials

LOOSE = {"float16": 8e-3, "bfloat16": 6e-2, "float32": 1e-5, "float64": 1e-12, "complex64": 1e-4}
EVERY = [(r, i) for r in (False, True) for i in (False, True)]


def wide(f):
    """Ours add halves up in float32."""
    def ref(x):
        if x.dtype in (mx.float16, mx.bfloat16):
            return f(x.astype(mx.float32)).astype(x.dtype)
        return f(x)
    return ref


@pytest.mark.parametrize("op", ["cumsum", "cumprod", "cummax", "cummin"])
def test_every_axis(op):
    for shape in SHAPES:
        for axis in range(len(shape)):
            if shape[axis] == 0 or 0 in shape:
                continue
            for reverse, inclusive in EVERY:
                check(op, shape, args=(axis, reverse, inclusive), rtol=LOOSE, atol=LOOSE,
                      dtypes=ALL if len(shape) < 3 else ["float32", "int16", "complex64"],
                      low=-1.5, high=1.5,
                      ref=wide(lambda x: getattr(mx, op)(x, axis=axis, reverse=reverse, inclusive=inclusive)))


def test_logcumsumexp():
    for shape in [(7,), (33,), (3, 5), (2, 3, 17)]:
        for axis in range(len(shape)):
            for reverse, inclusive in EVERY:
                check("logcumsumexp", shape, args=(axis, reverse, inclusive), dtypes=FLOATS,
                      rtol={**LOOSE, "float64": 1e-6}, atol={**LOOSE, "float64": 1e-6}, ref=wide(lambda x: mx.logcumsumexp(x, axis=axis, reverse=reverse,
                                                                     inclusive=inclusive)))
    x = np.array([-np.inf, 1, np.inf, 2], np.float32)
    check("logcumsumexp", x, args=(0, False, True), ref=lambda a: mx.logcumsumexp(a))
    x = np.array([-np.inf, -np.inf, 5, np.nan, 1], np.float32)
    check("logcumsumexp", x, args=(0, False, True), ref=lambda a: mx.logcumsumexp(a))


def test_identities_of_types():
    for op in ("cummax", "cummin", "cumsum", "cumprod"):
        check(op, (4,), args=(0, False, False), dtypes=ALL,
              ref=lambda x: getattr(mx, op)(x, inclusive=False))


@pytest.mark.parametrize("op", ["cummax", "cummin"])
def test_nan(op):
    for dtype in FLOATS:
        s = specials(dtype)
        for x in (s, s[::-1].copy(), np.stack([s, s[::-1]]).T.copy()):
            for reverse in (False, True):
                check(op, x, args=(0, reverse, True), dtypes=(dtype,),
                      ref=lambda a: getattr(mx, op)(a, axis=0, reverse=reverse))


def test_long_rows_and_many_columns():
    for shape, axis in [((100000,), 0), ((2000, 300), 0), ((300, 2000), 1), ((5, 400, 70), 1)]:
        check("cumsum", shape, args=(axis, False, True), dtypes=("int32", "uint8"),
              ref=lambda x: mx.cumsum(x, axis=axis))
        check("cummax", shape, args=(axis, True, True), dtypes=("float32",),
              ref=lambda x: mx.cummax(x, axis=axis, reverse=True))


def test_cumsum_keeps_its_accuracy():
    x = np.random.default_rng(1).uniform(0, 1, 1000000).astype(np.float32)
    ours = mlxc.op("cumsum", x, 0, False, True).numpy()
    np.testing.assert_allclose(ours, np.cumsum(x.astype(np.float64)), rtol=1e-7)


def test_wrong_axis():
    for op in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
        check_error(op, (2, 3), args=(2, False, True), ref=lambda x: getattr(mx, op)(x, axis=2))
        check_error(op, (), args=(0, False, True), ref=lambda x: getattr(mx, op)(x, axis=0))


def product_sum(x, w, reverse, inclusive):
    """The sum of w times the products so far, of lists."""
    x, total, product = (x[::-1] if reverse else x), 0.0, 1.0
    w = w[::-1] if reverse else w
    for a, b in zip(x, w):
        total += b * (product * a if inclusive else product)
        product *= a
    return total


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_cumprod_has_two_derivatives_where_there_are_zeros(reverse, inclusive):
    w, u = [1.0, -2.0, 3.0, 0.5, 1.5], [1.0, 2.0, -1.0, 0.5, 2.0]

    def gradient(a):
        return vjp(lambda b: mlxc.op("cumprod", b, 0, reverse, inclusive), [a],
                   [mlxc.array(np.array(w, np.float32))])[1][0]

    for x in ([1, 0, 2, 3, -1], [0, 0, 1, 2, 3], [2, 3, 0, 4, 0], [0, 1, 0, 0, 2], [1, 2, 3, 4, 5]):
        x = [float(v) for v in x]

        def at(*raised):  # a sum of products: its differences are its derivatives
            return product_sum([v + (i in raised) for i, v in enumerate(x)], w, reverse, inclusive)
        first = [at(i) - at() for i in range(5)]
        second = [sum(u[j] * (at(i, j) - at(i) - at(j) + at()) for j in range(5) if j != i)
                  for i in range(5)]
        a = mlxc.array(np.array(x, np.float32))
        np.testing.assert_allclose(gradient(a).numpy(), first, rtol=1e-5, atol=1e-5)
        again = vjp(gradient, [a], [mlxc.array(np.array(u, np.float32))])[1][0]
        np.testing.assert_allclose(again.numpy(), second, rtol=1e-5, atol=1e-5)
