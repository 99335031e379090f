"""Files: what MLX saves we load, and what we save MLX and NumPy load."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import ALL, compare, from_mx, numbers, to_mx

SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 17)]
EMPTY = [(0,), (2, 0, 4)]  # MLX does not write these


def equal(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ALL)
def test_npy(dtype, tmp_path):
    for i, shape in enumerate(SHAPES):
        x = numbers(shape, dtype)
        theirs, ours = str(tmp_path / ("a%d.npy" % i)), str(tmp_path / ("b%d" % i))
        mx.save(theirs, to_mx(x))
        equal(mlxc.op("load", theirs).numpy(), x)
        mlxc.op("save", ours, x)
        if dtype != "bfloat16":
            equal(np.load(ours + ".npy"), x)
        equal(from_mx(mx.load(ours + ".npy")), x)


def test_npy_of_empty_arrays(tmp_path):
    for i, shape in enumerate(EMPTY):
        path = str(tmp_path / ("e%d.npy" % i))
        np.save(path, np.zeros(shape, np.int16))
        equal(mlxc.op("load", path).numpy(), np.zeros(shape, np.int16))


def test_npy_of_other_orders(tmp_path):
    path = str(tmp_path / "f.npy")
    for t in (">f4", ">i2", "<f8", ">c8"):
        x = np.asfortranarray(numbers((3, 5, 2), "float32").astype(t))
        np.save(path, x)
        equal(mlxc.op("load", path).numpy(), x.astype(x.dtype.newbyteorder("=")))


def test_views_are_saved_in_order(tmp_path):
    path = str(tmp_path / "v.npy")
    x = numbers((4, 6), "float32")
    mlxc.op("save", path, mlxc.op("transpose", x))
    equal(np.load(path), x.T)


def test_safetensors(tmp_path):
    tensors = {"%s.%d" % (t, i): numbers(s, t) for t in ALL for i, s in enumerate(SHAPES)}
    theirs, ours = str(tmp_path / "a.safetensors"), str(tmp_path / "b")
    real = {k: to_mx(v) for k, v in tensors.items() if not k.startswith("float64")}
    mx.save_safetensors(theirs, real, {"who": "me"})
    arrays, metadata = mlxc.op("load_safetensors", theirs)
    assert set(arrays) == set(real) and metadata["who"] == "me"
    for k, v in arrays.items():
        equal(v.numpy(), tensors[k])
    mlxc.op("save_safetensors", ours, {k: tensors[k] for k in real}, {"x": "y"})
    back, metadata = mx.load(ours + ".safetensors", return_metadata=True)
    assert metadata == {"x": "y", "format": "mlx"}
    assert set(back) == set(real)
    for k, v in back.items():
        equal(from_mx(v), tensors[k])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x46\x00{", b"x" * 200])
def test_broken_files_are_refused(content, tmp_path):
    for name, op in (("x.npy", "load"), ("x.safetensors", "load_safetensors")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(mlxc.Error, match="x."):
            mlxc.op(op, str(path))
    with pytest.raises(mlxc.Error):
        mlxc.op("load", str(tmp_path / "absent.npy"))
