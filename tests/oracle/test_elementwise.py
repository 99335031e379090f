"""Elementwise operations against MLX: types, layouts, special numbers, broadcasting."""
import warnings

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, FLOATS, HALVES, INEXACT, INTS, REALS, check, check_error, check_shapes
from oracle import compare, specials, to_mx

KEEPS_TYPE = ["abs", "sign", "square", "conjugate", "real", "imag", "logical_not", "isnan", "isinf",
              "isfinite", "isposinf", "isneginf", "stop_gradient"]
# name: the interval where it is defined
FUNCTIONS = {
    "sqrt": (0, 9), "rsqrt": (0.1, 9), "exp": (-5, 5), "expm1": (-3, 3), "log": (0.1, 9),
    "log2": (0.1, 9), "log10": (0.1, 9), "log1p": (-0.9, 9), "sin": (-9, 9), "cos": (-9, 9),
    "tan": (-1.5, 1.5), "arcsin": (-1, 1), "arccos": (-1, 1), "arctan": (-9, 9), "sinh": (-4, 4),
    "cosh": (-4, 4), "tanh": (-4, 4), "arcsinh": (-9, 9), "arccosh": (1, 9), "arctanh": (-0.9, 0.9),
    "erf": (-3, 3), "erfinv": (-0.99, 0.99), "sigmoid": (-9, 9), "reciprocal": (0.3, 4),
    "degrees": (-4, 4), "radians": (-400, 400),
}
# MLX takes the real part alone of these, which is no function of a complex number; ours are tested
# against NumPy below.
NOT_MLX_COMPLEX = {"expm1", "sigmoid"}
NO_COMPLEX = {"erf", "erfinv"}
# Of two numbers. Divisions stay away from zero, where MLX ends the process.
ARITHMETIC = ["add", "subtract", "multiply", "maximum", "minimum"]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
               "logical_or"]
TWO_FLOATS = {"divide": (0.5, 4), "arctan2": (-4, 4), "logaddexp": (-4, 4)}
BITS = ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]
# MLX computes exp, sin, erf and others of float64 in float32, and halves in halves.
RELATIVE = {"float32": 1e-5, "float16": 6e-3, "bfloat16": 5e-2, "complex64": 2e-5, "float64": 5e-6}

SMALL = {"float64": 2e-6}


def have(name):
    if not mlxc.has(name):
        pytest.skip("mlx_%s is not there" % name)


@pytest.mark.parametrize("op", KEEPS_TYPE)
def test_keeps_type(op):
    have(op)
    check_shapes(op, dtypes=ALL)
    for dtype in INEXACT:
        check(op, specials(dtype))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions(op):
    low, high = FUNCTIONS[op]
    skip = NO_COMPLEX | NOT_MLX_COMPLEX
    dtypes = [t for t in (REALS if op in skip else ALL)]
    if op == "erfinv":
        dtypes = FLOATS
    check(op, (3, 5), dtypes=dtypes, low=low, high=high, rtol=RELATIVE,
          atol=SMALL)
    check(op, (1031,), dtypes=FLOATS, low=low, high=high, rtol=RELATIVE, atol=SMALL)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_special_numbers(op):
    """At the edges; MLX's own fast functions are allowed their range."""
    reference = {"arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "arcsinh": np.arcsinh,
                 "arccosh": np.arccosh, "arctanh": np.arctanh}.get(op) or getattr(np, op, None)
    if reference is None:
        pytest.skip("NumPy has no such function")
    x = specials("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = reference(x.astype(np.float64)).astype(np.float32)
    ours = mlxc.op(op, x).numpy()
    np.testing.assert_allclose(ours, wide, rtol=4e-7, atol=1e-45, equal_nan=True)
    zero = (x == 0) & (wide == 0)
    assert (np.signbit(ours[zero]) == np.signbit(wide[zero])).all()


@pytest.mark.parametrize("op", sorted(NOT_MLX_COMPLEX))
def test_complex_against_numpy(op):
    z = np.array([1 + 2j, -3 - 4j, 0, 2 - 1j, 1e-3 + 1e-4j, -1e-6j], np.complex64)
    expect = np.expm1(z) if op == "expm1" else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(mlxc.op(op, z).numpy(), expect, rtol=1e-5)


@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic(op):
    check_shapes(op, 2, dtypes=ALL)
    for dtype in FLOATS:
        x = specials(dtype)
        check(op, x[:, None], x[None, :])


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons(op):
    check_shapes(op, 2, dtypes=ALL)
    for dtype in INEXACT:
        x = specials(dtype)
        check(op, x[:, None], x[None, :])


@pytest.mark.parametrize("op", TWO_FLOATS)
def test_two_floats(op):
    low, high = TWO_FLOATS[op]
    dtypes = ALL if op != "divide" else FLOATS + ["complex64"]
    check(op, (5, 7), (5, 7), dtypes=dtypes, low=low, high=high, rtol=RELATIVE)
    check(op, (5, 7), (5, 7), dtypes=INTS, low=1, high=9)


def test_special_pairs():
    for dtype in FLOATS:
        x = specials(dtype)
        for op in ["divide", "arctan2", "logaddexp"]:
            check(op, x[:, None], x[None, :], dtypes=[dtype], rtol=RELATIVE)


@pytest.mark.parametrize("op", BITS)
def test_bits(op):
    check(op, (5, 9), (5, 9), dtypes=INTS, low=0, high=7)
    a, b = np.array([True, True, False, False] * 20), np.array([True, False] * 40)
    if "shift" not in op:  # MLX's xor of bool is wrong where both are contiguous
        assert (mlxc.op(op, a, b).numpy() == getattr(np, op)(a, b)).all()
    x = np.array([1, -1, 5, 1 << 30, -(1 << 31)], np.int32)
    check(op, x[:, None], np.arange(5, dtype=np.int32))
    check_error(op, (3,), (3,), dtype="float32")


def test_bitwise_invert():
    check_shapes("bitwise_invert", dtypes=INTS + ["bool"])
    check_error("bitwise_invert", (3,))


@pytest.mark.parametrize("op", ["remainder", "floor_divide", "divmod"])
def test_division(op):
    for dtype in INTS:
        t = mlxc.numpy_dtype(dtype)
        x = np.arange(-20, 20) if dtype[0] == "i" else np.arange(40)
        for y in ([1, 3, 7, -1, -3, -7] if dtype[0] == "i" else [1, 3, 7]):
            check(op, x.astype(t), np.array(y, t), layouts=False)
    for dtype in ["float32", "float64"]:  # MLX's halves lose the sign of the divisor
        x = np.array([-7.5, 7.5, 5, -0.0, 3, 1e3, 0.1, np.inf, np.nan, 1]).astype(
            mlxc.numpy_dtype(dtype))
        y = np.array([2, -2, 3, 1, 0.25, -1.5, np.inf, -np.inf, 0, np.nan]).astype(x.dtype)
        check(op, x[:, None], y[None, :], rtol=RELATIVE)


def test_integer_division_never_traps():
    for dtype in INTS:
        t = mlxc.numpy_dtype(dtype)
        x = np.array([5, 0, np.iinfo(t).min, np.iinfo(t).max], t)
        for op in ["floor_divide", "remainder"]:
            assert (mlxc.op(op, x, np.zeros(4, t)).numpy() == 0).all()
    x = np.array([np.iinfo(np.int64).min], np.int64)
    assert mlxc.op("floor_divide", x, np.array([-1])).numpy() == x
    assert mlxc.op("remainder", x, np.array([-1])).numpy() == 0


def test_power():
    check("power", (5, 9), (5, 9), dtypes=FLOATS, low=0.1, high=3, rtol=RELATIVE)
    check("power", (5, 9), (5, 9), dtypes=INTS + ["bool"], low=0, high=5)
    check("power", (5, 9), (5, 9), dtypes=["complex64"], low=0.5, high=3, rtol=1e-4)
    for dtype in ["float32", "float64"]:
        x = np.concatenate([specials(dtype), np.array([3, -3, 2, -0.5], dtype)]).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expect = np.power(x[:, None].astype(np.float64), x.astype(np.float64)).astype(dtype)
        ours = mlxc.op("power", x[:, None], x[None, :]).numpy()
        np.testing.assert_allclose(ours, expect, rtol=5e-7, atol=3e-45, equal_nan=True)
    ours = mlxc.op("power", np.array([1, -1, -1, 2, 0]), np.array([-5, -2, -3, -1, -1])).numpy()
    assert ours.tolist() == [1, 1, -1, 0, 0]


def test_promotion():
    ops = {"add": ALL, "divide": ALL, "less": ALL, "logical_or": ALL, "maximum": ALL}
    for op, types in ops.items():
        for a in types:
            for b in types:
                x, y = mlxc.numpy_dtype(a).type(1), mlxc.numpy_dtype(b).type(1)
                compare(mlxc.op(op, x, y), getattr(mx, op)(to_mx(np.array(x)), to_mx(np.array(y))),
                        "%s %s %s" % (op, a, b))


def test_broadcasting():
    for shapes in [((3, 1), (1, 4)), ((), (5,)), ((600,), (3, 600)), ((3, 1), (3, 600)), ((1,), (0,)),
                   ((2, 1, 3), (4, 1)), ((1, 700), (5, 1)), ((7, 1, 300), (1, 2, 1))]:
        for dtype in ["float32", "float16", "int64", "complex64"]:
            check("add", *shapes, dtypes=[dtype])
            check("less", *shapes, dtypes=[dtype])
    check_error("add", (2, 3), (4, 3))


def test_rounding():
    for dtype in FLOATS:
        x = np.array([-2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 1e7, np.inf, np.nan, 8388607.5, -0.3])
        for op in ["ceil", "floor"]:
            check(op, x.astype(mlxc.numpy_dtype(dtype)))
        check("round", x.astype(mlxc.numpy_dtype(dtype)), args=(0,))
    for op in ["ceil", "floor"]:
        check(op, (7,), dtypes=INTS + ["bool"])
        check_error(op, (7,), dtype="complex64")
    check("round", (9,), args=(0,), dtypes=INTS + ["complex64"])
    check("round", np.array([1.25, 2.35, -1.255, 1e30, np.nan, np.inf], np.float32), args=(1,))
    for decimals in [-2, -1, 1, 3]:
        check("round", (33,), args=(decimals,), dtypes=FLOATS, low=-400, high=400, rtol=RELATIVE)
        check("round", np.array([125, 135, -145, 15, 1500], np.int32), args=(decimals,))


def test_negative():
    check_shapes("negative", dtypes=[t for t in ALL if t != "bool"])
    check_error("negative", np.array([True]))


def test_where():
    for shape in [(7,), (3, 5), (), (0,), (130, 67)]:
        when = np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 3 == 0)
        check("where", when, shape, shape, dtypes=ALL)
    check("where", np.array([[True], [False]]), (2, 600), (600,), dtypes=["float32", "bfloat16"])
    check("where", np.array([1.5, 0.0, np.nan], np.float32), (3,), (), dtypes=["int16"])
    a, b = np.ones(3, np.int8), np.ones(3, np.float16)
    compare(mlxc.op("where", np.array([True]), a, b), mx.where(to_mx(np.array([True])), to_mx(a), to_mx(b)))


def test_clip():
    x = np.array([-np.inf, -2, -0.5, 0.5, 2, np.inf, np.nan], np.float32)
    for low, high in [(-1, 1), (-1, None), (None, 1), (np.nan, 1)]:
        args = [None if v is None else np.float32(v) for v in (low, high)]
        compare(mlxc.op("clip", x, *args), mx.clip(to_mx(x), low, high))
    with pytest.raises(mlxc.Error, match="At most one"):
        mlxc.op("clip", x, None, None)


def test_nan_to_num():
    for dtype in FLOATS:
        x = np.array([np.nan, np.inf, -np.inf, 1]).astype(mlxc.numpy_dtype(dtype))
        ours = mlxc.op("nan_to_num", x, 2.0, None, None).numpy()
        with np.errstate(over="ignore"):
            expect = np.array([2, float(mlxc.ml_dtypes.finfo(x.dtype).max),
                               float(mlxc.ml_dtypes.finfo(x.dtype).min), 1]).astype(x.dtype)
        assert (ours == expect).all(), (dtype, ours)
        ours = mlxc.op("nan_to_num", x, 0.0, 3.0, 4.0).numpy()
        assert ours.astype(float).tolist() == [0, 3, 4, 1]
    check("nan_to_num", (5,), args=(0.0, None, None), ref=mx.nan_to_num, dtypes=INTS)


def test_isclose():
    x = np.array([1, np.inf, np.nan, np.inf, -np.inf, 0], np.float32)
    y = np.array([1.000001, np.inf, np.nan, -np.inf, -np.inf, 1e-9], np.float32)
    for equal_nan in (False, True):
        args = (1e-5, 1e-8, equal_nan)
        for dtype in FLOATS:
            check("isclose", x.astype(mlxc.numpy_dtype(dtype)), y.astype(mlxc.numpy_dtype(dtype)),
                  args=args, ref=lambda a, b, e=equal_nan: mx.isclose(a, b, equal_nan=e))
    check("isclose", (5,), (5,), args=(1e-5, 1e-8, False), ref=mx.isclose, dtypes=INTS)


def test_whole_arrays():
    x = np.array([[1, np.nan], [np.inf, -2]], np.float32)
    for y in [x, x + np.float32(1e-7), x[0], x.astype(np.float16), np.nan_to_num(x)]:
        for equal_nan in (False, True):
            compare(mlxc.op("array_equal", x, y, equal_nan), mx.array_equal(to_mx(x), to_mx(y), equal_nan=equal_nan))
            compare(mlxc.op("allclose", x, y, 1e-5, 1e-8, equal_nan),
                    mx.allclose(to_mx(x), to_mx(y), equal_nan=equal_nan))
    assert mlxc.op("array_equal", np.zeros((0, 2)), np.zeros((0, 2)), False).numpy()


def ulps(ours, exact):
    """Largest error in units of the last place of the exact result."""
    ok = np.isfinite(exact) & (np.abs(exact) <= np.finfo(np.float32).max)
    unit = np.maximum(np.spacing(np.abs(exact[ok]).astype(np.float32)).astype(np.float64), 1e-45)
    return np.max(np.abs(ours[ok].astype(np.float64) - exact[ok]) / unit)


ACCURACY = {
    "exp": (-103, 88.7, 2), "expm1": (-20, 88.7, 2), "log": (1e-38, 1e38, 2), "log2": (1e-3, 1e3, 2),
    "log10": (1e-3, 1e3, 2), "log1p": (-0.999, 1e3, 2), "sin": (-1000, 1000, 2),
    "cos": (-1000, 1000, 2), "tan": (-100, 100, 4), "tanh": (-10, 10, 3), "sinh": (-80, 80, 3),
    "cosh": (-80, 80, 3), "arcsin": (-1, 1, 3), "arccos": (-1, 1, 3), "arctan": (-50, 50, 3),
    "arcsinh": (-1e3, 1e3, 4), "arccosh": (1, 1e3, 4), "arctanh": (-0.9999, 0.9999, 4),
    "sqrt": (0, 1e3, 1),
}


@pytest.mark.parametrize("op", ACCURACY)
def test_accuracy(op):
    low, high, limit = ACCURACY[op]
    rng = np.random.default_rng(7)
    if op == "log":
        x = np.exp(rng.uniform(np.log(low), np.log(high), 200000))
    else:
        x = np.concatenate([rng.uniform(low, high, 100000), rng.uniform(max(low, -1), min(high, 1) if
                            low < 1 else 2, 100000)])
        if low <= 0:
            x = np.concatenate([x, rng.uniform(0, 1, 1000) * 10.0 ** rng.uniform(-30, -1, 1000)])
    x = x.astype(np.float32)
    exact = getattr(np, op)(x.astype(np.float64))
    assert ulps(mlxc.op(op, x).numpy(), exact) <= limit


def test_doubles_are_exact():
    x = np.random.default_rng(3).uniform(-0.99, 0.99, 1000)
    for op in FUNCTIONS:
        if not hasattr(np, op) or op == "arccosh":
            continue
        y = np.abs(x) if op in ("log", "log2", "log10", "sqrt") else x
        np.testing.assert_allclose(mlxc.op(op, y).numpy(), getattr(np, op)(y), rtol=1e-14, atol=1e-16)
    y = mlxc.op("erf", mlxc.op("erfinv", x)).numpy()
    np.testing.assert_allclose(y, x, rtol=1e-14)


def test_halves_are_rounded_once():
    """What float gives, rounded: no operation works in half precision."""
    x, y = np.meshgrid(np.linspace(-7, 7, 29), np.linspace(-3, 3, 8))
    for dtype in HALVES:
        t = mlxc.numpy_dtype(dtype)
        a, b = x.astype(t), y.astype(t)
        for op in ["add", "multiply", "divide", "remainder", "power", "arctan2", "logaddexp"]:
            wide = mlxc.op(op, a.astype(np.float32), b.astype(np.float32)).numpy()
            ours = mlxc.op(op, a, b).numpy()
            assert np.array_equal(ours, wide.astype(t), equal_nan=True) or (
                (ours == wide.astype(t)) | np.isnan(wide)).all(), (op, dtype)


def test_accuracy_of_large_angles():
    rng = np.random.default_rng(8)
    x = (rng.uniform(-1, 1, 20000) * 10.0 ** rng.uniform(3, 38, 20000)).astype(np.float32)
    for op in ["sin", "cos"]:
        assert ulps(mlxc.op(op, x).numpy(), getattr(np, op)(x.astype(np.float64))) <= 2


def test_an_angle_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(10)
    near = rng.uniform(-9, 9, 1111).astype(np.float32)
    for beside in (4e4, 3e7, np.inf, np.nan):  # each is reduced in a way of its own
        x = near.copy()
        x[::300] = beside
        for op in ["sin", "cos", "tan"]:
            alone, among = mlxc.op(op, near).numpy(), mlxc.op(op, x).numpy()
            same = x == near
            assert np.array_equal(alone[same], among[same]), (op, beside)
            assert np.array_equal(mlxc.op(op, x[:1]).numpy(), among[:1], equal_nan=True), (op, beside)


def test_accuracy_of_power():
    rng = np.random.default_rng(9)
    x = np.exp(rng.uniform(-20, 20, 100000)).astype(np.float32)
    y = (rng.uniform(-80, 80, 100000) / np.maximum(1, np.abs(np.log(x)))).astype(np.float32)
    exact = np.power(x.astype(np.float64), y.astype(np.float64))
    assert ulps(mlxc.op("power", x, y).numpy(), exact) <= 2
    a, b = rng.normal(size=100000).astype(np.float32), rng.normal(size=100000).astype(np.float32)
    exact = np.arctan2(a.astype(np.float64), b.astype(np.float64))
    assert ulps(mlxc.op("arctan2", a, b).numpy(), exact) <= 4


def test_large_arrays_in_parallel():
    x = np.random.default_rng(1).normal(size=(1001, 503)).astype(np.float32)
    compare(mlxc.op("add", x, x[:1]), to_mx(x) + to_mx(x[:1]))
    compare(mlxc.op("multiply", mlxc.op("transpose", x) if mlxc.has("transpose") else x.T.copy(),
                    x.T.copy()), to_mx(x).T * to_mx(x.T.copy()))
