"""rms_norm, layer_norm and rope."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import FLOATS, HALVES, check, check_error, compare, numbers, to_mx

LOOSE = {"float16": 3e-3, "bfloat16": 2.4e-2, "float32": 5e-6, "float64": 1e-5}
WIDTHS = [1, 3, 16, 31, 64, 576, 577, 1100]


@pytest.mark.parametrize("width", WIDTHS)
def test_rms_norm(width):
    for shape in [(width,), (3, width), (2, 5, width), (0, width)]:
        check("fast_rms_norm", shape, (width,), args=(1e-5,), dtypes=FLOATS, rtol=LOOSE, atol=LOOSE,
              ref=lambda x, w: mx.fast.rms_norm(x, w, 1e-5))
        check("fast_rms_norm", shape, args=(None, 1e-3), dtypes=FLOATS, rtol=LOOSE, atol=LOOSE,
              ref=lambda x: mx.fast.rms_norm(x, None, 1e-3))


@pytest.mark.parametrize("width", WIDTHS)
def test_layer_norm(width):
    for shape in [(width,), (3, width), (2, 5, width)]:
        check("fast_layer_norm", shape, (width,), (width,), args=(1e-5,), dtypes=FLOATS, rtol=LOOSE,
              layouts=False, ref=lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
              atol={"float16": 6e-3, "bfloat16": 5e-2, "float32": 2e-5, "float64": 2e-5})
    x = numbers((width, 5), "float32")
    compare(mlxc.op("fast_layer_norm", mlxc.op("transpose", x), x[:, 0].copy(), None, 1e-5),
            mx.fast.layer_norm(to_mx(x).T, to_mx(x[:, 0]), None, 1e-5), rtol=1e-5, atol=2e-5)
    for w, b in ((True, False), (False, True), (False, False)):
        x, v = numbers((4, width), "float32"), numbers((width,), "float32")
        ours = mlxc.op("fast_layer_norm", x, v if w else None, v if b else None, 1e-5)
        theirs = mx.fast.layer_norm(to_mx(x), to_mx(v) if w else None, to_mx(v) if b else None, 1e-5)
        compare(ours, theirs, rtol=1e-5, atol=2e-5)


def test_norm_types_meet():
    for a in FLOATS + ["int32", "bool"]:
        for b in FLOATS + ["int32"]:
            if a in ("int32", "bool") and b == "int32":
                continue
            x, w = numbers((3, 8), a), numbers((8,), b)
            compare(mlxc.op("fast_rms_norm", x, w, 1e-5), mx.fast.rms_norm(to_mx(x), to_mx(w), 1e-5),
                    rtol=2e-2, atol=2e-2)


def test_norm_of_large_numbers():
    x = np.full((2, 600), 1e15, np.float32)
    compare(mlxc.op("fast_rms_norm", x, None, 1e-5), mx.fast.rms_norm(to_mx(x), None, 1e-5))
    x = np.random.default_rng(1).uniform(1000, 1001, (3, 700)).astype(np.float32)
    d = x.astype(np.float64)
    want = (d - d.mean(1, keepdims=True)) / np.sqrt(d.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(mlxc.op("fast_layer_norm", x, None, None, 1e-5).numpy(), want, atol=1e-3)


def test_norm_errors():
    r, n = mx.fast.rms_norm, mx.fast.layer_norm
    check_error("fast_rms_norm", (), args=(None, 1e-5), ref=lambda x: r(x, None, 1e-5))
    check_error("fast_rms_norm", (2, 3), (4,), args=(1e-5,), ref=lambda x, w: r(x, w, 1e-5))
    check_error("fast_rms_norm", (2, 3), (1, 3), args=(1e-5,), ref=lambda x, w: r(x, w, 1e-5))
    for dtype in ("int32", "complex64"):
        check_error("fast_rms_norm", (3,), args=(None, 1e-5), ref=lambda x: r(x, None, 1e-5), dtype=dtype)
        check_error("fast_layer_norm", (3,), args=(None, None, 1e-5), ref=lambda x: n(x, None, None, 1e-5),
                    dtype=dtype)
    check_error("fast_layer_norm", (2, 3), (3,), (2,), args=(1e-5,), ref=lambda x, w, b: n(x, w, b, 1e-5))


def rope(x, dims, traditional, base, scale, offset, freqs=None):
    """MLX's, in float32 at least: it computes the angles of halves in halves."""
    f = x.astype(mx.float32) if x.dtype.size == 2 else x
    return mx.fast.rope(f, dims, traditional=traditional, base=base, scale=scale, offset=offset,
                        freqs=freqs).astype(x.dtype)


@pytest.mark.parametrize("traditional", [False, True])
def test_rope(traditional):
    for shape in [(1, 1, 64), (2, 5, 8), (1, 9, 7, 64), (2, 3, 5, 16), (2, 3, 2, 4, 6), (1, 2, 0, 4),
                  (1, 1, 3, 700)]:
        for dims in {2, shape[-1] // 4 * 2, shape[-1]}:
            for scale, offset in ((1.0, 0), (0.25, 77), (1.0, 1000)):
                check("fast_rope", shape, args=(dims, traditional, 10000.0, scale, offset, None),
                      dtypes=FLOATS, rtol=LOOSE, atol={"float32": 5e-4, "float64": 5e-4, "float16": 4e-3,
                                                       "bfloat16": 3e-2},
                      ref=lambda x: rope(x, dims, traditional, 10000.0, scale, offset))


def exact_rope(x, dims, offset, base=10000.0, scale=1.0):
    d = x.astype(np.float64)
    half = dims // 2
    inv = (base ** (-np.arange(half) / half)).astype(np.float32)
    p = (np.float32(scale) * (offset + np.arange(x.shape[-2])).astype(np.float32)).astype(np.float32)
    t = (p[:, None] * inv).astype(np.float64)
    a, b = d[..., :half], d[..., half:dims]
    return np.concatenate([a * np.cos(t) - b * np.sin(t), a * np.sin(t) + b * np.cos(t), d[..., dims:]], -1)


def test_rope_is_exact_to_float():
    x = numbers((2, 3, 50, 64), "float32")
    for offset in (0, 3, 4000, 130000):
        ours = mlxc.op("fast_rope", x, 64, False, 500000.0, 1.0, offset, None).numpy()
        np.testing.assert_allclose(ours, exact_rope(x, 64, offset, 500000.0), atol=2e-6)


def test_rope_with_frequencies():
    for dtype in ("float32", "float16", "int32"):
        f = np.array([1, 3, 10, 100]).astype(dtype)
        for shape in [(1, 5, 8), (2, 3, 5, 12)]:
            x = numbers(shape, "float32")
            ours = mlxc.op("fast_rope", x, 8, False, None, 0.5, 7, f)
            compare(ours, rope(to_mx(x), 8, False, None, 0.5, 7, to_mx(f)), rtol=1e-5, atol=2e-5)


def test_rope_with_offsets_of_sequences():
    for offsets in ([3, 90], [5], 11):
        for dtype in ("int32", "int64", "uint32", "int8"):
            o = np.array(offsets).astype(dtype)
            for shape in [(2, 3, 5, 8), (2, 1, 4), (2, 3, 2, 4, 6)]:
                for traditional in (False, True):
                    check("fast_rope_dynamic", numbers(shape, "float32"),
                          args=(4, traditional, 10000.0, 1.0, o, None), rtol=1e-5, atol=2e-5,
                          ref=lambda x: rope(x, 4, traditional, 10000.0, 1.0, mx.array(o)))


def test_rope_errors():
    ok = dict(shape=(1, 2, 4), dims=4, base=1e4, freqs=None, dtype="float32")
    for change in (dict(shape=(2, 4)), dict(dims=6), dict(dims=3), dict(dims=0), dict(dims=-2),
                   dict(base=None), dict(freqs=np.ones(2, np.float32)), dict(dtype="int32"),
                   dict(dtype="complex64"), dict(base=None, freqs=np.ones(3, np.float32)),
                   dict(base=None, freqs=np.ones((1, 2), np.float32))):
        c = {**ok, **change}
        check_error("fast_rope", numbers(c["shape"], c["dtype"]),
                    args=(c["dims"], False, c["base"], 1.0, 0, c["freqs"]),
                    ref=lambda x: mx.fast.rope(x, c["dims"], traditional=False, base=c["base"], scale=1.0,
                                               offset=0, freqs=None if c["freqs"] is None
                                               else mx.array(c["freqs"])))
    for o in (np.array([1, 2, 3]), np.array([[1, 2]]), np.array([1.5, 2]), np.array(True)):
        o = o.astype(np.float32 if o.dtype == np.float64 else o.dtype)
        check_error("fast_rope_dynamic", (2, 2, 4), args=(4, False, 1e4, 1.0, o, None),
                    ref=lambda x: mx.fast.rope(x, 4, traditional=False, base=1e4, scale=1.0,
                                               offset=mx.array(o)))
