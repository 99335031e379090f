"""Compares operations of libmlxc with MLX's own (`mlx.core`), over types, layouts and shapes.

    from oracle import check, FLOATS
    def test_exp():
        check("exp", (3, 5), dtypes=FLOATS)
    def test_sum():
        check("sum_axis", (4, 7), args=(0, True), ref=lambda x: mx.sum(x, 0, keepdims=True))
    def test_matmul_shapes():
        check_error("matmul", (2, 3), (2, 3))

An input is a shape (filled with numbers of the type under test) or a numpy array (taken as it is).
Every input is tried in each layout: contiguous, transposed, reversed (negative stride), strided,
offset, broadcast (stride 0); both libraries build it by the same views.
"""
import zlib

import ml_dtypes
import mlx.core as mx
import numpy as np

import mlxc

INTS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
HALVES = ["float16", "bfloat16"]
FLOATS = ["float32", "float64"] + HALVES
INEXACT = FLOATS + ["complex64"]
REALS = ["bool"] + INTS + FLOATS
ALL = REALS + ["complex64"]

# Relative and absolute error that a few roundings in the type may cost.
TOLERANCE = {"float16": (2e-3, 1e-4), "bfloat16": (1.6e-2, 1e-3), "float32": (3e-6, 1e-6),
             "float64": (1e-13, 1e-13), "complex64": (5e-6, 2e-6)}

# Odd sizes on purpose: tails of vectors, a single element, nothing.
SHAPES = [(), (1,), (7,), (33,), (0,), (3, 5), (2, 0), (4, 1, 9), (2, 3, 17), (130, 67)]


# ---- real MLX <-> numpy ----------------------------------------------------------------------

def to_mx(a):
    a = np.ascontiguousarray(a).reshape(a.shape)
    if a.dtype == ml_dtypes.bfloat16:
        return mx.array(a.view(np.uint16)).view(mx.bfloat16)
    return mx.array(a, dtype=getattr(mx, "bool_" if a.dtype == np.bool_ else a.dtype.name))


def from_mx(a):
    if a.dtype == mx.bfloat16:
        if a.ndim == 0:
            return from_mx(a.reshape(1)).reshape(())
        return np.array(mx.contiguous(a).view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(a)


# ---- inputs ----------------------------------------------------------------------------------

def numbers(shape, dtype, low=-3.0, high=3.0, seed=0):
    """Numbers of a type in [low, high], the same for the same arguments."""
    key = zlib.crc32(repr((shape, dtype, seed)).encode())
    rng = np.random.default_rng(key)
    t = mlxc.numpy_dtype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in INTS:
        at_least = max(int(np.ceil(low)), np.iinfo(t).min)
        at_most = min(int(np.floor(high)), np.iinfo(t).max)
        return rng.integers(at_least, at_most, shape, endpoint=True, dtype=np.int64).astype(t)
    x = rng.uniform(low, high, shape)
    if dtype == "complex64":
        x = x + 1j * rng.uniform(low, high, shape)
    return np.asarray(x).astype(t)


def specials(dtype):
    """Numbers at the edges of an inexact type."""
    f = ml_dtypes.finfo(mlxc.numpy_dtype("float32" if dtype == "complex64" else dtype))
    edge = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, float(f.max), float(f.min), float(f.tiny),
            float(f.smallest_subnormal), np.inf, -np.inf, np.nan, float(f.eps), 100.0, -100.0]
    return np.array(edge).astype(mlxc.numpy_dtype(dtype))


# A layout makes from the wanted content a base array and views over it, as (operation, arguments)
# that both libraries have; None: not possible for this shape.
def contiguous(x):
    return x, []


def transposed(x):
    if x.ndim < 2:
        return None
    axes = list(range(x.ndim))[::-1]
    return np.ascontiguousarray(x.transpose(axes)), [("transpose", axes)]


def sliced(base, start, stop, strides):
    return base, [("slice", list(start), list(stop), list(strides))]


def reversed_(x):
    if x.ndim < 1 or 0 in x.shape:
        return None
    n = x.shape[-1]
    start = [0] * (x.ndim - 1) + [n - 1]
    stop = list(x.shape[:-1]) + [-n - 1]
    return sliced(np.ascontiguousarray(x[..., ::-1]), start, stop, [1] * (x.ndim - 1) + [-1])


def strided(x):
    if x.ndim < 1:
        return None
    base = np.repeat(x, 2, axis=-1)
    return sliced(base, [0] * x.ndim, base.shape, [1] * (x.ndim - 1) + [2])


def offset(x):
    if x.ndim < 1:
        return None
    base = np.concatenate([np.ones((3,) + x.shape[1:], x.dtype), x])
    return sliced(base, [3] + [0] * (x.ndim - 1), base.shape, [1] * x.ndim)


def broadcast(x):
    if x.ndim < 1 or x.shape[0] < 2:
        return None
    return np.ascontiguousarray(x[:1]), [("broadcast", list(x.shape))]


LAYOUTS = [contiguous, transposed, reversed_, strided, offset, broadcast]
NEEDS = {"transpose": "transpose_axes", "slice": "slice", "broadcast": "broadcast_to"}


def ours_view(a, steps):
    for kind, *args in steps:
        a = mlxc.op(NEEDS[kind], a, *args)
    return a


def real_view(a, steps):
    for kind, *args in steps:
        if kind == "transpose":
            a = mx.transpose(a, args[0])
        elif kind == "broadcast":
            a = mx.broadcast_to(a, args[0])
        else:
            a = a[tuple(slice(s, None if t < 0 and e < 0 else e, t) for s, e, t in zip(*args))]
    return a


def has_layout(layout):
    probe = layout(np.zeros((2, 2), np.float32))
    return all(mlxc.has(NEEDS[kind]) for kind, *_ in probe[1])


def layout_choices(n):
    """Which layout each of n inputs gets: all the same, then mixtures."""
    usable = [l for l in LAYOUTS if has_layout(l)]
    for i, layout in enumerate(usable):
        yield [layout] * n
        if n > 1 and len(usable) > 1:
            yield [usable[(i + k) % len(usable)] for k in range(n)]


# ---- comparison ------------------------------------------------------------------------------

def compare(ours, theirs, what="", rtol=None, atol=None):
    """ours: mlxc.Array or a list of them; theirs: mx.array or a list."""
    if isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), what
        for i, (a, b) in enumerate(zip(ours, theirs)):
            compare(a, b, "%s [%d]" % (what, i), rtol, atol)
        return
    b = from_mx(theirs)
    assert ours.dtype == b.dtype.name, "%s: type %s, not %s" % (what, ours.dtype, b.dtype.name)
    assert ours.shape == b.shape, "%s: shape %s, not %s" % (what, ours.shape, b.shape)
    a = ours.numpy()
    if a.dtype.name not in TOLERANCE:
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    default = TOLERANCE[a.dtype.name]
    wide = np.complex128 if a.dtype == np.complex64 else np.float64
    np.testing.assert_allclose(a.astype(wide), b.astype(wide), equal_nan=True, err_msg=what,
                               rtol=default[0] if rtol is None else rtol,
                               atol=default[1] if atol is None else atol)


def run_both(op, args, ref, made):
    """made: [(base, steps)]; the results of both libraries."""
    ours = mlxc.op(op, *[ours_view(mlxc.array(b), s) for b, s in made], *args)
    theirs = (ref or getattr(mx, op))(*[real_view(to_mx(b), s) for b, s in made],
                                      *([] if ref else args))
    return ours, theirs


def check(op, *inputs, args=(), ref=None, dtypes=("float32",), layouts=True, low=-3.0, high=3.0,
          rtol=None, atol=None, seed=0):
    """mlx_<op>(inputs..., args...) against ref(*inputs), or against mx.<op>(*inputs, *args).

    rtol, atol: a number, or a dict from type names to numbers (others keep their default).
    """
    for dtype in dtypes:
        filled = [x if isinstance(x, np.ndarray) else numbers(x, dtype, low, high, seed + i)
                  for i, x in enumerate(inputs)]
        choices = layout_choices(len(filled)) if layouts and filled else [[contiguous] * len(filled)]
        for choice in choices:
            made = [layout(x) for layout, x in zip(choice, filled)]
            if None in made:
                continue
            what = "%s %s %s %s args=%s" % (op, dtype, [x.shape for x in filled],
                                            [l.__name__ for l in choice], args)
            pick = [t.get(dtype) if isinstance(t, dict) else t for t in (rtol, atol)]
            compare(*run_both(op, args, ref, made), what, *pick)


def check_shapes(op, n_inputs=1, shapes=SHAPES, **kw):
    """check over all shapes, each input of the same one."""
    for shape in shapes:
        check(op, *[shape] * n_inputs, **kw)


def check_error(op, *inputs, args=(), ref=None, dtype="float32"):
    """Both must refuse: ours at the call or when evaluated, with a message that names the op."""
    filled = [x if isinstance(x, np.ndarray) else numbers(x, dtype) for x in inputs]
    for name, run in [("MLX", lambda: mx.eval((ref or getattr(mx, op))(
            *[to_mx(x) for x in filled], *([] if ref else args))))]:
        try:
            run()
        except (ValueError, RuntimeError, IndexError, TypeError):
            pass
        else:
            raise AssertionError("%s accepts %s: the test is wrong" % (name, op))
    try:
        out = mlxc.op(op, *filled, *args)
        for a in out if isinstance(out, (list, tuple)) else [out]:
            a.eval()
    except mlxc.Error as e:
        assert "[" in str(e), "the message names no operation: %s" % e
        return str(e)
    raise AssertionError("mlx_%s accepts what MLX refuses" % op)
