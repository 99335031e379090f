"""The table of operations: what each is called with, for both libraries.

A row is one operation with its arguments, a few sets of input shapes and the types it takes; its
cases are all combinations of size, type and layout. test_table.py compares them with MLX, and the
rows with rules also with numeric differences and loops.
"""
import itertools
import zlib

import mlx.core as mx
import numpy as np

import mlxc
from oracle import (ALL, FLOATS, HALVES, INEXACT, INTS, REALS, contiguous, layout_choices, numbers,
                    ours_view, real_view, to_mx)

REAL32 = ["float32"] + HALVES
ONE = [[(7, 5)]]
VIEWS = [[(4, 6)], [(2, 3, 5)]]


class Row:
    """ours and ref are functions of as many arrays as a set of `sizes` has shapes.

    An element of a size that is a numpy array is taken as it is. low, high: the range of the
    numbers; tolerance: {type: (rtol, atol)} where the usual is too fine; rules: "" none, "vjp jvp
    vmap" (all), of which a rule that MLX lacks is compared with numbers and loops alone. by: which
    inputs to differentiate by (all). exact: MLX's own derivative is right. layouts: False for plain
    ones alone, "numbers" to leave inputs that are given as they are.
    """

    def __init__(self, name, ours, ref, sizes, types, low=-3.0, high=3.0, tolerance=(), rules="",
                 by=None, exact=True, layouts=True):
        self.name, self.ours, self.ref, self.sizes, self.types = name, ours, ref, sizes, types
        self.low, self.high, self.tolerance, self.rules = low, high, dict(tolerance), rules
        self.by, self.exact, self.layouts = by, exact, layouts

    def inputs(self, size, dtype, seed=0):
        return [x if isinstance(x, np.ndarray) else
                numbers(x, dtype, self.low, self.high, zlib.crc32(self.name.encode()) % 997 + i + seed)
                for i, x in enumerate(size)]


ROWS = {}
ALL_RULES = "vjp jvp vmap"


def row(name, ours, ref, sizes, types, **kw):
    assert name not in ROWS, name
    ROWS[name] = Row(name, ours, ref, sizes, types, **kw)


def call(op, *args):
    """mlx_<op> of the inputs, with these arguments after them."""
    return lambda *a: mlxc.op(op, *a, *args)


def listed(op, *args):
    """The same for an operation on a vector of arrays."""
    return lambda *a: mlxc.op(op, list(a), *args)


# ---- elementwise -----------------------------------------------------------------------------

SMOOTH = "sin cos tan exp expm1 sinh cosh tanh arcsinh arctan erf sigmoid square negative degrees radians"
WITHIN_ONE = "arcsin arccos arctanh erfinv"
ABOVE_ZERO = "sqrt rsqrt log log2 log10 log1p reciprocal"
CLASSES = "isnan isinf isfinite isposinf isneginf"
# MLX computes these of float64 in float32, and of complex numbers in its own way.
COARSE = {"float64": (1e-6, 1e-6)}
for n in (SMOOTH + " " + WITHIN_ONE + " " + ABOVE_ZERO).split():
    low, high = (-0.8, 0.8) if n in WITHIN_ONE else (0.2, 4.0) if n in ABOVE_ZERO else (-3.0, 3.0)
    complex_too = [] if n in "erf erfinv expm1 sigmoid log1p degrees radians arctan" else ["complex64"]
    row(n, call(n), getattr(mx, n), [[(7, 5)], [(2, 3, 17)], [(0, 4)]],
        (INTS if n in "square negative" else []) + FLOATS + complex_too, low=low, high=high,
        rules=ALL_RULES, tolerance=dict(COARSE, float16=(4e-3, 2e-3), bfloat16=(3e-2, 2e-2)))
row("arccosh", call("arccosh"), mx.arccosh, [[(7, 5)]], FLOATS, low=1.2, high=4, rules=ALL_RULES,
    tolerance=dict(COARSE, float16=(4e-3, 2e-3)))
for n in ("abs", "sign"):
    row(n, call(n), getattr(mx, n), [[(7, 5)], [(33,)]], ALL, rules=ALL_RULES)
for n in ("ceil", "floor"):
    row(n, call(n), getattr(mx, n), [[(7, 5)], [(33,)]], REALS, rules=ALL_RULES)
for n in CLASSES.split():
    row(n, call(n), getattr(mx, n), ONE, REALS)
for n in ("real", "imag", "conjugate"):
    row(n, call(n), getattr(mx, n), [[(7, 5)], [(33,)]], ["float32", "complex64"])
row("logical_not", call("logical_not"), mx.logical_not, [[(7, 5)]], REALS, rules="vmap")
row("bitwise_invert", call("bitwise_invert"), mx.bitwise_invert, [[(7, 5)]], INTS)
row("round", call("round", 1), lambda a: mx.round(a, 1), [[(7, 5)]], FLOATS,
    tolerance={"bfloat16": (2e-2, 2e-2), "float64": (1e-6, 1e-6)})
row("nan_to_num", call("nan_to_num", 0.5, None, 3.0), lambda a: mx.nan_to_num(a, 0.5, None, 3.0),
    [[(7, 5)]], ["float32", "int32"], rules=ALL_RULES)
row("stop_gradient", call("stop_gradient"), mx.stop_gradient, VIEWS, ALL)
for t in ALL:
    row("astype_" + t, call("astype", t), lambda a, t=t: a.astype(getattr(mx, t if t != "bool" else "bool_")),
        [[(5, 3)]], ALL if t in FLOATS + ["complex64", "bool"] else ["bool"] + INTS, low=0.0, high=3.0,
        rules=ALL_RULES if t == "float32" else "")

PAIRS = [[(7, 5), (7, 5)], [(2, 3, 5), (3, 1)], [(4, 1), (33,)]]
for n in "add subtract multiply maximum minimum divide arctan2 logaddexp".split():
    row(n, call(n), getattr(mx, n), PAIRS, (INTS if n in "add multiply maximum minimum" else []) + FLOATS +
        (["complex64"] if n in "add subtract multiply divide" else []), low=0.3, high=3.0,
        rules=ALL_RULES, tolerance=COARSE)
row("power", call("power"), mx.power, PAIRS, FLOATS + ["int32", "uint8"], low=0.3, high=2.5,
    rules="vjp vmap", tolerance=dict(COARSE, float16=(4e-3, 2e-3)))
row("remainder", call("remainder"), mx.remainder, PAIRS, ["float32", "int32", "uint16", "int8"], low=1,
    high=9, rules="vmap", exact=False)
row("floor_divide", call("floor_divide"), mx.floor_divide, PAIRS, INTS + ["float32"], low=1, high=9)
row("divmod", call("divmod"), mx.divmod, PAIRS, ["int32", "uint8", "float32"], low=1, high=9)
for n in "equal not_equal greater greater_equal less less_equal logical_and logical_or".split():
    row(n, call(n), getattr(mx, n), PAIRS, REALS, rules="vmap")
for n in "bitwise_and bitwise_or bitwise_xor left_shift right_shift".split():
    row(n, call(n), getattr(mx, n), PAIRS, INTS, low=0, high=5, rules="vmap")
row("where", call("where"), mx.where, [[np.arange(35).reshape(7, 5) % 3 == 0, (7, 5), (5,)],
                                       [np.array([[True], [False]]), (2, 4), (2, 4)]], ALL, by=[1, 2],
    rules=ALL_RULES)
row("clip", call("clip"), mx.clip, [[(7, 5), (5,), (7, 1)], [(33,), (1,), (1,)]], REALS[1:], rules="vmap")

# ---- shapes ----------------------------------------------------------------------------------

SHAPES = {
    "reshape": ([2, 3, -1], lambda a: mx.reshape(a, (2, 3, -1))),
    "flatten": ((0, -1), mx.flatten), "squeeze": ((), lambda a: mx.squeeze(a)),
    "expand_dims": ((1,), lambda a: mx.expand_dims(a, 1)),
    "transpose": ((), mx.transpose), "swapaxes": ((0, 1), lambda a: mx.swapaxes(a, 0, 1)),
    "moveaxis": ((0, -1), lambda a: mx.moveaxis(a, 0, -1)),
    "broadcast_to": None, "contiguous": ((False,), mx.contiguous), "copy": ((), lambda a: mx.array(a)),
    "repeat_axis": ((2, 0), lambda a: mx.repeat(a, 2, 0)),
    "tile": (([2, 1, 2],), lambda a: mx.tile(a, [2, 1, 2])),
    "roll_axis": (([2], 1), lambda a: mx.roll(a, 2, 1)),
    "tril": ((1,), lambda a: mx.tril(a, 1)), "triu": ((-1,), lambda a: mx.triu(a, -1)),
    "diagonal": ((1, 0, 1), lambda a: mx.diagonal(a, 1, 0, 1)),
    "slice": (([1, -1], [9, -9], [2, -2]), lambda a: a[1:9:2, -1:-9:-2]),
    "split": ((2, 0), lambda a: mx.split(a, 2, 0)),
    "split_sections": (([1, 3], 1), lambda a: mx.split(a, [1, 3], 1)),
    "pad_symmetric": ((1, np.zeros((), np.float32), "edge"), lambda a: mx.pad(a, 1, mode="edge")),
}
for n, entry in SHAPES.items():
    if not entry:
        continue
    args, ref = entry
    args = (args,) if n == "reshape" else args
    row(n, call(n, *args), ref, [[(4, 6)]] if n in ("slice", "diagonal") else [[(4, 6)], [(2, 3, 4)]],
        ALL, rules=ALL_RULES)
ROWS["slice"].sizes.append([(11, 3)])
row("broadcast_to", call("broadcast_to", [2, 4, 6]), lambda a: mx.broadcast_to(a, (2, 4, 6)),
    [[(4, 6)], [(4, 1)], [(6,)]], ALL, rules=ALL_RULES)
row("unflatten", call("unflatten", 1, [2, -1]), lambda a: mx.unflatten(a, 1, (2, -1)),
    [[(3, 4)], [(2, 6, 2)]], ALL, rules=ALL_RULES)
row("squeeze_axes", call("squeeze_axes", [0, 2]), lambda a: mx.squeeze(a, [0, 2]), [[(1, 4, 1, 3)]],
    ALL, rules=ALL_RULES)
row("as_strided", call("as_strided", [3, 4], [2, 1], 1), lambda a: mx.as_strided(a, (3, 4), (2, 1), 1),
    [[(5, 3)], [(12,)]], ALL, rules=ALL_RULES, layouts=False)  # MLX reads beside others
row("pad", call("pad", [0, 1], [1, 0], [0, 2], np.zeros((), np.float32), "constant"),
    lambda a: mx.pad(a, [(1, 0), (0, 2)]), [[(4, 6)], [(0, 3)]], ALL, rules=ALL_RULES)
row("concatenate", listed("concatenate_axis", 1), lambda *a: mx.concatenate(list(a), 1),
    [[(4, 3), (4, 2)], [(2, 3, 5), (2, 1, 5), (2, 4, 5)]], ALL, rules=ALL_RULES)
row("stack", listed("stack_axis", 1), lambda *a: mx.stack(list(a), 1), [[(4, 3), (4, 3)]], ALL,
    rules=ALL_RULES)
row("diag", call("diag", 1), lambda a: mx.diag(a, 1), [[(5,)], [(4, 6)]], ALL, rules=ALL_RULES)
row("trace", call("trace", 0, 0, 1, "float32"), lambda a: mx.trace(a, 0, 0, 1, mx.float32), [[(5, 5)]],
    REALS, rules=ALL_RULES, tolerance={"float32": (1e-5, 1e-5)})
for t in ("int16", "uint8", "float32"):
    row("view_" + t, call("view", t), lambda a, t=t: mx.view(a, getattr(mx, t)), [[(3, 8)]],
        INTS + ["float32", "float16"], rules="vmap")
row("depends", lambda a, b: mlxc.op("depends", [a], [b]), lambda a, b: mx.depends([a], [b]),
    [[(4, 3), (5,)]], ["float32", "int32"], rules="vjp vmap", by=[0])

# ---- indices ---------------------------------------------------------------------------------

WHICH = np.array([2, 0, -1, 1], np.int32)
PLACES = np.array([[1, 0, 2], [0, 2, 1]], np.uint32)
row("take_axis", call("take_axis", 0), lambda a, i: mx.take(a, i, 0), [[(5, 3), WHICH], [(3, 2, 4), PLACES]],
    ALL, rules=ALL_RULES, by=[0])
row("take_flat", call("take"), mx.take, [[(5, 3), WHICH], [(9,), PLACES]], ALL, rules=ALL_RULES, by=[0])
row("take_along_axis", call("take_along_axis", 0), lambda a, i: mx.take_along_axis(a, i, 0),
    [[(4, 3), PLACES]], ALL, rules=ALL_RULES, by=[0])
row("put_along_axis", call("put_along_axis", 0), lambda a, i, v: mx.put_along_axis(a, i, v, 0),
    [[(4, 3), PLACES, (2, 3)]], ALL, rules=ALL_RULES, by=[0, 2])
row("gather", lambda a, i, j: mlxc.op("gather", a, [i, j], [0, 1], [1, 1, 2]),
    lambda a, i, j: a[i, j, :2][:, :, None, None, :], [[(3, 4, 5), np.array([0, 2], np.int32), np.array([[1], [3]], np.int32)]], ALL,
    rules="vjp jvp vmap", by=[0])
AT = np.array([1, 3, 1], np.int32)
for n, ref in (("scatter_add", "add"), ("scatter_max", "maximum"), ("scatter_min", "minimum"),
               ("scatter_prod", "multiply")):
    row(n, lambda a, i, u, n=n: mlxc.op(n, a, [i], u, [0]),
        lambda a, i, u, r=ref: getattr(a.at[i], r)(u.squeeze(1)), [[(5, 3), AT, (3, 1, 3)]],
        ["float32", "int32", "uint8"] + HALVES, low=0.5, high=3,
        rules="jvp vmap vjp" if n != "scatter_prod" else "vjp vmap", by=[0, 2], exact=n == "scatter_add")
START, STOP, STEP = [1, 0], [4, 3], [2, 1]
for n, ref in (("slice_update", None), ("slice_update_add", "add"), ("slice_update_max", "maximum"),
               ("slice_update_min", "minimum"), ("slice_update_prod", "multiply")):
    def put(a, u, how=ref):
        if how:
            return getattr(a.at[1:4:2, 0:3], how)(u)
        a = mx.array(a)
        a[1:4:2, 0:3] = u
        return a
    row(n, call(n, START, STOP, STEP), put, [[(5, 4), (2, 3)]], ALL[:-1], rules="jvp vmap vjp", exact=False)
FROM = np.array([1, 2], np.int32)
row("slice_dynamic", call("slice_dynamic", [0, 1], [2, 2]), lambda a, i: mx.slice(a, i, (0, 1), (2, 2)),
    [[(4, 5), FROM]], ALL, rules=ALL_RULES, by=[0],
    layouts="numbers")  # MLX reads a start as if it were dense
row("slice_update_dynamic", lambda a, u, i: mlxc.op("slice_update_dynamic", a, u, i, [0, 1]),
    lambda a, u, i: mx.slice_update(a, u, i, (0, 1)), [[(4, 5), (2, 2), FROM]], ALL, rules=ALL_RULES, by=[0, 1],
    layouts="numbers")
MASK = np.array([[True, False, True], [False, True, True]])


def masked(a, m, v):
    a = mx.array(a)
    a[m] = v
    return a


row("masked_scatter", call("masked_scatter"), masked, [[(2, 3), MASK, (4,)], [(2, 3, 2), MASK, (4, 2)]], ALL,
    rules=ALL_RULES, by=[0, 2], exact=False)

# ---- along axes ------------------------------------------------------------------------------

for n in "sum prod max min mean".split():
    sizes = [[(4, 7)], [(3, 2, 33)]]
    close = {"float16": (1e-2, 1e-2), "bfloat16": (6e-2, 6e-2), "float32": (1e-5, 1e-5)}
    types = REALS + (["complex64"] if n == "sum" else [])
    row(n, call(n + "_axes", [0, 1], False), lambda a, n=n: getattr(mx, n)(a, [0, 1]), sizes, types,
        low=-1.5, high=1.5, tolerance=close, rules=ALL_RULES)
    row(n + "_keep", call(n + "_axis", 1, True), lambda a, n=n: getattr(mx, n)(a, 1, keepdims=True), sizes, types,
        low=-1.5, high=1.5, tolerance=close, rules=ALL_RULES)
for n in ("all", "any"):
    row(n, call(n + "_axis", 0, False), lambda a, n=n: getattr(mx, n)(a, 0), [[(4, 7)]], ALL[:-1], rules="vmap")
for n in ("var", "std"):
    row(n, call(n + "_axis", 0, False, 1), lambda a, n=n: getattr(mx, n)(a, 0, ddof=1), [[(5, 6)]], REAL32,
        rules=ALL_RULES, tolerance={"float16": (1e-2, 1e-2), "bfloat16": (6e-2, 6e-2), "float32": (1e-5, 1e-5)})
row("median", call("median", [0], False), lambda a: mx.median(a, 0), [[(5, 3)], [(4, 3)]],
    ["float32", "int32"], rules="vmap")
for n in ("argmax", "argmin"):
    row(n, call(n + "_axis", 1, False), lambda a, n=n: getattr(mx, n)(a, 1), [[(4, 7)], [(2, 33, 3)]], REALS,
        rules="vmap")
for n in "cumsum cumprod cummax cummin logcumsumexp".split():
    for reverse, inclusive in itertools.product((False, True), (False, True)):
        smooth = inclusive or n in ("cumsum", "cumprod")
        row("%s_%d%d" % (n, reverse, inclusive), call(n, 1, reverse, inclusive),
            lambda a, n=n, r=reverse, i=inclusive: getattr(mx, n)(a, 1, reverse=r, inclusive=i),
            [[(3, 6)], [(2, 5, 4)]], REAL32 if n == "logcumsumexp" else REALS[1:], low=-1.5, high=1.5,
            rules=ALL_RULES if smooth else "", exact=n != "cumprod",
            tolerance={"float16": (1e-2, 1e-2), "bfloat16": (1e-1, 1e-1), "float32": (1e-5, 1e-5),
                       "float64": (1e-5, 1e-6)})
for n in ("sort", "argsort"):
    row(n, call(n + "_axis", 1), lambda a, n=n: getattr(mx, n)(a, 1), [[(4, 7)], [(2, 33, 3)]],
        ["bool", "int8", "uint16", "int32", "int64"] + FLOATS, rules=ALL_RULES if n == "sort" else "vmap",
        exact=False)
row("partition", call("partition_axis", 0, 1), lambda a: mx.partition(a, 0, 1), [[(4, 2)]],
    ["int32"] + REAL32, rules="vmap")
row("argpartition", call("argpartition_axis", 0, 1), lambda a: mx.argpartition(a, 0, 1), [[(4, 2)]],
    ["int32", "float32"], rules="vmap")
row("topk", call("topk_axis", 1, 1), lambda a: mx.topk(a, 1, 1), [[(4, 7)]], ["int32"] + REAL32)
for precise in (False, True):
    row("softmax_%d" % precise, call("softmax_axis", -1, precise),
        lambda a, p=precise: mx.softmax(a, -1, precise=p), [[(4, 7)], [(2, 33, 3)]], FLOATS, rules=ALL_RULES,
        tolerance={"float16": (1e-2, 1e-3), "bfloat16": (4e-2, 1e-2), "float64": (1e-6, 1e-7)})
row("logsumexp", call("logsumexp_axis", 1, False), lambda a: mx.logsumexp(a, 1), [[(4, 7)]], FLOATS,
    rules=ALL_RULES, tolerance={"float16": (1e-2, 1e-2), "bfloat16": (6e-2, 6e-2), "float64": (1e-6, 1e-6)})

# ---- products --------------------------------------------------------------------------------

NEAR = {"float32": (1e-5, 1e-5), "float16": (1e-2, 1e-2), "bfloat16": (6e-2, 6e-2), "float64": (1e-6, 1e-6),
        "complex64": (1e-5, 1e-5)}
UNIT = {"low": -1.0, "high": 1.0, "tolerance": NEAR}
row("matmul", call("matmul"), mx.matmul, [[(4, 5), (5, 3)], [(2, 3, 17), (17, 2)], [(2, 3, 4), (2, 4, 5)]],
    INEXACT, rules=ALL_RULES, **UNIT)
row("matmul_vector", call("matmul"), mx.matmul, [[(5,), (5, 3)], [(4, 5), (5,)]], INEXACT, rules=ALL_RULES,
    **UNIT)
row("addmm", call("addmm", 2.0, 0.5), lambda c, a, b: mx.addmm(c, a, b, 2.0, 0.5),
    [[(4, 3), (4, 5), (5, 3)], [(3,), (2, 4, 5), (5, 3)]], FLOATS, rules=ALL_RULES, **UNIT)
PICK = (np.array([0, 1, 1], np.uint32), np.array([2, 0, 1], np.uint32))
row("gather_mm", call("gather_mm", False), mx.gather_mm, [[(2, 3, 4), (3, 4, 5), *PICK]],
    ["float32"], rules=ALL_RULES, by=[0, 1], **UNIT)
row("segmented_mm", call("segmented_mm"), mx.segmented_mm,
    [[(3, 10), (10, 4), np.array([[0, 3], [3, 7], [6, 10]], np.uint32)]], ["float32"], rules=ALL_RULES,
    by=[0, 1], **UNIT)
row("tensordot", call("tensordot", [0, 1], [1, 0]), lambda a, b: mx.tensordot(a, b, [[0, 1], [1, 0]]),
    [[(3, 4, 2), (4, 3, 5)]], INEXACT, rules=ALL_RULES, **UNIT)
for n in ("inner", "outer", "kron"):
    row(n, call(n), getattr(mx, n), [[(3, 4), (2, 4)]], ["float32", "int32"] if n != "inner" else ["float32"],
        rules=ALL_RULES, **UNIT)
for text, shapes in (("ij,jk->ik", [(3, 4), (4, 5)]), ("bij,bkj->bik", [(2, 3, 4), (2, 5, 4)]),
                     ("ii->i", [(4, 4)]), ("ij,j,i->", [(3, 4), (4,), (3,)])):
    row("einsum_" + text, lambda *a, t=text: mlxc.op("einsum", t, list(a)), lambda *a, t=text: mx.einsum(t, *a),
        [shapes], ["float32", "complex64"], rules=ALL_RULES, **UNIT)
row("hadamard_transform", call("hadamard_transform", None), mx.hadamard_transform, [[(3, 16)], [(2, 3, 28)]],
    ["float32"] + HALVES, rules=ALL_RULES, **UNIT)
row("conv1d", call("conv1d", 2, 1, 1, 2), lambda x, w: mx.conv1d(x, w, 2, 1, 1, 2), [[(2, 7, 4), (6, 3, 2)]],
    REAL32, rules=ALL_RULES, **UNIT)
row("conv2d", call("conv2d", 1, 2, 1, 0, 1, 2, 1), lambda x, w: mx.conv2d(x, w, (1, 2), (1, 0), (1, 2)),
    [[(2, 5, 6, 3), (4, 3, 2, 3)]], REAL32, rules=ALL_RULES, **UNIT)
row("conv3d", call("conv3d", 1, 1, 1, 0, 1, 0, 1, 1, 1, 1), lambda x, w: mx.conv3d(x, w, 1, (0, 1, 0)),
    [[(1, 4, 3, 4, 2), (3, 2, 2, 2, 2)]], ["float32"], rules=ALL_RULES, **UNIT)
row("conv_transpose2d", call("conv_transpose2d", 2, 1, 1, 0, 1, 1, 0, 0, 1),
    lambda x, w: mx.conv_transpose2d(x, w, (2, 1), (1, 0)), [[(2, 4, 3, 3), (4, 3, 2, 3)]], REAL32,
    rules=ALL_RULES, **UNIT)

# ---- quantized -------------------------------------------------------------------------------


def codes(shape, mode="affine", group=32, bits=4):
    w = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    return [np.array(a) for a in mx.quantize(mx.array(w), group_size=group, bits=bits, mode=mode)]


# Products round their inputs to 15 bits a block (docs/architecture.md).
ROUNDED = {"low": -1.0, "high": 1.0, "tolerance": {"float32": (2e-3, 2e-3), "float16": (3e-2, 3e-2),
                                                   "bfloat16": (2e-1, 2e-1)}}
for bits in (2, 3, 4, 5, 6, 8):
    row("quantize_%d" % bits, call("quantize", 32, bits, "affine", None),
        lambda a, b=bits: mx.quantize(a, 32, b), [[(3, 64)]], REAL32, rules="vmap")
    w, sc, bi = codes((6, 64), bits=bits)
    row("dequantize_%d" % bits, lambda s, b, w=w, n=bits: mlxc.op("dequantize", w, s, b, 32, n, "affine", None, None),
        lambda s, b, w=w, n=bits: mx.dequantize(mx.array(w), s, b, 32, n), [[(6, 2), (6, 2)]], REAL32,
        rules=ALL_RULES)
for bits, transpose in itertools.product((2, 4, 8), (True, False)):
    w, sc, bi = codes((32, 64), bits=bits)
    shape = (3, 64) if transpose else (3, 32)
    row("quantized_matmul_%d%d" % (bits, transpose),
        lambda x, s, b, w=w, n=bits, t=transpose: mlxc.op("quantized_matmul", x, w, s, b, t, 32, n, "affine"),
        lambda x, s, b, w=w, n=bits, t=transpose: mx.quantized_matmul(x, mx.array(w), s, b, t, 32, n),
        [[shape, sc, bi]], ["float32"], rules="vjp vmap", by=[0, 1, 2], **ROUNDED)
    w3, sc3, bi3 = codes((3, 32, 64), bits=bits)
    row("gather_qmm_%d%d" % (bits, transpose),
        lambda x, s, b, i, j, w=w3, n=bits, t=transpose: mlxc.op("gather_qmm", x, w, s, b, i, j, t, 32, n, "affine",
                                                                 False),
        lambda x, s, b, i, j, w=w3, n=bits, t=transpose: mx.gather_qmm(x, mx.array(w), s, b, i, j, t, 32, n),
        [[(2,) + shape, sc3, bi3, *PICK]], ["float32"], rules="vjp vmap", by=[0, 1, 2], **ROUNDED)
for mode, group, bits in (("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)):
    row("quantize_" + mode, call("quantize", group, bits, mode, None),
        lambda a, m=mode, g=group, b=bits: mx.quantize(a, g, b, m), [[(3, 64)]], REAL32, rules="vmap")
    w, sc = codes((32, 64), mode, group, bits)
    row("quantized_matmul_" + mode,
        lambda x, w=w, s=sc, g=group, b=bits, m=mode: mlxc.op("quantized_matmul", x, w, s, None, True, g, b, m),
        lambda x, w=w, s=sc, g=group, b=bits, m=mode: mx.quantized_matmul(
            x, mx.array(w), mx.array(s), None, True, g, b, m), [[(3, 64)]], ["float32"], rules="vjp vmap", **ROUNDED)
row("to_fp8", call("to_fp8"), mx.to_fp8, [[(7, 5)]], REAL32, rules="vmap")
row("from_fp8", call("from_fp8", "float32"), lambda a: mx.from_fp8(a, mx.float32), [[(7, 5)]], ["uint8"],
    low=0, high=126, rules="vmap")

# ---- fast ------------------------------------------------------------------------------------

row("rms_norm", call("fast_rms_norm", 1e-5), lambda x, w: mx.fast.rms_norm(x, w, 1e-5),
    [[(3, 8), (8,)], [(2, 3, 33), (33,)]], REAL32, rules=ALL_RULES, **UNIT)
row("layer_norm", call("fast_layer_norm", 1e-5), lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
    [[(3, 8), (8,), (8,)]], REAL32, rules=ALL_RULES, **UNIT)
for traditional in (False, True):
    row("rope_%d" % traditional, call("fast_rope", 6, traditional, 100.0, 0.5, 3, None),
        lambda x, t=traditional: mx.fast.rope(x, 6, traditional=t, base=100.0, scale=0.5, offset=3),
        [[(2, 5, 8)], [(1, 2, 3, 6)]], REAL32, rules=ALL_RULES, **UNIT)
    row("rope_frequencies_%d" % traditional,
        lambda x, f, t=traditional: mlxc.op("fast_rope", x, 6, t, None, 0.5, 3, f),
        lambda x, f, t=traditional: mx.fast.rope(x, 6, traditional=t, base=None, scale=0.5, offset=3, freqs=f),
        [[(2, 5, 8), np.array([1.0, 2.5, 9.0], np.float32)]], ["float32"], rules="vjp jvp vmap", by=[0, 1], **UNIT)
for mode in ("", "causal"):
    row("attention_" + (mode or "plain"), call("fast_scaled_dot_product_attention", 0.4, mode, None, None),
        lambda q, k, v, m=mode: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.4, mask=m or None),
        [[(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 7)]], REAL32, rules=ALL_RULES, **UNIT)
row("attention_masked", lambda q, k, v, m, s: mlxc.op("fast_scaled_dot_product_attention", q, k, v, 0.4, "", m, s),
    lambda q, k, v, m, s: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.4, mask=m, sinks=s),
    [[(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 7), (2, 1, 5, 6), (4,)]], REAL32, rules=ALL_RULES, by=[0, 1, 2, 4], **UNIT)

# ---- Fourier ---------------------------------------------------------------------------------

BACKWARD = 0
FOURIER = {"low": -1.0, "high": 1.0, "tolerance": {"complex64": (1e-4, 2e-5), "float32": (1e-4, 2e-5)}}
for n in ("fft", "ifft", "rfft", "irfft"):
    for length in (8, 9, 11):
        row("%s_%d" % (n, length), call("fft_" + n, length, 1, BACKWARD),
            lambda a, n=n, length=length: getattr(mx.fft, n)(a, length, 1), [[(3, 9)], [(2, 12, 3)]],
            ["float32"] + ([] if n == "rfft" else ["complex64"]), rules="vmap", **FOURIER)

# ---- from nothing ----------------------------------------------------------------------------

KEY = np.array([7, 11], np.uint32)
row("full", lambda v: mlxc.op("full", [3, 2], v, "float32"), lambda v: mx.full((3, 2), v.astype(mx.float32)), [[(2,)], [()]],
    REALS, rules=ALL_RULES, exact=False)
row("random_uniform", lambda k: mlxc.op("random_uniform", np.float32(-1), np.float32(2), [3, 5], "float32", k),
    lambda k: mx.random.uniform(-1, 2, (3, 5), key=k), [[KEY]], ["float32"], rules="vmap",
    layouts=False)
row("random_bits", lambda k: mlxc.op("random_bits", [33], 4, k), None, [[KEY]], ["float32"], rules="vmap",
    layouts=False)
for t in ("float32", "int32", "uint8", "float16"):
    row("arange_" + t, lambda t=t: mlxc.op("arange", 2.0, 90.0, 3.0, t),
        lambda t=t: mx.arange(2.0, 90.0, 3.0, dtype=getattr(mx, t)), [[]], ["float32"])

# What other tests are for: (primitive, file of this folder's parent that has them).
ELSEWHERE = {
    "GgufMatmul": "oracle/test_gguf_matrices.py", "GgufTake": "oracle/test_gguf_matrices.py",
    "GgufRepack": "oracle/test_gguf_matrices.py", "AffineRepack": "oracle/test_gguf_matrices.py", "Placeholder": "oracle/test_transforms.py",
    "CustomTransforms": "oracle/test_transforms.py", "Compiled": "oracle/test_transforms.py",
    "CachePack": "oracle/test_packed_cache.py", "StateScan": "oracle/test_state_scan.py",
    "StepAttention": "oracle/test_step_attention.py",
    # Traces for any size alone have these.
    "BroadcastAxes": "oracle/test_export.py", "NumberOfElements": "oracle/test_export.py",
    **{n: "oracle/test_linalg.py" for n in "QRF SVD Inverse Cholesky LUF Eig Eigh".split()},
    **{n: "dist" for n in "AllReduce AllGather ReduceScatter Send Recv".split()},
}


# ---- cases -----------------------------------------------------------------------------------

def choices(r, i, filled):
    """The layouts of the inputs, a list of them each time."""
    if not filled:
        return [[]]
    every = list(layout_choices(len(filled)))
    if not r.layouts:
        return every[:1]
    if r.layouts == "numbers":
        given = [isinstance(x, np.ndarray) for x in r.sizes[i]]
        every = [[contiguous if g else l for g, l in zip(given, c)] for c in every]
    return every


def cases():
    """(name, size number, type, layout number) of every combination there is."""
    for r in ROWS.values():
        for i, size in enumerate(r.sizes):
            for dtype in r.types:
                filled = r.inputs(size, dtype)
                for k, choice in enumerate(choices(r, i, filled)):
                    if None not in [layout(x) for layout, x in zip(choice, filled)]:
                        yield r.name, i, dtype, k


def both(name, i, dtype, k):
    """The results of one case from both libraries."""
    r = ROWS[name]
    filled = r.inputs(r.sizes[i], dtype)
    made = [layout(x) for layout, x in zip(choices(r, i, filled)[k], filled)]
    ours = r.ours(*[ours_view(mlxc.array(b), s) for b, s in made])
    theirs = r.ref(*[real_view(to_mx(b), s) for b, s in made]) if r.ref else None
    return ours, theirs
