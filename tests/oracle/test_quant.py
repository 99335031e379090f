"""Affine quantization: MLX's packing bit for bit, its values, and products with packed matrices."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import check_error, compare, numbers, to_mx

TYPES = ["float32", "float16", "bfloat16"]
BITS = [2, 3, 4, 5, 6, 8]
GROUPS = [32, 64, 128]
TOLERANCE = {"float32": (2e-5, 2e-4), "float16": (2e-3, 5e-3), "bfloat16": (1.6e-2, 4e-2)}


def packed(w, group, bits):
    """The matrix quantized by MLX, as arrays of both libraries."""
    theirs = mx.quantize(to_mx(w), group_size=group, bits=bits)
    scale = w.dtype.name
    ours = [np.array(theirs[0])] + [mlxc.op("astype", np.array(a.astype(mx.float32)), scale)
                                    for a in theirs[1:]]
    return ours, theirs


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", TYPES)
def test_quantize(dtype, bits):
    for group in GROUPS:
        for shape in ((1, group), (5, 2 * group), (2, 3, group)):
            w = numbers(shape, dtype)
            ours = mlxc.op("quantize", w, group, bits, "affine", None)
            compare(ours, mx.quantize(to_mx(w), group_size=group, bits=bits), rtol=0, atol=0)
            compare(mlxc.op("dequantize", *ours, group, bits, "affine", None, None),
                    mx.dequantize(*mx.quantize(to_mx(w), group_size=group, bits=bits),
                                  group_size=group, bits=bits), rtol=0, atol=0)


@pytest.mark.parametrize("value", [0, 1, -1, 1e-9])
def test_groups_of_one_value(value):
    w = np.full((2, 64), value, np.float32)
    ours = mlxc.op("quantize", w, None, None, "affine", None)
    compare(ours, mx.quantize(mx.array(w)), rtol=0, atol=0)


def test_views_are_quantized_as_what_they_show():
    w = numbers((64, 6), "float32")
    ours = mlxc.op("quantize", mlxc.op("transpose", w), 32, 4, "affine", None)
    compare(ours, mx.quantize(mx.array(w).T, group_size=32), rtol=0, atol=0)


def in_float(x, matrix, **how):
    """The product in float32: MLX itself sums 16-bit types in 16 bits on the CPU, we do not."""
    f = [a.astype(mx.float32) for a in (x, *matrix[1:])]
    return mx.quantized_matmul(f[0], matrix[0], *f[1:], **how).astype(x.dtype)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("transpose", [True, False])
def test_quantized_matmul(dtype, bits, transpose):
    for group in GROUPS:
        for m, n, k in ((1, 50, 256), (3, 97, 384), (65, 33, 128)):
            w = numbers((n, k) if transpose else (k, group * 2), dtype, -1, 1)
            ours, theirs = packed(w, group, bits)
            for x in (numbers((m, k), dtype), numbers((2, m, k), dtype), numbers((k,), dtype)):
                compare(mlxc.op("quantized_matmul", x, *ours, transpose, group, bits, "affine"),
                        in_float(to_mx(x), theirs, transpose=transpose, group_size=group, bits=bits),
                        "%s %s" % (x.shape, w.shape), *TOLERANCE[dtype])


def test_batches_of_matrices_broadcast():
    w, x = numbers((3, 40, 64), "float32"), numbers((5, 1, 2, 64), "float32")
    ours, theirs = packed(w, 32, 4)
    compare(mlxc.op("quantized_matmul", x, *ours, True, 32, 4, "affine"),
            mx.quantized_matmul(to_mx(x), *theirs, group_size=32, bits=4), "", 2e-5, 2e-4)


def test_strided_inputs():
    w, x = numbers((64, 128), "float32"), numbers((128, 7), "float32")
    ours, theirs = packed(w, 64, 4)
    t = [mlxc.op("transpose", a) for a in [x] + ours[1:]]
    again = [ours[0]] + [mlxc.op("transpose", mlxc.op("contiguous", a, False)) for a in t[1:]]
    compare(mlxc.op("quantized_matmul", t[0], *again, True, 64, 4, "affine"),
            mx.quantized_matmul(to_mx(x).T, *theirs), "", 2e-5, 2e-4)


def test_a_row_does_not_depend_on_the_others():
    w, x = numbers((96, 256), "float32"), numbers((37, 256), "float32")
    ours, _ = packed(w, 64, 4)
    whole = mlxc.op("quantized_matmul", x, *ours, True, 64, 4, "affine").numpy()
    for i in (0, 17, 36):
        row = mlxc.op("quantized_matmul", x[i:i + 1], *ours, True, 64, 4, "affine").numpy()
        np.testing.assert_array_equal(row[0], whole[i])


@pytest.mark.parametrize("transpose", [True, False])
def test_gather_qmm(transpose):
    w, x = numbers((4, 64, 64), "float32"), numbers((6, 3, 64), "float32")
    ours, theirs = packed(w, 32, 4)
    rhs, lhs = np.array([3, 0, 1], np.uint32), np.array([5, 5, 2], np.uint32)
    for l, r in ((lhs, rhs), (None, np.array([1, 1, 0, 2, 3, 3], np.uint32)),
                 (np.array([[0], [1]], np.uint32), rhs)):
        compare(mlxc.op("gather_qmm", x, *ours, l, r, transpose, 32, 4, "affine", False),
                mx.gather_qmm(to_mx(x), *theirs, None if l is None else mx.array(l), mx.array(r),
                              transpose=transpose, group_size=32, bits=4), "", 2e-5, 2e-4)


def test_errors():
    for shape, args in (((4, 100), (None, None)), ((64,), (None, None)), ((4, 64), (None, 7)),
                        ((4, 64), (16, None))):
        check_error("quantize", shape, args=args + ("affine", None),
                    ref=lambda x: mx.quantize(x, group_size=args[0], bits=args[1]))
    check_error("quantize", (4, 64), args=(None, None, "x", None),
                ref=lambda x: mx.quantize(x, mode="x"))
    ours, theirs = packed(numbers((96, 128), "float32"), 64, 4)
    x = numbers((3, 64), "float32")
    for args in ((x, *ours, True, 64, 4), (numbers((3, 128), "float32"), *ours, True, 32, 4),
                 (numbers((3, 128), "float32"), ours[0], ours[1], None, True, 64, 4)):
        with pytest.raises(mlxc.Error, match="quantized_matmul"):
            mlxc.op("quantized_matmul", *args, "affine")
