"""Random numbers: equal keys give MLX's bits."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import compare, from_mx, to_mx

SHAPES = [(), (1,), (2,), (3,), (0,), (7,), (64,), (1001,), (3, 5), (2, 0), (17, 33, 3)]
SEEDS = [0, 7, 1 << 40 | 12345, (1 << 64) - 1]


def key(seed=7):
    return mlxc.op("random_key", seed), mx.random.key(seed)


def rotate(x, n):
    return (x << n | x >> np.uint32(32 - n)).astype(np.uint32)


def threefry(k, a, b):
    """The published function, once more, on arrays of counters."""
    k = [np.uint32(v) for v in k]
    k.append(k[0] ^ k[1] ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        a, b = a + k[0], b + k[1]
        for i in range(5):
            for n in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
                a = a + b
                b = rotate(b, np.uint32(n)) ^ a
            a, b = a + k[(i + 1) % 3], b + k[(i + 2) % 3] + np.uint32(i + 1)
    return a, b


def words(k, n):
    half, odd = n // 2, n % 2
    out = np.zeros(n, np.uint32)
    i = np.arange(half, dtype=np.uint32)
    out[:half], out[half + odd:] = threefry(k, i, i + np.uint32(half + odd))
    if odd:
        out[half] = threefry(k, np.array([half], np.uint32), np.array([0], np.uint32))[0][0]
    return out


def test_keys_and_splits():
    for seed in SEEDS:
        ours, theirs = key(seed)
        compare(ours, theirs)
        for num in [1, 2, 3, 10, 0]:
            if num:
                compare(mlxc.op("random_split_num", ours, num), mx.random.split(theirs, num))
        both = from_mx(mx.random.split(theirs))
        first, second = mlxc.op("random_split", ours)
        assert (first.numpy() == both[0]).all() and (second.numpy() == both[1]).all()


def test_bits():
    for seed in SEEDS:
        k = (seed >> 32, seed & 0xFFFFFFFF)
        for width, t in [(1, np.uint8), (2, np.uint16), (4, np.uint32)]:
            for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 33, 100003]:
                ours = mlxc.op("random_bits", [n], width, key(seed)[0]).numpy()
                expect = words(k, (n * width + 3) // 4).view(np.uint8)[:n * width].view(t)
                assert ours.dtype == t and (ours == expect).all(), (seed, width, n)


def test_bits_of_several_keys():
    keys = from_mx(mx.random.split(mx.random.key(3), 6)).reshape(2, 3, 2)
    for n, width in [(5, 4), (5, 1), (3, 2), (0, 4)]:
        ours = mlxc.op("random_bits", [n], width, keys).numpy()
        assert ours.shape == (2, 3, n)
        for i in range(2):
            for j in range(3):
                one = mlxc.op("random_bits", [n], width, keys[i, j].copy()).numpy()
                assert (ours[i, j] == one).all()


def exactly(ours, theirs, what=""):
    a, b = ours.numpy(), from_mx(theirs)
    assert a.dtype == b.dtype and a.shape == b.shape, what
    assert (a == b).all(), "%s: %s" % (what, np.max(np.abs(a.astype(float) - b.astype(float))))


def test_uniform():
    k, m = key()
    for shape in SHAPES:
        for dtype in ["float32", "float16", "bfloat16"]:
            for low, high in [(0, 1), (-1, 1), (-3, 7.5)]:
                ours = mlxc.op("random_uniform", np.float32(low), np.float32(high), list(shape), dtype, k)
                exactly(ours, mx.random.uniform(low, high, shape, getattr(mx, dtype), m), str(shape))
    low = np.array([[0.0], [5.0]], np.float32)
    exactly(mlxc.op("random_uniform", low, np.float32(9), [2, 3], "float32", k),
            mx.random.uniform(to_mx(low), 9, (2, 3), key=m))
    for dtype in ["int32", "float64", "complex64"]:
        with pytest.raises(mlxc.Error, match="uniform"):
            mlxc.op("random_uniform", np.float32(0), np.float32(1), [3], dtype, k)
    with pytest.raises(mlxc.Error, match="broadcasted shape"):
        mlxc.op("random_uniform", np.zeros((2, 3), np.float32), np.float32(1), [3], "float32", k)
    with pytest.raises(mlxc.Error, match="negative"):
        mlxc.op("random_uniform", np.float32(0), np.float32(1), [-3], "float32", k)


def test_normal():
    k, m = key()
    for shape in SHAPES:
        for dtype in ["float32", "float16", "bfloat16", "float64", "complex64"]:
            for loc, scale in [(0.0, 1.0), (1.5, 2.0)]:
                ours = mlxc.op("random_normal", list(shape), dtype, loc, scale, k)
                compare(ours, mx.random.normal(shape, getattr(mx, dtype), loc, scale, m), dtype,
                        rtol=None if dtype in ("float16", "bfloat16") else 5e-6,
                        atol=None if dtype != "float64" else 1e-6)
    loc = np.arange(6, dtype=np.float32).reshape(2, 3)
    compare(mlxc.op("random_normal_broadcast", [2, 3], "float32", loc, None, k),
            mx.random.normal((2, 3), loc=to_mx(loc), key=m), rtol=5e-6)
    with pytest.raises(mlxc.Error, match="normal"):
        mlxc.op("random_normal", [3], "int32", 0.0, 1.0, k)


def test_bernoulli():
    k, m = key()
    for p in [0.0, 0.3, 0.5, 1.0]:
        exactly(mlxc.op("random_bernoulli", np.float32(p), [1001], k), mx.random.bernoulli(p, (1001,), m))
    p = np.array([0.1, 0.9, 0.5], np.float32)
    exactly(mlxc.op("random_bernoulli", p, [5, 3], k), mx.random.bernoulli(to_mx(p), (5, 3), m))
    with pytest.raises(mlxc.Error, match="float type"):
        mlxc.op("random_bernoulli", np.int32(1), [3], k)


def test_randint():
    k, m = key()
    for dtype in ["int32", "uint8", "int64", "uint32", "bool"]:
        ours = mlxc.op("random_randint", np.int32(0), np.int32(100), [1001], dtype, k)
        exactly(ours, mx.random.randint(0, 100, (1001,), getattr(mx, dtype + "_" * (dtype == "bool")), m))
    low, high = np.array([-5, 0, 7], np.int32), np.array([5, 1, 9], np.int32)
    exactly(mlxc.op("random_randint", low, high, [4, 3], "int32", k),
            mx.random.randint(to_mx(low), to_mx(high), (4, 3), key=m))
    with pytest.raises(mlxc.Error, match="integer"):
        mlxc.op("random_randint", np.int32(0), np.int32(5), [3], "float32", k)


def test_truncated_normal():
    k, m = key()
    ours = mlxc.op("random_truncated_normal", np.float32(-1), np.float32(2), [1001], "float32", k)
    compare(ours, mx.random.truncated_normal(-1, 2, (1001,), key=m), rtol=2e-5, atol=2e-6)
    assert ours.numpy().min() >= -1 and ours.numpy().max() <= 2


def test_gumbel_and_laplace():
    k, m = key()
    for dtype in ["float32", "float16", "bfloat16"]:
        t = getattr(mx, dtype)
        compare(mlxc.op("random_gumbel", [1001], dtype, k), mx.random.gumbel((1001,), t, m),
                rtol={"float32": 2e-5, "float16": 5e-3}.get(dtype, 0.05), atol=1e-2 * (dtype != "float32"))
        for loc, scale in [(0.0, 1.0), (2.0, 3.0)]:
            compare(mlxc.op("random_laplace", [1001], dtype, loc, scale, k),
                    mx.random.laplace((1001,), t, loc, scale, m),
                    rtol={"float32": 1e-5, "float16": 5e-3}.get(dtype, 0.03))


def test_categorical():
    if not mlxc.has("random_categorical"):
        pytest.skip("not there")
    k, m = key()
    logits = np.random.default_rng(5).normal(size=(4, 6, 50)).astype(np.float32)
    for axis in [-1, 0, 1]:
        exactly(mlxc.op("random_categorical", logits, axis, k), mx.random.categorical(to_mx(logits), axis, key=m))
        exactly(mlxc.op("random_categorical_num_samples", logits, axis, 5, k),
                mx.random.categorical(to_mx(logits), axis, num_samples=5, key=m))
    exactly(mlxc.op("random_categorical_shape", logits, -1, [3, 4, 6], k),
            mx.random.categorical(to_mx(logits), -1, shape=(3, 4, 6), key=m))
    half = logits.astype(np.float16)
    exactly(mlxc.op("random_categorical", half, -1, k), mx.random.categorical(to_mx(half), key=m))
    with pytest.raises(mlxc.Error, match="axis"):
        mlxc.op("random_categorical", logits, 3, k)


def test_permutation():
    if not mlxc.has("random_permutation"):
        pytest.skip("not there")
    k, m = key()
    for n in [1, 2, 5, 100, 1001]:
        exactly(mlxc.op("random_permutation_arange", n, k), mx.random.permutation(n, key=m))
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    for axis in [0, 1, -1]:
        exactly(mlxc.op("random_permutation", x, axis, k), mx.random.permutation(to_mx(x), axis, m))


def test_the_key_of_the_process():
    mlxc.function("mlx_random_seed")(3)
    mx.random.seed(3)
    for _ in range(4):
        ours = mlxc.op("random_uniform", np.float32(0), np.float32(1), [5], "float32", None)
        exactly(ours, mx.random.uniform(shape=(5,)))


def test_bad_keys():
    for bad, what in [(np.array([1, 2]), "uint32"), (np.array([1, 2, 3], np.uint32), "shape"),
                      (np.array(1, np.uint32), "shape")]:
        with pytest.raises(mlxc.Error, match=what):
            mlxc.op("random_bits", [3], 4, bad)
    with pytest.raises(mlxc.Error, match="width"):
        mlxc.op("random_bits", [3], 3, key()[0])
