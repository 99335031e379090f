"""Fourier transforms: against MLX, and, for their exactness, against NumPy in double precision."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
import test_transforms as t
from oracle import ALL, check, check_error, compare, from_mx, numbers, to_mx

NORMS = ["backward", "ortho", "forward"]
CLOSE = dict(rtol=1e-5, atol=1e-4)
# Lengths by how they are transformed: nothing to do, one radix, several, all radices, primes that
# have a codelet of any size, primes too large for one (chirps), products of such.
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 25, 30, 31, 32, 35, 48, 49, 60, 61, 63, 64,
         67, 71, 81, 97, 100, 101, 120, 121, 122, 125, 127, 128, 134, 144, 169, 210, 243, 251, 256, 343, 360]
LONG = [500, 509, 512, 625, 1000, 1009, 1018, 1024, 1155, 2048, 2310, 3721, 4096, 4099, 8192, 10007, 10000,
        16384, 30030, 32768, 65536, 65537, 100003, 131072, 200200, 262144]


def error(got, want):
    """The root mean square of the difference, relative to that of the numbers."""
    return np.sqrt(np.mean(np.abs(got - want) ** 2) / max(np.mean(np.abs(want) ** 2), 1e-300))


def exact(n, rows, seed):
    """All four transforms of rows of n points, with double precision as the measure."""
    x = numbers((rows, n), "complex64", seed=seed)
    r = numbers((rows, n), "float32", seed=seed)
    half = np.fft.rfft(r).astype(np.complex64)
    limit = 2e-7 * (1 + np.log2(n)) ** 0.5
    for name, arg, want in [("fft", x, np.fft.fft(x.astype(np.complex128))),
                            ("ifft", x, np.fft.ifft(x.astype(np.complex128))),
                            ("rfft", r, np.fft.rfft(r.astype(np.float64))),
                            ("irfft", half, np.fft.irfft(half.astype(np.complex128), n))]:
        got = mlxc.op("fft_" + name, arg, n, -1, 0)
        assert got.dtype == ("float32" if name == "irfft" else "complex64")
        assert got.shape == want.shape, (name, n, rows)
        e = error(got.numpy(), want)
        assert e < limit, (name, n, rows, e)


@pytest.mark.parametrize("n", SIZES)
def test_exact(n):
    for rows in (1, 2, 5, 16, 37):
        exact(n, rows, rows)


@pytest.mark.parametrize("n", LONG)
def test_exact_long(n):
    for rows in (1, 3) if n > 20000 else (1, 3, 16, 35):
        exact(n, rows, rows)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 16, 30, 64, 67, 100, 134, 512, 1018, 2048])
def test_columns(n):
    """Along other axes than the last."""
    for shape, axis in [((n, 3), 0), ((n, 40), 0), ((3, n, 2), 1), ((2, n, 17), 1), ((n, 2, 3), 0)]:
        x, r = numbers(shape, "complex64"), numbers(shape, "float32")
        half = np.ascontiguousarray(np.fft.rfft(r, axis=axis).astype(np.complex64))
        for name, arg, want in [("fft", x, np.fft.fft(x.astype(np.complex128), axis=axis)),
                                ("ifft", x, np.fft.ifft(x.astype(np.complex128), axis=axis)),
                                ("rfft", r, np.fft.rfft(r.astype(np.float64), axis=axis)),
                                ("irfft", half, np.fft.irfft(half.astype(np.complex128), n, axis=axis))]:
            got = mlxc.op("fft_" + name, arg, n, axis, 0).numpy()
            assert error(got, want) < 1e-6, (name, shape)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_types_layouts_norms(name):
    f = getattr(mx.fft, name)
    for shape, n, axis in [((6,), 6, 0), ((3, 8), 8, -1), ((5, 4), 7, 0), ((2, 9, 3), 4, 1), ((0, 4), 4, 1),
                           ((17, 33), 20, 1), ((1,), 1, 0), ((3, 5), 64, 1)]:
        check("fft_" + name, shape, args=(n, axis, 0), dtypes=ALL, ref=lambda a: f(a, n=n, axis=axis), **CLOSE)
        for i, norm in enumerate(NORMS):
            check("fft_" + name, shape, args=(n, axis, i), dtypes=["float32", "complex64"],
                  ref=lambda a: f(a, n=n, axis=axis, norm=norm), **CLOSE)


@pytest.mark.parametrize("kind", ["fft", "ifft", "rfft", "irfft"])
def test_several_axes(kind):
    for shape, n, axes in [((4, 6), [4, 6], [0, 1]), ((4, 6), [4, 6], [1, 0]), ((3, 4, 5), [5, 2], [2, 0]),
                           ((2, 3, 4, 5), [3, 4, 8], [1, 2, 3]), ((17, 20), [20, 17], [0, 1]), ((0, 3, 4), [3, 4], [1, 2]),
                           ((2, 3), [67, 70], [0, 1]), ((64, 64), [64, 64], [0, 1]), ((3, 4, 5), [4], [1])]:
        for i, norm in enumerate(NORMS):
            args = (n, [axes, [a - len(shape) for a in axes]][i % 2], i)
            f = getattr(mx.fft, kind + "n")
            check("fft_" + kind + "n", shape, args=args, dtypes=["float32", "complex64"],
                  ref=lambda a: f(a, s=n, axes=axes, norm=norm), **CLOSE)
            if len(axes) == 2:
                check("fft_" + kind + "2", shape, args=args, layouts=False,
                      ref=lambda a: getattr(mx.fft, kind + "2")(a, s=n, axes=axes, norm=norm), **CLOSE)
    check("fft_" + kind + "n", (3, 4), args=([], [], 0), ref=lambda a: getattr(mx.fft, kind + "n")(a, axes=[]))


def test_infinities_stay_in_their_line():
    x = numbers((20, 64), "complex64")
    x[3, 5], x[7, 0] = np.nan, np.inf
    for name in ("fft", "rfft", "irfft"):
        y = mlxc.op("fft_" + name, x if name != "rfft" else x.real.copy(), 64, -1, 0).numpy()
        bad = ~np.isfinite(y).all(-1)
        assert bad[3] and bad[7] and bad.sum() == 2, name


def test_frequencies():
    for n in (1, 2, 3, 4, 5, 8, 11, 100):
        for d in (1.0, 0.3, -2.0, 10):
            compare(mlxc.op("fft_fftfreq", n, d), mx.fft.fftfreq(n, d), rtol=1e-6)
            compare(mlxc.op("fft_rfftfreq", n, d), mx.fft.rfftfreq(n, d), rtol=1e-6)
    for n, d in ((0, 1.0), (-1, 1.0), (5, 0.0)):
        for name in ("fftfreq", "rfftfreq"):
            check_error("fft_" + name, args=(n, d), ref=lambda: getattr(mx.fft, name)(n, d))


def test_shifts():
    for shape in [(5,), (4, 6), (3, 4, 5), (0, 3)]:
        for axes in [[0], [-1], list(range(len(shape))), []]:
            for name in ("fftshift", "ifftshift"):
                check("fft_" + name, shape, args=(axes,), dtypes=["float32", "int8", "complex64"],
                      ref=lambda a: getattr(mx.fft, name)(a, axes=axes))
    check("fft_fftshift", (5, 4), args=([1, 1],), ref=lambda a: mx.fft.fftshift(a, axes=[1, 1]))
    for name in ("fftshift", "ifftshift"):
        check_error("fft_" + name, (2, 3), args=([2],), ref=lambda a: getattr(mx.fft, name)(a, axes=[2]))


def test_errors():
    for name in ("fft", "ifft", "rfft", "irfft"):
        f = getattr(mx.fft, name)
        check_error("fft_" + name, (), args=(1, 0, 0), ref=lambda a: f(a, n=1, axis=0))
        check_error("fft_" + name, (0,), args=(0, 0, 0), ref=lambda a: f(a, n=0, axis=0))
        for n, axis in [(0, 0), (-3, 0), (4, 2), (4, -3)]:
            check_error("fft_" + name, (2, 3), args=(n, axis, 0), ref=lambda a: f(a, n=n, axis=axis))
        g = getattr(mx.fft, name + "n")
        for n, axes in [([2], [0, 1]), ([2, 2], [0, 0]), ([2, 2], [0, 5]), ([2, 2, 2], [0, 1, 2])]:
            check_error("fft_" + name + "n", (2, 3), args=(n, axes, 0), ref=lambda a: g(a, s=n, axes=axes))
    with pytest.raises(mlxc.Error, match="fftn"):
        mlxc.op("fft_fft", np.zeros(4, np.float32), 4, 0, 7)


# ---- derivatives, batches ----------------------------------------------------------------------

REALS = {"rfft": (lambda o, a: o.fft("rfft", a, [6], [1]), (3, 6)),
         "rfft_odd": (lambda o, a: o.fft("rfft", a, [7], [0]), (7, 3)),
         "rfft2": (lambda o, a: o.fft("rfft", a, [4, 6], [0, 1]), (4, 6)),
         "rfft2_turned": (lambda o, a: o.fft("rfft", a, [5, 4], [1, 0]), (4, 5)),
         "rfft_cut": (lambda o, a: o.fft("rfft", a, [4], [1]), (3, 6)),
         "rfft_filled": (lambda o, a: o.fft("rfft", a, [9], [1]), (3, 6)),
         "fft": (lambda o, a: o.fft("fft", a, [6], [1]), (3, 6)),
         "ifft": (lambda o, a: o.fft("ifft", a, [3], [0]), (3, 6)),
         "irfft": (lambda o, a: o.fft("irfft", a, [10], [1]), (3, 6)),
         "irfft_odd": (lambda o, a: o.fft("irfft", a, [11], [1]), (3, 6)),
         "irfft2": (lambda o, a: o.fft("irfft", a, [3, 10], [0, 1]), (3, 6))}


def with_fft(o, ours):
    class Both:
        @staticmethod
        def fft(kind, a, n, axes):
            if ours:
                return mlxc.op("fft_" + kind + "n", a, n, axes, 0)
            return getattr(mx.fft, kind + "n")(a, s=n, axes=axes)
    return Both


@pytest.mark.parametrize("name", REALS)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_derivatives(name, dtype):
    """The vjp is the adjoint: <g, F x> = <F* g, x>, and equals MLX's; the jvp is F itself."""
    f, shape = REALS[name]
    if dtype == "complex64" and name.startswith("rfft"):
        return
    x = numbers(shape, dtype)
    ours, real = with_fft(None, True), with_fft(None, False)
    y = f(ours, mlxc.array(x)).numpy()
    g = numbers(y.shape, y.dtype.name, seed=1)
    _, got = t.vjp(lambda a: f(ours, a), [x], [g])
    inner = lambda a, b: np.real(np.sum(np.conj(a.astype(complex)) * b))
    np.testing.assert_allclose(inner(got[0].numpy(), x), inner(g, y), rtol=1e-4, atol=1e-4)
    _, want = mx.vjp(lambda a: f(real, a), [to_mx(x)], [to_mx(g)])
    compare(got[0], want[0], name, rtol=1e-4, atol=1e-5)
    d = numbers(shape, dtype, seed=2)
    _, moved = t.jvp(lambda a: f(ours, a), [x], [d])
    compare(moved[0], f(real, to_mx(d)), name, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REALS)
def test_batches(name):
    f, shape = REALS[name]
    ours = with_fft(None, True)
    items = [numbers(shape, "float32", seed=i) for i in range(3)]
    want = np.stack([f(ours, mlxc.array(x)).numpy() for x in items])
    for axis in range(len(shape) + 1):
        x = np.ascontiguousarray(np.stack(items, axis))
        got = t.vmap(lambda a: f(ours, a), [x], [axis])[0].numpy()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
