"""Linear algebra: against MLX where results are unique, else by what a decomposition must satisfy."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
import test_transforms as t
from oracle import LAYOUTS, check, check_error, compare, from_mx, numbers, ours_view, to_mx

L = mx.linalg
TYPES = ["float32", "float64"]
BATCHES = [(), (2, 3), (0,), (19,)]
SQUARES = [1, 2, 5, 17]
TALL = [(1, 1), (3, 3), (5, 2), (2, 5), (1, 4), (4, 1), (17, 9), (9, 17)]
EPS = {"float32": 1e-5, "float64": 1e-13, "complex64": 1e-5}


def near(got, want, dtype, scale=1.0):
    np.testing.assert_allclose(got, want, rtol=EPS[dtype] * 20 * scale, atol=EPS[dtype] * 20 * scale)


def good(shape, dtype, seed=0):
    """Square matrices far from singular."""
    n = shape[-1]
    return (numbers(shape, dtype, -1, 1, seed) + 2 * n ** 0.5 * np.eye(n)).astype(dtype)


def positive(shape, dtype, seed=0):
    a = numbers(shape, dtype, -1, 1, seed)
    return (a @ np.conj(np.swapaxes(a, -1, -2)) + np.eye(shape[-1])).astype(dtype)


def in_layouts(x):
    """The array in every layout, as ours."""
    for layout in LAYOUTS:
        made = layout(x)
        if made is not None and layout.__name__ != "broadcast":
            yield ours_view(mlxc.array(made[0]), made[1])


def solid(op, x, *more, args=(), ref=None, rtol=1e-3, atol=1e-5):
    """check, but without the layout that repeats a row, which makes a matrix singular."""
    want = ref(*[to_mx(a) for a in (x,) + more])
    for a in in_layouts(x):
        compare(mlxc.op(op, a, *more, *args), want, op, rtol=rtol, atol=atol)


def h(a):
    return np.conj(np.swapaxes(a, -1, -2))


# ---- decompositions ----------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", TYPES)
def test_qr(dtype):
    for shape in TALL:
        for batch in BATCHES:
            x = numbers(batch + shape, dtype)
            for a in in_layouts(x):
                q, r = mlxc.op("linalg_qr", a)
                want = L.qr(to_mx(x), stream=mx.cpu)
                compare(q, want[0], "Q", rtol=1e-3, atol=EPS[dtype] * 10)
                compare(r, want[1], "R", rtol=1e-3, atol=EPS[dtype] * 30)
                q, r = q.numpy(), r.numpy()
                near(q @ r, x, dtype)
                near(h(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), r.shape[:-2] + (q.shape[-1],) * 2), dtype)
    for shape in [(0, 0), (3, 0), (0, 3)]:
        q, r = mlxc.op("linalg_qr", np.zeros(shape, dtype))
        assert q.numpy().shape == (shape[0], 0) and r.numpy().shape == (0, shape[1])


@pytest.mark.parametrize("dtype", TYPES + ["complex64"])
def test_svd(dtype):
    for shape in TALL:
        for batch in BATCHES:
            x = numbers(batch + shape, dtype)
            want = L.svd(to_mx(x), stream=mx.cpu, compute_uv=False)
            for a in in_layouts(x):
                u, s, v = mlxc.op("linalg_svd", a, True)
                compare(s, want, "S", rtol=1e-4, atol=EPS[dtype] * 20)
                compare(mlxc.op("linalg_svd", a, False)[0], want, "S alone", rtol=1e-4, atol=EPS[dtype] * 20)
                assert u.dtype == v.dtype == dtype
                u, s, v = u.numpy(), s.numpy(), v.numpy()
                k = s.shape[-1]
                near((u[..., :k] * s[..., None, :]) @ v[..., :k, :], x, dtype)
                for m in (u, v):
                    near(h(m) @ m, np.broadcast_to(np.eye(m.shape[-1]), m.shape), dtype)
    u, s, v = mlxc.op("linalg_svd", np.zeros((3, 0), dtype), True)
    np.testing.assert_array_equal(u.numpy(), np.eye(3))
    assert s.shape == (0,) and v.shape == (0, 0)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_cholesky(dtype, upper):
    for n in SQUARES:
        for batch in BATCHES:
            x = positive(batch + (n, n), dtype)
            for a in in_layouts(x):
                got = mlxc.op("linalg_cholesky", a, upper)
                compare(got, L.cholesky(to_mx(x), upper=upper, stream=mx.cpu), rtol=1e-3, atol=EPS[dtype] * 10)
            factor = got.numpy()
            got = mlxc.op("linalg_cholesky_inv", factor, upper).numpy()
            near(got @ x, np.broadcast_to(np.eye(n), x.shape), dtype, 10)
    # No error in MLX either: the factor as far as it was found.
    compare(mlxc.op("linalg_cholesky", np.zeros((3, 3), dtype), upper), L.cholesky(mx.zeros((3, 3), getattr(mx, dtype)), upper=upper))


@pytest.mark.parametrize("dtype", TYPES)
def test_lu(dtype):
    for shape in TALL:
        for batch in BATCHES:
            x = numbers(batch + shape, dtype)
            want, factor = L.lu(to_mx(x), stream=mx.cpu), L.lu_factor(to_mx(x), stream=mx.cpu)
            for a in in_layouts(x):
                got = mlxc.op("linalg_lu", a)
                compare(got, want, "LU", rtol=1e-3, atol=EPS[dtype] * 30)
                compare(list(mlxc.op("linalg_lu_factor", a)), list(factor), "LU factor", rtol=1e-3, atol=EPS[dtype] * 30)
                p, l, u = [y.numpy() for y in got]
                near(np.take_along_axis(l, p[..., None].astype(int), -2) @ u, x, dtype)


@pytest.mark.parametrize("dtype", TYPES + ["complex64"])
def test_eig(dtype):
    for n in SQUARES:
        for batch in BATCHES:
            x = numbers(batch + (n, n), dtype)
            for a in in_layouts(x):
                w, v = mlxc.op("linalg_eig", a)
                assert w.dtype == v.dtype == "complex64" and w.shape == x.shape[:-1] and v.shape == x.shape
                alone = mlxc.op("linalg_eigvals", a).numpy()
                w, v = w.numpy(), v.numpy()
                np.testing.assert_allclose(x @ v, v * w[..., None, :], rtol=1e-3, atol=2e-4 * n)
                if v.size:
                    np.testing.assert_allclose(np.linalg.norm(v, axis=-2), 1, rtol=1e-4)
                    order = lambda z: np.sort_complex(np.round(z.astype(complex), 2))
                    np.testing.assert_allclose(order(alone), order(from_mx(L.eigvals(to_mx(x), stream=mx.cpu))), atol=3e-2)


@pytest.mark.parametrize("uplo", ["L", "U", "l", "u"])
@pytest.mark.parametrize("dtype", TYPES + ["complex64"])
def test_eigh(dtype, uplo):
    for n in SQUARES:
        for batch in BATCHES:
            x = numbers(batch + (n, n), dtype)  # of which one triangle is read
            x[..., range(n), range(n)] = x[..., range(n), range(n)].real
            low = h(np.triu(x, 1)) if uplo in "Ll" else np.tril(x, -1)  # as MLX: of the transpose
            full = (low + h(low) + np.eye(n) * x).astype(dtype)
            want = L.eigvalsh(to_mx(x), UPLO=uplo, stream=mx.cpu)
            for a in in_layouts(x):
                w, v = mlxc.op("linalg_eigh", a, uplo)
                compare(w, want, "values", rtol=1e-4, atol=EPS[dtype] * 20)
                compare(mlxc.op("linalg_eigvalsh", a, uplo), want, "values", rtol=1e-4, atol=EPS[dtype] * 20)
                assert v.dtype == dtype
                near(full @ v.numpy(), v.numpy() * w.numpy()[..., None, :], dtype, 2)
    for bad in ("X", "", "LU"):
        with pytest.raises(mlxc.Error, match="linalg::eigh"):
            mlxc.op("linalg_eigh", np.eye(2, dtype=dtype), bad)


# ---- inverses and equations -----------------------------------------------------------------------

@pytest.mark.parametrize("dtype", TYPES)
def test_inverses(dtype):
    tight = dict(rtol=1e-3, atol=EPS[dtype])
    for n in SQUARES:
        for batch in BATCHES:
            x = good(batch + (n, n), dtype)
            solid("linalg_inv", x, ref=L.inv, **tight)
            for upper in (False, True):
                solid("linalg_tri_inv", x, args=(upper,), **tight,
                      ref=lambda a: L.tri_inv(a, upper=upper))
                solid("linalg_cholesky_inv", x, args=(upper,), **tight,
                      ref=lambda a: L.cholesky_inv(a, upper=upper))
    for shape in TALL + [(3, 4, 6), (2, 2, 5, 3)]:
        check("linalg_pinv", shape, dtypes=[dtype], ref=L.pinv, rtol=1e-3, atol=EPS[dtype] * 50)
    rank_one = np.outer([1, 2, 3], [1, -1]).astype(dtype)
    check("linalg_pinv", rank_one, dtypes=[dtype], ref=L.pinv, rtol=1e-3, atol=1e-6)
    check("linalg_pinv", np.zeros((3, 2), dtype), dtypes=[dtype], ref=L.pinv)


@pytest.mark.parametrize("dtype", TYPES)
def test_solve(dtype):
    tight = dict(rtol=1e-3, atol=EPS[dtype] * 5)
    for n in (1, 2, 5, 17):
        for batch in [(), (3,), (2, 3), (0,)]:
            for columns in (1, 4):
                a, b = good(batch + (n, n), dtype), numbers(batch + (n, columns), dtype)
                solid("linalg_solve", a, b, ref=L.solve, **tight)
                for upper in (False, True):
                    solid("linalg_solve_triangular", a, b, args=(upper,), **tight,
                          ref=lambda x, y: L.solve_triangular(x, y, upper=upper))
        solid("linalg_solve", good((n, n), dtype), numbers((n,), dtype), ref=L.solve, **tight)
    solid("linalg_solve_triangular", good((3, 3), dtype), numbers((5, 1, 3, 2), dtype), args=(False,),
          ref=lambda x, y: L.solve_triangular(x, y, upper=False), **tight)
    # MLX's solve does not broadcast batches; NumPy's does.
    for sa, sb in [((3, 3), (2, 3, 2)), ((2, 3, 3), (3, 2)), ((4, 1, 3, 3), (2, 3, 1))]:
        a, b = good(sa, dtype), numbers(sb, dtype)
        near(mlxc.op("linalg_solve", a, b).numpy(), np.linalg.solve(a, b), dtype)


def test_solve_types():
    a = good((3, 3), "float32")
    for b in (np.array([1, 2, 3], np.int32), np.array([1, 2, 3], np.float64), np.array([True, False, True])):
        compare(mlxc.op("linalg_solve", a, b), L.solve(to_mx(a), to_mx(b), stream=mx.cpu), rtol=1e-4)
        compare(mlxc.op("linalg_solve_triangular", a, b, True), L.solve_triangular(to_mx(a), to_mx(b), upper=True, stream=mx.cpu), rtol=1e-4)
    for x, y in [((3,), (3,)), ((2, 3), (2,)), ((3, 3), (2, 3)), ((3, 3), (4,)), ((2, 3, 3), (2, 3))]:
        check_error("linalg_solve", x, y, ref=L.solve)
        check_error("linalg_solve_triangular", x, y, args=(False,), ref=L.solve_triangular)
    for dtype in ("int32", "float16", "complex64", "bool"):
        check_error("linalg_solve", (3, 3), (3,), dtype=dtype, ref=L.solve)
    with pytest.raises(mlxc.Error, match="linalg::solve"):
        mlxc.op("linalg_solve", a, np.float32(1))


def test_large():
    """One matrix, which the library's own threads share."""
    for n in (200, 331):
        x = good((n, n), "float32")
        near(mlxc.op("linalg_inv", x).numpy() @ x, np.eye(n), "float32", 10)
        q, r = [y.numpy() for y in mlxc.op("linalg_qr", x)]
        near(q @ r, x, "float32", 10)
        b = numbers((n,), "float32")
        near(x @ mlxc.op("linalg_solve", x, b).numpy(), b, "float32", 10)


# ---- what cannot be --------------------------------------------------------------------------------

SQUARE_ONLY = {"inv": (L.inv, ()), "tri_inv": (L.tri_inv, (False,)), "cholesky": (L.cholesky, (False,)),
               "cholesky_inv": (L.cholesky_inv, (False,)), "eig": (L.eig, ()), "eigvals": (L.eigvals, ()),
               "eigh": (L.eigh, ("L",)), "eigvalsh": (L.eigvalsh, ("L",))}
ANY = {"qr": (L.qr, ()), "svd": (L.svd, (True,)), "lu": (L.lu, ()), "lu_factor": (L.lu_factor, ()), "pinv": (L.pinv, ())}


@pytest.mark.parametrize("name", list(SQUARE_ONLY) + list(ANY))
def test_refused(name):
    f, args = {**SQUARE_ONLY, **ANY}[name]
    for dtype in ("float16", "bfloat16", "int32", "bool") + (
            () if name in ("svd", "eig", "eigvals", "eigh", "eigvalsh") else ("complex64",)):
        check_error("linalg_" + name, (3, 3), args=args, dtype=dtype, ref=f)
    check_error("linalg_" + name, (3,), args=args, ref=f)
    with pytest.raises(mlxc.Error, match="linalg::"):
        mlxc.op("linalg_" + name, np.float32(1), *args)
    if name in SQUARE_ONLY:
        check_error("linalg_" + name, (2, 3), args=args, ref=f)
        check_error("linalg_" + name, (4, 3, 2), args=args, ref=f)


@pytest.mark.parametrize("name,bad,args", [
    ("inv", np.zeros((3, 3)), ()), ("inv", np.ones((40, 2, 2)), ()), ("tri_inv", np.zeros((3, 3)), (True,)),
    ("lu", np.zeros((3, 3)), ()), ("lu_factor", np.zeros((3, 3)), ()), ("svd", np.full((3, 3), np.nan), (True,)),
    ("svd", np.full((2, 3, 3), np.inf), (False,)), ("eigh", np.full((3, 3), np.nan), ("L",)), ("eig", np.full((3, 3), np.nan), ()),
    ("cholesky_inv", np.zeros((2, 2)), (True,)), ("pinv", np.full((3, 3), np.nan), ())])
def test_no_answer(name, bad, args):
    """Where MLX ends the process, ours is an error when it is evaluated, and the next thing works."""
    for dtype in TYPES:
        out = mlxc.op("linalg_" + name, bad.astype(dtype), *args)
        out = out if isinstance(out, (list, tuple)) else [out]
        with pytest.raises(mlxc.Error, match=r"\[linalg::\w+\].*info"):
            out[-1].eval()
        near(mlxc.op("linalg_inv", np.eye(3, dtype=dtype) * 2).numpy(), np.eye(3) / 2, dtype)


def test_nan_passes_through():
    for name in ("inv", "cholesky", "qr", "lu"):
        x = np.full((3, 3), np.nan, np.float32)
        args = (False,) if name == "cholesky" else ()
        out = mlxc.op("linalg_" + name, x, *args)
        out = out if isinstance(out, (list, tuple)) else [out]
        assert np.isnan(out[-1].numpy()).any(), name


# ---- norms, cross ------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1, 1)])
def test_norms(shape):
    loose = dict(rtol={"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5}, atol={"float32": 1e-5})
    for ord in (0, 1, 2, 2.5, -1, -2, np.inf, -np.inf):
        for keep in (False, True):
            for axis in range(-1, len(shape)):
                check("linalg_norm", shape, args=(float(ord), [axis], keep), dtypes=["float32", "float64", "float16", "int32", "complex64"],
                      ref=lambda a: L.norm(a, ord, axis=axis, keepdims=keep), layouts=ord == 1, **loose)
            for axes in [(i, j) for i in range(len(shape)) for j in range(len(shape)) if i != j]:
                if abs(ord) in (1, 2, np.inf):
                    types = ["float32", "float64", "complex64"] + (["float16", "int8"] if abs(ord) != 2 else [])
                    check("linalg_norm", shape, args=(float(ord), list(axes), keep), dtypes=types, layouts=ord == 1,
                          ref=lambda a: L.norm(a, ord, axis=list(axes), keepdims=keep, stream=mx.cpu), **loose)
                for name in ("fro", "f", "nuc"):
                    check("linalg_norm_matrix", shape, args=(name, list(axes), keep), dtypes=["float32", "float64", "complex64"],
                          ref=lambda a: L.norm(a, name, axis=list(axes), keepdims=keep, stream=mx.cpu), layouts=False, **loose)
    if len(shape) <= 2:
        check("linalg_norm", shape, args=(1.0, None, False), ref=lambda a: L.norm(a, 1), **loose)


def test_norm_l2():
    for shape in [(), (5,), (3, 4), (2, 3, 4), (0,), (2, 0)]:
        for keep in (False, True):
            check("linalg_norm_l2", shape, args=(None, keep), dtypes=["float32", "float64", "float16", "int32", "bool", "complex64"],
                  ref=lambda a: L.norm(a, keepdims=keep), rtol={"float16": 4e-3, "float32": 1e-5})
    check("linalg_norm_l2", (2, 3, 4), args=([1], True), ref=lambda a: L.norm(a, axis=1, keepdims=True), rtol=1e-5)
    check("linalg_norm_l2", (2, 3, 4), args=([0, -1], False), ref=lambda a: L.norm(a, axis=[0, -1]), rtol=1e-5)


def test_norm_errors():
    for shape, ord, axes in [((2, 3, 4), 1.0, None), ((2, 3, 4), 1.0, [0, 1, 2]), ((2, 3), 0.0, [0, 1]), ((2, 3), 3.0, [0, 1]),
                             ((2, 3), 1.0, [2]), ((2, 3), 1.0, []), ((), 1.0, None)]:
        check_error("linalg_norm", shape, args=(ord, axes, False), ref=lambda a: L.norm(a, ord, axis=axes))
    for shape, ord, axes in [((2, 3), "fro", [0]), ((2, 3, 4), "nuc", None), ((2, 3), "bad", [0, 1]), ((3,), "fro", None)]:
        check_error("linalg_norm_matrix", shape, args=(ord, axes, False), ref=lambda a: L.norm(a, ord, axis=axes))
    check_error("linalg_norm_l2", (2, 3, 4), args=([0, 1, 2], False), ref=lambda a: L.norm(a, axis=[0, 1, 2]))


def test_cross():
    # MLX's own result is wrong for a reversed input, so layouts are compared with ours of a plain one.
    x, y = numbers((3, 4), "float32"), numbers((3, 4), "float32", seed=1)
    want = np.cross(x, y, axis=0)
    for a in in_layouts(x):
        np.testing.assert_allclose(mlxc.op("linalg_cross", a, y, 0).numpy(), want, rtol=1e-5, atol=1e-5)
    for a, b, axis in [((3,), (3,), -1), ((2,), (2,), -1), ((2,), (3,), 0), ((3,), (2,), 0), ((4, 2), (4, 2), 1), ((3, 4), (3, 4), 0),
                       ((2, 4), (3, 4), 0), ((2, 3), (3,), -1), ((2, 2, 2), (2, 2), -1), ((2, 1, 3), (5, 2), -1), ((0, 3), (0, 3), -1)]:
        check("linalg_cross", a, b, args=(axis,), dtypes=["float32", "float64", "float16", "int32", "complex64"],
              layouts=False, ref=lambda x, y: L.cross(x, y, axis=axis), rtol={"float16": 1e-2}, atol={"float16": 2e-2, "float32": 1e-5, "complex64": 1e-5})
    x, y = numbers((3,), "int32"), numbers((3,), "float16")
    compare(mlxc.op("linalg_cross", x, y, -1), L.cross(to_mx(x), to_mx(y)), atol=2e-2)
    for a, b, axis in [((4,), (4,), 0), ((3,), (3,), 1), ((3, 4), (4, 3), 0), ((1, 1), (1, 1), 0), ((5, 3), (5, 3), -3)]:
        check_error("linalg_cross", a, b, args=(axis,), ref=lambda x, y: L.cross(x, y, axis=axis))


# ---- batches, derivatives -----------------------------------------------------------------------------

BATCHED = {"inv": lambda a: mlxc.op("linalg_inv", a), "tri_inv": lambda a: mlxc.op("linalg_tri_inv", a, True),
           "cholesky": lambda a: mlxc.op("linalg_cholesky", a, False), "qr": lambda a: mlxc.op("linalg_qr", a)[1],
           "svd": lambda a: mlxc.op("linalg_svd", a, True)[1], "lu": lambda a: mlxc.op("linalg_lu", a)[2],
           "eigh": lambda a: mlxc.op("linalg_eigh", a, "L")[0], "eigvals": lambda a: mlxc.op("linalg_eigvals", a),
           "solve": lambda a: mlxc.op("linalg_solve", a, a), "pinv": lambda a: mlxc.op("linalg_pinv", a),
           "norm": lambda a: mlxc.op("linalg_norm", a, 2.0, None, False)}


@pytest.mark.parametrize("name", BATCHED)
def test_vmap(name):
    f, items = BATCHED[name], [positive((4, 4), "float32", i) for i in range(3)]
    want = np.stack([f(mlxc.array(x)).numpy() for x in items])
    for axis in range(3):
        got = t.vmap(f, [np.ascontiguousarray(np.stack(items, axis))], [axis])[0].numpy()
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


SMOOTH = {"inv": (lambda a: mlxc.op("linalg_inv", a), good), "tri_inv": (lambda a: mlxc.op("linalg_tri_inv", a, False), good),
          "tri_inv_upper": (lambda a: mlxc.op("linalg_tri_inv", a, True), good),
          "norm": (lambda a: mlxc.op("linalg_norm", a, 1.0, None, False), good),
          "cross": (lambda a: mlxc.op("linalg_cross", a, mlxc.array(np.array([1.0, 2, 3])), -1), good)}


def differences(f, x, g):
    """The derivative of <g, f(x)> by central differences."""
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = 1e-6
        out[i] = np.sum(g * (f(mlxc.array(x + step)).numpy() - f(mlxc.array(x - step)).numpy())) / 2e-6
    return out


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    f, make = SMOOTH[name]
    x = make((3, 3), "float64")
    y = f(mlxc.array(x)).numpy()
    g = np.asarray(numbers(y.shape, "float64", seed=3))
    _, got = t.vjp(f, [x], [g])
    want = differences(f, x, g)
    np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-6, atol=1e-7)
    d = numbers((3, 3), "float64", seed=4)
    _, moved = t.jvp(f, [x], [d])
    np.testing.assert_allclose(np.sum(moved[0].numpy() * g), np.sum(d * want), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_derivatives(upper):
    """Of the symmetric part: a step to one side of the diagonal is half a step to both."""
    f = lambda a: mlxc.op("linalg_cholesky", mlxc.op("divide", mlxc.op("add", a, mlxc.op("transpose", a)), mlxc.array(np.array(2.0))), upper)
    x = positive((4, 4), "float64")
    g = numbers((4, 4), "float64", seed=5)
    _, got = t.vjp(f, [x], [g])
    want = differences(f, x, g)
    np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-6, atol=1e-7)
    d = numbers((4, 4), "float64", seed=6)
    _, moved = t.jvp(f, [x], [d])
    np.testing.assert_allclose(np.sum(moved[0].numpy() * g), np.sum(d * want), rtol=1e-6, atol=1e-7)


# ---- normal vectors --------------------------------------------------------------------------------

def test_multivariate_normal():
    f, key = mx.random.multivariate_normal, np.array([0, 3], np.uint32)
    c = np.array([[2, .5], [.5, 1]], np.float32)
    for mean, cov, shapes in [(np.array([1, 2], np.float32), c, [[], [3], [2, 3]]), (np.zeros((4, 2), np.float32), c, [[], [5, 4]]),
                              (np.zeros((4, 1, 2), np.float32), np.stack([c, 2 * c, c @ c]), [[], [1], [7, 4, 3]]),
                              (np.array([1, 2], np.int32), c.astype(np.float16), [[2]]), (np.zeros(2), c, [[2]])]:
        for shape in shapes:
            compare(mlxc.op("random_multivariate_normal", mean, cov, shape, "float32", key),
                    f(to_mx(mean), to_mx(cov), shape=shape, key=to_mx(key)), rtol=1e-4, atol=1e-4)
    x = mlxc.op("random_multivariate_normal", np.array([1, -1], np.float32), c, [200000], "float32", key).numpy()
    np.testing.assert_allclose(np.cov(x.T), c, atol=0.03)
    np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.02)
    for mean, cov, shape, dtype in [((), (2, 2), [], "float32"), ((2,), (2,), [], "float32"), ((3,), (2, 2), [], "float32"),
                                    ((2,), (2, 3), [], "float32"), ((4, 2), (2, 2), [3], "float32"), ((2,), (2, 2), [], "float16")]:
        check_error("random_multivariate_normal", mean, cov, args=(shape, dtype, None),
                    ref=lambda m, v: f(m, v, shape=shape, dtype=getattr(mx, dtype)))
