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
