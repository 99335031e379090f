"""Matrix products against MLX, and that a row does not depend on the others."""
import mlx.core as mx
import numpy as np
import pytest

import extensions as ext
import mlxc
from oracle import FLOATS, INEXACT, check, check_error, numbers, to_mx

# Sums of products that cancel: an absolute error of the size of the terms' rounding.
ATOL = {"float32": 2e-4, "complex64": 4e-4, "float16": 2e-2, "bfloat16": 1.5e-1, "float64": 1e-12}
TIGHT = {"atol": ATOL}


def uint(*values):
    return np.array(values, np.uint32)


@pytest.mark.parametrize("a,b", [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((130, 70), (70, 49)), ((4,), (4,)), ((4,), (4, 5)),
    ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)),
    ((2, 7), (7, 200)), ((9, 300), (300, 3)), ((0, 4), (4, 3)), ((3, 0), (0, 2)), ((5, 4, 1, 6), (6, 3)),
    ((2, 4), (0, 4, 3))])
def test_matmul(a, b):
    shape = np.matmul(np.zeros(a), np.zeros(b)).shape
    # MLX itself crashes now and then on products without elements: what they are is no question.
    ref = {"ref": lambda x, y: mx.zeros(shape, x.dtype)} if 0 in a + b else {}
    check("matmul", a, b, dtypes=INEXACT, **TIGHT, **ref)


def test_matmul_mixed():
    for ta, tb in (("float16", "bfloat16"), ("float32", "int32"), ("bfloat16", "float32"),
                   ("bool", "float16"), ("complex64", "float16")):
        a, b = numbers((3, 7), ta), numbers((7, 4), tb)
        check("matmul", a, b, **TIGHT)


def test_matmul_errors():
    check_error("matmul", (2, 3), (2, 3))
    check_error("matmul", (), (2, 3))
    check_error("matmul", (2, 2, 3), (3, 3, 4))
    check_error("matmul", np.zeros((2, 2), np.int32), np.zeros((2, 2), np.int32))


@pytest.mark.parametrize("c,a,b", [((5,), (3, 4), (4, 5)), ((3, 1), (3, 4), (4, 5)),
                                   ((2, 3, 5), (2, 3, 4), (4, 5)), ((), (4,), (4,)),
                                   ((5,), (4,), (4, 5)), ((1,), (3, 4), (4,))])
def test_addmm(c, a, b):
    check("addmm", c, a, b, args=(0.5, -2.0), dtypes=INEXACT, **TIGHT,
          ref=lambda x, y, z: mx.addmm(x, y, z, alpha=0.5, beta=-2.0))


def test_addmm_errors():
    check_error("addmm", (3,), (2, 3), (3, 2), args=(1.0, 1.0),
                ref=lambda x, y, z: mx.addmm(x, y, z))
    check_error("addmm", (4, 2, 2), (2, 3), (3, 2), args=(1.0, 1.0),
                ref=lambda x, y, z: mx.addmm(x, y, z))


def test_gather_mm():
    def case(left, right, a=(4, 2, 3), b=(5, 3, 2)):
        check("gather_mm", a, b, args=(left, right, False), **TIGHT, ref=lambda x, y: mx.gather_mm(
                  x, y, None if left is None else mx.array(left),
                  None if right is None else mx.array(right)))
    case(uint(0, 1), uint(2, 3))
    case(None, uint(2, 3, 1, 0))
    case(uint(3), None, b=(3, 2))
    case(None, uint(1), a=(3,))
    case(np.array([[0, 1], [3, 3]], np.int32), uint(4, 0))
    check_error("gather_mm", (4, 2, 3), (5, 3, 2), args=(None, uint(2, 3), False),
                ref=lambda x, y: mx.gather_mm(x, y, None, mx.array(uint(2, 3))))
    check_error("gather_mm", (4, 2, 3), (5, 4, 2), args=(None, uint(2), False),
                ref=lambda x, y: mx.gather_mm(x, y, None, mx.array(uint(2))))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types(dtype):
    """MLX's CPU has these two in float32 alone."""
    a, b = numbers((4, 2, 6), dtype), numbers((4, 6, 3), dtype)
    index, segments = uint(3, 0, 0), np.array([[0, 2], [2, 6]], np.uint32)
    for name, x, y, extra in (("gather_mm", a, b, (index, index, False)),
                              ("segmented_mm", a[0], b[0], (segments,))):
        ours = mlxc.op(name, x, y, *extra)
        single = mlxc.op(name, x.astype(np.float32), y.astype(np.float32), *extra).numpy()
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours.numpy().astype(np.float32), single, rtol=1e-2, atol=1e-2)


def test_segmented_mm():
    segments = np.array([[0, 2], [2, 6], [3, 3]], np.uint32)
    check("segmented_mm", (4, 6), (6, 5), args=(segments,), **TIGHT,
          ref=lambda x, y: mx.segmented_mm(x, y, mx.array(segments)))
    check_error("segmented_mm", (2, 4, 6), (2, 6, 5), args=(segments,),
                ref=lambda x, y: mx.segmented_mm(x, y, mx.array(segments)))
    check_error("segmented_mm", (4, 6), (6, 5), args=(uint(0, 2, 3),),
                ref=lambda x, y: mx.segmented_mm(x, y, mx.array(uint(0, 2, 3))))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_row_has_the_bits_it_has_alone(dtype, turned):
    a, b = numbers((200, 500), dtype), numbers((60, 500) if turned else (500, 60), dtype)
    right = mlxc.op("transpose", b) if turned else b
    whole = mlxc.op("matmul", a, right).numpy()
    for begin, end in ((0, 1), (1, 3), (90, 103), (3, 197)):
        assert (mlxc.op("matmul", a[begin:end], right).numpy() == whole[begin:end]).all()
    ext.table.set_threads(1)
    again = mlxc.op("matmul", a, right).numpy()
    ext.table.set_threads(0)
    assert (again == whole).all()


# Large products pack both operands once; a few rows of them alone do not. Both must make the same bits,
# and the right ones: sizes around the edges of blocks, panels and vectors, and of what is packed at a time.
LARGE = [((150, 70), (70, 101)), ((144, 32), (32, 96)), ((193, 385), (385, 145)), ((209, 97), (97, 113)),
         ((155, 70), (70, 1030)), ((2, 150, 70), (2, 70, 101)), ((3, 50, 70), (70, 101)), ((2, 1, 150, 33), (3, 33, 97))]
CHUNKED = [((150, 4100), (4100, 600)), ((2100, 4100), (4100, 97))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("a_shape,b_shape", LARGE)
def test_large_products(a_shape, b_shape, dtype):
    a, b = numbers(a_shape, dtype), numbers(b_shape, dtype, seed=1)
    want = a.astype(np.float64) @ b.astype(np.float64)
    error = {"float32": 2e-6, "float64": 1e-13, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    limit = error * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) + 1)
    turned_a = mlxc.op("swapaxes", np.ascontiguousarray(np.swapaxes(a, -1, -2)), -1, -2)
    turned_b = mlxc.op("swapaxes", np.ascontiguousarray(np.swapaxes(b, -1, -2)), -1, -2)
    plain = mlxc.op("matmul", a, b).numpy()
    assert (np.abs(plain.astype(np.float64) - want) <= limit).all()
    for x, y in ((a, turned_b), (turned_a, b), (turned_a, turned_b)):
        assert (mlxc.op("matmul", x, y).numpy() == plain).all()
    few = [mlxc.op("matmul", np.ascontiguousarray(a[..., i:i + 7, :]), b).numpy()
           for i in range(0, a.shape[-2], 7)]
    assert (np.concatenate(few, -2) == plain).all()
    c = numbers(plain.shape, dtype, seed=2)
    added = mlxc.op("addmm", c, a, b, 1.0, 0.0).numpy()
    assert (added == plain).all()
    half = mlxc.op("addmm", c, turned_a, b, 1.0, 0.5).numpy().astype(np.float64)
    assert (np.abs(half - want - 0.5 * c.astype(np.float64)) <= limit + error * (np.abs(want) + 4)).all()


@pytest.mark.parametrize("a_shape,b_shape", CHUNKED)
def test_products_packed_in_parts(a_shape, b_shape):
    a, b = numbers(a_shape, "float32"), numbers(b_shape, "float32", seed=1)
    whole = mlxc.op("matmul", a, b).numpy()
    for rows in (slice(0, 5), slice(140, 150), slice(a_shape[0] - 60, a_shape[0])):
        assert (mlxc.op("matmul", a[rows], b).numpy() == whole[rows]).all()
    ext.table.set_threads(1)
    again = mlxc.op("matmul", a, b).numpy()
    ext.table.set_threads(0)
    assert (again == whole).all()


def test_large_gather_mm():
    a, b = numbers((3, 150, 70), "float32"), numbers((4, 70, 101), "float32", seed=1)
    left, right = uint(2, 0, 2), uint(1, 1, 3)
    got = mlxc.op("gather_mm", a, b, left, right, False).numpy()
    for i in range(3):
        assert (got[i] == mlxc.op("matmul", a[left[i]], b[right[i]]).numpy()).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("turned", [False, True])
def test_gathered_rows(dtype, turned):
    """Experts: each row by the matrix it chose; the bits of the product of that row alone."""
    rng = np.random.default_rng(3)
    for tokens, chosen, experts, k, n in ((1, 2, 4, 33, 7), (90, 3, 5, 130, 65), (64, 2, 70, 64, 96)):
        x = mlxc.op("expand_dims_axes", numbers((tokens, k), dtype), [1, 2])
        w = numbers((experts, n, k) if turned else (experts, k, n), dtype, seed=2)
        b = mlxc.op("transpose_axes", w, [0, 2, 1]) if turned else w
        ids = rng.integers(0, experts, (tokens, chosen)).astype(np.uint32)
        got = mlxc.op("gather_mm", x, b, None, ids, False).numpy()
        assert got.shape == (tokens, chosen, 1, n)
        rows = mlxc.op("reshape", x, [tokens, 1, k]).numpy()
        for t, e in ((0, 0), (tokens - 1, chosen - 1), (tokens // 2, 1)):
            alone = w[ids[t, e]]
            want = mlxc.op("matmul", rows[t], mlxc.op("transpose", alone) if turned else alone).numpy()
            assert (got[t, e] == want).all(), (t, e)


def test_error_against_float64():
    for k in (64, 1000, 4096):
        a, b = numbers((5, k), "float32"), numbers((k, 70), "float32")
        want = a.astype(np.float64) @ b.astype(np.float64)
        limit = k * 2.0 ** -24 * (np.abs(a).astype(np.float64) @ np.abs(b))
        assert (np.abs(mlxc.op("matmul", a, b).numpy() - want) <= limit).all()


# ---- block_masked_mm -------------------------------------------------------------------------

MASKED = [((64, 96), (96, 40)), ((70, 33), (33, 1)), ((2, 64, 32), (32, 65)), ((3, 1, 32, 32), (2, 32, 40)), ((1, 1), (1, 1))]


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("kind", ["bool", "float32"])
def test_block_masked_mm(size, kind):
    up = lambda n: -(-n // size)
    for a, b in MASKED:
        (m, k), n = a[-2:], b[-1]
        shapes = [(up(m), up(n)), (up(m), up(k)), (up(k), up(n))]
        masks = [numbers(s, kind, 0.5, 2, seed=i) for i, s in enumerate(shapes)]
        for wanted in ("", "o", "lr", "olr"):
            given = [x if c in wanted else None for c, x in zip("olr", masks)]
            check("block_masked_mm", a, b, args=[size, *given], atol=1e-4, rtol=1e-4, layouts=wanted == "olr",
                  ref=lambda x, y: mx.block_masked_mm(x, y, size, *[None if g is None else to_mx(g) for g in given]))
    x = np.full((32, 32), np.nan, np.float32)  # what is left out does not count, whatever it is
    assert (mlxc.op("block_masked_mm", x, x, 32, np.zeros((1, 1), bool), None, None).numpy() == 0).all()
    v = numbers((64,), "float32")
    w = numbers((64, 40), "float32")
    np.testing.assert_allclose(mlxc.op("block_masked_mm", v, w, 32, np.array([[True, False]]), None, None).numpy(),
                               np.where(np.arange(40) < 32, v @ w, 0), rtol=1e-4, atol=1e-5)


def test_block_masked_mm_errors():
    one = np.ones((2, 2), np.float32)
    for size, mask in [(16, one), (0, one), (32, np.ones((3, 2), np.float32))]:
        check_error("block_masked_mm", (64, 64), (64, 64), args=(size, mask, None, None),
                    ref=lambda x, y: mx.block_masked_mm(x, y, size, to_mx(mask)))
    check_error("block_masked_mm", (64, 32), (33, 64), args=(32, one, None, None), ref=lambda x, y: mx.block_masked_mm(x, y, 32, to_mx(one)))
    check_error("block_masked_mm", (64, 64), (64, 64), args=(32, one, None, None), dtype="int32",
                ref=lambda x, y: mx.block_masked_mm(x, y, 32, to_mx(one)))


def test_many_panels_of_a_deep_product():
    """Rows that are more than the caches keep go by several panels at once: the sums are the same ones."""
    rng = np.random.default_rng(7)
    a, b = (rng.standard_normal(s, np.float32) for s in ((200, 5600), (5600, 1700)))
    got = mlxc.op("matmul", mlxc.array(a), mlxc.array(b)).numpy()
    want = a.astype(np.float64) @ b
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    few = mlxc.op("matmul", mlxc.array(a[60:63]), mlxc.array(b)).numpy()
    np.testing.assert_array_equal(few, got[60:63])
