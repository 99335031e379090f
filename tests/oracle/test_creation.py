"""Arrays from nothing against MLX."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, FLOATS, INTS, check, check_error, compare, from_mx, numbers, specials, to_mx

SHAPES = [(), (1,), (0,), (7,), (3, 5), (2, 0, 3), (130, 67)]


def mx_type(name):
    return getattr(mx, "bool_" if name == "bool" else name)


def test_full():
    for shape in SHAPES:
        for dtype in ALL:
            t = mx_type(dtype)
            compare(mlxc.op("zeros", list(shape), dtype), mx.zeros(shape, t))
            compare(mlxc.op("ones", list(shape), dtype), mx.ones(shape, t))
            value = np.float32(1.5)
            compare(mlxc.op("full", list(shape), value, dtype), mx.full(shape, to_mx(np.array(value))).astype(t))
    row = np.arange(5, dtype=np.int32)
    compare(mlxc.op("full", [3, 5], row, "float16"), mx.full((3, 5), to_mx(row)).astype(mx.float16))
    compare(mlxc.op("full_like", np.zeros((2, 5)), row, "int8"), mx.full((2, 5), to_mx(row)).astype(mx.int8))
    for op in ["zeros_like", "ones_like"]:
        check(op, (3, 5), dtypes=ALL)
    for bad in [lambda: mlxc.op("full", [2, -1], np.float32(1), "float32"),
                lambda: mlxc.op("zeros", [-3], "float32"),
                lambda: mlxc.op("full", [3, 4], row, "float32").eval()]:
        with pytest.raises(mlxc.Error):
            bad()


def test_arange():
    cases = [(0, 5, 1), (10, 0, -3), (5, 0, 1), (0, 1, 0.1), (-2, 3, 1), (1.5, 5, 1), (0, 2.5, 0.5),
             (0, 5, 1.7), (0.5, 5, 1.7), (0.5, 5, 0.7), (3, 100000, 7)]
    for start, stop, step in cases:
        for dtype in INTS + FLOATS + ["complex64"]:
            if dtype in ("float16", "bfloat16", "uint8", "int8", "int16", "uint16") and stop > 100:
                continue
            if start < 0 or step < 0 and dtype[0] == "u":
                continue
            rtol = {"bfloat16": 0.03}.get(dtype)
            compare(mlxc.op("arange", float(start), float(stop), float(step), dtype),
                    mx.arange(start, stop, step, mx_type(dtype)), str((start, stop, step, dtype)),
                    rtol=rtol)
    inf = float("inf")  # an endless step takes the start alone, and nothing where it leads away
    for start, stop, step in [(0, 10, inf), (3, -10, -inf), (10, 0, inf), (0, 10, -inf), (4, 4, inf)]:
        for dtype in ["int32", "uint8", "float32", "bfloat16", "complex64"]:
            compare(mlxc.op("arange", float(start), float(stop), step, dtype),
                    mx.arange(start, stop, step, mx_type(dtype)), str((start, stop, step, dtype)))
    long = mlxc.op("arange", 0.05, 100000.0, 0.1, "float32").numpy()  # MLX's drifts
    np.testing.assert_allclose(long, np.arange(0.05, 100000, 0.1), rtol=1e-6)
    for bad in [(0, 3, 0), (0, np.inf, 1), (0, 5, np.nan), (0, 1e12, 1), (np.nan, 1, 1)]:
        with pytest.raises(mlxc.Error, match="arange"):
            mlxc.op("arange", *[float(v) for v in bad], "float32")
    with pytest.raises(mlxc.Error, match="bool"):
        mlxc.op("arange", 0.0, 3.0, 1.0, "bool")


def test_linspace():
    for start, stop, num in [(0, 1, 5), (0, 1, 1), (0, 1, 0), (0.1, 3.7, 7), (5, -5, 101)]:
        for dtype in ["float32", "float16", "bfloat16", "int32"]:
            compare(mlxc.op("linspace", float(start), float(stop), num, dtype),
                    mx.linspace(start, stop, num, mx_type(dtype)), str((start, stop, num, dtype)))
    with pytest.raises(mlxc.Error, match="non-negative"):
        mlxc.op("linspace", 0.0, 1.0, -1, "float32")


def test_matrices():
    for n, m, k in [(3, 3, 0), (3, 4, -1), (4, 3, 2), (3, 3, 5), (3, 3, -7), (0, 0, 0), (1, 9, 4)]:
        for dtype in ["float32", "int32", "bool", "bfloat16", "complex64"]:
            if n:
                compare(mlxc.op("eye", n, m, k, dtype), mx.eye(n, m, k, mx_type(dtype)))
            compare(mlxc.op("tri", n, m, k, dtype), mx.tri(n, m, k, mx_type(dtype)))
        for op in ["tril", "triu"]:
            check(op, (n, m), args=(k,), dtypes=["float32", "int8"])
            check(op, (2, n, m), args=(k,))
    compare(mlxc.op("identity", 4, "float32"), mx.identity(4))
    for n in [0, -1]:
        with pytest.raises(mlxc.Error, match="positive"):
            mlxc.op("eye", n, 3, 0, "float32")
    check_error("tril", (3,), args=(0,))


@pytest.mark.parametrize("op", ["bartlett", "blackman", "hamming", "hanning"])
def test_windows(op):
    for n in [0, 1, 2, 3, 4, 5, 33, 512]:
        compare(mlxc.op(op, n), getattr(mx, op)(n), "%s %d" % (op, n), rtol=1e-5)


def test_view():
    for a in ALL:
        for b in ALL:
            x = numbers((3, 8), a, low=0, high=9)
            compare(mlxc.op("view", x, b), mx.view(to_mx(x), mx_type(b)), "%s as %s" % (a, b))
    for dtype in ["int16", "int64", "uint32"]:
        check("view", (2, 4), args=(dtype,), ref=lambda x, t=dtype: mx.view(x, mx_type(t)))
    check("view", (), args=("uint32",), ref=lambda x: mx.view(x, mx.uint32))
    for shape, dtype in [((), "int8"), ((), "int64"), ((3,), "int64")]:
        with pytest.raises(mlxc.Error, match="view"):
            mlxc.op("view", np.zeros(shape, np.float32), dtype)


def test_fp8():
    x = np.concatenate([np.linspace(-500, 500, 4001), 10.0 ** np.linspace(-5, 3, 999), [0, -0.0, np.inf]])
    for dtype in ["float32", "float16", "bfloat16"]:
        check("to_fp8", x.astype(mlxc.numpy_dtype(dtype)))
    codes = np.arange(256, dtype=np.uint8)
    for dtype in FLOATS:
        if dtype != "float64":
            compare(mlxc.op("from_fp8", codes, dtype), mx.from_fp8(to_mx(codes), mx_type(dtype)))
    check_error("to_fp8", np.arange(3))


def test_number_of_elements():
    x = np.zeros((2, 3, 5), np.float32)
    assert mlxc.op("number_of_elements", x, [0, -1], False, "int32").numpy() == 10
    assert mlxc.op("number_of_elements", x, [0, 1], True, "float32").numpy() == np.float32(1 / 6)
    with pytest.raises(mlxc.Error, match="axis"):
        mlxc.op("number_of_elements", x, [3], False, "int32")
