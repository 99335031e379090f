"""Comparisons of whole arrays."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, FLOATS, compare, numbers, specials, to_mx


def both(a, b, equal_nan):
    compare(mlxc.op("array_equal", a, b, equal_nan),
            mx.array_equal(to_mx(a), to_mx(b), equal_nan=equal_nan))


@pytest.mark.parametrize("dtype", ALL)
def test_array_equal(dtype):
    for shape in [(), (7,), (0,), (3, 5)]:
        x = numbers(shape, dtype, 0, 100)
        for nan in (False, True):
            both(x, x.copy(), nan)
            if x.size:
                y = x.copy()
                y.flat[-1] = 0 if y.flat[-1] else 1
                both(x, y, nan)
            both(x, x[None], nan)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_equals_nan_if_told(dtype):
    x = specials(dtype)
    both(x, x.copy(), True)
    both(x, x.copy(), False)


def test_types_are_promoted():
    both(np.array([1, 2], np.int32), np.array([1, 2], np.float32), False)
    both(np.array([1, 2], np.int8), np.array([1, 2.5], np.float32), False)


@pytest.mark.parametrize("difference", [0, 1e-9, 1e-6, 1e-4, np.inf, np.nan])
def test_allclose(difference):
    x = numbers((3, 5), "float32")
    for y in (x + np.float32(difference), np.full((5,), difference, np.float32)):
        for nan in (False, True):
            compare(mlxc.op("allclose", x, y, 1e-5, 1e-8, nan),
                    mx.allclose(to_mx(x), to_mx(y), rtol=1e-5, atol=1e-8, equal_nan=nan))
