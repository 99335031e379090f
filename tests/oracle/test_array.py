"""Arrays: elements in and out, and their text."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, SHAPES, numbers, specials, to_mx


@pytest.mark.parametrize("dtype", ALL)
def test_elements_come_back(dtype):
    for shape in SHAPES:
        x = numbers(shape, dtype, -100, 100)
        y = mlxc.array(x).numpy()
        assert y.dtype == x.dtype and y.shape == x.shape
        np.testing.assert_array_equal(x, y)


def text(a):
    """MLX's text as C has it: Python writes booleans with a capital."""
    return repr(a).replace("True", "true").replace("False", "false")


@pytest.mark.parametrize("dtype", ALL)
def test_text(dtype):
    shapes = [(), (1,), (6,), (7,), (100,), (0,), (0, 3), (2, 0), (7, 0), (2, 0, 3), (6, 6), (7, 7),
              (2, 3, 4), (1, 7, 1), (7, 1, 7), (2, 2, 3, 1)]
    for shape in shapes:
        x = numbers(shape, dtype, -1000, 1000)
        assert str(mlxc.array(x)) == text(to_mx(x))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_text_of_special_numbers(dtype):
    for v in specials(dtype):
        x = np.array([v, v])
        assert str(mlxc.array(x)) == text(to_mx(x))
    if dtype == "complex64":
        for z in (complex(1, -2), complex(np.nan, np.inf), complex(-0.0, -0.0), complex(1, -np.inf)):
            x = np.array([z], np.complex64)
            assert str(mlxc.array(x)) == text(to_mx(x))


def test_floats_have_six_digits():
    x = np.array([1e5, 1e6, 123456.789, 1 / 3, 1e-5, 1e16], np.float32)
    assert str(mlxc.array(x)) == text(mx.array(x))


@pytest.mark.parametrize("to", ALL)
def test_astype(to):
    from oracle import check
    check("astype", (3, 5), args=(to,), dtypes=ALL, low=0, high=100,
          ref=lambda x: x.astype(getattr(mx, "bool_" if to == "bool" else to)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_below_zero_wrap_in_uint64(dtype):
    x = np.array([-1, -3.5, -300, 0, 2.75, 3e4] * 5).astype(mlxc.numpy_dtype(dtype))
    if dtype in ("float32", "float64"):
        x[-3:] = [2.0 ** 63, 1.5 * 2.0 ** 63, -2.0 ** 40]
    want = [int(v) % 2 ** 64 for v in x.astype(np.float64)]
    assert mlxc.op("astype", mlxc.array(x), "uint64").numpy().tolist() == want
