"""The harness itself: it must tell right from wrong, and both libraries must see the same inputs."""
import ctypes

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, LAYOUTS, compare, from_mx, has_layout, numbers, ours_view, real_view, to_mx


@pytest.mark.parametrize("wrong", [
    mx.array([1.0, 2.0, 3.001]), mx.array([1.0, 2.0]), mx.array([[1.0, 2.0, 3.0]]),
    mx.array([1, 2, 3]), mx.array([1.0, 2.0, float("nan")])])
def test_differences_are_found(wrong):
    with pytest.raises(AssertionError):
        compare(mlxc.array(np.array([1, 2, 3], np.float32)), wrong)


def test_equal_is_equal():
    compare(mlxc.array(np.array([1, np.nan, -np.inf], np.float32)),
            mx.array([1.0, float("nan"), float("-inf")]))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda l: l.__name__)
@pytest.mark.parametrize("dtype", ALL)
def test_layouts_are_the_same_for_both(layout, dtype):
    if not has_layout(layout):
        pytest.skip("the library cannot make this layout yet")
    for shape in [(), (5,), (3, 4), (2, 3, 5), (0,), (2, 0)]:
        made = layout(numbers(shape, dtype))
        if made is None:
            continue
        base, steps = made
        ours, theirs = ours_view(mlxc.array(base), steps), real_view(to_mx(base), steps)
        compare(ours, theirs)
        assert ours.shape == shape


def test_errors_carry_the_message():
    a, out = mlxc.array(np.zeros(2, np.float32)), ctypes.c_float()
    with pytest.raises(mlxc.Error, match="item"):
        if mlxc.function("mlx_array_item_float32")(ctypes.byref(out), a.handle):
            mlxc.failed("mlx_array_item_float32")


def test_bfloat16_goes_both_ways():
    x = numbers((7,), "bfloat16")
    np.testing.assert_array_equal(from_mx(to_mx(x)), x)
