"""GGUF files: what MLX reads and writes is what we read and write."""
import ctypes as C
import struct

import mlx.core as mx
import ml_dtypes
import numpy as np
import pytest

import mlxc
from oracle import ALL, from_mx, numbers, to_mx
from test_gguf_matrices import TYPES as BLOCKS, blocks, numbers as block_numbers

GGUF = mlxc.structs["mlx_io_gguf"]
SAVED = ["float32", "float16", "int8", "int16", "int32"]
NOTES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32"]


def call(name, *args):
    mlxc.messages.clear()
    if mlxc.function("mlx_" + name)(*args) == 1:
        mlxc.failed(name)


class Contents:
    """What is behind an mlx_io_gguf."""

    def __init__(self):
        self.handle = mlxc.function("mlx_io_gguf_new")()

    def __del__(self):
        mlxc.function("mlx_io_gguf_free")(self.handle)

    def load(self, path):
        call("load_gguf", C.byref(self.handle), str(path).encode(), mlxc.Stream.get())
        return self

    def save(self, path):
        call("save_gguf", str(path).encode(), self.handle)

    def keys(self):
        v = mlxc.structs["mlx_vector_string"]()
        call("io_gguf_get_keys", C.byref(v), self.handle)
        return strings(v)

    def get(self, what, key):
        h = mlxc.structs["mlx_array"]()
        assert mlxc.function("mlx_io_gguf_get_" + what)(C.byref(h), self.handle, key.encode()) == 0
        return mlxc.Array(h).numpy()

    def arrays(self):
        return {k: self.get("array", k) for k in self.keys()}

    def note(self, key):
        key, flag = key.encode(), C.c_bool()
        for kind in ("array", "string", "vector_string"):
            call("io_gguf_has_metadata_" + kind, C.byref(flag), self.handle, key)
            if flag.value:
                break
        if kind == "array":
            return self.get("metadata_array", key.decode())
        h = mlxc.structs["mlx_" + kind]()
        call("io_gguf_get_metadata_" + kind, C.byref(h), self.handle, key)
        if kind == "vector_string":
            return strings(h)
        text = mlxc.function("mlx_string_data")(h).decode()
        mlxc.function("mlx_string_free")(h)
        return text

    def put(self, arrays, notes=()):
        for k, v in arrays.items():
            a = mlxc.array(v)
            call("io_gguf_set_array", self.handle, k.encode(), a.handle)
        for k, v in dict(notes).items():
            if isinstance(v, str):
                call("io_gguf_set_metadata_string", self.handle, k.encode(), v.encode())
            elif isinstance(v, list):
                h = mlxc.function("mlx_vector_string_new")()
                for s in v:
                    call("vector_string_append_value", h, s.encode())
                call("io_gguf_set_metadata_vector_string", self.handle, k.encode(), h)
                mlxc.function("mlx_vector_string_free")(h)
            else:
                a = mlxc.array(v)
                call("io_gguf_set_metadata_array", self.handle, k.encode(), a.handle)
        return self


def strings(v):
    out, s = [], C.c_char_p()
    for i in range(mlxc.function("mlx_vector_string_size")(v)):
        call("vector_string_get", C.byref(s), v, i)
        out.append(s.value.decode())
    mlxc.function("mlx_vector_string_free")(v)
    return out


def equal(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def file_of(path, tensors):
    """tensors: name -> (type, shape outermost first, bytes)"""
    head, data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0), b""
    for name, (kind, shape, content) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", n) for n in shape[::-1])
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path


SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 17), (1, 2, 1, 3, 1, 2)]
VALUES = {"s": "text", "empty": "", "list": ["a", "bb", ""], "none": []}


def notes():
    out = dict(VALUES)
    for t in NOTES:
        out[t] = numbers((), t)
        out[t + "s"] = numbers((5,), t)
    return out


def test_theirs_is_read(tmp_path):
    path = tmp_path / "theirs.gguf"
    tensors = {"%s.%d" % (t, i): numbers(s, t) for t in SAVED for i, s in enumerate(SHAPES)}
    meta = {k: v if isinstance(v, (str, list)) else to_mx(v) for k, v in notes().items()}
    mx.save_gguf(str(path), {k: to_mx(v) for k, v in tensors.items()}, meta)
    c = Contents().load(path)
    got = c.arrays()
    assert set(got) == set(tensors)
    for k, v in tensors.items():
        equal(got[k], v)
    for k, v in notes().items():
        equal(c.note(k), v) if isinstance(v, np.ndarray) else None
        assert isinstance(v, np.ndarray) or c.note(k) == v


def test_ours_is_read(tmp_path):
    tensors = {"%s.%d" % (t, i): numbers(s, t) for t in SAVED for i, s in enumerate(SHAPES)}
    tensors["view"] = mlxc.op("transpose", numbers((3, 4), "float32"))
    Contents().put(tensors, notes()).save(tmp_path / "ours")
    back, meta = mx.load(str(tmp_path / "ours.gguf"), return_metadata=True)
    assert set(back) == set(tensors)
    for k, v in tensors.items():
        equal(from_mx(back[k]), v if isinstance(v, np.ndarray) else v.numpy())
    assert set(meta) == set(notes())
    for k, v in notes().items():
        equal(from_mx(meta[k]), v) if isinstance(v, np.ndarray) else None
        assert isinstance(v, np.ndarray) or meta[k] == v


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("shape", [(64,), (5, 96), (2, 3, 32)])
def test_packed_blocks(name, shape, tmp_path):
    w = blocks(name, int(np.prod(shape[:-1])), shape[-1])
    kind = BLOCKS[name][0]
    path = file_of(tmp_path / "q.gguf", {"a.weight": (kind, shape, w.tobytes()),
                                         "other": (kind, shape, w.tobytes()),
                                         ".weight": (kind, shape, w.tobytes())})
    real, got = mx.load(str(path)), Contents().load(path).arrays()
    assert set(got) == set(real)
    for k, v in real.items():
        if v.dtype != mx.uint32 or name != "Q4_1":  # MLX takes the minimum's bytes for codes
            equal(got[k], from_mx(v))
    x = mlxc.op("dequantize", got["a.weight"].reshape(-1, got["a.weight"].shape[-1]),
                got["a.scales"].reshape(-1, shape[-1] // 32),
                got["a.biases"].reshape(-1, shape[-1] // 32), 32, 8 if name == "Q8_0" else 4,
                "affine", None, "float32").numpy()
    np.testing.assert_allclose(x, block_numbers(name, w), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", [n for n in BLOCKS if n not in ("Q4_0", "Q4_1", "Q8_0", "F32")])
def test_expanded_blocks(name, tmp_path):
    w = blocks(name, 6, 512)
    path = file_of(tmp_path / "q.gguf", {"a.weight": (BLOCKS[name][0], (2, 3, 512), w.tobytes())})
    got = Contents().load(path).arrays()["a.weight"]
    assert got.dtype == np.float16 and got.shape == (2, 3, 512)
    np.testing.assert_allclose(got.astype(np.float32).reshape(6, 512), block_numbers(name, w),
                               rtol=1e-3, atol=1e-6)
    if name in ("Q2_K", "Q6_K", "BF16", "F16"):  # MLX reads these too, and Q4_K, not as GGML does
        np.testing.assert_allclose(got.astype(np.float32),
                                   from_mx(mx.load(str(path))["a.weight"]).astype(np.float32),
                                   rtol=1e-3, atol=1e-6)


def message(f, *args):
    try:
        f(*args)
    except (RuntimeError, ValueError, mlxc.Error) as e:
        return str(e)
    return None


@pytest.mark.parametrize("dtype", ALL)
def test_refusals_are_theirs(dtype, tmp_path):
    x = numbers((3,), dtype)
    path = str(tmp_path / "x.gguf")
    theirs = message(lambda: mx.save_gguf(path, {"x": to_mx(x)}))
    assert message(Contents().put({"x": x}).save, path) == theirs
    for shape in [(), (3,), (2, 2), (0,)]:
        v = numbers(shape, dtype)
        theirs = message(lambda: mx.save_gguf(path, {}, {"v": to_mx(v)}))
        assert message(Contents().put({}, {"v": v}).save, path) == theirs


def test_broken_files(tmp_path):
    whole = file_of(tmp_path / "w.gguf", {"a": (2, (2, 32), bytes(36)), "b": (0, (2,), bytes(8))})
    content = whole.read_bytes()
    bad = tmp_path / "bad.gguf"
    for n in range(0, len(content) - 24, 3):
        bad.write_bytes(content[:n])
        assert "bad.gguf" in message(Contents().load, bad)
    file_of(bad, {"a": (2, (64, 16), bytes(18 * 32))})
    assert "16" in message(Contents().load, bad)
    file_of(bad, {"a.scales": (0, (2,), bytes(8)), "a.weight": (2, (2, 32), bytes(36))})
    assert "a.scales" in message(Contents().load, bad)
    assert message(Contents().load, tmp_path / "absent.gguf")
    kept = Contents().put({"x": numbers((2,), "float32")})
    assert message(kept.load, bad) and kept.keys() == ["x"]
