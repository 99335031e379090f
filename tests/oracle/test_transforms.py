"""Derivatives, batching, compiled and custom functions.

Gradients are compared with MLX's and, in float64, with numeric differences; vmap with a loop.
"""
import re
import zlib

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from closures import Closure, apply, arrays_of, as_list, closure, fill, jvp, vjp, vmap
from oracle import from_mx, to_mx

# ---- functions for both libraries ------------------------------------------------------------


class Ours:
    """Operations by their names in C."""

    def __getattr__(self, name):
        return lambda *args: mlxc.op(name, *args)

    @staticmethod
    def const(x, dtype):
        return mlxc.array(np.asarray(x).astype(mlxc.numpy_dtype(dtype)))


class Real:
    """The same of MLX."""
    names = {"sum_axes": lambda a, ax, k: mx.sum(a, ax, keepdims=k),
             "max_axes": lambda a, ax, k: mx.max(a, ax, keepdims=k),
             "min_axes": lambda a, ax, k: mx.min(a, ax, keepdims=k),
             "prod_axes": lambda a, ax, k: mx.prod(a, ax, keepdims=k),
             "mean_axes": lambda a, ax, k: mx.mean(a, ax, keepdims=k),
             "var_axes": lambda a, ax, k, d: mx.var(a, ax, keepdims=k, ddof=d),
             "softmax_axis": lambda a, ax, p: mx.softmax(a, ax, precise=p),
             "logsumexp_axis": lambda a, ax, k: mx.logsumexp(a, ax, keepdims=k),
             "transpose_axes": mx.transpose, "take_axis": mx.take,
             "concatenate_axis": mx.concatenate, "sort_axis": mx.sort,
             "cumsum": lambda a, ax, r, i: mx.cumsum(a, ax, reverse=r, inclusive=i),
             "cumprod": lambda a, ax, r, i: mx.cumprod(a, ax, reverse=r, inclusive=i),
             "logcumsumexp": lambda a, ax, r, i: mx.logcumsumexp(a, ax, reverse=r, inclusive=i),
             "fast_rms_norm": mx.fast.rms_norm, "fast_layer_norm": mx.fast.layer_norm,
             "stack_axis": mx.stack,
             "fast_scaled_dot_product_attention": lambda q, k, v, scale, *_:
                 mx.fast.scaled_dot_product_attention(q, k, v, scale=scale),
             "gather_mm": lambda a, b, i, j, order: mx.gather_mm(a, b, i, j),
             "conv2d": lambda x, w, s0, s1, p0, p1, d0, d1, groups: mx.conv2d(
                 x, w, (s0, s1), (p0, p1), (d0, d1), groups)}

    def __getattr__(self, name):
        return self.names.get(name) or getattr(mx, name)

    @staticmethod
    def slice(a, start, stop, strides):
        return a[tuple(slice(s, None if t < 0 and e < 0 else e, t)
                       for s, e, t in zip(start, stop, strides))]

    @staticmethod
    def const(x, dtype):
        return to_mx(np.asarray(x).astype(mlxc.numpy_dtype(dtype)))


O, R = Ours(), Real()
INDEX = np.array([1, 0, 2], np.int32)
ALONG = np.array([[1], [0], [3]], np.int32)


def index(o, x=INDEX):
    return o.const(x, "int32")


# name: (function of the library and its arrays, their shapes)
CASES = {}
for unary in ("sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh exp expm1 log log2 "
              "log10 log1p sqrt rsqrt square abs negative sigmoid erf erfinv reciprocal sign "
              "degrees").split():
    CASES[unary] = (lambda o, a, n=unary: getattr(o, n)(a), [(3, 4)])
CASES["arccosh"] = (lambda o, a: o.arccosh(o.exp(a)), [(3, 4)])
for binary in "add subtract multiply divide power maximum minimum arctan2 logaddexp".split():
    CASES[binary] = (lambda o, a, b, n=binary: getattr(o, n)(a, b), [(3, 4), (3, 4)])
    CASES[binary + "_broadcast"] = (lambda o, a, b, n=binary: getattr(o, n)(a, b), [(3, 4), (4,)])
for reduction in "sum max min prod mean".split():
    CASES[reduction] = (lambda o, a, n=reduction: getattr(o, n + "_axes")(a, [0, 2], False),
                        [(3, 4, 2)])
    CASES[reduction + "_keep"] = (lambda o, a, n=reduction: getattr(o, n + "_axes")(a, [1], True),
                                  [(3, 4)])
CASES.update({
    "var": (lambda o, a: o.var_axes(a, [1], False, 1), [(3, 4)]),
    "softmax": (lambda o, a: o.softmax_axis(a, -1, False), [(3, 4)]),
    "softmax_first": (lambda o, a: o.softmax_axis(a, 0, True), [(3, 4)]),
    "logsumexp": (lambda o, a: o.logsumexp_axis(a, -1, False), [(3, 4)]),
    "matmul": (lambda o, a, b: o.matmul(a, b), [(3, 4), (4, 5)]),
    "matmul_batch": (lambda o, a, b: o.matmul(a, b), [(2, 3, 4), (4, 5)]),
    "matmul_vector": (lambda o, a, b: o.matmul(a, b), [(3, 4), (4,)]),
    "addmm": (lambda o, c, a, b: o.addmm(c, a, b, 2.0, 0.5), [(3, 5), (3, 4), (4, 5)]),
    "reshape": (lambda o, a: o.reshape(a, [2, 6]), [(3, 4)]),
    "transpose": (lambda o, a: o.transpose_axes(a, [2, 0, 1]), [(3, 4, 2)]),
    "broadcast_to": (lambda o, a: o.broadcast_to(a, [2, 3, 4]), [(3, 1)]),
    "slice": (lambda o, a: o.slice(a, [1, 0], [3, 4], [1, 2]), [(3, 4)]),
    "slice_back": (lambda o, a: o.slice(a, [2, 3], [-4, 0], [-1, -2]), [(3, 4)]),
    "concatenate": (lambda o, a, b: o.concatenate_axis([a, b], 1), [(3, 4), (3, 2)]),
    "stack": (lambda o, a, b: o.stack_axis([a, b], 1), [(3, 4), (3, 4)]),
    "take": (lambda o, a: o.take_axis(a, index(o), 0), [(3, 4)]),
    "take_second": (lambda o, a: o.take_axis(a, index(o), 1), [(3, 4)]),
    "take_along": (lambda o, a: o.take_along_axis(a, index(o, ALONG), 1), [(3, 4)]),
    "put_along": (lambda o, a, b: o.put_along_axis(a, index(o, ALONG), b, 1), [(3, 4), (3, 1)]),
    "where": (lambda o, a, b: o.where(o.greater(a, b), o.square(a), b), [(3, 4), (3, 4)]),
    "cumsum": (lambda o, a: o.cumsum(a, 1, False, True), [(3, 4)]),
    "cumsum_back": (lambda o, a: o.cumsum(a, 0, True, False), [(3, 4)]),
    "cumprod": (lambda o, a: o.cumprod(a, 1, True, True), [(3, 4)]),
    "logcumsumexp": (lambda o, a: o.logcumsumexp(a, 1, False, True), [(3, 4)]),
    "sort": (lambda o, a: o.sort_axis(a, 0), [(3, 4)]),
    "rms_norm": (lambda o, a, w: o.fast_rms_norm(a, w, 1e-5), [(3, 4), (4,)]),
    "layer_norm": (lambda o, a, w, b: o.fast_layer_norm(a, w, b, 1e-5), [(3, 4), (4,), (4,)]),
    "twice": (lambda o, a: o.multiply(a, o.add(a, o.sin(a))), [(3, 4)]),
    "attention": (lambda o, q, k, v: o.fast_scaled_dot_product_attention(
        q, k, v, 0.5, "", None, None), [(2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)]),
    "gather_mm": (lambda o, a, b: o.gather_mm(a, b, index(o, np.array([0, 1, 1])), index(o), False),
                  [(2, 3, 4), (3, 4, 5)]),
    "conv": (lambda o, x, w: o.conv2d(x, w, 2, 1, 1, 2, 1, 2, 1), [(2, 7, 6, 3), (4, 3, 2, 3)]),
    "conv_groups": (lambda o, x, w: o.conv1d(x, w, 2, 1, 1, 2), [(2, 7, 4), (6, 3, 2)]),
    "mlp": (lambda o, x, w, v: o.matmul(o.tanh(o.matmul(x, w)), v), [(3, 4), (4, 5), (5, 2)]),
})


FLOAT32 = re.compile("norm|attention|conv|gather_mm")  # what MLX or we compute in float32 alone


def inputs(name, dtype, batch=(), seed=0):
    rng = np.random.default_rng(zlib.crc32(("%s %d" % (name, seed)).encode()))
    t = mlxc.numpy_dtype(dtype)
    return [rng.uniform(0.2, 0.9, batch + s).astype(t) for s in CASES[name][1]]


def ours(name):
    return lambda *xs: CASES[name][0](O, *xs)


def real(name):
    return lambda *xs: CASES[name][0](R, *xs)


def close(a, b, rtol=2e-5, atol=2e-6, what=""):
    a = a.numpy() if isinstance(a, mlxc.Array) else np.asarray(a)
    np.testing.assert_allclose(a.astype(np.float64), np.asarray(b).astype(np.float64), rtol=rtol,
                               atol=atol, err_msg=what)


# ---- tests -----------------------------------------------------------------------------------

# MLX computes some functions of float64 in float32.
TOLERANCE = {"float32": (2e-5, 2e-6), "float64": (1e-5, 1e-6), "float16": (2e-2, 1e-2),
             "bfloat16": (1e-1, 6e-2)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_vjp_is_mlx_s(name):
    for dtype in TOLERANCE:
        if dtype == "float64" and FLOAT32.search(name):
            continue
        if dtype != "float32" and name == "gather_mm":
            continue  # there MLX itself aborts
        xs = inputs(name, dtype)
        value = real(name)(*[to_mx(x) for x in xs])
        g = inputs(name, dtype, seed=1)[0].ravel()[0] * np.ones(value.shape)
        g = (g * np.arange(1, value.size + 1).reshape(value.shape) / value.size).astype(xs[0].dtype)
        values, grads = vjp(ours(name), [mlxc.array(x) for x in xs], [mlxc.array(g)])
        theirs = mx.vjp(lambda *a: [real(name)(*a)], [to_mx(x) for x in xs], [to_mx(g)])[1]
        rtol, atol = TOLERANCE[dtype]
        close(values[0], from_mx(value), rtol, atol, name)
        for i, (a, b) in enumerate(zip(grads, theirs)):
            assert a.dtype == dtype and a.shape == tuple(b.shape)
            close(a, from_mx(b), rtol, atol, "%s %s input %d" % (name, dtype, i))


def moved_by(name, xs, ts, h=1e-5):
    """The directional derivative, by central differences in float64."""
    ahead = ours(name)(*[mlxc.array(x + h * t) for x, t in zip(xs, ts)])
    back = ours(name)(*[mlxc.array(x - h * t) for x, t in zip(xs, ts)])
    return (ahead.numpy() - back.numpy()) / (2 * h)


@pytest.mark.parametrize("name", sorted(CASES))
def test_jvp_is_the_difference(name):
    if FLOAT32.search(name):
        pytest.skip("computed in float32")
    xs, ts = inputs(name, "float64"), inputs(name, "float64", seed=1)
    _, moved = jvp(ours(name), [mlxc.array(x) for x in xs], [mlxc.array(t) for t in ts])
    close(moved[0], moved_by(name, xs, ts), 1e-6, 1e-8, name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_derivative_is_the_difference_of_the_first(name):
    if FLOAT32.search(name):
        pytest.skip("computed in float32")
    xs, ts = inputs(name, "float64"), inputs(name, "float64", seed=1)
    shape = real(name)(*[to_mx(x) for x in xs]).shape
    w = np.linspace(0.3, 1.1, int(np.prod(shape))).reshape(shape)

    def gradient(*a):
        return vjp(ours(name), list(a), [mlxc.array(w)])[1]

    _, moved = jvp(gradient, [mlxc.array(x) for x in xs], [mlxc.array(t) for t in ts])
    h = 1e-5
    ahead = gradient(*[mlxc.array(x + h * t) for x, t in zip(xs, ts)])
    back = gradient(*[mlxc.array(x - h * t) for x, t in zip(xs, ts)])
    for a, p, q in zip(moved, ahead, back):
        close(a, (p.numpy() - q.numpy()) / (2 * h), 1e-5, 1e-7, name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_vmap_is_the_loop(name):
    n = len(CASES[name][1])
    for axis in (0, -1):
        for which in {tuple([True] * n)} | {tuple(i == k for i in range(n)) for k in range(n)}:
            whole = inputs(name, "float32", (2,))
            single = inputs(name, "float32", seed=1)
            xs, axes, items = [], [], [[], []]
            for b, one, batched in zip(whole, single, which):
                place = (b.ndim - 1 if axis else 0) if batched else -1
                xs.append(np.ascontiguousarray(np.moveaxis(b, 0, place)) if batched else one)
                axes.append(place)
                for i in range(2):
                    items[i].append(b[i] if batched else one)
            out = vmap(ours(name), [mlxc.array(x) for x in xs], axes)[0]
            loop = np.stack([from_mx(real(name)(*[to_mx(x) for x in item])) for item in items])
            close(out, loop, what="%s %s %s" % (name, axis, which))


@pytest.mark.parametrize("name", sorted(CASES))
def test_vmap_of_a_gradient_is_the_loop(name):
    w = np.linspace(0.3, 1.1, real(name)(*[to_mx(x) for x in inputs(name, "float32")]).size)
    w = w.reshape(real(name)(*[to_mx(x) for x in inputs(name, "float32")]).shape).astype(np.float32)

    def gradient(*a):
        return vjp(ours(name), list(a), [mlxc.array(w)])[1]

    batch = inputs(name, "float32", (2,))
    out = vmap(gradient, [mlxc.array(x) for x in batch], [0] * len(batch))
    for i in range(2):
        one = gradient(*[mlxc.array(x[i]) for x in batch])
        for a, b in zip(out, one):
            close(a.numpy()[i], b.numpy(), what=name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_compiled_is_plain(name):
    xs = inputs(name, "float32")
    c = closure(ours(name))
    compiled = mlxc.op("compile", c.handle, False)
    for seed in (0, 1):
        xs = [mlxc.array(x) for x in inputs(name, "float32", seed=seed)]
        a, b = apply(compiled, xs)[0].numpy(), ours(name)(*xs).numpy()
        np.testing.assert_array_equal(a, b)
    assert c.calls == 1
    mlxc.function("mlx_closure_free")(compiled)
    c.free()
    assert c.dropped == 1


def test_compile_keys():
    c = closure(lambda a: O.add(O.sin(a), O.sin(a)))
    compiled = mlxc.op("compile", c.handle, False)
    for shape, calls in (((3,), 1), ((3,), 1), ((4,), 2), ((3,), 2)):
        apply(compiled, [mlxc.array(np.ones(shape, np.float32))])[0].eval()
        assert c.calls == calls
    apply(compiled, [mlxc.array(np.ones(3, np.int32))])
    assert c.calls == 3
    mlxc.function("mlx_closure_free")(compiled)
    c.free()


def test_shapeless():
    c = closure(lambda a, b: O.sum_axes(O.multiply(O.add(a, b), O.const(2, "float32")), [1], True))
    compiled = mlxc.op("compile", c.handle, True)
    for rows, columns in ((2, 3), (5, 1), (1, 7), (4, 4)):
        a, b = np.ones((rows, columns), np.float32), np.ones((1, columns), np.float32)
        out = apply(compiled, [mlxc.array(a), mlxc.array(b)])[0]
        np.testing.assert_array_equal(out.numpy(), np.full((rows, 1), 4.0 * columns))
    assert c.calls == 1
    mlxc.function("mlx_closure_free")(compiled)
    c.free()
    c = closure(lambda a, b: O.mean_axes(O.multiply(a, b), [0, 1], False))
    compiled = mlxc.op("compile", c.handle, True)
    for one, other in (((2, 1), (1, 3)), ((1, 2), (4, 1)), ((1, 3), (1, 1)), ((3, 1), (3, 5))):
        a, b = np.full(one, 3, np.float32), np.arange(np.prod(other), dtype=np.float32).reshape(other)
        close(apply(compiled, [mlxc.array(a), mlxc.array(b)])[0], (a * b).mean())
    assert c.calls == 1
    mlxc.function("mlx_closure_free")(compiled)
    c.free()
    sliced = closure(lambda a: O.slice(a, [0], [4], [1]))
    compiled = mlxc.op("compile", sliced.handle, True)
    assert apply(compiled, [mlxc.array(np.ones(8, np.float32))])[0].shape == (4,)
    with pytest.raises(mlxc.Error, match="Slice"):
        apply(compiled, [mlxc.array(np.ones(2, np.float32))])


def test_eval_inside():
    def f(a):
        b = O.sin(a)
        b.eval()
        return O.multiply(b, a)

    x = np.linspace(0, 1, 5).astype(np.float32)
    _, grads = vjp(f, [mlxc.array(x)], [mlxc.array(np.ones(5, np.float32))])
    close(grads[0], np.sin(x) + x * np.cos(x))
    c = closure(f)
    compiled = mlxc.op("compile", c.handle, False)
    with pytest.raises(mlxc.Error):
        apply(compiled, [mlxc.array(x)])
    assert "[eval]" in str(c.error)


def test_async_eval_inside_is_refused():
    x, other = mlxc.array(np.ones(3, np.float32)), O.exp(mlxc.array(np.zeros(3, np.float32)))

    def seen(a):
        b = O.sin(a)
        mlxc.op("async_eval", [b])
        return b

    def unseen(a):
        mlxc.op("async_eval", [other])
        return O.sin(a)

    def total(f):
        return closure(lambda a: O.sum(f(a), False))

    c = total(seen)
    both, compiled = mlxc.op("value_and_grad", c.handle, [0]), mlxc.op("compile", c.handle, False)
    for name, handle in (("closure_value_and_grad_apply", both), ("closure_apply", compiled)):
        with pytest.raises(mlxc.Error):
            mlxc.op(name, handle, [x])
        assert "[async_eval] Not allowed" in str(c.error)
    d = total(unseen)
    both = mlxc.op("value_and_grad", d.handle, [0])
    close(mlxc.op("closure_value_and_grad_apply", both, [x])[1][0], np.cos(np.ones(3)))


def test_value_and_grad():
    c = closure(lambda a, b: [O.sum_axes(O.multiply(a, b), [0], False), O.exp(a)])
    both = mlxc.op("value_and_grad", c.handle, [1])
    a, b = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    values, grads = mlxc.op("closure_value_and_grad_apply", both, [mlxc.array(a), mlxc.array(b)])
    assert len(values) == 2 and len(grads) == 1
    close(values[0], 3.0)
    close(grads[0], a)
    for argnums in ([], [2], [-1], [0, 0]):
        bad = mlxc.op("value_and_grad", c.handle, argnums)
        with pytest.raises(mlxc.Error):
            mlxc.op("closure_value_and_grad_apply", bad, [mlxc.array(a), mlxc.array(b)])
        mlxc.function("mlx_closure_value_and_grad_free")(bad)
    mlxc.function("mlx_closure_value_and_grad_free")(both)
    c.free()
    assert c.dropped == 1


def test_checkpoint_runs_again():
    c = closure(lambda a: O.sin(O.exp(a)))
    again = mlxc.op("checkpoint", c.handle)
    x = np.linspace(0, 1, 5).astype(np.float32)
    _, grads = vjp(lambda a: apply(again, [a]), [mlxc.array(x)],
                   [mlxc.array(np.ones(5, np.float32))])
    close(grads[0], np.cos(np.exp(x)) * np.exp(x))
    assert c.calls == 2
    mlxc.function("mlx_closure_free")(again)
    c.free()


def test_custom_vjp():
    f = closure(O.sin)
    rule = Closure(lambda primals, cotangents, outputs: O.multiply(cotangents[0], outputs[0]),
                   "closure_custom")
    custom = mlxc.op("custom_vjp", f.handle, rule.handle)
    x = np.linspace(0, 1, 5).astype(np.float32)
    values, grads = vjp(lambda a: apply(custom, [a]), [mlxc.array(x)],
                        [mlxc.array(np.full(5, 3, np.float32))])
    close(values[0], np.sin(x))
    close(grads[0], 3 * np.sin(x))
    _, moved = jvp(lambda a: apply(custom, [a]), [mlxc.array(x)],
                   [mlxc.array(np.ones(5, np.float32))])
    close(moved[0], np.cos(x))
    out = vmap(lambda a: apply(custom, [a]), [mlxc.array(x)], [0])
    close(out[0], np.sin(x))
    mlxc.function("mlx_closure_free")(custom)
    f.free()
    rule.free()
    del values, grads, moved, out, _
    assert f.dropped == 1 and rule.dropped == 1


def test_stop_gradient_has_no_cotangent():
    x = mlxc.array(np.ones(3, np.float32))
    _, grads = vjp(lambda a: [O.stop_gradient(a), O.exp(a)], [x], [mlxc.array(
        np.ones(3, np.float32))])
    close(grads[0], np.full(3, np.e))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_cotangents_take_the_outputs_type(dtype):
    x = mlxc.array(np.asarray(1.5).astype(mlxc.numpy_dtype(dtype)))
    c = mlxc.array(np.asarray(1.1, np.float32))
    for f in (lambda a: a, lambda a: O.add(a, a), lambda a: O.sin(a)):
        assert vjp(f, [x], [c])[1][0].dtype == dtype
    for f in (lambda a: a, lambda a: O.sum(O.reshape(a, [1, 1]), False)):
        k = closure(f)
        both = mlxc.op("value_and_grad", k.handle, [0])
        _, grads = mlxc.op("closure_value_and_grad_apply", both, [x])
        assert grads[0].dtype == dtype
        mlxc.function("mlx_closure_value_and_grad_free")(both)
        k.free()


@pytest.mark.parametrize("kind", ["max", "min"])
def test_slice_update_gives_to_both_where_they_tie(kind):
    src, update = np.array([1, 2, 3, np.nan, 5], np.float32), np.array([2, 1, 9, 4], np.float32)
    g = np.array([4, 5, 6, 7, 8], np.float32)
    f = lambda a, b: getattr(O, "slice_update_" + kind)(a, b, [0], [4], [1])

    def real(a, b):
        return getattr(a.at[0:4], kind + "imum")(b)

    ours = vjp(f, [mlxc.array(src), mlxc.array(update)], [mlxc.array(g)])[1]
    theirs = mx.vjp(real, [mx.array(src), mx.array(update)], [mx.array(g)])[1]
    for a, b in zip(ours, theirs):
        np.testing.assert_array_equal(a.numpy(), np.array(b))


def test_an_output_nobody_holds_may_be_asked_for_again():
    """Of an operation of several outputs one is dropped; its derivative is asked for zeros like it."""
    for n in range(20):
        k = closure(lambda a: O.sum(mlxc.op("split", a, 2, 0)[0], False))
        both = mlxc.op("value_and_grad", k.handle, [0])
        outer = closure(lambda a: mlxc.op("closure_value_and_grad_apply", both, [a])[1][0])
        compiled = mlxc.op("compile", outer.handle, True)
        got = apply(compiled, [mlxc.array(np.ones((4, 3), np.float32))])[0].numpy()
        np.testing.assert_array_equal(got, np.repeat(np.array([1, 1, 0, 0], np.float32)[:, None], 3, 1))
        mlxc.function("mlx_closure_free")(compiled)
        outer.free()
        mlxc.function("mlx_closure_value_and_grad_free")(both)
        k.free()


SHAPELESS = {
    "softmax": lambda o, x: o.softmax_axis(x, -1, True),
    "max": lambda o, x: o.max_axis(x, -1, False),
    "mean": lambda o, x: o.mean_axis(x, -1, True),
    "var": lambda o, x: o.var_axis(x, -1, False, 0),
    "logsumexp": lambda o, x: o.logsumexp_axis(x, -1, False),
    "prod": lambda o, x: o.prod_axis(x, -1, False),
    "sort": lambda o, x: o.sort_axis(x, -1),
    "layer_norm": lambda o, x: mlxc.op("fast_layer_norm", x, None, None, 1e-5),
    "rms_norm": lambda o, x: mlxc.op("fast_rms_norm", x, None, 1e-5),
    "gram": lambda o, x: o.matmul(o.transpose(x), x),
    "outer": lambda o, x: o.multiply(o.expand_dims(x, 0), o.expand_dims(x, 1)),
}


@pytest.mark.parametrize("name", SHAPELESS)
def test_gradients_of_shapeless_traces(name):
    k = closure(lambda a: O.sum(O.square(SHAPELESS[name](O, a)), False))
    both = mlxc.op("value_and_grad", k.handle, [0])
    outer = closure(lambda a: mlxc.op("closure_value_and_grad_apply", both, [a])[1][0])
    compiled = mlxc.op("compile", outer.handle, True)
    for shape in ((2, 3), (4, 5), (1, 7)):
        x = mlxc.array(np.random.default_rng(3).uniform(0.5, 1.5, shape).astype(np.float32))
        want = mlxc.op("closure_value_and_grad_apply", both, [x])[1][0]
        got = apply(compiled, [x])[0]
        assert got.shape == shape
        close(got, want.numpy())
    assert outer.calls == 1
    mlxc.function("mlx_closure_free")(compiled)
    outer.free()
    mlxc.function("mlx_closure_value_and_grad_free")(both)
    k.free()


def test_refusals():
    x = mlxc.array(np.ones(3, np.float32))
    one = mlxc.array(np.ones((), np.float32))
    w = mlxc.array(np.ones((2, 32), np.float32))
    with pytest.raises(mlxc.Error, match="shape"):
        vjp(O.exp, [x], [one])
    with pytest.raises(mlxc.Error, match="cotangents"):
        vjp(lambda a: [a, a], [x], [x])
    with pytest.raises(mlxc.Error, match="tangents"):
        jvp(O.exp, [x], [x, x])
    with pytest.raises(mlxc.Error, match="Inconsistent"):
        vmap(O.add, [x, mlxc.array(np.ones(4, np.float32))], [0, 0])
    with pytest.raises(mlxc.Error, match="Quantize"):
        vjp(lambda a: O.quantize(a, 32, 4, "affine", None)[1], [w], [mlxc.array(np.ones((2, 1), np.float32))])


def test_complex_products_conjugate():
    z, w = np.array([1 + 2j, 0.5 - 1j], np.complex64), np.array([2 - 1j, 1 + 1j], np.complex64)
    for op in ("multiply", "divide", "matmul"):
        _, grads = vjp(getattr(O, op), [mlxc.array(z), mlxc.array(w)],
                       [mlxc.array(np.ones((), np.complex64) if op == "matmul" else w)])
        _, theirs = mx.vjp(getattr(mx, op), [to_mx(z), to_mx(w)],
                           [to_mx(np.ones((), np.complex64) if op == "matmul" else w)])
        for a, b in zip(grads, theirs):
            np.testing.assert_allclose(a.numpy(), from_mx(b), rtol=1e-5)
