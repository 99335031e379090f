"""Products other than of matrices, and the Hadamard transform."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import check, check_error, compare, numbers, to_mx


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "bool"])
def test_hadamard(dtype):
    tolerance = {"float32": 1e-5, "int32": 1e-5, "bool": 1e-5, "float16": 1e-2, "bfloat16": 1e-1}[dtype]
    for n in (1, 2, 8, 12, 20, 24, 28, 56, 64, 40, 512, 12 * 128, 4096, 28 * 1024):
        check("hadamard_transform", (3, n), args=(None,), dtypes=[dtype], layouts=n < 30, atol=tolerance,
              ref=mx.hadamard_transform)
    check("hadamard_transform", (2, 3, 16), args=(0.5,), dtypes=[dtype], atol=tolerance,
          ref=lambda x: mx.hadamard_transform(x, 0.5))
    check("hadamard_transform", (), args=(None,), dtypes=[dtype], ref=mx.hadamard_transform)


def test_hadamard_errors():
    for shape in [(2, 3), (7,), (44,), (0,), (6,), (10,)]:
        check_error("hadamard_transform", shape, args=(None,), ref=mx.hadamard_transform)
    check_error("hadamard_transform", (4,), args=(None,), dtype="float64", ref=mx.hadamard_transform)
    with pytest.raises(mlxc.Error):  # MLX damages its memory here
        mlxc.op("hadamard_transform", np.zeros(36, np.float32), None)


def test_tensordot():
    for n in (0, 1, 2):
        check("tensordot_axis", (2, 3, 4), {0: (5,), 1: (4, 5), 2: (3, 4, 5)}[n], args=(n,), dtypes=["float32", "float16"],
              ref=lambda a, b: mx.tensordot(a, b, n), atol={"float32": 1e-5, "float16": 5e-2})
    for axes in [([1], [0]), ([-1], [1]), ([0, 2], [2, 1]), ([], [])]:
        shape = {(1,): (3, 5), (-1,): (5, 4), (0, 2): (5, 4, 2), (): (5,)}[tuple(axes[0])]
        check("tensordot", (2, 3, 4), shape, args=axes, ref=lambda a, b: mx.tensordot(a, b, list(axes)), atol=1e-5)
    check("tensordot_axis", (2, 0), (0, 4), args=(1,), ref=lambda a, b: mx.tensordot(a, b, 1))
    for n in (-1, 3):
        check_error("tensordot_axis", (2, 3), (3, 4), args=(n,), ref=lambda a, b: mx.tensordot(a, b, n))
    for axes in [([1], [1]), ([1], [0, 1]), ([1, 1], [0, 0]), ([2], [0])]:
        check_error("tensordot", (2, 3), (3, 4), args=axes, ref=lambda a, b: mx.tensordot(a, b, list(axes)))


def test_inner_outer_kron():
    for a, b in [((3,), (3,)), ((2, 3), (4, 3)), ((), (2, 3)), ((1,), ()), ((), ())]:
        check("inner", a, b, atol=1e-5)
    check_error("inner", (2, 3), (2,))
    for a, b in [((3,), (4,)), ((2, 3), (4, 3)), ((), (2, 3)), ((0,), (3,)), ((), ())]:
        check("outer", a, b, dtypes=["float32", "int8", "bool", "complex64"])
    for a, b in [((3,), (4,)), ((2, 3), (4, 3)), ((), (2, 3)), ((2, 3), (2, 3, 4)), ((2, 3), (2,)), ((), ())]:
        check("kron", a, b, dtypes=["float32", "int8", "complex64"])
    check_error("kron", (0,), (3,))
