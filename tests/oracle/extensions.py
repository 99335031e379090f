"""The table of nexus/engine.h in Python: engine.gguf_matmul(x, w, type) and so on."""
import ctypes as C

import mlxc

H = mlxc.structs["mlx_array"]
S = mlxc.structs["mlx_stream"]
V = mlxc.structs["mlx_vector_array"]
R = C.POINTER(H)
FIELDS = [
    ("isa", C.CFUNCTYPE(C.c_char_p)),
    ("threads", C.CFUNCTYPE(C.c_int)),
    ("set_threads", C.CFUNCTYPE(None, C.c_int)),
    ("gguf_supports", C.CFUNCTYPE(C.c_bool, C.c_int)),
    ("gguf_matmul", C.CFUNCTYPE(C.c_int, R, H, H, C.c_int, S)),
    ("gguf_take", C.CFUNCTYPE(C.c_int, R, H, C.c_int, H, C.c_int, S)),
    ("gguf_dequantize", C.CFUNCTYPE(C.c_int, R, H, C.c_int, C.c_int, S)),
    ("gguf_should_repack", C.CFUNCTYPE(C.c_bool, C.c_int, C.c_int64, C.c_int64)),
    ("gguf_repack", C.CFUNCTYPE(C.c_int, R, H, C.c_int, S)),
    ("attention", C.CFUNCTYPE(C.c_int, R, H, H, H, C.c_float, H, C.c_bool, C.c_int, H, S)),
    ("set_hard_memory_limit", C.CFUNCTYPE(C.c_size_t, C.c_size_t)),
    ("affine_type", C.CFUNCTYPE(C.c_int, C.c_int, C.c_int, C.c_int)),
    ("affine_repack", C.CFUNCTYPE(C.c_int, R, H, H, H, C.c_int, C.c_int, S)),
    ("cache_pack", C.CFUNCTYPE(C.c_int, R, H, C.c_int, S)),
    ("packed_attention", C.CFUNCTYPE(C.c_int, R, H, H, H, C.c_int, C.c_int, C.c_float, H, C.c_bool, C.c_int,
                                     H, S)),
    ("state_scan", C.CFUNCTYPE(C.c_int, R, R, H, H, H, H, H, H, H, S)),
    ("step_attention", C.CFUNCTYPE(C.c_int, R, C.POINTER(V), H, H, H, V, H, C.c_int, C.c_int, C.c_float, C.c_int, H, S)),
    ("gguf_products", C.CFUNCTYPE(C.c_int, C.POINTER(V), H, V, C.POINTER(C.c_int), S)),
]
REPACKED = 0x10000


class Table(C.Structure):
    _fields_ = [("version", C.c_int)] + FIELDS


mlxc.dll.nexus_engine_get.restype = C.POINTER(Table)
table = mlxc.dll.nexus_engine_get().contents


def call(name, *args):
    """An entry that fills *res: arrays may be numpy's; None is an empty handle."""
    keep = [mlxc.array(a) if a is not None and not isinstance(a, (int, float, str)) else a
            for a in args]
    types = dict(FIELDS)[name]._argtypes_[1:-1]
    given = [H() if a is None else a.handle if t is H else
             mlxc.DTYPES[a] if isinstance(a, str) else a for a, t in zip(keep, types)]
    res = H()
    mlxc.messages.clear()
    if getattr(table, name)(C.byref(res), *given, mlxc.Stream.get()):
        mlxc.failed(name)
    return mlxc.Array(res)
