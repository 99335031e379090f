"""Mean, variance, standard deviation and median."""
import mlx.core as mx
import pytest

from oracle import FLOATS, REALS, SHAPES, check, check_error

LOOSE = {**dict.fromkeys(REALS, 2e-4), "float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-4, "float64": 1e-12, "complex64": 5e-5}


# Sums of halves: ours are taken in float32, so the reference's are too.
def wide(op, **kw):
    def ref(x):
        half = x.dtype in (mx.float16, mx.bfloat16)
        return getattr(mx, op)(x.astype(mx.float32), **kw).astype(x.dtype) if half else getattr(mx, op)(x, **kw)
    return ref


@pytest.mark.parametrize("op", ["mean", "var", "std"])
def test_means(op):
    extra = () if op == "mean" else (0,)
    for shape in SHAPES:
        if op != "mean" and 0 in shape:
            continue
        for dtype in REALS + ["complex64"]:
            if dtype == "complex64" and op == "std":
                continue
            check(op, shape, args=(False,) + extra, dtypes=(dtype,), low=0, high=2, rtol=LOOSE,
                  atol=LOOSE, ref=wide(op))
    for ddof in (0, 1, 3, 5):
        if op != "mean":
            check(op + "_axis", (4, 3), args=(0, True, ddof), dtypes=FLOATS[:2], rtol=1e-5,
                  ref=lambda x: getattr(mx, op)(x, axis=0, keepdims=True, ddof=ddof))
    check(op + "_axes", (3, 4, 5), args=([0, -1], False) + extra, dtypes=FLOATS, rtol=LOOSE, atol=LOOSE,
          ref=wide(op, axis=(0, -1)))


def test_median():
    for shape in [(), (1,), (7,), (8,), (3, 5), (4, 6, 9)]:
        check("median", shape, args=(None, True), dtypes=REALS, ref=lambda x: mx.median(x, keepdims=True))
    check("median", (4, 6, 5), args=([1], False), dtypes=FLOATS, ref=lambda x: mx.median(x, axis=1))
    check("median", (4, 6, 5), args=([2, 0], True), dtypes=FLOATS,
          ref=lambda x: mx.median(x, axis=(2, 0), keepdims=True))


def test_errors():
    for axes in ([2], [0, 0], [0, 1, 2]):
        check_error("mean_axes", (2, 3), args=(axes, False), ref=lambda x: mx.mean(x, axis=axes))
        check_error("var_axes", (2, 3), args=(axes, False, 0), ref=lambda x: mx.var(x, axis=axes))
    check_error("median", (0, 3), args=([0], False), ref=lambda x: mx.median(x, axis=0))
    check_error("median", (2, 3), args=([0, 0], False), ref=lambda x: mx.median(x, axis=(0, 0)))
