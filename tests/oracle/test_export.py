"""Functions in files: what MLX exports runs here, and what we export runs in MLX."""
import ctypes as C
import os
import re
import struct

import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import from_mx, to_mx
from test_transforms import CASES, O, R, Closure, arrays_of, as_list, inputs

# ---- both libraries, exporting and importing ---------------------------------------------------


def path_of(path):
    return str(path).encode()


def export_ours(path, f, xs, shapeless=False, named=None):
    if named is None:
        c = Closure(lambda a: f(*a))
        try:
            mlxc.op("export_function", path_of(path), c.handle, xs, shapeless)
        except mlxc.Error:
            if c.error:
                raise c.error
            raise
        finally:
            c.free()
        return
    c = NamedClosure(f)
    mlxc.op("export_function_kwargs", path_of(path), c.handle, xs, named, shapeless)


class NamedClosure:
    """A Python function of arrays and named arrays."""
    TYPE = C.CFUNCTYPE(C.c_int, C.POINTER(mlxc.structs["mlx_vector_array"]),
                       mlxc.structs["mlx_vector_array"], mlxc.structs["mlx_map_string_to_array"])

    def __init__(self, f):
        def call(res, plain, named):
            out = as_list(f(*arrays_of(plain), **map_of(named)))
            handles = (mlxc.structs["mlx_array"] * len(out))(*[a.handle for a in out])
            return mlxc.function("mlx_vector_array_set_data")(res, handles, len(out))

        self.kept = self.TYPE(call)
        self.handle = mlxc.function("mlx_closure_kwargs_new_func")(C.cast(self.kept, C.c_void_p))

    def __del__(self):
        mlxc.function("mlx_closure_kwargs_free")(self.handle)


def map_of(handle):
    kind, out = "mlx_map_string_to_array", {}
    it = mlxc.function(kind + "_iterator_new")(handle)
    while True:
        key, value = C.c_char_p(), mlxc.structs["mlx_array"]()
        if mlxc.function(kind + "_iterator_next")(C.byref(key), C.byref(value), it):
            break
        out[key.value.decode()] = mlxc.Array(value)
    mlxc.function(kind + "_iterator_free")(it)
    return out


class Imported:
    def __init__(self, path):
        mlxc.messages.clear()
        self.handle = mlxc.function("mlx_imported_function_new")(path_of(path))
        if not self.handle.ctx:
            mlxc.failed("imported_function_new")

    def __del__(self):
        mlxc.function("mlx_imported_function_free")(self.handle)

    def __call__(self, *xs, **named):
        if named:
            return mlxc.op("imported_function_apply_kwargs", self.handle, list(xs), named)
        return mlxc.op("imported_function_apply", self.handle, list(xs))


def close(a, b, what):
    a, b = as_list(a), as_list(b)
    tolerance = (2e-3, 2e-4) if "qmm" in what or "quantized_matmul" in what else (2e-5, 2e-6)
    assert len(a) == len(b), what
    for x, y in zip(a, b):
        x = x.numpy() if isinstance(x, mlxc.Array) else from_mx(x)
        y = y.numpy() if isinstance(y, mlxc.Array) else from_mx(y)
        assert x.dtype == y.dtype and x.shape == y.shape, (what, x.dtype, y.dtype, x.shape, y.shape)
        if x.dtype.kind in "fc" or x.dtype.itemsize == 2 and x.dtype.kind == "V":
            np.testing.assert_allclose(x, y, *tolerance, err_msg=what, equal_nan=True)
        else:
            np.testing.assert_array_equal(x.astype(np.float64), y.astype(np.float64), err_msg=what)


def both_ways(tmp_path, name, f, real, xs, shapeless=False, others=None):
    """Exported by each, run by both; others: inputs of other shapes to run it on."""
    theirs, ours = tmp_path / "theirs.mlxfn", tmp_path / "ours.mlxfn"
    mxs = [to_mx(x) for x in xs]
    mx.export_function(str(theirs), real, *mxs, shapeless=shapeless)
    export_ours(ours, f, xs, shapeless)
    for inputs_ in [xs] + (others or []):
        want = as_list(real(*[to_mx(x) for x in inputs_]))
        close(Imported(theirs)(*inputs_), want, name + ": MLX's file here")
        close(Imported(ours)(*inputs_), want, name + ": our file here")
        close(list(mx.import_function(str(ours))(*[to_mx(x) for x in inputs_])), want,
              name + ": our file in MLX")
    return ours, theirs


def classes(path):
    """Names of the operations in a file."""
    content, out = path.read_bytes(), set()
    for m in re.finditer(rb"[A-Z][A-Za-z0-9]+", content):
        at = m.start()
        n = struct.unpack("<Q", content[at - 8:at])[0] if at >= 8 else 0
        if 2 < n <= len(m.group()):
            out.add(m.group()[:n].decode())
    return out


# ---- one operation after the other -------------------------------------------------------------

F = np.linspace(0.2, 0.9, 24, dtype=np.float32).reshape(2, 3, 4)
G = F[::-1].copy() + 0.25
N = np.arange(-12, 12, dtype=np.int32).reshape(4, 6)
U = np.arange(24, dtype=np.uint32).reshape(4, 6)
B = (N % 3 == 0)
Z = (F + 1j * G).astype(np.complex64)
S = np.array([1, 0], np.int32)
W = (np.arange(8 * 64).reshape(8, 64) % 13 / 6 - 1).astype(np.float32)
X = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
K = np.array([3, 7], np.uint32)
P = (np.array([[4, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 2]]) + np.zeros((1, 1, 1))).astype(np.float32)  # definite


def two(name, mx_name=None):
    """The same name and arguments in both."""
    return (lambda *a: mlxc.op(name, *a)), getattr(mx, mx_name or name)


def op(name, *args):
    return lambda *a: mlxc.op(name, *a, *args)


# name: (ours, MLX's, inputs)
MORE = {
    "floor": (*two("floor"), [F * 5]), "ceil": (*two("ceil"), [F * 5]),
    "round": (op("round", 0), mx.round, [F * 5]),
    "logical_not": (*two("logical_not"), [B]),
    "conjugate": (*two("conjugate"), [Z]), "real": (*two("real"), [Z]), "imag": (*two("imag"), [Z]),
    "abs complex": (*two("abs"), [Z]), "exp complex": (*two("exp"), [Z]),
    "abs integer": (*two("abs"), [N]), "sqrt integer": (*two("sqrt"), [U]),
    "divmod": (*two("divmod"), [N, N * 0 + 5]), "remainder": (*two("remainder"), [N, N * 0 + 5]),
    "floor_divide": (*two("floor_divide"), [N, N * 0 + 5]),
    "equal": (*two("equal"), [N, N.T.reshape(4, 6).copy()]), "less": (*two("less"), [F, G]),
    "not_equal": (*two("not_equal"), [N, N * 0]), "greater": (*two("greater"), [F, G]),
    "greater_equal": (*two("greater_equal"), [F, G]), "less_equal": (*two("less_equal"), [F, G]),
    "array_equal": (op("array_equal", True), lambda a, b: mx.array_equal(a, b, equal_nan=True), [F, F]),
    "logical_and": (*two("logical_and"), [B, ~B]), "logical_or": (*two("logical_or"), [B, ~B]),
    "bitwise_and": (*two("bitwise_and"), [N, N * 3]), "bitwise_or": (*two("bitwise_or"), [N, N * 3]),
    "bitwise_xor": (*two("bitwise_xor"), [N, N * 3]),
    "left_shift": (*two("left_shift"), [U, U % 5]), "right_shift": (*two("right_shift"), [U, U % 5]),
    "power": (*two("power"), [U, U % 4]), "isnan": (*two("isnan"), [F]),
    "nan_to_num": (lambda a: mlxc.op("nan_to_num", a, 0.5, None, None), lambda a: mx.nan_to_num(a, 0.5),
                   [np.array([1, np.nan, np.inf, -np.inf], np.float32)]),
    "all": (op("all", False), mx.all, [B]), "any": (op("any_axis", 1, False), lambda a: mx.any(a, 1), [B]),
    "sum of bytes": (op("sum", False), mx.sum, [N.astype(np.int8)]),
    "argmax": (op("argmax_axis", 1, False), lambda a: mx.argmax(a, 1), [F]),
    "argmin": (op("argmin", False), mx.argmin, [F]),
    "argsort": (op("argsort_axis", -1), lambda a: mx.argsort(a, -1), [G]),
    "partition": (op("partition_axis", 1, 2), lambda a: mx.sort(mx.partition(a, 1, 2)[..., 1:2]), [G]),
    "cummax": (op("cummax", 1, True, True), lambda a: mx.cummax(a, axis=1, reverse=True), [G]),
    "cummin": (op("cummin", 0, False, False), lambda a: mx.cummin(a, axis=0, inclusive=False), [G]),
    "astype": (op("astype", "float16"), lambda a: a.astype(mx.float16), [F]),
    "astype of itself": (op("astype", "float32"), lambda a: a.astype(mx.float32), [F]),
    "view": (op("view", "uint16"), lambda a: a.view(mx.uint16), [F]),
    "stop_gradient": (*two("stop_gradient"), [F]),
    "reshape": (op("reshape", [-1, 2]), lambda a: mx.reshape(a, (-1, 2)), [F]),
    "flatten": (op("flatten", 1, 2), lambda a: mx.flatten(a, 1, 2), [F]),
    "unflatten": (op("unflatten", 2, [2, -1]), lambda a: mx.unflatten(a, 2, (2, -1)), [F]),
    "squeeze": (op("squeeze_axes", [0, 2]), lambda a: mx.squeeze(a, (0, 2)), [F[:1, :, :1].copy()]),
    "expand_dims": (op("expand_dims_axes", [0, -1]), lambda a: mx.expand_dims(a, (0, -1)), [F]),
    "as_strided": (op("as_strided", [3, 2], [1, 4], 2), lambda a: mx.as_strided(a, (3, 2), (1, 4), 2), [F]),
    "split": (op("split_sections", [1, 3], 2), lambda a: mx.split(a, [1, 3], 2), [F]),
    "pad": (lambda a: mlxc.op("pad", a, [0, 2], [1, 0], [2, 1], mlxc.array(np.float32(0.5)), "constant"),
            lambda a: mx.pad(a, [(1, 2), (0, 0), (0, 1)], constant_values=0.5), [F]),
    "slice to the start": (op("slice", [1, 2, 3], [-3, 3, -5], [-1, 1, -2]), lambda a: a[1::-1, 2:3, 3::-2],
                           [F]),
    "slice_update": (lambda a, b: mlxc.op("slice_update", a, b, [0, 1, 0], [2, 3, 4], [1, 1, 2]),
                     lambda a, b: a.at[0:2, 1:3, 0:4:2].add(b - a[0:2, 1:3, 0:4:2]), [F, G[:, 1:, ::2].copy()]),
    "slice_update_add": (lambda a, b: mlxc.op("slice_update_add", a, b, [0, 1, 0], [2, 3, 4], [1, 1, 2]),
                         lambda a, b: a.at[0:2, 1:3, 0:4:2].add(b), [F, G[:, 1:, ::2].copy()]),
    "slice_dynamic": (lambda a, i: mlxc.op("slice_dynamic", a, i, [0, 1], [1, 2, 4]),
                      lambda a, i: mx.slice(a, i, (0, 1), (1, 2, 4)), [F, S]),
    "slice_update_dynamic": (lambda a, b, i: mlxc.op("slice_update_dynamic", a, b, i, [0, 1]),
                             lambda a, b, i: mx.slice_update(a, b, i, (0, 1)), [F, G[:1, :2].copy(), S]),
    "scatter_add": (lambda a, i, u: mlxc.op("scatter_add", a, [i], u, [1]),
                    lambda a, i, u: a.at[:, i].add(u[:, :, 0].transpose(1, 0, 2)),
                    [F, S, G[:, :2].reshape(2, 2, 1, 4).copy()]),
    "scatter": (lambda a, i, u: mlxc.op("scatter_single", a, i, u, 0),
                lambda a, i, u: a.at[i].add(u[:, 0] - a[i]), [F, S, G.reshape(2, 1, 3, 4).copy()]),
    "scatter_add_axis": (lambda a, i, v: mlxc.op("scatter_add_axis", a, i, v, 2),
                         lambda a, i, v: mx.vmap(mx.vmap(lambda x, j, w: x.at[j].add(w)))(a, i, v),
                         [F, np.tile(np.array([0, 2, 1], np.int32), (2, 3, 1)), G[..., :3].copy()]),
    "masked_scatter": (lambda a, m, v: mlxc.op("masked_scatter", a, m, v), None,
                       [N, B, np.arange(24, dtype=np.int32)]),
    "hadamard": (op("hadamard_transform", None), mx.hadamard_transform, [X]),
    "softmax precise": (op("softmax_axis", -1, True), lambda a: mx.softmax(a, -1, precise=True), [F]),
    "logsumexp": (op("logsumexp_axis", -1, True), lambda a: mx.logsumexp(a, -1, keepdims=True), [F]),
    "random": (lambda k: mlxc.op("random_uniform", mlxc.array(np.float32(0)), mlxc.array(np.float32(2)),
                                 [3, 2], "float32", k),
               lambda k: mx.random.uniform(0, 2, (3, 2), mx.float32, k), [K]),
    "full and arange": (lambda a: mlxc.op("add", mlxc.op("multiply", a, mlxc.op("arange", 0, 4, 1, "float32")),
                                          mlxc.op("full", [3, 4], mlxc.array(np.float32(2)), "float32")),
                        lambda a: a * mx.arange(0, 4, 1, mx.float32) + mx.full((3, 4), 2.0), [F]),
    "quantize": (lambda w: mlxc.op("quantize", w, 32, 4, "affine", None),
                 lambda w: mx.quantize(w, 32, 4), [W]),
    "dequantize": (lambda w: mlxc.op("dequantize", *mlxc.op("quantize", w, 64, 8, "affine", None), 64, 8,
                                     "affine", None, None),
                   lambda w: mx.dequantize(*mx.quantize(w, 64, 8), 64, 8), [W]),
    "quantized_matmul": (lambda x, w: mlxc.op("quantized_matmul", x, *mlxc.op("quantize", w, 32, 4, "affine", None),
                                              True, 32, 4, "affine"),
                         lambda x, w: mx.quantized_matmul(x, *mx.quantize(w, 32, 4), group_size=32, bits=4),
                         [X, W]),
    "gather_qmm": (lambda x, w: mlxc.op("gather_qmm", mlxc.op("expand_dims", x, 1),
                                        *mlxc.op("quantize", mlxc.op("reshape", w, [2, 4, 64]), 32, 4, "affine", None),
                                        None, mlxc.array(np.array([0, 1, 1, 0], np.uint32)), True, 32, 4,
                                        "affine", False),
                   lambda x, w: mx.gather_qmm(mx.expand_dims(x, 1), *mx.quantize(w.reshape(2, 4, 64), 32, 4),
                                              rhs_indices=mx.array([0, 1, 1, 0], dtype=mx.uint32),
                                              transpose=True, group_size=32, bits=4), [X, W]),
    "rope": (lambda x: mlxc.op("fast_rope", x, 4, False, 100.0, 1.0, 2, None),
             lambda x: mx.fast.rope(x, 4, traditional=False, base=100.0, scale=1.0, offset=2), [F]),
    "rope traditional": (lambda x: mlxc.op("fast_rope", x, 2, True, 100.0, 0.5, 0, None),
                         lambda x: mx.fast.rope(x, 2, traditional=True, base=100.0, scale=0.5, offset=0), [F]),
    "rope dynamic": (lambda x, i, f: mlxc.op("fast_rope_dynamic", x, 4, False, None, 1.0, i, f),
                     lambda x, i, f: mx.fast.rope(x, 4, traditional=False, base=None, scale=1.0, offset=i, freqs=f),
                     [F, np.array([3, 1], np.int32), np.array([1.0, 7.0], np.float32)]),
    "attention causal": (lambda q, k, v: mlxc.op("fast_scaled_dot_product_attention", q, k, v, 0.5, "causal",
                                                 None, None),
                         lambda q, k, v: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask="causal"),
                         [X.reshape(2, 4, 4, 8), X.reshape(2, 2, 8, 8)[:, :, :5].copy(),
                          W.reshape(2, 2, 16, 8)[:, :, :5].copy()]),
    "attention masked": (lambda q, k, v, m, s: mlxc.op("fast_scaled_dot_product_attention", q, k, v, 0.5, "array", m, s),
                         lambda q, k, v, m, s: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask=m,
                                                                                    sinks=s),
                         [X.reshape(2, 4, 4, 8), X.reshape(2, 2, 8, 8)[:, :, :5].copy(),
                          W.reshape(2, 2, 16, 8)[:, :, :5].copy(), N[:4, :5] % 3 != 0,
                          np.array([0.1, 0.2, -0.3, 1], np.float32)]),
    "depends": (lambda a, b: mlxc.op("depends", [a], [mlxc.op("exp", b)]),
                lambda a, b: mx.depends(a, mx.exp(b)), [F, G]),
    "contiguous": (lambda a: mlxc.op("contiguous", mlxc.op("transpose", a), False), lambda a: a.T + 0, [F]),
    "fft": (lambda a: mlxc.op("fft_fftn", a, [4, 3], [2, 1], 0),
            lambda a: mx.fft.fftn(a, (4, 3), (2, 1)), [Z]),
    "rfft": (lambda a: mlxc.op("fft_rfft", a, 4, 2, 0), lambda a: mx.fft.rfft(a, 4, 2), [F]),
    "irfft": (lambda a: mlxc.op("fft_irfft", a, 5, 2, 0), lambda a: mx.fft.irfft(a, 5, 2),
              [Z[..., :3].copy()]),
    "qr": (op("linalg_qr"), mx.linalg.qr, [P]), "svd": (op("linalg_svd", True), mx.linalg.svd, [P]),
    "singular values": (op("linalg_svd", False), lambda a: mx.linalg.svd(a, compute_uv=False), [P]),
    "inv": (op("linalg_inv"), mx.linalg.inv, [P]),
    "tri_inv": (op("linalg_tri_inv", True), lambda a: mx.linalg.tri_inv(a, True), [np.triu(P)]),
    "cholesky": (op("linalg_cholesky", False), mx.linalg.cholesky, [P]),
    "eigh": (op("linalg_eigh", "L"), mx.linalg.eigh, [P]),
    "eigvalsh": (op("linalg_eigvalsh", "U"), lambda a: mx.linalg.eigvalsh(a, "U"), [P]),
    "eig": (op("linalg_eig"), mx.linalg.eig, [P]), "eigvals": (op("linalg_eigvals"), mx.linalg.eigvals, [P]),
    "constants": (lambda a: mlxc.op("add", a, mlxc.op("transpose", mlxc.array(F[0].T.copy()))),
                  lambda a: a + mx.array(F[0].T).T, [F]),
}
if hasattr(mx, "masked_scatter") is False:
    def with_mask(a, m, v):
        a = mx.array(a)
        a[m] = v
        return a
    MORE["masked_scatter"] = (MORE["masked_scatter"][0], with_mask,
                              [N, B, np.arange(int(B.sum()), dtype=np.int32)])


@pytest.mark.parametrize("name", sorted(set(CASES) - {"logcumsumexp"}))
def test_functions(name, tmp_path):
    both_ways(tmp_path, name, lambda *a: CASES[name][0](O, *a), lambda *a: CASES[name][0](R, *a),
              inputs(name, "float32"))


@pytest.mark.parametrize("name", sorted(MORE))
def test_operations(name, tmp_path):
    f, real, xs = MORE[name]
    if name == "partition":  # the order within the parts is each library's own
        f = lambda a: mlxc.op("slice", mlxc.op("partition_axis", a, 1, 2), [0, 0, 1], [2, 3, 2], [1, 1, 1])
    both_ways(tmp_path, name, f, real, xs)


def test_what_mlx_cannot_write(tmp_path):
    """Ours alone; MLX reads the scan, and neither writes nor reads the rest."""
    path = tmp_path / "f.mlxfn"
    export_ours(path, lambda a: O.logcumsumexp(a, 1, False, True), [F])
    want = mx.logcumsumexp(to_mx(F), axis=1)
    close(Imported(path)(F), want, "here")
    close(list(mx.import_function(str(path))(to_mx(F))), want, "in MLX")
    export_ours(path, lambda a: mlxc.op("from_fp8", mlxc.op("to_fp8", a), "float32"), [F])
    close(Imported(path)(F), mx.from_fp8(mx.to_fp8(to_mx(F)), mx.float32), "fp8")
    export_ours(path, lambda a: mlxc.op("bitwise_invert", a), [N])
    close(Imported(path)(N), mx.bitwise_invert(to_mx(N)), "invert")
    export_ours(path, op("linalg_lu"), [P])
    close(Imported(path)(P), list(mx.linalg.lu(to_mx(P))), "lu")
    segments = np.array([[0, 1], [1, 3]], np.uint32)
    a, b = F[0, :, :3].copy(), F[1, :, 1:].copy()
    export_ours(path, lambda a, b: mlxc.op("segmented_mm", a, b, mlxc.array(segments)), [a, b])
    close(Imported(path)(a, b), mx.segmented_mm(to_mx(a), to_mx(b), to_mx(segments)), "segmented")
    with pytest.raises(mlxc.Error, match="Unable to serialize primitive Quantize"):
        export_ours(path, lambda w: mlxc.op("quantize", w, 32, 4, "mxfp4", None), [W])
    assert Imported(path)(a, b)  # the old file stays


# ---- shapeless ----------------------------------------------------------------------------------

M, MORE_ROWS = F[0], np.linspace(-1, 2, 40, dtype=np.float32).reshape(5, 8)
SHAPELESS = {
    "add one": (lambda a: O.add(a, O.const(1.0, "float32")), lambda a: a + 1),
    "sum": (lambda a: O.sum_axes(a, [1], False), lambda a: mx.sum(a, 1)),
    "mean": (lambda a: O.mean_axes(a, [0], True), lambda a: mx.mean(a, 0, keepdims=True)),
    "var": (lambda a: O.var_axes(a, [1], False, 0), lambda a: mx.var(a, 1)),
    "var ddof": (lambda a: O.var_axes(a, [1], False, 1), lambda a: mx.var(a, 1, ddof=1)),
    "std": (lambda a: O.std_axis(a, 1, False, 0), lambda a: mx.std(a, 1)),
    "argmax": (lambda a: mlxc.op("argmax", a, False), mx.argmax),
    "rms_norm": (lambda a: O.fast_rms_norm(a, None, 1e-5), lambda a: mx.fast.rms_norm(a, None, 1e-5)),
    "layer_norm": (lambda a: O.fast_layer_norm(a, None, None, 1e-5),
                   lambda a: mx.fast.layer_norm(a, None, None, 1e-5)),
    "zeros_like": (lambda a: mlxc.op("zeros_like", a), mx.zeros_like),
    "ones_like": (lambda a: O.add(a, mlxc.op("ones_like", a)), lambda a: a + mx.ones_like(a)),
    "softmax": (lambda a: O.softmax_axis(a, -1, False), lambda a: mx.softmax(a, -1)),
    "transpose": (lambda a: O.transpose(a), mx.transpose),
    "matmul": (lambda a: O.matmul(a, O.transpose(a)), lambda a: a @ a.T),
    "flatten": (lambda a: mlxc.op("flatten", a, 0, -1), mx.flatten),
    "reshape": (lambda a: O.reshape(a, [-1]), lambda a: mx.reshape(a, (-1,))),
    "expand": (lambda a: O.subtract(a, mlxc.op("expand_dims", O.sum_axes(a, [1], False), 1)),
               lambda a: a - mx.sum(a, 1)[:, None]),
    "concatenate": (lambda a: O.concatenate_axis([a, a], 1), lambda a: mx.concatenate([a, a], 1)),
    "stack": (lambda a: O.stack_axis([a, a], 1), lambda a: mx.stack([a, a], 1)),
    "sort": (lambda a: O.sort_axis(a, 0), lambda a: mx.sort(a, 0)),
    "argsort": (lambda a: mlxc.op("argsort_axis", a, 1), lambda a: mx.argsort(a, 1)),
    "where": (lambda a: O.where(O.greater(a, O.const(0.5, "float32")), a, O.const(0.0, "float32")),
              lambda a: mx.where(a > 0.5, a, 0.0)),
    "addmm": (lambda a: O.addmm(O.matmul(a, O.transpose(a)), a, O.transpose(a), 1.0, 0.5),
              lambda a: mx.addmm(a @ a.T, a, a.T, 1.0, 0.5)),
    "take_along": (lambda a: mlxc.op("take_along_axis", a, mlxc.op("argsort_axis", a, 1), 1),
                   lambda a: mx.take_along_axis(a, mx.argsort(a, 1), 1)),
    "nan_to_num": (lambda a: mlxc.op("nan_to_num", a, 0.0, None, None), mx.nan_to_num),
    "norm": (lambda a: O.sqrt(O.sum_axes(O.square(a), [0, 1], False)), mx.linalg.norm),
    "conv": (lambda a: mlxc.op("conv1d", mlxc.op("expand_dims", a, 2), O.const(np.ones((2, 3, 1)), "float32"),
                               1, 0, 1, 1),
             lambda a: mx.conv1d(mx.expand_dims(a, 2), mx.ones((2, 3, 1)))),
}


@pytest.mark.parametrize("name", sorted(SHAPELESS))
def test_shapeless(name, tmp_path):
    f, real = SHAPELESS[name]
    both_ways(tmp_path, name, f, real, [M], True, [[MORE_ROWS], [M]])
    one = M[:1]  # MLX itself falls over some of these
    close(Imported(tmp_path / "ours.mlxfn")(one), as_list(real(to_mx(one))), name)


def test_shapeless_refuses_what_mlx_refuses(tmp_path):
    for f in (lambda a: O.slice(a, [1, 0], [3, 4], [1, 1]), lambda a: mlxc.op("split", a, 2, 1)):
        export_ours(tmp_path / "f.mlxfn", f, [M], True)
        with pytest.raises(mlxc.Error, match="Slice|Split"):
            Imported(tmp_path / "f.mlxfn")(MORE_ROWS)


# ---- files of several traces, names --------------------------------------------------------------

def test_named_inputs(tmp_path):
    ours, theirs = tmp_path / "o.mlxfn", tmp_path / "t.mlxfn"
    mx.export_function(str(theirs), lambda a, *, y, b: (a + y) * b, to_mx(F), y=to_mx(G), b=to_mx(F))
    export_ours(ours, lambda a, y, b: O.multiply(O.add(a, y), b), [F], named={"y": G, "b": F})
    want = (F + G) * F
    for path in (ours, theirs):
        close(Imported(path)(F, y=G, b=F), mlxc.array(want), "here")
        close(list(mx.import_function(str(path))(to_mx(F), y=to_mx(G), b=to_mx(F))), mlxc.array(want), "MLX")
        for bad in (dict(y=G), dict(y=G, c=F), {}):
            with pytest.raises(mlxc.Error, match="No imported function found"):
                Imported(path)(F, **bad)


class Exporter:
    def __init__(self, path, f, shapeless=False):
        self.closure = Closure(lambda a: f(*a))
        self.handle = mlxc.function("mlx_function_exporter_new")(path_of(path), self.closure.handle, shapeless)
        assert self.handle.ctx

    def __call__(self, *xs):
        mlxc.op("function_exporter_apply", self.handle, list(xs))

    def close(self):
        assert mlxc.function("mlx_function_exporter_free")(self.handle) == 0
        self.closure.free()


def test_several_traces(tmp_path):
    ours, theirs = tmp_path / "o.mlxfn", tmp_path / "t.mlxfn"
    constant = np.arange(4, dtype=np.float32)
    held, real = mlxc.array(constant), to_mx(constant)
    mx.eval(real)
    e = Exporter(ours, lambda *a: O.add(a[0], held) if len(a) == 1 else [O.multiply(*a), held])
    e(F), e(F, G), e(F[0])
    with pytest.raises(mlxc.Error, match="twice with the same signature"):
        e(F)
    assert not ours.exists()
    e.close()
    with mx.exporter(str(theirs), lambda *a: a[0] + real if len(a) == 1 else (a[0] * a[1], real)) as x:
        x(to_mx(F)), x(to_mx(F), to_mx(G)), x(to_mx(F[0]))
    for path in (ours, theirs):
        f, g = Imported(path), mx.import_function(str(path))
        for xs, want in (([F], [F + constant]), ([F, G], [F * G, constant]), ([F[0]], [F[0] + constant])):
            close(f(*xs), [mlxc.array(w) for w in want], "here")
            close(list(g(*[to_mx(x) for x in xs])), [mlxc.array(w) for w in want], "MLX")
        with pytest.raises(mlxc.Error, match="Possible functions include"):
            f(F.astype(np.float16))
    assert abs(ours.stat().st_size - theirs.stat().st_size) < 1500  # the constant is there once


def test_an_exporter_survives_a_failure(tmp_path):
    fail = [False]

    def f(a):
        if fail[0]:
            raise ValueError("no")
        return O.exp(a)

    e = Exporter(tmp_path / "f.mlxfn", f)
    fail[0] = True
    with pytest.raises(mlxc.Error):
        e(F)
    fail[0] = False
    e(F)
    e.close()
    close(Imported(tmp_path / "f.mlxfn")(F), mx.exp(to_mx(F)), "after a failure")


def test_a_model(tmp_path):
    """Many layers, large constants, an imported function inside another, and its derivative."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(32, 32)).astype(np.float32) / 6 for _ in range(4)]

    def run(o, x):
        for w in weights:
            x = o.tanh(o.matmul(o.fast_rms_norm(x, None, 1e-5), o.const(w, "float32")))
        return x

    x = rng.normal(size=(3, 32)).astype(np.float32)
    ours, _ = both_ways(tmp_path, "model", lambda a: run(O, a), lambda a: run(R, a), [x])
    inner = Imported(ours)
    outer = tmp_path / "outer.mlxfn"
    export_ours(outer, lambda a: O.square(inner(a)[0]), [x])
    want = run(R, to_mx(x))
    close(Imported(outer)(x), mx.square(want), "nested")
    c = Closure(lambda a: O.sum_axes(inner(*a)[0], [0, 1], False))
    _, grads = mlxc.op("vjp", c.handle, [x], [np.float32(1)])
    c.free()
    close(grads, mx.grad(lambda a: mx.sum(run(R, a)))(to_mx(x)), "gradient")


def test_every_operation_is_tried():
    """What MLX's files name and we have is in some test above."""
    text = open(__file__, encoding="utf-8").read() + open(
        os.path.join(os.path.dirname(__file__), "test_transforms.py"), encoding="utf-8").read()
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "engine", "ops")
    with open(os.path.join(root, "prims.def"), encoding="utf-8") as f:
        prims = re.findall(r"^NX_PRIM\((\w+)\)", f.read(), re.M)
    with open(os.path.join(root, "elementwise.def"), encoding="utf-8") as f:
        prims += re.findall(r"^NX_ELEM[12]\((\w+)", f.read(), re.M)
    snake = lambda n: re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", n).lower().replace("arc_", "arc")
    known = {"AsType": "astype", "LogSumExp": "logsumexp", "ArcTan2": "arctan2", "BitwiseBinary": "bitwise_and",
             "Select": "where", "DivMod": "divmod", "Reduce": "sum_axes", "ArgReduce": "argmax",
             "Scan": "cumsum", "Gather": "take", "GatherAxis": "take_along", "ScatterAxis": "scatter_add_axis",
             "DynamicSlice": "slice_dynamic", "DynamicSliceUpdate": "slice_update_dynamic",
             "Convolution": "conv2d", "AddMM": "addmm", "GatherMM": "gather_mm", "GatherQMM": "gather_qmm",
             "SegmentedMM": "segmented_mm", "RMSNorm": "rms_norm", "RoPE": "fast_rope", "LogAddExp": "logaddexp",
             "ToFP8": "to_fp8", "FromFP8": "from_fp8", "Full": '"full"', "RandomBits": "random_uniform",
             "ArgSort": "argsort", "ArgPartition": "partition", "ErfInv": "erfinv", "Broadcast": "broadcast_to",
             "BroadcastAxes": "take_along", "NumberOfElements": "mean_axes", "Copy": "contiguous",
             "QuantizedMatmul": "quantized_matmul", "QRF": "linalg_qr", "SVD": "linalg_svd",
             "Inverse": "linalg_inv", "LUF": "linalg_lu"}
    skip = {"Placeholder", "CustomTransforms", "GgufMatmul", "GgufTake", "GgufRepack", "AffineRepack", "CachePack",
            "StateScan", "StepAttention",
            "Compiled", "AllReduce",
            "AllGather", "Send", "Recv", "ReduceScatter"}
    missing = [p for p in prims if p not in skip and known.get(p, snake(p)) not in text]
    assert not missing, missing


# ---- hostile files --------------------------------------------------------------------------------

def test_broken_files(tmp_path):
    path, bad = tmp_path / "f.mlxfn", tmp_path / "bad.mlxfn"
    mx.export_function(str(path), lambda a, i: mx.split(mx.take(a, i, 0) + mx.array(F[0]), 2, 2),
                       to_mx(F), to_mx(S))
    content = path.read_bytes()
    assert len(Imported(path)(F, S)) == 2
    for n in list(range(0, len(content), 7)) + [len(content) - 1]:
        bad.write_bytes(content[:n])
        with pytest.raises(mlxc.Error):
            Imported(bad)
    rng = np.random.default_rng(0)
    for i in range(600):
        changed = bytearray(content)
        for _ in range(1 + i % 3):
            changed[rng.integers(len(changed))] = rng.integers(256)
        bad.write_bytes(bytes(changed))
        try:
            mlxc.op("eval", Imported(bad)(F, S))
        except mlxc.Error:
            pass
    with pytest.raises(mlxc.Error):
        Imported(tmp_path / "absent.mlxfn")
    with pytest.raises(mlxc.Error):
        export_ours(tmp_path / "no" / "such" / "folder.mlxfn", lambda a: a, [F])
