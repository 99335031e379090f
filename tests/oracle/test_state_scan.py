"""The recurrence of state spaces and delta rules: against numpy in double over odd sizes; and that neither
the cut of a text nor the number of threads changes a bit."""
import ctypes as C

import numpy as np
import pytest

import extensions as ext
import mlxc

NAMES = ["state", "decay", "k", "v", "q", "a", "b"]


def scan(x):
    keep = [mlxc.array(x[n]) if x.get(n) is not None else None for n in NAMES]
    last, y = ext.H(), ext.H()
    mlxc.messages.clear()
    if ext.table.state_scan(C.byref(last), C.byref(y), *[k.handle if k else ext.H() for k in keep], mlxc.Stream.get()):
        mlxc.failed("state_scan")
    return mlxc.Array(last).numpy(), mlxc.Array(y).numpy()


def case(t, h, p, n, groups=(1, 1, 1, 1), by_column=False, corrects=False, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"state": (h, p, n), "v": (t, h, p)}
    shapes.update({name: (t, g, n) for name, g in zip("kqab", groups)})
    x = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x["decay"] = rng.random(size=(t, h, n) if by_column else (t, h)).astype(np.float32)
    for name in "ab":
        x[name] = x[name] / np.float32(n) if corrects else None
    return x


def reference(x):
    s, h = x["state"].astype(np.float64), x["state"].shape[0]
    each = {n: np.repeat(x[n].astype(np.float64), h // x[n].shape[1], 1) for n in "kqab" if x.get(n) is not None}
    ys = []
    for t in range(len(x["v"])):
        w = x["decay"][t].astype(np.float64)
        kept = s * (w[:, None, None] if w.ndim == 1 else w[:, None, :])
        if "a" in each:
            kept += np.einsum("hpn,hn->hp", s, each["a"][t])[:, :, None] * each["b"][t][:, None, :]
        s = kept + x["v"][t].astype(np.float64)[:, :, None] * each["k"][t][:, None, :]
        ys.append(np.einsum("hpn,hn->hp", s, each["q"][t]))
    return s, np.array(ys).reshape(x["v"].shape)


def part(x, begin, end):
    return {n: a if n == "state" or a is None else a[begin:end] for n, a in x.items()}


SIZES = [(1, 1, 1, 1, (1, 1, 1, 1)), (5, 4, 3, 16, (2, 1, 4, 2)), (9, 6, 7, 33, (3, 6, 2, 1)), (3, 2, 70, 128, (1, 1, 2, 2)),
         (4, 130, 1, 16, (1, 1, 1, 1)), (2, 1, 5, 300, (1, 1, 1, 1)), (0, 2, 3, 8, (1, 1, 1, 1)), (3, 1, 2, 5000, (1, 1, 1, 1))]


@pytest.mark.parametrize("corrects", [False, True])
@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("t,h,p,n,groups", SIZES)
def test_as_written(t, h, p, n, groups, by_column, corrects):
    x = case(t, h, p, n, groups, by_column, corrects)
    want, got = reference(x), scan(x)
    for w, g in zip(want, got):
        assert g.dtype == np.float32 and g.shape == w.shape
        np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-5 * (1 + abs(w).max() if w.size else 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_types_are_computed_in_float32(dtype):
    x = {n: None if a is None else a.astype(mlxc.numpy_dtype(dtype)) for n, a in case(6, 4, 8, 24, corrects=True).items()}
    wide = {n: None if a is None else a.astype(np.float32) for n, a in x.items()}
    for g, w in zip(scan(x), scan(wide)):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("corrects", [False, True])
@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("h,p,n", [(6, 7, 33), (2, 64, 128), (97, 1, 16)])
def test_neither_cuts_nor_threads_change_a_bit(h, p, n, by_column, corrects):
    x = case(41, h, p, n, (1, 1, 1, 1), by_column, corrects)
    last, y = scan(x)
    for cuts in ([0, 1, 41], [0, 17, 18, 40, 41], list(range(42))):
        state, ys = x["state"], []
        for begin, end in zip(cuts, cuts[1:]):
            state, one = scan({**part(x, begin, end), "state": state})
            ys.append(one)
        np.testing.assert_array_equal(np.concatenate(ys), y)
        np.testing.assert_array_equal(state, last)
    threads = ext.table.threads()
    ext.table.set_threads(1 if threads > 1 else 3)
    again = scan(x)
    ext.table.set_threads(threads)
    np.testing.assert_array_equal(again[0], last)
    np.testing.assert_array_equal(again[1], y)


def test_a_row_has_the_bits_it_has_alone():
    x = case(11, 3, 6, 40, (1, 1, 1, 1), corrects=True)
    _, y = scan(x)
    for p in range(6):
        _, one = scan({**x, "state": x["state"][:, p:p + 1], "v": x["v"][:, :, p:p + 1]})
        np.testing.assert_array_equal(one[:, :, 0], y[:, :, p])


def test_refused():
    good = case(3, 4, 5, 8, corrects=True)
    bad = [("v", (3, 4, 6)), ("v", (3, 5)), ("k", (2, 1, 8)), ("k", (3, 3, 8)), ("q", (3, 1, 7)), ("decay", (3, 5)),
           ("decay", (3, 4, 5)), ("decay", (3,)), ("a", (3, 8)), ("b", (3, 8, 8)), ("state", (4, 5)), ("k", (3, 0, 8))]
    for name, shape in bad:
        with pytest.raises(mlxc.Error, match="state_scan"):
            scan({**good, name: np.zeros(shape, np.float32)})
    with pytest.raises(mlxc.Error, match="together"):
        scan({**good, "a": None})
    with pytest.raises(mlxc.Error, match="int32"):
        scan({**good, "v": np.zeros((3, 4, 5), np.int32)})
