"""Keys and values in 8 and 4 bits: what packing keeps of the numbers, and that attention over packed rows
has the bits of attention over the numbers they stand for, whatever is asked together."""
import numpy as np
import pytest

import extensions as ext
import mlxc

TYPES = {8: 8, 4: 3}  # GGUF's numbers of Q8_0 and Q4_1, whose blocks these are


def pack(x, bits):
    return ext.call("cache_pack", x, bits).numpy()


def numbers(packed, bits, dim):
    flat = packed.reshape(-1, packed.shape[-1])
    out = ext.call("gguf_dequantize", flat, TYPES[bits], "float32").numpy()
    return out.reshape(packed.shape[:-1] + (-1,))[..., :dim]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dim", [64, 32, 80, 1, 576])
@pytest.mark.parametrize("bits", [8, 4])
def test_what_packing_keeps(bits, dim, dtype):
    rng = np.random.default_rng(dim)
    x = (rng.normal(size=(1, 3, 7, dim)) * np.exp(rng.normal(size=(1, 3, 7, 1)))).astype(mlxc.numpy_dtype(dtype))
    packed = pack(x, bits)
    blocks = (dim + 31) // 32
    assert packed.dtype == np.uint8 and packed.shape == (1, 3, 7, blocks * (34 if bits == 8 else 20))
    wide = np.zeros((1, 3, 7, blocks * 32), np.float32)
    wide[..., :dim] = x.astype(np.float32)
    block = wide.reshape(1, 3, 7, blocks, 32)
    step = abs(block).max(-1) / 127 if bits == 8 else (block.max(-1) - block.min(-1)) / 15
    least = np.repeat(0.5 * step + 2e-3 * abs(block).max(-1) * (bits == 4), 32, -1) * 1.1 + 1e-7
    assert (abs(numbers(packed, bits, dim) - x.astype(np.float32)) <= least[..., :dim]).all()
    again = pack(x[:, 1:2, 3:5], bits)
    np.testing.assert_array_equal(again, packed[:, 1:2, 3:5])


@pytest.mark.parametrize("bits", [8, 4])
def test_odd_numbers(bits):
    x = np.zeros((5, 32), np.float32)
    x[1] = 3
    x[2] = 1e-30
    x[3, 4] = np.inf
    x[4, 5] = np.nan
    got = numbers(pack(x, bits), bits, 32)
    np.testing.assert_array_equal(got[0], x[0])
    np.testing.assert_allclose(got[1:3], x[1:3], rtol=4e-3, atol=1e-6)


def cache(kv, s, d, dv, bits, seed=0):
    rng = np.random.default_rng(seed)
    k, v = (rng.normal(size=(1, kv, s, n)).astype(np.float32) for n in (d, dv))
    k, v = pack(k, bits), pack(v, bits)
    return k, v, numbers(k, bits, d), numbers(v, bits, dv)


@pytest.mark.parametrize("window", [0, 50])
@pytest.mark.parametrize("heads,kv,l,s,d,dv", [(9, 3, 1, 700, 64, 64), (8, 2, 5, 130, 128, 128), (4, 4, 70, 200, 64, 64),
                                               (6, 2, 3, 64, 80, 48), (16, 1, 1, 300, 96, 64), (2, 1, 1, 65, 20, 33)])
@pytest.mark.parametrize("bits", [8, 4])
def test_attention_reads_what_is_packed(bits, heads, kv, l, s, d, dv, window):
    k, v, k_numbers, v_numbers = cache(kv, s, d, dv, bits)
    q = np.random.default_rng(1).normal(size=(1, heads, l, d)).astype(np.float32)
    want = ext.call("attention", q, k_numbers, v_numbers, 0.125, None, True, window, None).numpy()
    got = ext.call("packed_attention", q, k, v, bits, dv, 0.125, None, True, window, None).numpy()
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_query_has_the_bits_it_has_alone(bits):
    k, v, _, _ = cache(2, 333, 64, 64, bits)
    q = np.random.default_rng(2).normal(size=(1, 6, 333, 64)).astype(np.float32)
    everything = ext.call("packed_attention", q, k, v, bits, 64, 0.125, None, True, 0, None).numpy()
    for end in (1, 63, 64, 65, 200, 333):
        one = ext.call("packed_attention", q[:, :, end - 1:end], k[:, :, :end], v[:, :, :end], bits, 64, 0.125, None,
                       True, 0, None).numpy()
        np.testing.assert_array_equal(one, everything[:, :, end - 1:end])
    threads = ext.table.threads()
    ext.table.set_threads(1 if threads > 1 else 3)
    again = ext.call("packed_attention", q, k, v, bits, 64, 0.125, None, True, 0, None).numpy()
    ext.table.set_threads(threads)
    np.testing.assert_array_equal(again, everything)


def test_parts_of_keys_serve_as_values():
    k, _, numbers_of_k, _ = cache(1, 150, 96, 32, 8)
    q = np.random.default_rng(3).normal(size=(1, 4, 2, 96)).astype(np.float32)
    got = ext.call("packed_attention", q, k, np.ascontiguousarray(k[..., 34:]), 8, 64, 0.1, None, True, 0, None).numpy()
    want = ext.call("attention", q, numbers_of_k, np.ascontiguousarray(numbers_of_k[..., 32:]), 0.1, None, True, 0,
                    None).numpy()
    np.testing.assert_array_equal(got, want)


def test_refused():
    k, v, _, _ = cache(2, 10, 64, 64, 8)
    q = np.zeros((1, 4, 1, 64), np.float32)
    with pytest.raises(mlxc.Error, match="3 bits"):
        pack(q, 3)
    with pytest.raises(mlxc.Error, match="float32, float16 or bfloat16"):
        pack(np.zeros((2, 32), np.int32), 8)
    for bad in ((q, k, v, 5, 64), (q, k, v, 4, 64), (q, k, v, 8, 96), (q, k, v[:, :1], 8, 64), (q[:, :3], k, v, 8, 64),
                (q, k, v[:, :, :9], 8, 64), (q, k.astype(np.float32), v, 8, 64), (q, k, v, 8, -1)):
        with pytest.raises(mlxc.Error):
            ext.call("packed_attention", *bad, 0.1, None, True, 0, None)
