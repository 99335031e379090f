"""A step of many texts over caches of their own: against attention of each text alone, bit for bit, and
against numpy in double; where the new rows go; and what is refused."""
import ctypes as C
import os

import numpy as np
import pytest

import extensions as ext
import mlxc


def step(q, k, v, caches, places, bits=0, v_dim=0, scale=0.125, window=0, sinks=None):
    """The result and the caches after it. Caches given as arrays of numpy have no other owner."""
    call = mlxc.Call()
    vector = call.vector(caches)
    handles = [call.array(a) for a in (q, k, v, np.asarray(places, np.int32), sinks)]
    call.kept = [a for a in call.kept if not any(a is c for c in caches)]
    y, updated = ext.H(), mlxc.function("mlx_vector_array_new")()
    mlxc.messages.clear()
    status = ext.table.step_attention(C.byref(y), C.byref(updated), *handles[:3], vector, handles[3], bits, v_dim,
                                      scale, window, handles[4], mlxc.Stream.get())
    call.free()
    call.kept.clear()  # what was given has no owner but the graph
    after = []
    for i in range(mlxc.function("mlx_vector_array_size")(updated)):
        h = ext.H()
        mlxc.function("mlx_vector_array_get")(C.byref(h), updated, i)
        after.append(mlxc.Array(h))
    mlxc.function("mlx_vector_array_free")(updated)
    if status:
        mlxc.failed("step_attention")
    return mlxc.Array(y), after


def case(places, rooms, heads, kv, d, dv, dtype="float16", seed=0):
    rng = np.random.default_rng(seed)
    n = len(places)
    q, k, v = (rng.normal(size=(n, h, 1, w)).astype(np.float32) for h, w in ((heads, d), (kv, d), (kv, dv)))
    caches = []
    for room in rooms:
        for w in (d, dv):
            caches.append(rng.normal(size=(1, kv, room, w)).astype(mlxc.numpy_dtype(dtype)))
    return q, k, v, caches


def written(caches, k, v, places):
    out = [c.copy() for c in caches]
    for i, p in enumerate(places):
        out[2 * i][0, :, p] = k[i, :, 0].astype(out[2 * i].dtype)
        out[2 * i + 1][0, :, p] = v[i, :, 0].astype(out[2 * i + 1].dtype)
    return out


def alone(q, caches, places, window, sinks, scale=0.125):
    return np.concatenate([ext.call("attention", q[i:i + 1], caches[2 * i][:, :, :p + 1], caches[2 * i + 1][:, :, :p + 1],
                                    scale, None, True, window, sinks).numpy() for i, p in enumerate(places)])


def in_double(q, caches, places, window, sinks, scale=0.125):
    out = []
    for i, p in enumerate(places):
        share = q.shape[1] // caches[0].shape[1]
        first = max(0, p + 1 - window) if window else 0
        k, v = (np.repeat(c[0, :, first:p + 1].astype(np.float64), share, 0) for c in caches[2 * i:2 * i + 2])
        s = scale * np.einsum("hd,hsd->hs", q[i, :, 0].astype(np.float64), k)
        e = np.exp(s - s.max(-1, keepdims=True))
        total = e.sum(-1) + (0 if sinks is None else np.exp(sinks - s.max(-1)))
        out.append(np.einsum("hs,hsd->hd", e / total[:, None], v)[:, None])
    return np.array(out)


CASES = [([5], [8], 1, 1, 1, 1), ([0, 3, 63, 64], [4, 4, 64, 256], 9, 3, 64, 64), ([100, 7], [101, 256], 8, 2, 128, 80),
         ([700, 0, 255, 256, 1023], [1024, 1, 256, 512, 1024], 6, 2, 64, 64), ([30, 17], [40, 32], 4, 4, 80, 33),
         ([299] * 3, [300] * 3, 16, 1, 96, 64), ([15, 16, 31, 47], [64] * 4, 12, 2, 256, 256)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("with_sinks", [False, True])
@pytest.mark.parametrize("window", [0, 1, 50])
@pytest.mark.parametrize("places,rooms,heads,kv,d,dv", CASES)
def test_each_text_as_alone(places, rooms, heads, kv, d, dv, window, with_sinks, dtype):
    q, k, v, caches = case(places, rooms, heads, kv, d, dv, dtype)
    sinks = np.random.default_rng(3).normal(size=heads).astype(np.float32) if with_sinks else None
    y, after = step(q, k, v, caches, places, window=window, sinks=sinks)
    want = written(caches, k, v, places)
    assert y.dtype == "float32" and y.shape == (len(places), heads, 1, dv)
    np.testing.assert_array_equal(y.numpy(), alone(q, want, places, window, sinks))
    np.testing.assert_allclose(y.numpy(), in_double(q, want, places, window, sinks), rtol=3e-5, atol=3e-6)
    for w, a in zip(want, after, strict=True):
        np.testing.assert_array_equal(a.numpy(), w)


@pytest.mark.parametrize("window", [0, 50])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("places,rooms,heads,kv,d,dv", CASES)
def test_packed_caches(places, rooms, heads, kv, d, dv, bits, window):
    q, k, v, caches = case(places, rooms, heads, kv, d, dv, "float32")
    k, v, *caches = [ext.call("cache_pack", a, bits).numpy() for a in (k, v, *caches)]
    y, after = step(q, k, v, caches, places, bits, dv, window=window)
    want = written(caches, k, v, places)
    for w, a in zip(want, after, strict=True):
        np.testing.assert_array_equal(a.numpy(), w)
    one = [ext.call("packed_attention", q[i:i + 1], want[2 * i][:, :, :p + 1], want[2 * i + 1][:, :, :p + 1], bits, dv,
                    0.125, None, True, window, None).numpy() for i, p in enumerate(places)]
    np.testing.assert_array_equal(y.numpy(), np.concatenate(one))


def test_queries_keep_their_type():
    q, k, v, caches = case([9, 20], [32, 32], 4, 2, 64, 64)
    for dtype in ("float16", "bfloat16"):
        short = [a.astype(mlxc.numpy_dtype(dtype)) for a in (q, k, v)]
        y, after = step(*short, caches, [9, 20])
        want = written(caches, *short[1:], [9, 20])
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), alone(short[0], want, [9, 20], 0, None))


def test_threads_change_no_bit():
    args = case([700, 3, 256], [1024, 8, 512], 6, 2, 64, 64)
    y = step(*args, [700, 3, 256])[0].numpy()
    threads = ext.table.threads()
    ext.table.set_threads(1 if threads > 1 else 3)
    again = step(*args, [700, 3, 256])[0].numpy()
    ext.table.set_threads(threads)
    np.testing.assert_array_equal(again, y)


def address(a):
    return C.cast(mlxc.function("mlx_array_data_float32")(a.handle), C.c_void_p).value


@pytest.mark.skipif("NEXUS_PRETEND_GPU" in os.environ, reason="the caches are moved to the processor and back")
def test_in_the_memory_of_a_cache_that_nobody_else_has():
    places = [2, 3]
    q, k, v, caches = case(places, [600, 600], 2, 1, 64, 64, "float32")
    first, after = step(q, k, v, caches, places)
    first.eval()
    at = [address(a) for a in after]
    kept, before = after[0], after[0].numpy()  # one has another owner
    y, again = step(q, k, v, after, [3, 4])
    del after
    y.eval()
    assert address(again[0]) != at[0]
    np.testing.assert_array_equal(kept.numpy(), before)
    assert [address(a) for a in again[1:]] == at[1:]


def test_places_outside_are_taken_for_the_nearest():
    q, k, v, caches = case([0, 0], [5, 6], 2, 1, 32, 32)
    y, after = step(q, k, v, caches, [-7, 99])
    want = written(caches, k, v, [0, 5])
    np.testing.assert_array_equal(y.numpy(), alone(q, want, [0, 5], 0, None))
    for w, a in zip(want, after, strict=True):
        np.testing.assert_array_equal(a.numpy(), w)


def test_refused():
    f, places = np.float32, [1, 2]
    q, k, v, caches = case(places, [4, 4], 4, 2, 64, 32)
    good = dict(q=q, k=k, v=v, caches=caches, places=places)
    half = [c.astype(f) for c in caches[:2]] + caches[2:]
    bad = [dict(q=q[:1]), dict(q=np.zeros((2, 3, 1, 64), f)), dict(q=np.zeros((2, 4, 2, 64), f)), dict(k=k[:, :1]),
           dict(k=np.zeros((2, 2, 1, 65), f)), dict(v=np.zeros((2, 2, 32), f)), dict(v=np.zeros((2, 2, 1, 31), f)),
           dict(caches=caches[:3]), dict(caches=caches[:2]), dict(caches=[]), dict(caches=half),
           dict(caches=caches[:3] + [caches[3][:, :, :0]]), dict(caches=caches[:3] + [caches[3][0]]),
           dict(caches=[c.astype(np.int32) for c in caches]), dict(places=[1]), dict(places=[[1, 2]]),
           dict(window=-1), dict(bits=5), dict(bits=8), dict(bits=8, v_dim=32), dict(sinks=np.zeros(3, f)),
           dict(q=q.astype(np.int32)), dict(k=np.zeros((2, 2, 1, 64), np.uint8))]
    for change in bad:
        with pytest.raises(mlxc.Error, match="step_attention"):
            step(**{**good, **change})
