"""Convolutions."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import check, check_error, compare, from_mx, numbers, to_mx

# float64 is in test_double: MLX computes it in float32, and stops the process where there are groups.
ABSOLUTE = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 2e-1}
TYPES = list(ABSOLUTE)


def direct(x, w, stride, low, high, dilation, spread, groups, flip):
    """By definition, in float64."""
    x, w = from_mx(x).astype(np.float64), from_mx(w).astype(np.float64)
    n = x.ndim - 2
    if flip:
        w = w[(slice(None),) + (slice(None, None, -1),) * n]
    wide = np.zeros((x.shape[0],) + tuple((x.shape[i + 1] - 1) * spread[i] + 1 for i in range(n)) + x.shape[-1:])
    wide[(slice(None),) + tuple(slice(None, None, s) for s in spread)] = x
    wide = np.pad(wide, [(0, 0)] + [(max(a, 0), max(b, 0)) for a, b in zip(low, high)] + [(0, 0)])
    wide = wide[(slice(None),) + tuple(slice(-min(a, 0), wide.shape[i + 1] + min(b, 0)) for i, (a, b) in
                                       enumerate(zip(low, high)))]
    reach = [(w.shape[i + 1] - 1) * dilation[i] + 1 for i in range(n)]
    size = [(wide.shape[i + 1] - reach[i]) // stride[i] + 1 for i in range(n)]
    out = np.zeros((x.shape[0], *size, w.shape[0]))
    inputs, outputs = x.shape[-1] // groups, w.shape[0] // groups
    for tap in np.ndindex(*w.shape[1:-1]):
        at = tuple(slice(tap[i] * dilation[i], tap[i] * dilation[i] + (size[i] - 1) * stride[i] + 1, stride[i])
                   for i in range(n))
        seen = wide[(slice(None),) + at]
        for g in range(groups):
            part = w[(slice(g * outputs, (g + 1) * outputs),) + tap]
            out[..., g * outputs:(g + 1) * outputs] += seen[..., g * inputs:(g + 1) * inputs] @ part.T
    return out


@pytest.mark.parametrize("dtype", TYPES)
def test_conv(dtype):
    for args in [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 3, 1), (3, 4, 2, 1)]:
        check("conv1d", (2, 20, 5), (7, 3, 5), args=args, dtypes=[dtype], atol=ABSOLUTE)
    check("conv1d", (2, 20, 6), (4, 3, 3), args=(1, 1, 1, 2), dtypes=[dtype], atol=ABSOLUTE)
    check("conv1d", (2, 20, 6), (6, 3, 1), args=(1, 1, 1, 6), dtypes=[dtype], atol=ABSOLUTE)
    for (s, p, d, g) in [((1, 1), (0, 0), (1, 1), 1), ((2, 1), (1, 0), (1, 2), 1), ((1, 1), (1, 1), (1, 1), 2)]:
        check("conv2d", (2, 9, 11, 4), (6, 3, 3, 4 // g), args=(*s, *p, *d, g), dtypes=[dtype], atol=ABSOLUTE,
              ref=lambda x, w: mx.conv2d(x, w, s, p, d, g))
    check("conv3d", (2, 5, 6, 7, 3), (4, 2, 3, 2, 3), args=(1, 2, 1, 1, 0, 1, 1, 1, 2, 1), dtypes=[dtype],
          atol=ABSOLUTE, ref=lambda x, w: mx.conv3d(x, w, (1, 2, 1), (1, 0, 1), (1, 1, 2), 1))


def test_double():
    a, b = numbers((2, 9, 9, 40), "float64"), numbers((20, 3, 3, 40), "float64", seed=1)
    want = direct(to_mx(a), to_mx(b), [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], 1, False)
    compare(mlxc.op("conv2d", a, b, 1, 1, 1, 1, 1, 1, 1), to_mx(want), atol=1e-10)


def test_wide_channels():
    for x, w, g in [((1, 7, 7, 300), (40, 3, 3, 300), 1), ((3, 5, 5, 64), (33, 1, 1, 64), 1),
                    ((1, 6, 6, 32), (64, 3, 3, 4), 8), ((1, 50, 50, 3), (16, 7, 7, 3), 1)]:
        a, b = numbers(x, "float32"), numbers(w, "float32")
        want = direct(to_mx(a), to_mx(b), [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], g, False).astype(np.float32)
        compare(mlxc.op("conv2d", a, b, 1, 1, 1, 1, 1, 1, g), to_mx(want), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_general(flip):
    for stride, low, high, dilation, spread, groups in [
            ([1, 1], [0, 0], [0, 0], [1, 1], [1, 1], 1), ([2, 2], [1, 2], [0, 3], [1, 2], [2, 3], 1),
            ([1, 2], [-1, 0], [0, -2], [1, 1], [1, 1], 1), ([3, 1], [4, 0], [2, 1], [2, 1], [1, 2], 2)]:
        args = (stride, low, high, dilation, spread, groups, flip)
        x, w = numbers((2, 9, 11, 4), "float32"), numbers((6, 3, 2, 4 // groups), "float32", seed=1)
        want = to_mx(direct(to_mx(x), to_mx(w), *args).astype(np.float32))
        compare(mlxc.op("conv_general", x, w, *args), want, args, rtol=1e-4, atol=1e-4)
        if min(low + high) >= 0:
            theirs = mx.conv_general(to_mx(x), to_mx(w), stride, (low, high), dilation, spread, groups, flip)
            compare(mlxc.op("conv_general", x, w, *args), theirs, args, rtol=1e-4, atol=1e-4)
    x, w = numbers((2, 9, 11, 4), "float32"), numbers((6, 3, 2, 4), "float32", seed=1)
    compare(mlxc.op("conv_general", x, w, [2], [1], [1], [], [], 1, flip),
            mx.conv_general(to_mx(x), to_mx(w), 2, 1, flip=flip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 16, 19, 64, 100])
@pytest.mark.parametrize("dtype", TYPES + ["float64"])
def test_depthwise(dtype, channels):
    """Each channel a group of its own, fewer and more of them than vectors hold."""
    for stride, low, high, dilation, spread, flip, kernel in [
            ([1, 1], [1, 1], [1, 1], [1, 1], [1, 1], False, (3, 3)),
            ([2, 1], [0, 3], [1, -1], [1, 2], [1, 1], True, (2, 3)),
            ([1, 2], [2, 1], [4, 2], [2, 1], [2, 3], False, (3, 4)),
            ([1, 1], [8, 9], [8, 9], [1, 1], [1, 1], False, (15, 18))]:
        args = (stride, low, high, dilation, spread, channels, flip)
        x, w = numbers((2, 5, 13, channels), dtype), numbers((channels, *kernel, 1), dtype, seed=1)
        want = direct(to_mx(x), to_mx(w), *args)
        want = want if dtype == "float64" else to_mx(want.astype(np.float32)).astype(getattr(mx, dtype))
        compare(mlxc.op("conv_general", x, w, *args), to_mx(want) if dtype == "float64" else want, args,
                rtol=1e-4 if "32" in dtype else 2e-2, atol={"float64": 1e-10, **ABSOLUTE}[dtype] * 5)


def test_depthwise_layouts():
    check("conv2d", (2, 9, 11, 24), (24, 3, 3, 1), args=(1, 1, 1, 1, 1, 1, 24), dtypes=["float32"], atol=ABSOLUTE,
          ref=lambda x, w: mx.conv2d(x, w, 1, 1, 1, 24))
    check("conv1d", (2, 20, 24), (24, 3, 1), args=(1, 1, 1, 24), dtypes=["float32", "bfloat16"], atol=ABSOLUTE)
    x, w = numbers((1, 4, 5, 6, 20), "float32"), numbers((20, 2, 3, 2, 1), "float32", seed=1)
    args = ([1, 2, 1], [1, 0, 2], [0, 1, 1], [1, 1, 2], [2, 1, 3], 20, False)
    want = direct(to_mx(x), to_mx(w), *args).astype(np.float32)
    compare(mlxc.op("conv_general", x, w, *args), to_mx(want), args, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("low, high, spread, dilation", [
    ([0, 0, 0], [0, 0, 0], [5, 3, 2], [1, 1, 1]), ([3, 4, 8], [6, 0, 1], [3, 7, 5], [1, 2, 1]),
    ([2, -3, 9], [1, 5, -4], [1, 4, 6], [2, 1, 1]),
    ([1, 2, 23], [4, 2, 0], [2, 2, 2], [2, 1, 4]), ([0, 1, 0], [0, 2, 9], [4, 6, 9], [2, 3, 6]), ([3, 4, 7], [3, 4, 7], [1, 1, 1], [1, 1, 1])])
def test_spread_input(low, high, spread, dilation):
    """A kernel of more taps than are gathered at once, over an input most of which is not there."""
    args = ([1, 2, 1], low, high, dilation, spread, 1, False)
    x, w = numbers((2, 5, 7, 6, 3), "float32"), numbers((5, 4, 6, 8, 3), "float32", seed=1)
    want = direct(to_mx(x), to_mx(w), *args).astype(np.float32)
    compare(mlxc.op("conv_general", x, w, *args), to_mx(want), args, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_transpose(dtype):
    for s, p, d, o in [(1, 0, 1, 0), (2, 1, 1, 1), (3, 0, 2, 2), (2, 2, 2, 0)]:
        check("conv_transpose1d", (2, 10, 4), (6, 3, 4), args=(s, p, d, o, 1), dtypes=[dtype], atol=ABSOLUTE,
              ref=lambda x, w: mx.conv_transpose1d(x, w, s, p, d, o, 1))
    check("conv_transpose1d", (2, 10, 4), (6, 3, 2), args=(2, 1, 1, 0, 2), dtypes=[dtype], atol=ABSOLUTE,
          ref=lambda x, w: mx.conv_transpose1d(x, w, 2, 1, 1, 0, 2))
    check("conv_transpose2d", (1, 10, 9, 2), (3, 3, 3, 2), args=(2, 3, 1, 0, 2, 1, 1, 0, 1), dtypes=[dtype],
          atol=ABSOLUTE, ref=lambda x, w: mx.conv_transpose2d(x, w, (2, 3), (1, 0), (2, 1), (1, 0), 1))
    check("conv_transpose3d", (1, 4, 5, 3, 2), (3, 2, 3, 3, 2), args=(2, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1),
          dtypes=[dtype], atol=ABSOLUTE,
          ref=lambda x, w: mx.conv_transpose3d(x, w, (2, 1, 1), (1, 0, 1), (1, 1, 1), (0, 0, 0), 1))


def test_edges():
    check("conv1d", (1, 3, 2), (3, 3, 2), args=(1, 0, 1, 1))
    check("conv1d", (0, 10, 2), (3, 3, 2), args=(1, 0, 1, 1), layouts=False)
    compare(mlxc.op("conv1d", np.ones((1, 10, 0), np.float32), np.ones((3, 3, 0), np.float32), 1, 0, 1, 1),
            mx.zeros((1, 8, 3)))
    compare(mlxc.op("conv1d", np.ones((1, 10, 2), np.float32), np.ones((0, 3, 2), np.float32), 1, 0, 1, 1),
            mx.zeros((1, 8, 0)))
    half, single = numbers((1, 10, 2), "float16"), numbers((3, 3, 2), "float32")
    compare(mlxc.op("conv1d", half, single, 1, 0, 1, 1), mx.conv1d(to_mx(half), to_mx(single)), atol=1e-4)


def test_errors():
    for x, w, args in [((10, 2), (3, 3, 2), (1, 0, 1, 1)), ((1, 10, 2), (3, 2), (1, 0, 1, 1)),
                       ((1, 10, 2), (3, 3, 3), (1, 0, 1, 1)), ((1, 10, 4), (5, 3, 2), (1, 0, 1, 2)),
                       ((1, 10, 4), (6, 3, 4), (1, 0, 1, 2)), ((1, 2, 2), (3, 3, 2), (1, 0, 1, 1))]:
        check_error("conv1d", x, w, args=args)
    check_error("conv1d", (1, 10, 2), (3, 3, 2), args=(1, 0, 1, 1), dtype="int32")
    check_error("conv1d", (1, 10, 2), (3, 3, 2), args=(1, 0, 1, 1), dtype="complex64")
    # These stop MLX's process.
    x, w = np.ones((1, 10, 2), np.float32), np.ones((3, 3, 2), np.float32)
    for args in [(0, 0, 1, 1), (1, 0, 0, 1), (1, 0, 1, 0), (-1, 0, 1, 1), (1, -5, 1, 1), (1, 2**31 - 1, 1, 1)]:
        with pytest.raises(mlxc.Error):
            mlxc.op("conv1d", x, w, *args)
    with pytest.raises(mlxc.Error):
        mlxc.op("conv1d", x, w[:, :0], 1, 0, 1, 1)
    with pytest.raises(mlxc.Error):
        mlxc.op("conv_general", x, w, [1, 1], [0], [0], [1], [1], 1, False)
