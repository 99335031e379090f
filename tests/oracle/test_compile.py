"""Compiled functions: fused, they have the bits of the plain ones."""
import ctypes as C
import re

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import FLOATS, INTS, numbers, to_mx
from test_transforms import CASES, Closure, O, as_list, inputs, vjp, vmap

MODES = {"disabled": 0, "no_simplify": 1, "no_fuse": 2, "enabled": 3}


def compiled(f, shapeless=False):
    c = Closure(lambda a: f(*a))
    g = mlxc.op("compile", c.handle, shapeless)
    c.free()
    g.kept = c  # Python's function lives as long
    return g


def run(handle, xs):
    return mlxc.op("closure_apply", handle, xs)


def bits(a):
    """All of an array; every NaN is the same one."""
    a = a.numpy() if isinstance(a, mlxc.Array) else a
    if a.dtype.kind == "f":
        a = np.where(np.isnan(a), a.dtype.type(np.nan), a)
    return a.dtype, a.shape, a.tobytes()


def same(f, xs, times=2, shapeless=False):
    """Compiled and plain agree in every bit, at the first call and later."""
    want = [bits(a) for a in as_list(f(*xs))]
    g = compiled(f, shapeless)
    for _ in range(times):
        got = run(g, xs)
        assert [bits(a) for a in got] == want
    names = graph_of(run(g, xs))
    mlxc.function("mlx_closure_free")(g)
    return names


libc = C.CDLL(None)
libc.tmpfile.restype = C.c_void_p
for name in ("rewind", "fclose"):
    getattr(libc, name).argtypes = [C.c_void_p]
libc.fread.argtypes = [C.c_void_p, C.c_size_t, C.c_size_t, C.c_void_p]


def text_of(write, arrays):
    """What a function that writes a graph to a FILE writes."""
    f, namer = libc.tmpfile(), mlxc.function("mlx_node_namer_new")()
    mlxc.op(write, C.cast(f, C.POINTER(C.c_char)), namer, arrays)
    libc.rewind(f)
    buffer = C.create_string_buffer(1 << 20)
    n = libc.fread(buffer, 1, len(buffer), f)
    libc.fclose(f)
    mlxc.function("mlx_node_namer_free")(namer)
    return buffer.raw[:n].decode()


def graph_of(arrays):
    return text_of("print_graph", arrays)


def number(x, dtype):
    return mlxc.array(np.asarray(x).astype(mlxc.numpy_dtype(dtype)))


# ---- chains of one type -------------------------------------------------------------------------

def chain(x, y, dtype):
    """Twelve operations and more, of which some need a number."""
    two, third = number(2, dtype), number(0.3, dtype)
    a = O.add(O.multiply(x, two), y)
    b = O.subtract(O.square(a), x)
    c = O.maximum(O.multiply(b, third), y)
    d = O.where(O.greater(c, x), O.negative(c), O.minimum(b, two))
    return O.add(O.multiply(O.abs(d), third), O.add(d, x))


def functions(x, y, dtype):
    a = O.sigmoid(O.add(O.exp(x), O.tanh(y)))
    b = O.sqrt(O.abs(O.sin(a)))
    return O.divide(O.log(O.add(a, number(1, dtype))), O.add(b, O.power(a, number(0.7, dtype))))


SHAPES = [(), (1,), (5,), (700,), (3, 0, 2), (4, 300), (7, 5, 33), (2, 3, 4, 130), (1030,)]


@pytest.mark.parametrize("dtype", FLOATS + ["int32", "uint8", "int64"])
def test_chains(dtype):
    for shape in SHAPES:
        xs = [numbers(shape, dtype), numbers(shape, dtype, seed=1)]
        fs = [chain] + ([functions] if dtype in FLOATS else [])
        for f in fs:
            names = same(lambda a, b, f=f: f(a, b, dtype), xs)
            assert names.count("Compiled") == 1, names


def test_special_numbers():
    for dtype in FLOATS:
        x = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 6e4, 1e-7, 65519, 3e-8] * 60).astype(
            mlxc.numpy_dtype(dtype))
        same(lambda a, b: chain(a, b, dtype), [x, x[::-1].copy()])


def test_other_types():
    """Comparisons, logic, bits, integers, complex numbers and conversions in one program."""
    for shape in [(11,), (40, 300)]:
        n, m = numbers(shape, "int32"), numbers(shape, "int32", seed=1)
        z = numbers(shape, "complex64")

        def f(n, m, z):
            p = O.logical_and(O.less(n, m), O.not_equal(O.bitwise_and(n, m), number(0, "int32")))
            q = O.where(p, O.left_shift(n, number(2, "int32")), O.bitwise_xor(m, n))
            r = O.astype(O.multiply(O.astype(q, "float16"), O.astype(m, "bfloat16")), "float64")
            s = O.multiply(z, O.astype(O.add(r, r), "complex64"))
            return [O.real(O.add(O.conjugate(s), z)), O.astype(s, "uint8"), O.astype(p, "float16"),
                    O.logical_not(p), O.astype(O.isnan(r), "int8")]

        assert "Compiled" in same(f, [n, m, z])
    for dtype in INTS:
        xs = [numbers((500,), dtype), numbers((500,), dtype, seed=2)]
        same(lambda a, b: O.remainder(O.add(O.multiply(a, b), a), O.maximum(b, number(1, b.dtype))), xs)


# ---- layouts ------------------------------------------------------------------------------------

def test_layouts():
    for dtype in ("float32", "float16", "float64"):
        x = numbers((6, 300, 5), dtype)
        views = [lambda a: a, lambda a: O.transpose(a), lambda a: O.transpose_axes(a, [1, 0, 2]),
                 lambda a: O.slice(a, [5, 0, 4], [-7, 300, -6], [-1, 1, -2])]
        for view in views:
            v = mlxc.op("copy", view(mlxc.array(x)))
            shape = v.shape
            others = [numbers(shape[-1:], dtype), numbers(shape[1:2] + (1,), dtype), numbers((), dtype),
                      numbers((shape[0], 1, 1), dtype), numbers(shape, dtype)]

            def f(a, row, column, one, page, full):
                b = O.add(O.multiply(a, row), O.subtract(column, one))
                return [O.maximum(O.multiply(b, page), full), O.abs(b)]

            assert "Compiled" in same(f, [v] + others)


def test_in_place():
    """The memory of an input that nobody else needs is taken over, and no other."""
    f = compiled(lambda a, b: O.subtract(O.multiply(O.add(a, b), a), b))
    x = numbers((4, 1000), "float32")
    a, b = mlxc.array(x), mlxc.array(x + 1)
    for _ in range(3):
        fresh = O.add(a, number(0, "float32"))
        got = run(f, [fresh, b])[0]
        del fresh
        np.testing.assert_array_equal(got.numpy(), (x + (x + 1)) * x - (x + 1))
        np.testing.assert_array_equal(a.numpy(), x)
        np.testing.assert_array_equal(b.numpy(), x + 1)
    twice = run(f, [a, a])[0].numpy()
    np.testing.assert_array_equal(twice, (x + x) * x - x)
    mlxc.function("mlx_closure_free")(f)


# ---- graphs -------------------------------------------------------------------------------------

def test_reductions_in_between():
    def f(x, w):
        m = O.mean_axes(x, [1], True)
        d = O.subtract(x, m)
        v = O.mean_axes(O.square(d), [1], True)
        h = O.multiply(d, O.rsqrt(O.add(v, number(1e-5, "float32"))))
        return [O.tanh(O.add(O.matmul(h, w), O.multiply(number(2, "float32"), O.matmul(d, w)))), h, O.exp(m)]

    names = same(f, [numbers((33, 40), "float32"), numbers((40, 24), "float32")])
    assert names.count("Compiled") >= 3


def test_long_chains_and_many_inputs():
    x = numbers((300,), "float32")

    def long(a):
        b = a
        for i in range(130):
            b = O.add(O.multiply(b, number(0.9, "float32")), a) if i % 3 else O.tanh(b)
        return b

    names = same(long, [x])
    assert 4 <= names.count("Compiled") <= 12
    many = [numbers((300,), "float32", seed=i) for i in range(40)]

    def sums(*xs):
        out = xs[0]
        for y in xs[1:]:
            out = O.add(O.multiply(out, y), y)
        return out

    assert same(sums, many).count("Compiled") >= 3

    def fan(a):  # much alive at once
        parts = [O.multiply(a, number(i, "float32")) for i in range(30)]
        out = parts[0]
        for p in parts[1:]:
            out = O.maximum(out, O.sin(p))
        return [out] + parts[:20]

    same(fan, [x])


def test_random_graphs():
    rng = np.random.default_rng(5)
    binary = ["add", "subtract", "multiply", "maximum", "minimum"]
    unary = ["abs", "negative", "square", "tanh", "sigmoid"]
    for trial in range(60):
        dtype = ["float32", "float16", "bfloat16", "float64"][trial % 4]
        shape = [(64,), (17, 30), (3, 1, 300)][trial % 3]
        plan = [(rng.integers(10), rng.integers(1 << 30), rng.integers(1 << 30)) for _ in range(rng.integers(3, 70))]

        def f(*xs, plan=plan):
            made = list(xs)
            for kind, i, j in plan:
                a, b = made[i % len(made)], made[j % len(made)]
                if kind < 5:
                    made.append(mlxc.op(binary[kind], a, b))
                elif kind < 9:
                    made.append(mlxc.op(unary[kind - 5], a))
                else:
                    made.append(O.subtract(a, O.max_axes(b, [-1], True)))
            return made[-1:] + made[len(xs)::7]

        same(f, [numbers(shape, dtype, low=-1, high=1, seed=trial + k) for k in range(3)], 1)


SIMPLE = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "abs", "negative", "square", "sqrt", "rsqrt"]


@pytest.mark.parametrize("n", [1, 7, 63, 64, 65, 128, 129, 1000, 5003])
def test_simple_operations_one_after_the_other(n):
    """Results passed in registers: any of the operations, numbers and arrays on both sides, outputs in
    between, special numbers, lengths around the blocks; rows that are not dense, and repeated ones."""
    rng = np.random.default_rng(n)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3e38], np.float32)
    for trial in range(24):
        shape = (n,) if trial % 3 else (3, n)
        xs = [numbers(shape, "float32", low=-2, high=2, seed=trial + k) for k in range(3)]
        xs[0] = np.where(rng.random(shape) < 0.2, special[rng.integers(len(special), size=shape)], xs[0])
        if trial % 4 == 3:
            xs[1] = mlxc.op("copy", O.slice(mlxc.array(np.repeat(xs[1], 2, -1)), [0] * len(shape),
                                            [d * (1 + (i == len(shape) - 1)) for i, d in enumerate(shape)],
                                            [1] * (len(shape) - 1) + [2]))
        if trial % 4 == 2:
            xs[2] = xs[2][..., :1]
        plan = [(rng.integers(len(SIMPLE)), rng.integers(8), rng.integers(1 << 30)) for _ in range(rng.integers(2, 40))]

        def f(*xs, plan=plan):
            made = [O.add(xs[0], xs[0])]
            for op, kind, i in plan:
                a, name = made[-1], SIMPLE[op]
                pool = list(xs) + made
                b = number(0.5 + i % 7, "float32") if kind < 3 else a if kind == 3 else pool[i % len(pool)]
                made.append(mlxc.op(name, a) if op > 5 else mlxc.op(name, *((b, a) if i % 2 else (a, b))))
            return made[-1:] + made[2::9]

        same(f, xs, 1)


@pytest.mark.parametrize("name", sorted(CASES))
def test_functions_of_the_other_tests(name):
    xs = inputs(name, "float32")
    same(lambda *a: CASES[name][0](O, *a), xs)
    values = vjp(lambda *a: CASES[name][0](O, *a), xs, [np.ones(CASES[name][0](O, *xs).shape, np.float32)])[1]
    want = [bits(a) for a in values]

    def gradient(*a):
        return vjp(lambda *b: CASES[name][0](O, *b), list(a),
                   [np.ones(CASES[name][0](O, *xs).shape, np.float32)])[1]

    g = compiled(gradient)
    assert [bits(a) for a in run(g, xs)] == want
    mlxc.function("mlx_closure_free")(g)


def test_derivatives_and_batches_of_compiled_functions():
    x, y = numbers((4, 6), "float32"), numbers((4, 6), "float32", seed=1)
    f = lambda a, b: O.multiply(O.sin(O.multiply(a, b)), O.add(a, number(1, "float32")))
    g = compiled(f)
    call = lambda a, b: run(g, [a, b])[0]
    ones = np.ones_like(x)
    for a, b in zip(vjp(call, [x, y], [ones])[1], vjp(f, [x, y], [ones])[1]):
        assert bits(a) == bits(b)
    for a, b in zip(vmap(call, [x, y], [0, 1 - 1]), vmap(f, [x, y], [0, 0])):
        assert bits(a) == bits(b)
    mlxc.function("mlx_closure_free")(g)


def test_modes():
    x = numbers((50,), "float32")
    f = lambda a: O.add(O.exp(O.negative(a)), O.exp(O.negative(a)))
    want = bits(f(x))
    count = {}
    try:
        for mode, number_ in MODES.items():
            assert mlxc.function("mlx_set_compile_mode")(number_) == 0
            g = compiled(f)
            got = run(g, [x])
            count[mode] = [len(re.findall(r"\b" + n, graph_of(run(g, [x])))) for n in ("Exp", "Compiled")]
            assert bits(got[0]) == want
            mlxc.function("mlx_closure_free")(g)
    finally:
        mlxc.function("mlx_set_compile_mode")(3)
    assert count == {"disabled": [2, 0], "no_simplify": [2, 0], "no_fuse": [1, 0], "enabled": [0, 1]}


def test_shapeless_chains():
    f = compiled(lambda a, b: chain(a, b, "float32"), True)
    for shape in [(3, 4), (5, 700), (1, 1), (3, 4)]:
        xs = [numbers(shape, "float32"), numbers(shape, "float32", seed=1)]
        assert bits(run(f, xs)[0]) == bits(chain(*xs, "float32"))
    a, row = numbers((5, 9), "float32"), numbers((9,), "float32")
    g = compiled(lambda a, b: O.exp(O.multiply(O.add(a, b), a)), True)
    for p, q in ((a, row), (row.reshape(1, 9), row), (a[:, :1].copy(), row)):
        assert bits(run(g, [p, q])[0]) == bits(O.exp(O.multiply(O.add(p, q), p)))
    for h in (f, g):
        mlxc.function("mlx_closure_free")(h)


# ---- what MLX says about compiled functions -------------------------------------------------------

def test_traced_once_for_each_signature():
    c = Closure(lambda a: O.exp(O.add(a[0], a[0])))
    g = mlxc.op("compile", c.handle, False)
    for x, calls in ((numbers((3,), "float32"), 1), (numbers((3,), "float32"), 1), (numbers((4,), "float32"), 2),
                     (numbers((3,), "float16"), 3), (numbers((1, 3), "float32"), 4), (numbers((3,), "float32"), 4)):
        run(g, [x])
        assert c.calls == calls
    mlxc.function("mlx_closure_free")(g)
    c.free()
    assert c.dropped == 1


def test_captured_arrays_are_constants():
    state = [mlxc.array(np.float32(2))]
    g = compiled(lambda a: O.multiply(O.exp(a), state[0]))
    x = numbers((5,), "float32")
    first = bits(run(g, [x])[0])
    state[0] = mlxc.array(np.float32(3))
    assert bits(run(g, [x])[0]) == first
    mlxc.function("mlx_closure_free")(g)


def test_an_input_is_no_constant():
    """A function that reads an input other than through its parameter would keep its first value."""
    x = mlxc.array(np.arange(3, dtype=np.float32))
    y = O.multiply(x, x)
    for f in (lambda a: O.add(a, x), lambda a: x, lambda a: O.add(a, O.exp(O.add(x, a))), lambda a: O.add(a, y)):
        g = compiled(f)
        with pytest.raises(mlxc.Error, match="uncaptured"):
            run(g, [x])
        mlxc.function("mlx_closure_free")(g)
    y.eval()  # a constant now: nothing leads to the input any more
    g = compiled(lambda a: O.add(a, y))
    np.testing.assert_array_equal(run(g, [x])[0].numpy(), [0, 2, 6])
    mlxc.function("mlx_closure_free")(g)


def test_compiled_is_named_by_what_it_does():
    x, y = numbers((4, 5), "float32"), np.float32(0.1)
    f = lambda a, b: O.add(a, O.multiply(O.broadcast_to(b, [4, 5]), a))
    g = compiled(f)
    assert "CompiledBroadcastMultiplyAdd" in graph_of(run(g, [x, y]))
    mlxc.function("mlx_closure_free")(g)
    g = compiled(lambda a: O.log10(O.sigmoid(a)))
    assert "CompiledSigmoidLog10" in graph_of(run(g, [x]))
    mlxc.function("mlx_closure_free")(g)


def test_evaluation_inside_is_an_error():
    def f(a):
        b = O.exp(a)
        b.eval()
        return b

    c = Closure(lambda a: f(*a))
    g = mlxc.op("compile", c.handle, False)
    with pytest.raises(mlxc.Error):
        run(g, [numbers((3,), "float32")])
    assert "eval" in str(c.error)
    mlxc.function("mlx_closure_free")(g)
    c.free()


# ---- graphs as text -------------------------------------------------------------------------------

def by_order(dot):
    """Operations have their address for a name there: here their number."""
    seen = {}
    return re.sub(r"\b\d{6,}\b", lambda m: "node%d" % seen.setdefault(m.group(), len(seen)), dot)


def test_graphs_are_printed_as_mlx_prints_them(tmp_path):
    x, y = mlxc.array(np.ones((2, 3), np.float32)), mlxc.array(np.ones((3,), np.float32))
    mx_x, mx_y = mx.ones((2, 3)), mx.ones((3,))
    mx.eval(mx_x, mx_y)
    path = tmp_path / "g.dot"
    for ours, theirs in ((lambda: [O.add(O.exp(x), x)], lambda: [mx.exp(mx_x) + mx_x]),
                         (lambda: mlxc.op("divmod", x, x), lambda: mx.divmod(mx_x, mx_x)),
                         (lambda: [O.sum_axes(O.multiply(x, y), [0], False)], lambda: [mx.sum(mx_x * mx_y, 0)]),
                         (lambda: [O.cumsum(O.log2(x), 0, False, True)], lambda: [mx.cumsum(mx.log2(mx_x), 0)]),
                         (lambda: [O.logsumexp_axis(x, 1, True), O.less(x, y)],
                          lambda: [mx.logsumexp(mx_x, 1, keepdims=True), mx_x < mx_y])):
        mx.export_to_dot(str(path), *theirs())
        dot = text_of("export_to_dot", ours())
        assert by_order(dot) == by_order(path.read_text())
