"""Quantization: packed bytes, scales, biases and dequantized numbers equal MLX's; products close to
float64's, and a row's bits do not depend on the other rows."""
import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import extensions as ext
import mlxc
from oracle import from_mx, to_mx

AFFINE = [("affine", g, b) for g in (32, 64, 128) for b in (2, 3, 4, 5, 6, 8)]
FLOATING = [("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
TYPES = ["float32", "float16", "bfloat16"]


def weights(shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=shape) * np.exp(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
    return w.astype(np.float32).astype(mlxc.numpy_dtype(dtype))


def same_bits(ours, theirs):
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


def both(w, mode, group, bits):
    return (mlxc.op("quantize", w, group, bits, mode, None),
            mx.quantize(to_mx(w), group_size=group, bits=bits, mode=mode))


@pytest.mark.parametrize("mode,group,bits", AFFINE + FLOATING)
@pytest.mark.parametrize("dtype", TYPES)
def test_quantize(mode, group, bits, dtype):
    w = weights((40, 3, 256), dtype)
    w[0] = 0
    w[1] = 1
    w[2] = np.abs(w[2])
    w[3] = -np.abs(w[3])
    if dtype == "float16":
        w = np.clip(w, -8, 8)
    ours, theirs = both(w, mode, group, bits)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        same_bits(a.numpy(), from_mx(b))
    for out in [None] + TYPES:
        back = mlxc.op("dequantize", *ours, *[None] * (3 - len(ours)), group, bits, mode, None, out)
        want = mx.dequantize(*theirs, *[None] * (3 - len(ours)), group_size=group, bits=bits,
                             mode=mode, dtype=None if out is None else getattr(mx, out))
        same_bits(back.numpy(), from_mx(want))


def test_quantize_layouts_and_defaults():
    w = weights((128, 192))
    turned = mlxc.op("transpose", np.ascontiguousarray(w.T))
    for a, b in zip(mlxc.op("quantize", turned, None, None, "affine", None), mx.quantize(to_mx(w))):
        same_bits(a.numpy(), from_mx(b))


def exact(parts, mode, group, bits):
    extra = [None] * (3 - len(parts))
    return mlxc.op("dequantize", *parts, *extra, group, bits, mode, None,
                   "float32").numpy().astype(np.float64)


@pytest.mark.parametrize("mode,group,bits", AFFINE + FLOATING)
@pytest.mark.parametrize("turned", [True, False])
def test_products(mode, group, bits, turned):
    n, k = (70, 384) if turned else (384, 70)
    w = weights((n, 384)) if turned else weights((k, 384))
    parts = mlxc.op("quantize", w, group, bits, mode, None)
    numbers = exact(parts, mode, group, bits)
    numbers = numbers.T if turned else numbers
    rng = np.random.default_rng(5)
    for m in (1, 2, 3, 7, 101):
        for t in TYPES:
            x = rng.normal(size=(m, k)).astype(np.float32).astype(mlxc.numpy_dtype(t))
            want = x.astype(np.float64) @ numbers
            extra = [None] * (3 - len(parts))
            got = mlxc.op("quantized_matmul", x, *parts, *extra, turned, group, bits, mode)
            size = np.abs(x.astype(np.float64)) @ np.abs(numbers)
            assert got.dtype == ("float32" if mode == "affine" else t)
            limit = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 4e-3}[got.dtype]
            assert (np.abs(got.numpy().astype(np.float64) - want) <= limit * size + 1e-6).all()


@pytest.mark.parametrize("mode,group,bits", [("affine", 64, 4), ("affine", 32, 3), ("mxfp4", 32, 4)])
def test_a_row_has_the_bits_it_has_alone(mode, group, bits):
    parts = mlxc.op("quantize", weights((75, 512)), group, bits, mode, None)
    extra = [None] * (3 - len(parts))
    x = weights((120, 512), seed=3)
    whole = mlxc.op("quantized_matmul", x, *parts, *extra, True, group, bits, mode).numpy()
    for begin, end in ((0, 1), (1, 3), (7, 12), (20, 117)):
        part = mlxc.op("quantized_matmul", x[begin:end], *parts, *extra, True, group, bits, mode)
        assert (part.numpy() == whole[begin:end]).all()
    ext.table.set_threads(1)
    again = mlxc.op("quantized_matmul", x, *parts, *extra, True, group, bits, mode).numpy()
    ext.table.set_threads(0)
    assert (again == whole).all()


def test_batches():
    w = weights((3, 20, 128))
    parts = mlxc.op("quantize", w, 64, 4, "affine", None)
    theirs = mx.quantize(to_mx(w))
    for shape in ((3, 5, 128), (2, 3, 5, 128), (3, 1, 128), (2, 1, 4, 128)):
        x = weights(shape, seed=7)
        for t in (True, False):
            y = x if t else x[..., :20]
            ours = mlxc.op("quantized_matmul", y, *parts, t, 64, 4, "affine").numpy()
            want = from_mx(mx.quantized_matmul(to_mx(y), *theirs, transpose=t))
            assert ours.shape == want.shape
            np.testing.assert_allclose(ours, want, rtol=1e-3, atol=0.1)


def test_gather():
    w = weights((5, 20, 128))
    x = weights((4, 2, 128), seed=1)
    left, right = np.array([[0], [3]], np.uint32), np.array([1, 4, 4], np.uint32)
    for mode, group in (("affine", 64), ("mxfp4", 32)):
        parts = mlxc.op("quantize", w, group, 4, mode, None)
        theirs = mx.quantize(to_mx(w), group_size=group, mode=mode)
        extra = [None] * (3 - len(parts))
        for t in (True, False):
            y = x if t else x[..., :20]
            got = mlxc.op("gather_qmm", y, *parts, *extra, left, right, t, group, 4, mode, False)
            want = mx.gather_qmm(to_mx(y), *theirs, *extra, mx.array(left), mx.array(right), transpose=t,
                                 group_size=group, bits=4, mode=mode)
            np.testing.assert_allclose(got.numpy(), from_mx(want), rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("mode,group,bits", FLOATING[1:])
def test_qqmm(mode, group, bits):
    x, w = weights((6, 128)), weights((20, 128), seed=2)
    parts = mlxc.op("quantize", w, group, bits, mode, None)
    rounded = mlxc.op("quantize", x, group, bits, mode, None)
    a, b = exact(rounded, mode, group, bits), exact(parts, mode, group, bits)
    want = a @ b.T  # MLX's CPU has none
    # activations are rounded to 15 bits of the largest of their group: bfloat16 keeps 8
    bound = 2.0**-15 * abs(a).max(-1, keepdims=True) * abs(b).sum(-1) + 1e-3
    for args in ((w, None), parts):
        got = mlxc.op("qqmm", x, *args, None, None, mode, None, None).numpy()
        assert (abs(got - want) <= bound).all()


def test_errors():
    w = weights((8, 128))
    for args in ((w[0], 64, 4, "affine"), (w, 16, 4, "affine"), (w, 64, 7, "affine"), (w, 64, 0, "affine"),
                 (w[:, :100], 64, 4, "affine"), (w, 64, 4, "mxfp4"), (w, None, None, "other"),
                 (w.astype(np.int32), 64, 4, "affine"), (w.astype(np.float64), 64, 4, "affine")):
        with pytest.raises(mlxc.Error, match="quantize"):
            mlxc.op("quantize", *args, None)
    q, s, b = mlxc.op("quantize", w, 64, 4, "affine", None)
    x = weights((2, 128))
    for args in ((x, q, s, None, True, 64, 4, "affine"), (x, q, s, b, True, 32, 4, "affine"),
                 (x[:, :64], q, s, b, True, 64, 4, "affine"), (x, q, s, b, False, 64, 4, "affine"),
                 (x, w, s, b, True, 64, 4, "affine"), (x, q, s, b, True, 32, 4, "mxfp4")):
        with pytest.raises(mlxc.Error, match="quantized_matmul"):
            mlxc.op("quantized_matmul", *args)


@pytest.mark.parametrize("dtype", TYPES)
def test_global_scale(dtype):
    """nvfp4 with a scale of the whole matrix: packed bytes, scales and numbers equal MLX's."""
    rng = np.random.default_rng(3)
    for trial in range(12):
        w = (rng.standard_normal((16, 256)) * 10.0 ** rng.integers(-3, 3)).astype(mlxc.numpy_dtype(dtype))
        g = np.float32([0.5, 3.0, 7.7, np.abs(w.astype(np.float32)).max()][trial % 4])
        theirs = mx.quantize(to_mx(w), mode="nvfp4", global_scale=mx.array(g))
        ours = mlxc.op("quantize", w, None, None, "nvfp4", g)
        for a, b in zip(ours, theirs):
            same_bits(a.numpy(), from_mx(b))
        for out in (None, "bfloat16"):
            back = mlxc.op("dequantize", *ours, None, None, None, "nvfp4", g, out)
            same_bits(back.numpy(), from_mx(mx.dequantize(*theirs, mode="nvfp4", global_scale=mx.array(g))))


def test_global_scale_in_a_product():
    """Both matrices with scales of their own: near the product of what they stand for."""
    x, w = weights((5, 64)), weights((24, 64), seed=1)
    gx, gw = (np.float32(np.abs(a).max()) for a in (x, w))
    parts = [mlxc.op("quantize", a, None, None, "nvfp4", g) for a, g in ((x, gx), (w, gw))]
    a, b = (mlxc.op("dequantize", *p, None, None, None, "nvfp4", g, None).numpy() for p, g in zip(parts, (gx, gw)))
    for given in ((w, None), parts[1]):
        got = mlxc.op("qqmm", x, *given, None, None, "nvfp4", gx, gw).numpy()
        np.testing.assert_allclose(got, a @ b.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode,g,message", [
    ("mxfp4", np.float32(1), "only supported for 'nvfp4'"), ("nvfp4", np.ones(2, np.float32), "must be a scalar"),
    ("nvfp4", np.float16(1), "must have dtype float32")])
def test_global_scale_errors(mode, g, message):
    with pytest.raises(Exception, match=message):
        mlxc.op("quantize", weights((4, 64)), None, None, mode, g)
    parts = mlxc.op("quantize", weights((4, 64)), None, None, mode, None)
    with pytest.raises(Exception, match=message):
        mlxc.op("dequantize", *parts, None, None, None, mode, g, None)
