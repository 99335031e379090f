"""Attention against MLX and against float64, over masks, shapes and types; and that a query's result
does not depend on which queries are asked with it."""
import mlx.core as mx
import numpy as np
import pytest

import extensions as ext
import mlxc
from oracle import from_mx, to_mx


def inputs(b, h, kv, l, s, d, dv, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    t = mlxc.numpy_dtype(dtype)
    return [rng.normal(size=shape).astype(np.float32).astype(t)
            for shape in ((b, h, l, d), (b, kv, s, d), (b, kv, s, dv))]


def exact(q, k, v, scale, seen=None, add=None, sinks=None):
    """In float64. seen: bool, add: numbers, both broadcast to [B, H, L, S]."""
    share = q.shape[1] // k.shape[1]
    q, k, v = (x.astype(np.float64) for x in (q, k.repeat(share, 1), v.repeat(share, 1)))
    s = scale * q @ k.swapaxes(-1, -2)
    if add is not None:
        s = s + add
    if seen is not None:
        s = np.where(seen, s, np.finfo(np.float32).min)
    top = s.max(-1, keepdims=True)
    extra = 0
    if sinks is not None:
        logit = sinks.astype(np.float64)[None, :, None, None]
        top = np.maximum(top, logit)
        extra = np.exp(logit - top)
    with np.errstate(invalid="ignore"):
        p = np.exp(s - top)
    return p @ v / (p.sum(-1, keepdims=True) + extra)


def sees(l, s, length=None, window=0):
    length = s if length is None else length
    last = np.arange(l)[:, None] + length - l
    key = np.arange(s)[None]
    return (key <= last) & ((key > last - window) if window else True)


SHAPES = [(1, 1, 1, 1, 1, 1, 1), (1, 4, 2, 3, 5, 8, 6), (2, 9, 3, 70, 70, 64, 64),
          (1, 3, 3, 1, 200, 64, 64), (1, 2, 1, 65, 130, 80, 200), (1, 2, 1, 5, 66, 256, 1100)]
FAST = "fast_scaled_dot_product_attention"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_masks(shape, dtype):
    q, k, v = inputs(*shape, dtype)
    b, h, _, l, s, d, _ = shape
    rng = np.random.default_rng(3)
    boolean = rng.integers(0, 2, (l, s)).astype(bool)
    boolean[:, 0] = True
    added = rng.normal(size=(b, 1, l, s)).astype(q.dtype)
    sinks = rng.normal(size=h).astype(q.dtype)
    scale = d ** -0.5
    tol = {"float32": 2e-6, "float64": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}[dtype]
    for mode, mask, sink, want in (
            ("", None, None, exact(q, k, v, scale)),
            ("causal", None, None, exact(q, k, v, scale, sees(l, s))),
            ("array", boolean, None, exact(q, k, v, scale, boolean)),
            ("array", added, None, exact(q, k, v, scale, add=added.astype(np.float64))),
            ("", None, sinks, exact(q, k, v, scale, sinks=sinks))):
        got = mlxc.op(FAST, q, k, v, scale, mode, mask, sink)
        assert got.dtype == dtype
        got = got.numpy().astype(np.float64)
        assert np.abs(got - want).max() <= tol * max(1, np.abs(want).max())


@pytest.mark.parametrize("kind", ["none", "causal", "array", "hidden"])
def test_as_mlx(kind):
    q, k, v = inputs(2, 4, 2, 9, 7, 16, 16)
    mask = np.zeros((9, 7), bool)
    mask[:, 1:4] = kind == "array"
    theirs = mx.fast.scaled_dot_product_attention(
        to_mx(q), to_mx(k), to_mx(v), scale=0.3,
        mask={"none": None, "causal": "causal"}.get(kind, to_mx(mask)))
    mode = {"none": "", "causal": "causal"}.get(kind, "array")
    ours = mlxc.op(FAST, q, k, v, 0.3, mode, mask if mode == "array" else None, None).numpy()
    np.testing.assert_allclose(ours, from_mx(theirs), rtol=1e-5, atol=1e-6)


def test_not_a_number():
    q, k, v = inputs(1, 1, 1, 2, 70, 8, 8)
    hidden = np.zeros((2, 70), np.float32)
    hidden[0] = -np.inf
    hidden[1, :66] = -np.inf
    got = mlxc.op(FAST, q, k, v, 1.0, "array", hidden, None).numpy()
    assert np.isnan(got[0, 0, 0]).all()
    want = exact(q, k, v, 1.0, add=hidden.astype(np.float64)[None, None])
    np.testing.assert_allclose(got[0, 0, 1], want[0, 0, 1], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_cache_of_another_type(dtype):
    q, k, v = inputs(2, 6, 2, 5, 150, 64, 32)
    k, v = k.astype(mlxc.numpy_dtype(dtype)), v.astype(mlxc.numpy_dtype(dtype))
    lengths = np.array([150, 77], np.int32)
    k[1, :, 77:] = np.nan
    v[1, :, 77:] = np.nan # never to be read
    for window in (0, 40):
        got = ext.call("attention", q, k, v, 0.125, lengths, True, window, None).numpy()
        for b in (0, 1):
            n = lengths[b]
            want = exact(q[b:b + 1], k[b:b + 1, :, :n], v[b:b + 1, :, :n], 0.125,
                         sees(5, n, n, window))
            np.testing.assert_allclose(got[b], want[0], rtol=2e-5, atol=2e-6)


def test_a_query_has_the_bits_it_has_alone():
    q, k, v = inputs(1, 9, 3, 200, 200, 64, 64)
    k, v = k.astype(np.float16), v.astype(np.float16)
    all_at_once = ext.call("attention", q, k, v, 0.125, None, True, 0, None).numpy()
    for begin, end in ((0, 1), (5, 40), (63, 65), (127, 190), (199, 200)):
        part = ext.call("attention", q[:, :, begin:end], k[:, :, :end], v[:, :, :end], 0.125, None,
                        True, 0, None).numpy()
        assert (part == all_at_once[:, :, begin:end]).all()
    ext.table.set_threads(1)
    again = ext.call("attention", q, k, v, 0.125, None, True, 0, None).numpy()
    ext.table.set_threads(0)
    assert (again == all_at_once).all()


@pytest.mark.parametrize("window", [0, 300])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_query_over_many_keys(dtype, window):
    """Few queries are cut by keys among threads; the sum is the one that many queries make."""
    keys, depth, width = 1100, 96, 130
    q, k, v = inputs(1, 6, 2, keys, keys, depth, width)
    k, v = k.astype(dtype), v.astype(dtype)
    all_at_once = ext.call("attention", q, k, v, 0.1, None, True, window, None).numpy()
    for end in (65, 256, 257, 640, 1000, keys):
        want = exact(q[:, :, end - 1:end], k[:, :, :end], v[:, :, :end], 0.1, sees(1, end, end, window))
        for threads in (1, 2):
            ext.table.set_threads(threads)
            for begin in (end - 1, end - 3):
                got = ext.call("attention", q[:, :, begin:end], k[:, :, :end], v[:, :, :end], 0.1, None,
                               True, window, None).numpy()
                assert (got == all_at_once[:, :, begin:end]).all()
            np.testing.assert_allclose(got[:, :, -1:], want, rtol=2e-5, atol=2e-6)
    ext.table.set_threads(0)


def test_errors():
    q, k, v = inputs(1, 4, 2, 3, 5, 8, 6)
    for bad in ((q[0], k, v), (q, k[..., :7], v), (q, k, v[:, :1]), (q[:, :3], k, v),
                (q.astype(np.int32), k.astype(np.int32), v.astype(np.int32)), (q, k, v[:, :, :4])):
        with pytest.raises(mlxc.Error):
            mlxc.op(FAST, *bad, 1.0, "", None, None)
    for mode, mask, sinks in (("other", None, None), ("array", np.zeros((3, 4), np.float32), None),
                              ("", None, np.zeros(3, np.float32))):
        with pytest.raises(mlxc.Error):
            mlxc.op(FAST, q, k, v, 1.0, mode, mask, sinks)
