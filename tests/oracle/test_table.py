"""Walks the table of operations (table.py): results against MLX over types, layouts and sizes;
derivatives against MLX and numeric differences; batches against loops; and every primitive of
engine/ops/prims.def must occur in the graph of some row.

A sample of the cases runs unless NEXUS_ORACLE is "full".
"""
import ctypes as C
import os
import re
import zlib

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from closures import apply, as_list, closure, jvp, vjp, vmap
from oracle import compare, from_mx, to_mx
from table import ELSEWHERE, ROWS, both, cases

FULL = os.environ.get("NEXUS_ORACLE") == "full"
ONE_IN = 1 if FULL else 12
EVERY = list(cases())
CASES = [c for c in EVERY if zlib.crc32(repr(c).encode()) % ONE_IN == 0]


def with_rule(rule):
    return sorted(n for n, r in ROWS.items() if rule in r.rules)


def test_the_table_is_large_enough():
    assert len(EVERY) >= 6000


@pytest.mark.parametrize("case", CASES, ids=lambda c: "%s-%d-%s-%d" % c)
def test_results(case):
    ours, theirs = both(*case)
    tolerance = ROWS[case[0]].tolerance.get(case[2], (None, None))
    if theirs is None:  # MLX's Python has no such function: then against ourselves, contiguous
        theirs = [to_mx(a.numpy()) for a in as_list(both(*case[:3], 0)[0])]
    compare(as_list(ours), as_list(theirs), str(case), *tolerance)


# ---- derivatives -----------------------------------------------------------------------------


class Problem:
    """A row's function of the inputs it is to be derived by, and where."""

    def __init__(self, name, dtype, size=0):
        r = ROWS[name]
        self.row, self.dtype = r, dtype
        self.fixed = r.inputs(r.sizes[size], dtype)
        self.by = r.by or [i for i, x in enumerate(r.sizes[size]) if not isinstance(x, np.ndarray)]
        self.at = [self.fixed[i] for i in self.by]
        self.outputs = [a.numpy() for a in as_list(self.ours(*[mlxc.array(x) for x in self.at]))]
        self.live = [i for i, o in enumerate(self.outputs) if o.dtype.kind not in "biu"]
        self.outputs = [self.outputs[i] for i in self.live]

    def place(self, xs, made):
        all_of = [made(x) for x in self.fixed]
        for i, x in zip(self.by, xs):
            all_of[i] = x
        return all_of

    def ours(self, *xs):
        return self.row.ours(*self.place(xs, mlxc.array))

    def ours_live(self, *xs):
        out = as_list(self.ours(*xs))
        return [out[i] for i in self.live]

    def real_live(self, *xs):
        out = as_list(self.row.ref(*self.place(xs, to_mx)))
        return [out[i] for i in self.live]

    def like(self, arrays, seed):
        rng = np.random.default_rng(seed)
        return [np.asarray(rng.uniform(-1, 1, a.shape)).astype(a.dtype) for a in arrays]


def wide(a):
    return (a.numpy() if isinstance(a, mlxc.Array) else np.asarray(a)).astype(np.float64)


def dot(xs, ys):
    return sum(float(np.sum(wide(x) * wide(y))) for x, y in zip(xs, ys))


def moved(xs, by, step):
    return [mlxc.array((wide(x) + step * wide(d)).astype(x.dtype)) for x, d in zip(xs, by)]


@pytest.mark.parametrize("name", [n for n in with_rule("vjp") if ROWS[n].ref and ROWS[n].exact])
def test_vjp_is_mlx_s(name):
    p = Problem(name, "float32")
    cotangents = p.like(p.outputs, 5)
    try:
        theirs = mx.vjp(p.real_live, [to_mx(x) for x in p.at], [to_mx(c) for c in cotangents])[1]
        mx.eval(theirs)
    except (ValueError, RuntimeError):
        pytest.skip("MLX has no derivative")
    _, ours = vjp(p.ours_live, [mlxc.array(x) for x in p.at], [mlxc.array(c) for c in cotangents])
    rtol, atol = p.row.tolerance.get("float32", (5e-5, 5e-5))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(wide(a), from_mx(b).astype(np.float64), rtol=max(rtol, 5e-5),
                                   atol=max(atol, 5e-5), err_msg=name)


def numeric(f, at, direction, step):
    """The change of the outputs of f along a direction, by differences."""
    up, down = f(*moved(at, direction, step)), f(*moved(at, direction, -step))
    return [(wide(a) - wide(b)) / (2 * step) for a, b in zip(as_list(up), as_list(down))]


def is_double(name):
    """Are its results float64 where its inputs are?"""
    return "float64" in ROWS[name].types and {o.dtype.name for o in Problem(name, "float64").outputs} == {"float64"}


DOUBLE = [n for n in with_rule("vjp") if is_double(n)]


@pytest.mark.parametrize("name", with_rule("vjp"))
def test_derivatives_are_the_numeric_ones(name):
    """Backwards and forwards, along one direction."""
    doubles = name in DOUBLE
    p = Problem(name, "float64" if doubles else "float32")
    step, close = (1e-5, 1e-5) if doubles else (1e-2, 4e-2)
    cotangents, direction = p.like(p.outputs, 6), p.like(p.at, 7)
    differences = numeric(p.ours_live, p.at, direction, step)
    arrays = [mlxc.array(x) for x in p.at]
    _, grads = vjp(p.ours_live, arrays, [mlxc.array(c) for c in cotangents])
    expected = dot(differences, cotangents)
    size = 1 + sum(float(np.sum(np.abs(d * wide(c)))) for d, c in zip(differences, cotangents))
    assert abs(dot(grads, direction) - expected) <= close * size
    _, tangents = jvp(p.ours_live, arrays, [mlxc.array(d) for d in direction])
    for a, b in zip(tangents, differences):
        np.testing.assert_allclose(wide(a), b, rtol=close, atol=close * (1 + np.abs(b).max(initial=0)))


@pytest.mark.parametrize("name", DOUBLE)
def test_second_derivatives_are_the_numeric_ones(name):
    """The derivative, forwards, of the gradient."""
    p = Problem(name, "float64")
    cotangents, direction = p.like(p.outputs, 8), p.like(p.at, 9)
    given = [mlxc.array(c) for c in cotangents]

    def gradient(*xs):
        return vjp(p.ours_live, list(xs), given)[1]

    differences = numeric(gradient, p.at, direction, 1e-5)
    _, tangents = jvp(gradient, [mlxc.array(x) for x in p.at], [mlxc.array(d) for d in direction])
    for a, b in zip(tangents, differences):
        np.testing.assert_allclose(wide(a), b, rtol=1e-4, atol=1e-4 * (1 + np.abs(b).max(initial=0)))


# ---- batches ---------------------------------------------------------------------------------

BATCH = 3


def batch_of(x, axis, seed):
    """Three of them: the array itself and others like it."""
    turned = [x] + [np.roll(x, k, -1) if x.ndim else x + x.dtype.type(k) for k in (1, 2)]
    return np.stack(turned, axis)


def ways(inputs):
    """Which inputs are batched, along which axis: all in front, all at the end, each alone."""
    yield [0] * len(inputs)
    yield [x.ndim for x in inputs]
    if len(inputs) > 1:
        for i in range(len(inputs)):
            yield [0 if i == k else -1 for k in range(len(inputs))]


def check_batch(f, inputs, axes, what, close):
    batched = [batch_of(x, a, 0) if a >= 0 else x for x, a in zip(inputs, axes)]
    together = vmap(f, [mlxc.array(x) for x in batched], axes)
    for k in range(BATCH):
        alone = as_list(f(*[mlxc.array(np.take(x, k, a) if a >= 0 else x)
                            for x, a in zip(batched, axes)]))
        for one, many in zip(alone, together):
            np.testing.assert_allclose(wide(many)[k], wide(one), rtol=close, atol=close,
                                       err_msg="%s, axes %s, item %d" % (what, axes, k))


@pytest.mark.parametrize("name", with_rule("vmap"))
def test_a_batch_is_a_loop(name):
    r = ROWS[name]
    inputs = r.inputs(r.sizes[0], "float32" if "float32" in r.types else r.types[0])
    close = 2e-3 if "quant" in name or "qmm" in name else 2e-5
    for axes in ways(inputs):
        check_batch(r.ours, inputs, axes, name, close)


@pytest.mark.parametrize("name", [n for n in with_rule("vmap") if "vjp" in ROWS[n].rules])
def test_a_batch_of_gradients_is_a_loop(name):
    p = Problem(name, "float32")
    cotangents = [mlxc.array(c) for c in p.like(p.outputs, 10)]

    def gradient(*xs):
        return vjp(p.ours_live, list(xs), cotangents)[1]

    check_batch(gradient, p.at, [0] * len(p.at), name, 5e-3 if "quant" in name or "qmm" in name else 1e-4)


# ---- compiled, and computed again ------------------------------------------------------------

def through(kind, f, xs, kept, *args):
    """f, made another by mlx_compile or mlx_checkpoint, of xs. A checkpoint calls f again later, for
    which the caller keeps it."""
    c = closure(f)
    kept.append(c)
    other = mlxc.op(kind, c.handle, *args)
    out = apply(other, xs)
    mlxc.function("mlx_closure_free")(other)
    c.free()
    return out


@pytest.mark.parametrize("name", with_rule("vjp"))
def test_compiled_and_repeated_gradients_are_plain_ones(name):
    """The gradient compiled, and the gradient through a checkpoint."""
    p = Problem(name, "float32")
    xs = [mlxc.array(x) for x in p.at]
    cotangents = [mlxc.array(c) for c in p.like(p.outputs, 11)]

    def gradient(*ys):
        return vjp(p.ours_live, list(ys), cotangents)[1]

    kept, plain = [], gradient(*xs)
    compiled = through("compile", gradient, xs, kept, False)
    again = vjp(lambda *ys: through("checkpoint", p.ours_live, list(ys), kept), xs, cotangents)[1]
    for a, b, c in zip(plain, compiled, again):
        np.testing.assert_allclose(wide(b), wide(a), rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(wide(c), wide(a), rtol=1e-5, atol=1e-6, err_msg=name)


# ---- the walk over the primitives ------------------------------------------------------------

ROOT = mlxc.ROOT


def primitives():
    """Names in prims.def, and those that elementwise.def adds to them."""
    folder = os.path.join(ROOT, "engine", "ops")
    with open(os.path.join(folder, "prims.def"), encoding="utf-8") as f:
        names = set(re.findall(r"^NX_PRIM\((\w+)\)", f.read(), re.M))
    with open(os.path.join(folder, "elementwise.def"), encoding="utf-8") as f:
        return names | set(re.findall(r"^NX_ELEM[12]\((\w+),", f.read(), re.M))


def graph_text(arrays):
    """What mlx_print_graph says of them before they are evaluated."""
    libc, text, size = C.CDLL(None), C.c_char_p(), C.c_size_t()
    libc.open_memstream.restype = C.c_void_p
    libc.fclose.argtypes = libc.free.argtypes = [C.c_void_p]
    stream = libc.open_memstream(C.byref(text), C.byref(size))
    outputs = mlxc.Call()
    new = mlxc.dll.mlx_node_namer_new
    new.restype = mlxc.structs["mlx_node_namer"]
    namer = new()
    f = mlxc.dll.mlx_print_graph
    f.argtypes = [C.c_void_p, mlxc.structs["mlx_node_namer"], mlxc.structs["mlx_vector_array"]]
    assert f(stream, namer, outputs.vector(arrays)) == 0
    outputs.free()
    libc.fclose(stream)
    return text.value.decode()


def test_every_primitive_has_a_test():
    seen = set()
    for r in ROWS.values():
        for dtype in {"float32", "complex64"} & set(r.types) or r.types[:1]:
            inputs = [mlxc.array(x) for x in r.inputs(r.sizes[0], dtype)]
            seen |= set(re.findall(r"\w+", graph_text(as_list(r.ours(*inputs)))))
    for name, path in ELSEWHERE.items():
        assert os.path.exists(os.path.join(ROOT, "tests", path)), path
    kinds = {"BitwiseBinary": "BitwiseAnd", "Reduce": "Sum", "Scan": "CumSum"}  # named by what they do
    seen |= {name for name, kind in kinds.items() if kind in seen or kind.lower() in map(str.lower, seen)}
    missing = primitives() - seen - set(ELSEWHERE)
    assert not missing, "no row of table.py builds %s" % ", ".join(sorted(missing))
