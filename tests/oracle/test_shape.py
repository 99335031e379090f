"""Shapes: reshape, transpose, views, joining, splitting, padding, diagonals."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, SHAPES, check, check_error, compare, from_mx, numbers, to_mx

TYPES = ["bool", "uint8", "int16", "float16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("shape,new", [
    ((2, 3, 4), (6, 4)), ((2, 3, 4), (-1,)), ((2, 3, 4), (4, -1, 2)), ((12,), (3, 1, 4)),
    ((), (1, 1)), ((1, 1), ()), ((0, 3), (3, 0)), ((0, 3), (0,)), ((130, 67), (67, 130)),
    ((5, 1, 7), (7, 5)), ((4, 6), (2, 2, 3, 2)), ((2, 3, 4), (2, 3, 4))])
def test_reshape(shape, new):
    check("reshape", shape, args=(list(new),), dtypes=TYPES)


def test_reshape_errors():
    for new in [[5], [-1, -1], [4, -1], [-2, 3], [7, 1]]:
        check_error("reshape", (2, 3), args=(new,))
    check_error("reshape", (0, 3), args=([0, -1],))


@pytest.mark.parametrize("shape", SHAPES)
def test_flatten(shape):
    n = len(shape)
    for start in range(-n - 1, n + 1):
        for end in range(-n - 1, n + 2):
            try:
                mx.flatten(mx.zeros(shape), start, end)
            except ValueError:
                check_error("flatten", shape, args=(start, end))
                continue
            check("flatten", shape, args=(start, end))


def test_unflatten():
    check("unflatten", (4, 12), args=(1, [3, -1]), dtypes=TYPES)
    check("unflatten", (12, 4), args=(-2, [2, 3, 2]))
    check("unflatten", (0, 4), args=(0, [0, 2]))
    for args in [(2, [1]), (1, []), (1, [5]), (1, [-1, -1]), (1, [5, -1])]:
        check_error("unflatten", (4, 12), args=args)


def test_squeeze():
    for shape in SHAPES + [(1, 3, 1), (1, 1)]:
        check("squeeze", shape)
    check("squeeze_axes", (1, 3, 1, 1), args=([0, -1],), ref=lambda x: mx.squeeze(x, [0, -1]))
    check("squeeze_axis", (1, 3, 1, 1), args=(2,), ref=lambda x: mx.squeeze(x, 2))
    check("squeeze_axes", (1, 3), args=([],), ref=lambda x: mx.squeeze(x, []))
    for axes in [[1], [4], [0, 0], [0, -4]]:
        check_error("squeeze_axes", (1, 3, 1, 1), args=(axes,), ref=lambda x: mx.squeeze(x, axes))
    with pytest.raises(mlxc.Error):  # MLX takes one too low for the last axis
        mlxc.op("squeeze_axis", np.zeros((1, 1)), -3)


def test_expand_dims():
    for axis in range(-3, 3):
        check("expand_dims", (3, 5), args=(axis,))
    for axes in [[0, 1], [2, 0], [-1, 0], [3, 1], [-1, -2, -3]]:
        check("expand_dims_axes", (3, 5), args=(axes,), ref=lambda x: mx.expand_dims(x, axes))
    check("expand_dims", (), args=(0,))
    for axes in [[3], [0, 0], [0, -4]]:
        check_error("expand_dims_axes", (3, 5), args=(axes,), ref=lambda x: mx.expand_dims(x, axes))


def test_atleast():
    for shape in SHAPES:
        for op in ["atleast_1d", "atleast_2d", "atleast_3d"]:
            check(op, shape)


def test_transpose():
    for shape in SHAPES:
        check("transpose", shape)
    check("transpose", (2, 3, 4), dtypes=ALL)
    for axes in [[0, 1, 2], [2, 0, 1], [-1, 0, 1], [1, 0, 2]]:
        check("transpose_axes", (2, 3, 4), args=(axes,), ref=lambda x: mx.transpose(x, axes))
    for axes in [[0, 1], [0, 1, 1], [0, 1, 3], [0, 1, 2, 3], [-4, 1, 2]]:
        check_error("transpose_axes", (2, 3, 4), args=(axes,), ref=lambda x: mx.transpose(x, axes))


def test_swapaxes_and_moveaxis():
    for i in range(-3, 3):
        for j in range(-3, 3):
            check("swapaxes", (2, 3, 4), args=(i, j))
            check("moveaxis", (2, 3, 4), args=(i, j))
    for args in [(3, 0), (0, 3), (-4, 0), (0, -4)]:
        check_error("swapaxes", (2, 3, 4), args=args)
        check_error("moveaxis", (2, 3, 4), args=args)


def by_strides(x, shape, strides, offset):
    """As MLX means it; by hand, since mx.as_strided stops the process at negative strides."""
    out = np.empty(shape, x.dtype)
    for at in np.ndindex(*shape):
        out[at] = x.reshape(-1)[offset + sum(i * n for i, n in zip(at, strides))]
    return out


def test_as_strided():
    for shape, strides, offset in [((3, 4), (1, 3), 0), ((2, 2), (5, 2), 3), ((4,), (-2,), 9),
                                   ((3, 5), (0, 1), 2), ((0, 3), (1, 1), 0), ((), (), 4)]:
        check("as_strided", (4, 6), args=(list(shape), list(strides), offset), dtypes=TYPES,
              ref=lambda x: to_mx(by_strides(from_mx(x), shape, strides, offset)))
    # MLX would read outside the array here.
    for shape, strides, offset in [((25,), (1,), 0), ((2,), (-1,), 0), ((1,), (1,), 24),
                                   ((3, 3), (12, 1), 0), ((2,), (2**62,), 0), ((2,), (2**63 - 1,), 5)]:
        with pytest.raises(mlxc.Error):
            mlxc.op("as_strided", np.zeros((4, 6), np.float32), list(shape), list(strides), offset)


def test_contiguous():
    for allow in (False, True):
        check("contiguous", (3, 4, 5), args=(allow,), dtypes=ALL)


def test_depends():
    a, b = numbers((3,), "float32"), numbers((2, 2), "int32")
    out = mlxc.op("depends", [a, b], [mlxc.op("transpose", b)])
    compare(out, [to_mx(a), to_mx(b)])


@pytest.mark.parametrize("dtype", ALL)
def test_concatenate(dtype):
    parts = [numbers((2, n, 3), dtype, seed=n) for n in (1, 4, 0, 2)]
    ours = mlxc.op("concatenate_axis", parts, 1)
    compare(ours, mx.concatenate([to_mx(p) for p in parts], 1))
    ours = mlxc.op("concatenate", parts)
    compare(ours, mx.concatenate([mx.flatten(to_mx(p)) for p in parts]))


def test_concatenate_layouts_and_types():
    x, y = numbers((3, 4), "int8"), numbers((4, 3), "float16")
    ours = mlxc.op("concatenate_axis", [mlxc.op("transpose", x), y], -1)
    compare(ours, mx.concatenate([to_mx(x).T, to_mx(y)], -1))
    big = numbers((700, 513), "float32")
    ours = mlxc.op("concatenate_axis", [big, mlxc.op("transpose", numbers((33, 700), "float32"))], 1)
    compare(ours, mx.concatenate([to_mx(big), to_mx(numbers((33, 700), "float32")).T], 1))
    for arrays, axis in [([(2, 3), (3, 3)], 1), ([(2, 3), (2, 3)], 2), ([(2, 3), (2, 3, 1)], 0),
                         ([(), ()], 0), ([], 0), ([(2, 3), (2, 3)], -3)]:
        made = [numbers(s, "float32") for s in arrays]
        with pytest.raises((ValueError, RuntimeError)):
            mx.eval(mx.concatenate([to_mx(m) for m in made], axis))
        with pytest.raises(mlxc.Error):
            mlxc.op("concatenate_axis", made, axis)


def test_stack():
    x, y = numbers((3, 4), "int8"), numbers((3, 4), "float16")
    compare(mlxc.op("stack", [x, y]), mx.stack([to_mx(x), to_mx(y)]))
    for axis in range(-3, 3):
        compare(mlxc.op("stack_axis", [x, y, x], axis), mx.stack([to_mx(a) for a in (x, y, x)], axis))
    compare(mlxc.op("stack", [np.float32(1), np.float32(2)]), mx.stack([mx.array(1.0), mx.array(2.0)]))
    for bad in [[x, x[:2]], []]:
        with pytest.raises(mlxc.Error):
            mlxc.op("stack", bad)


def test_split():
    for n, axis in [(1, 0), (2, 0), (3, 1), (12, -1), (4, -2)]:
        check("split", (4, 12), args=(n, axis), dtypes=TYPES)
    for at, axis in [([1, 3], 1), ([0, 5, 12], 1), ([2], 0), ([], 0), ([3, 1], 1), ([-2], 1),
                     ([1, 40], 1), (list(range(12)), 1), ([4, 4, 4], 1)]:
        check("split_sections", (4, 12), args=(at, axis), ref=lambda x: mx.split(x, at, axis))
    for args in [(5, 1), (0, 0), (-1, 0), (2, 2)]:
        check_error("split", (4, 12), args=args)


def test_repeat_and_tile():
    for n in (0, 1, 2, 5):
        check("repeat", (3, 4), args=(n,), dtypes=TYPES)
        for axis in (0, 1, -1):
            check("repeat_axis", (3, 4), args=(n, axis), ref=lambda x: mx.repeat(x, n, axis))
    check("repeat_axis", (0, 4), args=(3, 1), ref=lambda x: mx.repeat(x, 3, 1))
    check_error("repeat", (3, 4), args=(-1,))
    for reps in [[2], [2, 3], [1, 1], [2, 1, 3], [], [0], [3, 0], [1, 2, 1, 2]]:
        check("tile", (3, 4), args=(reps,), dtypes=TYPES)
        check("tile", (5,), args=(reps,))
    check("tile", (), args=([2, 3],))


def test_roll():
    for shift in (0, 1, -1, 7, -25, 100):
        check("roll", (3, 4), args=([shift],), ref=lambda x: mx.roll(x, shift))
        for axis in (0, 1, -1):
            check("roll_axis", (3, 4), args=([shift], axis), ref=lambda x: mx.roll(x, shift, axis))
    check("roll_axes", (3, 4), args=([1, 2], [0, 1]), ref=lambda x: mx.roll(x, [1, 2], [0, 1]))
    check("roll", (3, 4), args=([1, 2],), ref=lambda x: mx.roll(x, [1, 2]))
    check("roll", (0, 4), args=([3],), ref=lambda x: mx.roll(x, 3))
    check_error("roll_axes", (3, 4), args=([1], [0, 1]), ref=lambda x: mx.roll(x, [1], [0, 1]))
    check_error("roll_axis", (3, 4), args=([1], 2), ref=lambda x: mx.roll(x, 1, 2))


def test_pad():
    value = np.float32(2)
    for widths in [[(1, 2), (0, 3)], [(0, 0), (0, 0)], [(2, 0), (0, 0)]]:
        low, high = [w[0] for w in widths], [w[1] for w in widths]
        for mode in ("constant", "edge"):
            check("pad", (3, 4), args=([0, 1], low, high, value, mode), dtypes=ALL,
                  ref=lambda x: mx.pad(x, widths, mode, mx.array(2.0)))
    check("pad", (3, 4, 5), args=([1], [2], [1], value, "constant"),
          ref=lambda x: mx.pad(x, [(0, 0), (2, 1), (0, 0)], "constant", mx.array(2.0)))
    check("pad", (0, 4), args=([0, 1], [2, 1], [1, 0], value, "constant"),
          ref=lambda x: mx.pad(x, [(2, 1), (1, 0)], "constant", mx.array(2.0)))
    check("pad_symmetric", (3, 4), args=(2, value, "constant"),
          ref=lambda x: mx.pad(x, 2, "constant", mx.array(2.0)))
    check("pad_symmetric", (3, 1), args=(2, value, "edge"), ref=lambda x: mx.pad(x, 2, "edge"))
    for args in [([0], [-1], [0], value, "constant"), ([2], [1], [0], value, "constant"),
                 ([0], [1, 1], [0], value, "constant"), ([0], [1], [0], value, "mirror"),
                 ([0], [1], [0], np.ones(3, np.float32), "constant")]:
        with pytest.raises(mlxc.Error):
            mlxc.op("pad", numbers((3, 4), "float32"), *args)


def test_diagonals():
    for k in range(-5, 6):
        check("diag", (3, 4), args=(k,), dtypes=TYPES)
        check("diag", (3,), args=(k,), dtypes=TYPES)
        check("diagonal", (3, 4), args=(k, 0, 1))
    for axes in [(0, 1), (1, 0), (0, 2), (2, 1), (-1, -3)]:
        for k in (-2, 0, 1):
            check("diagonal", (3, 4, 5), args=(k, *axes))
    check_error("diag", (2, 3, 4), args=(0,))
    check_error("diag", (), args=(0,))
    for args in [(0, 0, 0), (0, 0, 2), (0, -3, 1)]:
        check_error("diagonal", (3, 4), args=args)
    check_error("diagonal", (3,), args=(0, 0, 1))


def test_trace():
    for dtype in ("int8", "bool", "float16", "float32", "uint32"):
        check("trace", (3, 4, 5), args=(1, 0, 2, dtype), dtypes=["float32", "int8", "bool"], low=0,
              ref=lambda x: mx.trace(x, 1, 0, 2, getattr(mx, "bool_" if dtype == "bool" else dtype)))
    check("trace", (0, 3), args=(0, 0, 1, "float32"), ref=mx.trace)
    check_error("trace", (3,), args=(0, 0, 1, "float32"), ref=mx.trace)
    check_error("trace", (3, 3), args=(0, 0, 0, "float32"), ref=lambda x: mx.trace(x, 0, 0, 0))


def test_meshgrid():
    parts = [numbers((n,), "float32", seed=n) for n in (2, 3, 4)]
    for some in (parts, parts[:2], parts[:1]):
        for sparse in (False, True):
            for indexing in ("xy", "ij"):
                compare(mlxc.op("meshgrid", some, sparse, indexing),
                        mx.meshgrid(*[to_mx(p) for p in some], sparse=sparse, indexing=indexing))
    with pytest.raises(mlxc.Error):
        mlxc.op("meshgrid", parts, False, "ab")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32", "complex64"])
def test_turned_copies(dtype):
    """Copies whose fast dimensions differ go through blocks: sizes around those of the blocks."""
    rng = np.random.default_rng(3)
    sizes = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65, 70, 130, 257]
    for _ in range(60):
        shape = rng.choice(sizes, rng.integers(2, 5))
        if np.prod(shape) > 300000:
            continue
        x = (np.arange(np.prod(shape)) % 2039).astype(np.float32).reshape(shape)
        axes = [int(a) for a in rng.permutation(len(shape))]
        turned = mlxc.op("transpose_axes", mlxc.array(x.astype(mlxc.numpy_dtype(dtype))), axes)
        expect = x.astype(mlxc.numpy_dtype(dtype)).transpose(axes)
        np.testing.assert_array_equal(mlxc.op("contiguous", turned, False).numpy(), expect)
        if dtype == "float16":
            np.testing.assert_array_equal(mlxc.op("astype", turned, "float32").numpy(),
                                          expect.astype(np.float32))
