"""Products with GGUF blocks against the blocks' numbers, read by numpy, in float64."""
import ctypes as C

import gguf
import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import closures
import extensions as ext
import mlxc

# name: (number in the file, values and bytes a block)
TYPES = {"Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
         "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
         "IQ1_S": (19, 256, 50), "IQ1_M": (29, 256, 56), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74),
         "IQ2_S": (22, 256, 82), "IQ3_XXS": (18, 256, 98), "IQ3_S": (21, 256, 110), "IQ4_NL": (20, 32, 18),
         "IQ4_XS": (23, 256, 136), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
         "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18),
         "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2)}
BOOKS = [n for n in TYPES if 15 < TYPES[n][0] != 30]  # read as in the file, numbers by the format's own package
REPACKS = [n for n in TYPES if TYPES[n][1] > 1 and n not in BOOKS]
# Byte offsets of the float16 numbers in a block.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
          "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
          "IQ1_M": [], "MXFP4": [], "NVFP4": [], "TQ1_0": [52], "TQ2_0": [64]}
GROUPS_OF_16 = ("Q2_K", "Q3_K", "Q6_K", "IQ1_M", "IQ2_XS", "IQ2_S", "NVFP4")


def blocks(name, rows, columns, seed=0):
    """Random bytes, with scales that are ordinary numbers: uint8 [rows, row bytes]."""
    rng = np.random.default_rng(seed)
    _, values, size = TYPES[name]
    if values == 1:
        x = rng.normal(size=(rows, columns)).astype(np.float32)
        t = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[name]
        return np.ascontiguousarray(x.astype(t)).view(np.uint8).reshape(rows, -1)
    b = rng.integers(0, 256, (rows, columns // values, size), dtype=np.uint8)
    if name == "IQ1_M":  # a float16 in the top four bits of four words: here 0x1nnn
        b[:, :, 55] = b[:, :, 55] & 15 | 0x10
    if name == "MXFP4":
        b[:, :, 0] = rng.integers(110, 126, b.shape[:2])
    if name == "NVFP4":
        b[:, :, :4] &= 0x3F
    for at in HALVES.get(name, [0]):
        scale = rng.uniform(-0.02, 0.02, b.shape[:2]).astype(np.float16)
        b[:, :, at:at + 2] = scale[..., None].view(np.uint8)
    return b.reshape(rows, -1)


def half(b, at):
    return np.ascontiguousarray(b[..., at:at + 2]).view(np.float16)[..., 0].astype(np.float32)


def nibbles(q):
    """[..., n] bytes -> [..., 2n]: low halves, then high halves."""
    return np.concatenate([q & 15, q >> 4], -1).astype(np.int32)


def bits(b, n):
    """[..., m] bytes -> [..., m, n] single bits."""
    return (b[..., None] >> np.arange(n, dtype=np.uint8) & 1).astype(np.int32)


def six_bits(q):
    """12 bytes -> 8 scales and 8 minima of six bits."""
    low, high, rest = q[..., 0:4], q[..., 4:8], q[..., 8:12]
    scale = np.concatenate([low & 63, rest & 15 | low >> 6 << 4], -1)
    minimum = np.concatenate([high & 63, rest >> 4 | high >> 6 << 4], -1)
    return scale.astype(np.float32), minimum.astype(np.float32)


def numbers(name, w):
    """float32 [rows, columns] that the blocks stand for."""
    rows = w.shape[0]
    _, values, size = TYPES[name]
    if values == 1:
        t = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[name]
        return np.ascontiguousarray(w).view(t).astype(np.float32)
    b = w.reshape(rows, -1, size)
    if name in ("Q1_0", "Q2_0"):  # the package knows them by name and size alone
        code = bits(b[..., 2:], 8) * 2 - 1 if name == "Q1_0" else \
            (b[..., 2:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).astype(np.int32) - 1
        return (half(b, 0)[..., None, None] * code).reshape(rows, -1).astype(np.float32)
    if name in BOOKS:
        return gguf.quants.dequantize(w, gguf.GGMLQuantizationType(TYPES[name][0]))
    d = half(b, HALVES[name][0])[..., None]
    if name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        one, five = name.endswith("1"), name[1] == "5"
        at = 4 if one else 2
        code = nibbles(b[..., at + 4 * five:])
        if five:
            code = code + bits(b[..., at:at + 4], 8).reshape(*b.shape[:2], 32) * 16
        x = d * code + half(b, 2)[..., None] if one else d * (code - (16 if five else 8))
    elif name == "Q8_0":
        x = d * b[..., 2:].view(np.int8)
    elif name in ("Q4_K", "Q5_K"):
        scale, minimum = six_bits(b[..., 4:16])
        five = name == "Q5_K"
        q = b[..., 48 if five else 16:].reshape(*b.shape[:2], 4, 32)
        code = np.stack([q & 15, q >> 4], -2).reshape(*b.shape[:2], 8, 32).astype(np.int32)
        if five:
            code = code + bits(b[..., 16:48], 8).swapaxes(-1, -2) * 16
        x = ((d * scale)[..., None] * code - (half(b, 2)[..., None] * minimum)[..., None])
    elif name == "Q6_K":
        low = b[..., :128].reshape(*b.shape[:2], 2, 64)
        high = b[..., 128:192].reshape(*b.shape[:2], 2, 32)
        low = np.stack([low[..., :32] & 15, low[..., 32:] & 15, low[..., :32] >> 4,
                        low[..., 32:] >> 4], -2).astype(np.int32)
        high = np.stack([high >> s & 3 for s in (0, 2, 4, 6)], -2).astype(np.int32)
        code = (low + high * 16 - 32).reshape(*b.shape[:2], 16, 16)
        scale = b[..., 192:208].view(np.int8).astype(np.float32)
        x = (d * scale)[..., None] * code
    else:
        q = b[..., 16:80] if name == "Q2_K" else b[..., 32:96]
        q = q.reshape(*b.shape[:2], 2, 32)
        code = np.stack([q >> s & 3 for s in (0, 2, 4, 6)], -2).astype(np.int32)
        if name == "Q2_K":
            code = code.reshape(*b.shape[:2], 16, 16)
            scale, minimum = (b[..., :16] & 15), (b[..., :16] >> 4)
            x = ((d * scale.astype(np.float32))[..., None] * code -
                 (half(b, 82)[..., None] * minimum.astype(np.float32))[..., None])
        else:
            third = bits(b[..., :32], 8).swapaxes(-1, -2).reshape(*b.shape[:2], 2, 4, 32)
            code = (code - 4 * (1 - third)).reshape(*b.shape[:2], 16, 16)
            s = b[..., 96:108]
            low = np.concatenate([s[..., :8] & 15, s[..., :8] >> 4], -1)
            high = np.concatenate([s[..., 8:] >> k & 3 for k in (0, 2, 4, 6)], -1)
            x = (d * ((low | high << 4).astype(np.float32) - 32))[..., None] * code
    return x.reshape(rows, -1).astype(np.float32)


def forms(name, w):
    """The matrix as in the file, and repacked where there is such an order."""
    number = TYPES[name][0]
    yield number, w
    if name in REPACKS:
        yield number | ext.REPACKED, ext.call("gguf_repack", w, number).eval()


def test_which_types():
    for number, _, _ in TYPES.values():
        assert ext.table.gguf_supports(number)
    for number in (9, 15, 24, 33, 43, 99, 16 | ext.REPACKED, -1, 0 | ext.REPACKED, 9 | ext.REPACKED, 0x20004, 0x30007, 0x30034):
        assert not ext.table.gguf_supports(number)


@pytest.mark.parametrize("name", TYPES)
def test_numbers(name):
    w = blocks(name, 37, 512)
    want = numbers(name, w)
    for number, m in forms(name, w):
        got = ext.call("gguf_dequantize", m, number, "float32").numpy()
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
        rows = np.array([[36, 0], [17, 99]], np.int64)
        got = ext.call("gguf_take", m, number, rows, "float32").numpy()
        assert got.shape == (2, 2, 512)
        np.testing.assert_allclose(got[0], want[[36, 0]], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(got[1, 0], want[17], rtol=1e-6, atol=1e-7)
        assert not got[1, 1].any()


@pytest.mark.parametrize("name", BOOKS)
def test_every_byte_of_a_block(name):
    """Any bytes at all: the very numbers of the package, zeros of either sign."""
    _, values, size = TYPES[name]
    w = np.random.default_rng(3).integers(0, 256, (64, 4 * size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        want, got = numbers(name, w), ext.call("gguf_dequantize", w, TYPES[name][0], "float32").numpy()
        assert ((got == want) | (np.isnan(got) & np.isnan(want))).all()


def bound(x, w, name):
    """What rounding activations to 15 bits a group and float32 sums may cost, a result."""
    group = 16 if name in GROUPS_OF_16 else 32
    top = np.abs(x).reshape(x.shape[0], -1, group).max(-1).repeat(group, -1)
    k, plain = x.shape[1], TYPES[name][1] == 1
    step = top * (0 if plain else 0.5 / 16256)
    group = 1 if plain else group
    return 1.05 * step @ np.abs(w).T + (k / group + 8) * 2 ** -23 * (np.abs(x) @ np.abs(w).T) + 1e-6


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n", [1, 16, 37, 96])
def test_products(name, n):
    k = 544 if TYPES[name][1] <= 32 else 512 if TYPES[name][1] == 256 else 640
    w = blocks(name, n, k)
    exact = numbers(name, w).astype(np.float64)
    rng = np.random.default_rng(n)
    for m in (1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 99):
        x = rng.normal(size=(m, k)).astype(np.float32)
        want = x.astype(np.float64) @ exact.T
        for number, q in forms(name, w):
            got = ext.call("gguf_matmul", x, q, number).numpy()
            assert (np.abs(got - want) <= bound(x, exact, name)).all()


@pytest.mark.parametrize("name", TYPES)
def test_a_row_has_the_bits_it_has_alone(name):
    k = 768
    w = blocks(name, 75, k)
    x = np.random.default_rng(1).normal(size=(130, k)).astype(np.float32)
    results = []
    for number, q in forms(name, w):
        for threads in (1, 2):
            ext.table.set_threads(threads)
            results.append(ext.call("gguf_matmul", x, q, number).numpy())
        for begin, end in ((0, 1), (1, 3), (3, 6), (5, 9), (9, 15), (15, 31), (57, 58), (60, 128)):
            part = ext.call("gguf_matmul", x[begin:end], q, number).numpy()
            assert (part.view(np.uint32) == results[0][begin:end].view(np.uint32)).all()
    ext.table.set_threads(0)
    for r in results:
        assert (r.view(np.uint32) == results[0].view(np.uint32)).all()


def test_types_shapes_and_errors():
    w = blocks("Q4_1", 48, 64)
    x = np.random.default_rng(2).normal(size=(2, 3, 64)).astype(np.float32)
    plain = ext.call("gguf_matmul", x, w, 3).numpy()
    assert plain.shape == (2, 3, 48)
    for t in ("float16", "bfloat16"):
        got = ext.call("gguf_matmul", x.astype(mlxc.numpy_dtype(t)), w, 3)
        assert got.dtype == t
        np.testing.assert_allclose(got.numpy().astype(np.float32), plain, rtol=2e-2, atol=2e-2)
    assert ext.call("gguf_matmul", np.zeros((0, 64), np.float32), w, 3).numpy().shape == (0, 48)
    for bad in ((x[..., :32], w, 3), (x, w, 2), (x, w, 99), (x, w[0], 3), (x.astype(int), w, 3),
                (x, w, 12), (x, w, 0 | ext.REPACKED)):
        with pytest.raises(mlxc.Error):
            ext.call("gguf_matmul", *bad)


def products(x, matrices):
    """gguf_products of [(type, bytes)]."""
    call = mlxc.Call()
    given, vector = call.array(x), call.vector([w for _, w in matrices])
    types = (C.c_int * max(1, len(matrices)))(*[number for number, _ in matrices])
    out = mlxc.function("mlx_vector_array_new")()
    mlxc.messages.clear()
    status = ext.table.gguf_products(C.byref(out), given, vector, types, mlxc.Stream.get())
    call.free()
    results = closures.arrays_of(out)
    mlxc.function("mlx_vector_array_free")(out)
    if status:
        mlxc.failed("gguf_products")
    return results


TOGETHER = [["Q4_1", "Q4_1", "Q4_1"], ["Q8_0"], ["Q4_K", "Q4_K", "Q6_K"], ["Q6_K", "Q4_0", "Q2_K", "Q5_K"],
            ["F16", "Q8_0", "IQ4_XS", "BF16"], ["Q5_1", "F32"]]


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_together(names, dtype):
    """Each has the bits it has alone, whatever the rows, the threads, and its company."""
    rows, k = [75, 16, 240, 1], 512
    matrices = [list(forms(name, blocks(name, rows[i], k, seed=i)))[-1] for i, name in enumerate(names)]
    x = np.random.default_rng(3).normal(size=(150, k)).astype(mlxc.numpy_dtype(dtype))
    want = [ext.call("gguf_matmul", x, w, number).numpy() for number, w in matrices]
    for threads in (1, 2):
        ext.table.set_threads(threads)
        for begin, end in ((0, 1), (1, 3), (5, 21), (21, 38), (0, 150)):
            got = products(x[begin:end], matrices)
            assert len(got) == len(names)
            for g, w in zip(got, want):
                assert g.dtype == dtype and g.numpy().tobytes() == w[begin:end].tobytes()
    ext.table.set_threads(0)


def test_products_together_refused():
    q4, q8 = blocks("Q4_1", 48, 64), blocks("Q8_0", 16, 64)
    x = np.ones((2, 64), np.float32)
    for bad in ([], [(3, q4)] * 5, [(3, q4), (3, q8)], [(3, q4), (99, q8)], [(3, q4), (8, blocks("Q8_0", 16, 32))]):
        with pytest.raises(mlxc.Error):
            products(x, bad)
    with pytest.raises(mlxc.Error):
        products(x.astype(int), [(3, q4), (8, q8)])
    empty = products(x[:0], [(3, q4), (8, q8)])
    assert [g.numpy().shape for g in empty] == [(0, 48), (0, 16)]


def test_products_together_transformed():
    """Gradients add up over the matrices, and none comes from a result that is not used; a batch is rows."""
    matrices = [(3, blocks("Q4_1", 48, 64)), (8, blocks("Q8_0", 16, 64))]
    exact = [numbers(name, w) for name, (_, w) in zip(("Q4_1", "Q8_0"), matrices)]
    rng = np.random.default_rng(4)
    x, ga, gb = (rng.normal(size=(3, n)).astype(np.float32) for n in (64, 48, 16))
    _, grads = closures.vjp(lambda x: products(x, matrices), [x], [ga, gb])
    np.testing.assert_allclose(grads[0].numpy(), ga @ exact[0] + gb @ exact[1], rtol=1e-4, atol=1e-4)
    _, grads = closures.vjp(lambda x: products(x, matrices)[1], [x], [gb])
    np.testing.assert_allclose(grads[0].numpy(), gb @ exact[1], rtol=1e-4, atol=1e-4)
    many = rng.normal(size=(3, 5, 64)).astype(np.float32)
    want = [g.numpy() for g in products(many.transpose(1, 0, 2), matrices)]
    got = closures.vmap(lambda x: products(x, matrices), [many], [1])
    for g, w in zip(got, want):
        assert (g.numpy() == w).all()


def test_not_finite():
    w = blocks("Q8_0", 16, 64)
    x = np.ones((2, 64), np.float32)
    x[0, 3] = np.inf
    got = ext.call("gguf_matmul", x, w, 8).numpy()
    assert np.isnan(got[0]).all() and np.isfinite(got[1]).all()
    assert not ext.call("gguf_matmul", np.zeros((1, 64), np.float32), w, 8).numpy().any()


AFFINE = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]


@pytest.mark.parametrize("bits,group", AFFINE)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_affine_matrices(bits, group, dtype):
    """MLX's own packing, repacked: the same numbers, products as exact as those of GGUF's types."""
    n, k = 37, 640
    rng = np.random.default_rng(bits)
    words = rng.integers(0, 1 << 32, (n, k * bits // 32), dtype=np.uint32)
    t = mlxc.numpy_dtype(dtype)
    scales = rng.uniform(0.001, 0.02, (n, k // group)).astype(t)
    biases = rng.uniform(-0.1, 0.1, (n, k // group)).astype(t)
    w = mx.array(words)
    numbers_of = [mx.array(x.astype(np.float32)).astype(mx.float32) for x in (scales, biases)]
    exact = np.array(mx.dequantize(w, *numbers_of, group, bits)).astype(np.float64)
    number = ext.table.affine_type(bits, group, mlxc.DTYPES[dtype])
    packed = ext.call("affine_repack", words, scales, biases, group, bits).eval()
    assert packed.numpy().dtype == np.uint8 and ext.table.gguf_supports(number)
    got = ext.call("gguf_dequantize", packed, number, "float32").numpy()
    np.testing.assert_allclose(got, exact, rtol=1e-6, atol=1e-6)
    top = lambda x: np.abs(x).reshape(x.shape[0], -1, group).max(-1).repeat(group, -1)
    all_rows = rng.normal(size=(21, k)).astype(np.float32)
    want = all_rows.astype(np.float64) @ exact.T
    results = ext.call("gguf_matmul", all_rows, packed, number).numpy()
    may = 1.05 * (top(all_rows) * 0.5 / 16256) @ np.abs(exact).T
    may += (k / group + 8) * 2 ** -23 * (np.abs(all_rows) @ (np.abs(exact) + 0.1).T) * 4 + 1e-6
    assert (np.abs(results - want) <= may).all()
    for begin, end in ((0, 1), (1, 3), (2, 9), (5, 20)):
        part = ext.call("gguf_matmul", all_rows[begin:end], packed, number).numpy()
        assert (part.view(np.uint32) == results[begin:end].view(np.uint32)).all()


def test_affine_errors():
    w, s = np.zeros((4, 8), np.uint32), np.zeros((4, 1), np.float16)
    assert ext.table.affine_type(7, 64, mlxc.DTYPES["float16"]) == 0
    assert ext.table.affine_type(4, 48, mlxc.DTYPES["float16"]) == 0
    assert ext.table.affine_type(4, 64, mlxc.DTYPES["int32"]) == 0
    ext.call("affine_repack", w, s, s, 64, 4).eval()
    for bad in ((w, s, s, 32, 4), (w, s, s, 64, 3), (w.astype(np.int32), s, s, 64, 4), (w, s[:2], s[:2], 64, 4),
                (w, s, s.astype(np.float32), 64, 4), (w[0], s, s, 64, 4)):
        with pytest.raises(mlxc.Error):
            ext.call("affine_repack", *bad)
