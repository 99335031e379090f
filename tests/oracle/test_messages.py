"""Refusals: whatever does not fit is an error that names the function, and the type and shape of
every array it was given; sizes beyond the address space are among them."""
import numpy as np
import pytest

import mlxc


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


A, B, I = zeros(2, 3), zeros(4, 5), zeros(2, dtype="int32")
W, S = zeros(8, 8, dtype="uint32"), zeros(8, 1)
BIG = 2**31 - 1

# What does not fit together, or not the operation: its name in C and its arguments.
BAD = [
    *[(n, A, B) for n in (
        "add subtract multiply divide power maximum minimum arctan2 logaddexp remainder floor_divide "
        "divmod equal not_equal less greater less_equal greater_equal logical_and logical_or inner").split()],
    *[(n, zeros(2, 3, dtype="int32"), zeros(4, 5, dtype="int32")) for n in (
        "bitwise_and bitwise_or bitwise_xor left_shift right_shift").split()],
    *[(n, A, A) for n in "bitwise_and left_shift matmul".split()],
    *[(n, zeros(2, dtype="complex64")) for n in "floor ceil erf erfinv".split()],
    ("where", A > 0, B, A), ("isclose", A, B, 0.0, 0.0, False), ("clip", A, B, None),
    ("matmul", A, B), ("matmul", zeros(), A), ("matmul", zeros(2, 3, 4), zeros(3, 4, 5)),
    ("addmm", B, A, A.T, 1.0, 1.0), ("tensordot", A, B, [1], [0]), ("tensordot_axis", A, B, 1),
    ("gather_mm", A, B, I, I, False), ("segmented_mm", A, B, zeros(1, 2, dtype="int32")),
    *[(n + "_axis", A, 5, False) for n in "sum prod max min mean all any logsumexp argmax argmin".split()],
    *[(n, A, 5, False, True) for n in "cumsum cumprod cummax cummin logcumsumexp".split()],
    *[(n + "_axis", A, 7) for n in "sort argsort squeeze".split()],
    ("sum_axes", A, [0, 0], False), ("var_axis", A, 4, False, 0), ("median", A, [7], False),
    ("max", zeros(0), False), ("softmax_axis", A, 5, False), ("partition_axis", A, 9, 0),
    ("topk_axis", A, 9, 0), ("reshape", A, [4, 5]), ("reshape", A, [-1, -1]), ("flatten", A, 1, 0),
    ("unflatten", A, 0, [3, 3]), ("squeeze_axis", A, 0), ("expand_dims", A, 9),
    ("transpose_axes", A, [0, 0]), ("swapaxes", A, 0, 5), ("moveaxis", A, 0, 5),
    ("broadcast_to", A, [4, 5]), ("split", A, 5, 0), ("repeat_axis", A, 2, 9), ("repeat_axis", A, -1, 0),
    ("tile", A, [-1]), ("roll_axis", A, [1], 9), ("pad_symmetric", A, -2, zeros(), "constant"),
    ("pad_symmetric", A, 1, zeros(), "other"), ("tril", zeros(3), 0), ("diag", zeros(2, 2, 2), 0),
    ("diagonal", A, 0, 0, 0), ("view", zeros(3, dtype="int8"), "float32"), ("view", zeros(), "int8"),
    ("as_strided", A, [9], [1], 0), ("as_strided", A, [2], [2**62], 0), ("take_axis", A, A, 0),
    ("take_axis", A, I, 8), ("take_along_axis", A, I, 0), ("put_along_axis", A, zeros(9, 9, dtype="int32"), A, 0),
    ("slice_dynamic", A, I, [0, 1], [9, 9]), ("slice_update_dynamic", A, B, I, [0, 1]),
    ("slice_update", A, B, [0, 0], [2, 3], [1, 1]), ("masked_scatter", A, zeros(5) > 0, B),
    ("conv2d", A, A, 1, 1, 0, 0, 1, 1, 1), ("conv1d", zeros(1, 5, 3), zeros(4, 3, 2), 1, 0, 1, 1),
    ("conv1d", zeros(1, 5, 3, dtype="int32"), zeros(4, 3, 3, dtype="int32"), 1, 0, 1, 1),
    ("hadamard_transform", zeros(2, 7), None), ("quantize", zeros(2, 33), 32, 4, "affine", None),
    ("quantize", zeros(2, 64, dtype="int32"), 32, 4, "affine", None),
    ("dequantize", A, A, A, 32, 4, "affine", None, None),
    ("quantized_matmul", A, W, S, S, True, 64, 4, "affine"), ("to_fp8", I), ("from_fp8", I, "float32"),
    ("fast_rms_norm", A, zeros(4), 1e-5), ("fast_layer_norm", A, None, zeros(4), 1e-5),
    ("fast_rope", A, 2, False, 1.0, 1.0, 0, None),
    ("fast_scaled_dot_product_attention", A, A, A, 1.0, "", None, None),
]


# The same of arrays in lists, and of those that may be left out.
@pytest.mark.parametrize("name, args, given", [
    ("concatenate_axis", ([A, B], 0), ["float32 (2,3)", "float32 (4,5)"]),
    ("stack", ([A, I],), ["arrays: [float32 (2,3), int32 (2)]"]),
    ("einsum", ("ij,jk", [A, B]), ["float32 (2,3)", "float32 (4,5)"]),
    ("einsum", ("i", [I] * 9), ["int32 (2), ...]"]),
    ("broadcast_arrays", ([A, B],), ["float32 (2,3)", "float32 (4,5)"]),
    ("fast_layer_norm", (A, zeros(4), None, 1e-5), ["weight: float32 (4"]),
    ("fast_rope", (A, 2, False, None, 1.0, 0, zeros(7)), ["freqs: float32 (7", "x: float32 (2,3)"]),
    ("random_bits", ([2], 4, zeros(3, dtype="uint32")), ["key: uint32 (3"]),
], ids=str)
def test_errors_say_what_lists_and_options_held(name, args, given):
    with pytest.raises(mlxc.Error) as e:
        mlxc.op(name, *args)
    for text in ["mlx_" + name, *given]:
        assert text.replace(",)", ")") in str(e.value).replace(",)", ")")


@pytest.mark.parametrize("name, args", [(b[0], b[1:]) for b in BAD],
                         ids=["%s-%d" % (b[0], i) for i, b in enumerate(BAD)])
def test_errors_say_what_was_given(name, args):
    with pytest.raises(mlxc.Error) as e:
        out = mlxc.op(name, *args)
        for a in out if isinstance(out, (list, tuple)) else [out]:
            a.eval()
    message = str(e.value)
    assert "[" in message and "mlx_" + name in message
    first = args[0]
    assert "%s (%s" % (first.dtype.name, ",".join(map(str, first.shape))) in message


def repeated(*shape):
    return mlxc.op("broadcast_to", np.zeros((), np.float32), list(shape))


TOO_BIG = [
    lambda: repeated(BIG, BIG), lambda: repeated(BIG, BIG, BIG), lambda: repeated(0, BIG, BIG, BIG),
    lambda: mlxc.op("add", repeated(BIG, 1), repeated(1, BIG)),
    lambda: mlxc.op("matmul", repeated(BIG, 1), repeated(1, BIG)),
    lambda: mlxc.op("outer", repeated(BIG), repeated(BIG)), lambda: mlxc.op("kron", repeated(BIG), repeated(2)),
    lambda: mlxc.op("tile", repeated(BIG), [3]), lambda: mlxc.op("repeat", repeated(BIG), 3),
    lambda: mlxc.op("concatenate", [repeated(BIG), repeated(BIG)]),
    lambda: mlxc.op("pad_symmetric", repeated(BIG), 9, np.zeros((), np.float32), "constant"),
    lambda: mlxc.op("zeros", [BIG, BIG, BIG], "float32"), lambda: mlxc.op("eye", BIG, BIG, 0, "float32"),
    lambda: mlxc.op("flatten", repeated(BIG, 4), 0, -1), lambda: mlxc.op("reshape", repeated(BIG, 4), [-1]),
    lambda: mlxc.op("as_strided", np.zeros(3, np.float32), [BIG, BIG, BIG], [0, 0, 0], 0),
    lambda: mlxc.op("diag", repeated(BIG), 0), lambda: mlxc.op("view", mlxc.op("astype", repeated(BIG), "int64"), "int8"),
    lambda: mlxc.op("random_bits", [BIG, BIG, BIG], 4, np.zeros(2, np.uint32)),
    lambda: mlxc.op("conv1d", zeros(1, 4, 1), zeros(1, 2, 1), 1, BIG, 1, 1),
    lambda: mlxc.op("expand_dims", zeros(*[1] * 32), 0),
    lambda: mlxc.op("segmented_mm", A, A.T, zeros(*[1] * 31 + [2], dtype="uint32")),
    lambda: mlxc.op("meshgrid", [repeated(BIG)] * 3, False, "ij"),
]


@pytest.mark.parametrize("i", range(len(TOO_BIG)))
def test_sizes_beyond_the_address_space_are_refused(i):
    with pytest.raises(mlxc.Error, match=r"\["):
        TOO_BIG[i]()


def test_a_refusal_leaves_the_result_and_the_next_call_alone():
    with pytest.raises(mlxc.Error, match="mlx_add of a: float32"):
        mlxc.op("add", A, B)
    np.testing.assert_array_equal(mlxc.op("add", A, A).numpy(), A)
    with pytest.raises(mlxc.Error) as e:
        mlxc.op("zeros", [-1], "float32")
    assert "mlx_add" not in str(e.value)
