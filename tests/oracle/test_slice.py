"""Slices, and updates of slices."""
import itertools

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, check, compare, contiguous, layout_choices, numbers, ours_view, to_mx


def python_slice(start, stop, stride, n):
    """What MLX's C++ slice means, as Python's slice."""
    if stride < 0 and stop < -n:
        stop = None
    return slice(start, stop, stride)


CASES = [(s, e, t) for s in (-9, -2, 0, 1, 3, 9) for e in (-9, -2, 0, 2, 5, 9) for t in (1, 2, 3, -1, -2)]


def test_slice_of_a_list():
    x = numbers((5,), "int32")
    for s, e, t in CASES:
        if t < 0 and s < -5:
            continue  # undefined in MLX
        compare(mlxc.op("slice", x, [s], [e], [t]), to_mx(x[python_slice(s, e, t, 5)].copy()), (s, e, t))


@pytest.mark.parametrize("dtype", ALL)
def test_slice(dtype):
    for start, stop, strides in [((0, 1, 2), (3, 4, 5), (1, 1, 1)), ((2, 3, 4), (-9, -9, -9), (-1, -2, -3)),
                                 ((0, 0, 0), (9, 9, 9), (2, 3, 1)), ((1, 1, 1), (1, 3, 4), (1, 1, 1)),
                                 ((0, 0, 0), (9, 9, 9), (1, 1, 1))]:
        slices = tuple(python_slice(*v, 5) for v in zip(start, stop, strides))
        check("slice", (3, 4, 5), args=(list(start), list(stop), list(strides)), dtypes=[dtype],
              ref=lambda x: x[slices])


def test_slice_errors():
    x = numbers((3, 4), "float32")
    for args in [([0], [1], [1]), ([0, 0], [1, 1], [1]), ([0, 0], [1, 1], [1, 0])]:
        with pytest.raises(mlxc.Error):
            mlxc.op("slice", x, *args)


UPDATES = {
    "slice_update": lambda x, i, u: x.__setitem__(i, u),
    "slice_update_add": lambda x, i, u: x.__setitem__(i, x[i] + u),
    "slice_update_prod": lambda x, i, u: x.__setitem__(i, x[i] * u),
    "slice_update_max": lambda x, i, u: x.__setitem__(i, mx.maximum(x[i], u)),
    "slice_update_min": lambda x, i, u: x.__setitem__(i, mx.minimum(x[i], u)),
}


@pytest.mark.parametrize("op", UPDATES)
@pytest.mark.parametrize("dtype", ALL)
def test_slice_update(op, dtype):
    def ref(start, stop, strides):
        slices = tuple(python_slice(*v, 9) for v in zip(start, stop, strides))

        def run(x, u):
            y = mx.array(x)
            UPDATES[op](y, slices, u)
            return y.astype(x.dtype)
        return run
    for start, stop, strides, shape in [((1, 0, 1), (3, 4, 9), (1, 2, 3), (2, 2, 3)),
                                        ((2, 3, 8), (-99, -99, -99), (-1, -1, -4), (3, 4, 3)),
                                        ((1, 0, 1), (3, 4, 9), (1, 2, 3), (3,)),
                                        ((0, 0, 0), (3, 4, 9), (1, 1, 1), (3, 4, 9)),
                                        ((0, 0, 0), (0, 4, 9), (1, 1, 1), (1, 4, 9)),
                                        ((0, 1, 0), (3, 2, 9), (1, 1, 1), ())]:
        check(op, (3, 4, 9), shape, args=(list(start), list(stop), list(strides)), dtypes=[dtype],
              ref=ref(start, stop, strides))


@pytest.mark.parametrize("op", ["slice_update_max", "slice_update_min"])
def test_nan_stays(op):
    x = np.array([1, np.nan, 3, np.nan], np.float32)
    u = np.array([np.nan, 2, 1, np.nan], np.float32)
    for dtype in ("float16", "float32", "float64", "bfloat16"):
        a, b = x.astype(mlxc.numpy_dtype(dtype)), u.astype(mlxc.numpy_dtype(dtype))
        y = mx.array(to_mx(a))
        UPDATES[op](y, slice(0, 4), to_mx(b))
        compare(mlxc.op(op, a, b, [0], [4], [1]), y)


def test_update_may_come_from_the_array_itself():
    x = mlxc.array(numbers((8,), "float32"))
    y = mlxc.op("slice_update", x, mlxc.op("slice", x, [0], [7], [1]), [1], [8], [1])
    want = x.numpy()
    want = np.concatenate([want[:1], want[:7]])
    np.testing.assert_array_equal(y.numpy(), want)


def test_update_is_cast_and_checked():
    x = numbers((4, 4), "int32")
    y = mlxc.op("slice_update", x, np.float32(2.75), [0, 0], [1, 4], [1, 1])
    assert y.dtype == "int32" and (y.numpy()[0] == 2).all()
    for update, args in [((3,), ([0, 0], [4, 2], [1, 1])), ((1, 4, 2), ([0, 0], [3, 2], [1, 1])),
                         ((), ([0], [4], [1])), ((), ([0, 0], [4, 4], [0, 1]))]:
        with pytest.raises(mlxc.Error):
            mlxc.op("slice_update", x, np.ones(update, np.int32), *args)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_dynamic(kind):
    x = numbers((5, 6), "float32")
    for start in [(0, 0), (1, 2), (3, 3)]:
        at = np.array(start, kind)
        i, j = start
        compare(mlxc.op("slice_dynamic", x, at, [0, 1], [2, 3]), to_mx(x[i:i + 2, j:j + 3].copy()))
        compare(mlxc.op("slice_dynamic", x, at[1:], [1], [5, 3]), to_mx(x[:, j:j + 3].copy()))
        u = numbers((2, 3), "float32", seed=9)
        want = x.copy()
        want[i:i + 2, j:j + 3] = u
        compare(mlxc.op("slice_update_dynamic", x, u, at, [0, 1]), to_mx(want))
        compare(mlxc.op("slice_update_dynamic", x, u, at, [0, 1]),
                mx.slice_update(to_mx(x), to_mx(u), to_mx(at.astype("int32")), [0, 1]))
        compare(mlxc.op("slice_dynamic", x, at, [0, 1], [2, 3]),
                mx.slice(to_mx(x), to_mx(at.astype("int32")), [0, 1], [2, 3]))


def test_dynamic_stays_inside():
    x = numbers((5, 6), "float32")
    for start in [(-1, 0), (9, 9), (2**31 - 1, -2**31)]:
        i, j = min(max(start[0], 0), 3), min(max(start[1], 0), 3)
        at = np.array(start, "int32")
        compare(mlxc.op("slice_dynamic", x, at, [0, 1], [2, 3]), to_mx(x[i:i + 2, j:j + 3].copy()))
    at = np.array([2**64 - 1, 2**63], "uint64")
    compare(mlxc.op("slice_dynamic", x, at, [0, 1], [2, 3]), to_mx(x[3:, 3:].copy()))
    for bad in [(np.zeros(2, np.float32), [0, 1], [2, 3]), (np.zeros(2, "int32"), [0], [2, 3]),
                (np.zeros(2, "int32"), [0, 1], [2]), (np.zeros(2, "int32"), [0, 1], [2, 7]),
                (np.zeros(2, "int32"), [0, 0], [2, 3])]:
        with pytest.raises(mlxc.Error):
            mlxc.op("slice_dynamic", x, *bad)
