"""Sorting, partitions, the k largest."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, FLOATS, HALVES, INEXACT, SHAPES, check, check_error, numbers, specials

BIG = [(1000,), (33, 100), (3, 5000), (5000, 3), (20000,), (2, 70000)]


@pytest.mark.parametrize("op", ["sort", "argsort"])
def test_every_axis(op):
    for shape in SHAPES:
        if 0 in shape:
            continue
        check(op, shape, dtypes=ALL, ref=lambda x: getattr(mx, op)(x, axis=None))
        for axis in range(-len(shape), len(shape)):
            check(op + "_axis", shape, args=(axis,), dtypes=ALL, ref=lambda x: getattr(mx, op)(x, axis=axis))


@pytest.mark.parametrize("op", ["sort", "argsort"])
def test_long_rows(op):
    for shape in BIG:
        for dtype in ALL:
            axis = int(np.argmax(shape))
            check(op + "_axis", numbers(shape, dtype, -1000, 1000), args=(axis,), dtypes=(dtype,),
                  layouts=shape == (33, 100), ref=lambda x: getattr(mx, op)(x, axis=axis))


def test_equal_elements_keep_their_order():
    x = np.random.default_rng(3).integers(0, 5, (7, 3000)).astype(np.float32)
    ours = mlxc.op("argsort_axis", x, 1).numpy()
    np.testing.assert_array_equal(ours, np.argsort(x, 1, kind="stable"))
    zeros = np.where(np.arange(100) % 3, 0.0, -0.0).astype(np.float32)
    np.testing.assert_array_equal(mlxc.op("argsort", zeros).numpy(), np.arange(100))


@pytest.mark.parametrize("op", ["sort", "argsort"])
def test_nan_comes_last(op):
    for dtype in INEXACT:
        s = specials(dtype)
        negative_nan = np.concatenate([s, np.array([-np.nan, np.nan, -np.nan]).astype(s.dtype)])
        for x in (s, negative_nan, np.tile(negative_nan, 30)):
            if op == "argsort" and dtype == "complex64":
                continue
            check(op, x, dtypes=(dtype,), ref=lambda a: getattr(mx, op)(a, axis=None))


@pytest.mark.parametrize("dtype", ALL)
def test_partitions(dtype):
    for shape in [(1,), (7,), (33,), (1000,), (3, 50), (5, 300), (20000,)]:
        n = shape[-1]
        x = numbers(shape, dtype, -1000, 1000)
        order = np.sort(x.astype(np.complex64 if dtype == "complex64" else
                                 np.float32 if dtype in HALVES else x.dtype), -1)
        for kth in {0, n // 2, n - 1, -1, -n, n // 7}:
            for values in (mlxc.op("partition_axis", x, kth, -1).numpy(),
                           np.take_along_axis(x, mlxc.op("argpartition_axis", x, kth, -1).numpy().astype(int), -1)):
                values = values.astype(order.dtype)
                assert np.array_equal(np.sort(values, -1), order)
                assert np.array_equal(values[..., kth], order[..., kth])
                assert np.array_equal(np.sort(values[..., :kth % n], -1), order[..., :kth % n])


def test_partition_of_adversaries():
    for x in (np.zeros(5000), np.arange(5000), np.arange(5000)[::-1], np.arange(5000) % 2,
              np.concatenate([np.full(4000, np.nan), np.arange(1000)])):
        x = x.astype(np.float32)
        for kth in (0, 2500, 4999):
            v = mlxc.op("partition", x, kth).numpy()
            np.testing.assert_array_equal(np.sort(v), np.sort(x))
            np.testing.assert_array_equal(v[kth], np.sort(x)[kth])


def test_topk():
    for shape, axis in [((7,), 0), ((3, 50), 1), ((50, 3), 0), ((4, 5, 6), 1)]:
        n = shape[axis]
        for k in (1, 3, n):
            for dtype in ALL:
                x = numbers(shape, dtype, -100, 100)
                ours = mlxc.op("topk_axis", x, k, axis).numpy()
                assert ours.dtype == x.dtype and ours.shape[axis] == k
                low = np.float32 if dtype in HALVES else x.dtype
                expect = np.take(np.sort(x.astype(low), axis), range(n - k, n), axis)
                np.testing.assert_array_equal(np.sort(ours.astype(low), axis), expect)
    assert mlxc.op("topk", numbers((3, 4), "float32"), 0).shape == (0,)


def test_errors():
    for op in ("sort", "argsort"):
        check_error(op + "_axis", (2, 3), args=(2,), ref=lambda x: getattr(mx, op)(x, axis=2))
        check_error(op + "_axis", (), args=(0,), ref=lambda x: getattr(mx, op)(x, axis=0))
    for op in ("partition", "argpartition"):
        for kth in (3, -4):
            check_error(op + "_axis", (2, 3), args=(kth, 1), ref=lambda x: getattr(mx, op)(x, kth, axis=1))
    for k in (4, -1):
        check_error("topk_axis", (2, 3), args=(k, 1), ref=lambda x: mx.topk(x, k, axis=1))


def test_nothing_to_sort():
    for shape in ((0,), (2, 0), (0, 3)):
        x = np.zeros(shape, np.float32)
        for axis in range(len(shape)):
            assert mlxc.op("sort_axis", x, axis).numpy().shape == shape
            assert mlxc.op("argsort_axis", x, axis).numpy().shape == shape
