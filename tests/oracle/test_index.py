"""Take, gather, scatter."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, INTS, check, check_error, compare, from_mx, numbers, ours_view, to_mx, transposed


def np_take(axis):
    """By NumPy: MLX 0.31.2 gathers wrongly from transposed arrays where slices have several rows."""
    return lambda x, i: to_mx(np.take(from_mx(x), from_mx(i), axis))


@pytest.mark.parametrize("dtype", ALL)
def test_take(dtype):
    index = np.array([[0, 2, -1], [1, -3, 2]], np.int32)
    for axis in (0, 1, -1):
        check("take_axis", (3, 4, 5), index, args=(axis,), dtypes=[dtype], ref=np_take(axis))
    check("take", (3, 4, 5), index, dtypes=[dtype])
    check("take_axis", (3, 4), np.array(1, np.int32), args=(0,), dtypes=[dtype], ref=np_take(0))
    check("take_axis", (3, 4), np.zeros((0, 2), np.int32), args=(1,), dtypes=[dtype],
          ref=lambda x, i: mx.take(x, i, 1))


@pytest.mark.parametrize("kind", INTS)
def test_index_types(kind):
    index = np.array([0, 6, 3, 3], kind)
    check("take_axis", (7, 33), index, args=(0,), ref=lambda x, i: mx.take(x, i, 0))
    if kind.startswith("int"):
        check("take_axis", (7, 33), -index - 1, args=(0,), ref=lambda x, i: mx.take(x, i, 0))
    check("take_along_axis", (7, 4), index.reshape(1, 4), args=(0,))


def test_rows_of_a_large_table():
    table, index = numbers((1000, 577), "float16"), numbers((3000,), "int32", 0, 999)
    compare(mlxc.op("take_axis", table, index, 0), to_mx(table[index]))


def test_take_errors():
    check_error("take", (0,), np.zeros(2, np.int32))
    check_error("take_axis", (3, 4), np.zeros(2, np.int32), args=(2,), ref=lambda x, i: mx.take(x, i, 2))
    for bad in (np.zeros(2, np.float32), np.zeros(2, bool)):
        with pytest.raises(mlxc.Error):
            mlxc.op("take", numbers((3,), "float32"), bad)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "complex64"])
def test_out_of_range_reads_inside(dtype):
    x = numbers((5,), dtype)
    index = np.array([5, 100, -6, -100, 2**31 - 1, -2**31], np.int32)
    near = np.array([4, 4, 0, 0, 4, 0])
    compare(mlxc.op("take_axis", x, index, 0), to_mx(x[near]))
    compare(mlxc.op("take_along_axis", x, index, 0), to_mx(x[near]))
    huge = np.array([2**64 - 1, 2**63], np.uint64)
    compare(mlxc.op("take_axis", x, huge, 0), to_mx(x[[4, 4]]))
    y = mlxc.op("scatter_single", x, huge[:1], np.zeros((1, 1), x.dtype), 0).numpy()
    assert y[4] == 0 and (y[:4] == x[:4]).all()


@pytest.mark.parametrize("dtype", ALL)
def test_take_along_axis(dtype):
    for axis in (0, 1, 2, -1):
        shape = [3, 4, 5]
        n = shape[axis]
        shape[axis] = 6
        check("take_along_axis", (3, 4, 5), numbers(tuple(shape), "int32", -n, n - 1), args=(axis,),
              dtypes=[dtype])
    check("take_along_axis", (3, 1, 5), numbers((1, 4, 2), "int32", -5, 4), args=(2,), dtypes=[dtype])
    check("take_along_axis", (3, 4), np.zeros((3, 0), np.int32), args=(1,), dtypes=[dtype])


def test_along_axis_errors():
    check_error("take_along_axis", (3, 4), np.zeros((3,), np.int32), args=(1,))
    check_error("take_along_axis", (3, 4), np.zeros((2, 4), np.int32), args=(1,))
    check_error("take_along_axis", (3, 4), np.zeros((3, 4), np.int32), args=(2,))
    for op in ("put_along_axis", "scatter_add_axis"):
        for index, values, axis in [((3,), (3,), 1), ((2, 4), (2, 4), 1), ((3, 4), (3, 3), 1), ((3, 4), (), 2)]:
            with pytest.raises(mlxc.Error):
                mlxc.op(op, numbers((3, 4), "float32"), np.zeros(index, np.int32),
                        np.zeros(values, np.float32), axis)


@pytest.mark.parametrize("dtype", ALL)
def test_put_along_axis(dtype):
    for axis in (0, 1, 2, -1):
        shape = [3, 4, 5]
        n = shape[axis]
        shape[axis] = 2
        index = np.stack([numbers(tuple(d for i, d in enumerate(shape) if i != axis % 3), "int32", 0, n // 2 - 1),
                          numbers(tuple(d for i, d in enumerate(shape) if i != axis % 3), "int32", n // 2, n - 1)],
                         axis % 3)
        check("put_along_axis", (3, 4, 5), index, tuple(shape), args=(axis,), dtypes=[dtype])
        check("put_along_axis", (3, 4, 5), index, (1, 1, 1), args=(axis,), dtypes=[dtype])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float16", "bfloat16", "float32", "complex64"])
def test_scatter_add_axis(dtype):
    x = numbers((3, 40), dtype)
    index = numbers((3, 300), "int64", -40, 39)
    values = numbers((3, 300), dtype, 0, 1)
    want = mx.array(to_mx(x))
    rows = mx.broadcast_to(mx.arange(3)[:, None], (3, 300))
    want = want.at[rows, to_mx(index.astype("int32"))].add(to_mx(values))
    compare(mlxc.op("scatter_add_axis", x, index, values, 1), want)
    xt = mlxc.op("transpose", x)
    got = mlxc.op("scatter_add_axis", xt, mlxc.op("transpose", index), mlxc.op("transpose", values), 0)
    compare(got, want.T)


def test_gather():
    x = numbers((4, 5, 6), "float32")
    i, j = np.array([[0], [2]], np.int32), np.array([1, -2, 3], np.int64)
    got = mlxc.op("gather", x, [i, j], [0, 2], [2, 5, 1])
    want = np.empty((2, 3, 2, 5, 1), np.float32)
    for a in range(2):
        for b in range(3):
            c = j[b] % 6
            want[a, b] = x[i[a, 0]:i[a, 0] + 2, :, c:c + 1]
    compare(got, to_mx(want))
    xt = ours_view(mlxc.array(np.ascontiguousarray(x.transpose())), transposed(x)[1])
    compare(mlxc.op("gather", xt, [i, j], [0, 2], [2, 5, 1]), to_mx(want))
    compare(mlxc.op("gather_single", x, j, 1, [4, 1, 2]), to_mx(x[:, j % 5, :2].transpose(1, 0, 2)[:, :, None, :]))
    compare(mlxc.op("gather", x, [], [], [2, 3, 1]), to_mx(x[:2, :3, :1].copy()))
    # the slice is moved inside
    compare(mlxc.op("gather_single", x, np.array([3], np.int32), 0, [2, 5, 6]), to_mx(x[None, 2:4]))
    for bad in [([i], [0, 1], [1, 1, 1]), ([i, j], [0, 0], [1, 1, 1]), ([i], [3], [1, 1, 1]),
                ([i], [0], [5, 1, 1]), ([i], [0], [1, 1]), ([i.astype(np.float32)], [0], [1, 1, 1]),
                ([i, i, i, i], [0, 1, 2, 0], [1, 1, 1]), ([i[:1], np.zeros(7, np.int32), i], [0, 1, 2], [-1, 1, 1])]:
        with pytest.raises(mlxc.Error):
            mlxc.op("gather", x, *bad)


MODES = {"scatter": None, "scatter_add": "add", "scatter_max": "maximum", "scatter_min": "minimum",
         "scatter_prod": "multiply"}


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("op", MODES)
def test_scatter(op, dtype):
    x = numbers((6, 5), dtype)
    index = np.array([1, 4, -1] if op == "scatter" else [1, 4, -1, 1, 1], np.int32)
    u = numbers((len(index), 5), dtype, seed=3)
    if op == "scatter":
        want = mx.array(to_mx(x))
        want[to_mx(index)] = to_mx(u)
    else:
        want = getattr(to_mx(x).at[to_mx(index)], MODES[op])(to_mx(u))
    compare(mlxc.op(op + "_single", x, index, u[:, None], 0), want)
    compare(mlxc.op(op, x, [index], u[:, None], [0]), want)
    xt = ours_view(mlxc.array(np.ascontiguousarray(x.transpose())), transposed(x)[1])
    compare(mlxc.op(op, xt, [index], u[:, None], [0]), want)


def test_scatter_of_elements_and_windows():
    x = numbers((6, 5), "float32")
    i, j = np.array([[0], [3]], np.int32), np.array([1, -1], np.int32)
    u = numbers((2, 2, 1, 1), "float32", seed=1)
    want = x.copy()
    want[i, j] = u[..., 0, 0]
    compare(mlxc.op("scatter", x, [i, j], u, [0, 1]), to_mx(want))
    # windows that overlap, in order
    u = numbers((3, 2, 5), "float32", seed=2)
    want = x.copy()
    for k, at in enumerate([1, 2, 1]):
        want[at:at + 2] += u[k]
    compare(mlxc.op("scatter_add_single", x, np.array([1, 2, 1], np.int32), u, 0), to_mx(want))
    # the later update wins
    u = numbers((3, 1, 5), "float32", seed=2)
    want = x.copy()
    want[2] = u[2, 0]
    compare(mlxc.op("scatter_single", x, np.array([2, 2, 2], np.int32), u, 0), to_mx(want))
    compare(mlxc.op("scatter_single", x, np.zeros((0,), np.int32), u[:0], 0), to_mx(x))
    wide = numbers((50, 3000), "float32")
    index = numbers((400,), "int32", 0, 49)
    u = numbers((400, 1, 3000), "float32", seed=5)
    want = wide.copy()
    for k in range(400):
        want[index[k]] += u[k, 0]
    compare(mlxc.op("scatter_add_single", wide, index, u, 0), to_mx(want))
    for args in [([i], u, [0]), ([i[:, 0]], u[:2], [2]), ([i[:, 0]], u[:2], [0, 1]),
                 ([i[:, 0]], np.zeros((2, 7, 1), np.float32), [0]), ([i[:, 0].astype(np.float32)], u[:2], [0])]:
        with pytest.raises(mlxc.Error):
            mlxc.op("scatter", x, *args)


@pytest.mark.parametrize("dtype", ALL)
def test_masked_scatter(dtype):
    x = numbers((3, 4, 5), dtype)
    for shape in [(3,), (3, 4), (3, 4, 5)]:
        mask = numbers(shape, "bool", seed=4)
        rows = numbers((int(mask.sum()),) + x.shape[len(shape):], dtype, seed=6)
        want = x.copy()
        want[mask] = rows
        for op in (lambda a: a, lambda a: ours_view(mlxc.array(np.ascontiguousarray(a.T)), transposed(a)[1])):
            compare(mlxc.op("masked_scatter", op(x), mask, rows), to_mx(want))
        one = numbers(x.shape[len(shape):], dtype, seed=7)
        want[mask] = one
        compare(mlxc.op("masked_scatter", x, mask, one), to_mx(want))
        got = mx.array(to_mx(x))
        got[to_mx(mask)] = to_mx(one)
        compare(mlxc.op("masked_scatter", x, mask, one), got)


def test_masked_scatter_edges():
    x = numbers((2, 3), "float32")
    mask = np.array([[True, False, True], [False, True, True]])
    want = x.copy()
    want[0, 0], want[0, 2] = 10, 20
    compare(mlxc.op("masked_scatter", x, mask, np.array([10, 20], np.float32)), to_mx(want))
    compare(mlxc.op("masked_scatter", x, mask, np.zeros(0, np.float32)), to_mx(x))
    compare(mlxc.op("masked_scatter", np.float32(1), np.array(True), np.float32(4)), mx.array(4.0))
    compare(mlxc.op("masked_scatter", x[:0], mask[:0], np.float32(4)), mx.zeros((0, 3)))
    for m, v in [(mask.astype(np.int32), 1.0), (mask[:, :2], 1.0), (mask[None], 1.0), (mask[:, :1], 1.0),
                 (mask, np.ones((2, 3))), (mask[0, :2], np.ones((1, 2, 3)))]:
        with pytest.raises(mlxc.Error):
            mlxc.op("masked_scatter", x, m, np.asarray(v, np.float32))
