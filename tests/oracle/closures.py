"""Python functions as closures of libmlxc, and the transforms of them."""
import ctypes as C

import mlxc

VECTOR, FLAT = mlxc.structs["mlx_vector_array"], C.c_void_p
FUNCTION = C.CFUNCTYPE(C.c_int, C.POINTER(VECTOR), VECTOR, FLAT)
CUSTOM = C.CFUNCTYPE(C.c_int, C.POINTER(VECTOR), VECTOR, VECTOR, VECTOR, FLAT)
DROP = C.CFUNCTYPE(None, FLAT)


def arrays_of(vector):
    out = []
    for i in range(mlxc.function("mlx_vector_array_size")(vector)):
        h = mlxc.structs["mlx_array"]()
        mlxc.function("mlx_vector_array_get")(C.byref(h), vector, i)
        out.append(mlxc.Array(h))
    return out


def as_list(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def fill(res, arrays):
    handles = (mlxc.structs["mlx_array"] * max(1, len(arrays)))(*[a.handle for a in arrays])
    return mlxc.function("mlx_vector_array_set_data")(res, handles, len(arrays))


class Closure:
    """A Python function as a closure of the library; counts calls and how often it was dropped."""

    def __init__(self, f, kind="closure"):
        self.calls = self.dropped = 0
        self.error = None
        callback = FUNCTION if kind == "closure" else CUSTOM

        def call(res, *rest):
            self.calls += 1
            try:
                return fill(res, as_list(f(*[arrays_of(v) for v in rest[:-1]])))
            except Exception as e:  # pylint: disable=broad-except
                self.error = e
                return 1

        def drop(_):
            self.dropped += 1

        self.kept = callback(call), DROP(drop)
        new = mlxc.function("mlx_%s_new_func_payload" % kind)
        self.kind = kind
        self.handle = new(C.cast(self.kept[0], FLAT), None, C.cast(self.kept[1], FLAT))

    def free(self):
        mlxc.function("mlx_%s_free" % self.kind)(self.handle)


def closure(f):
    return Closure(lambda xs: f(*xs))


def apply(handle, xs):
    return mlxc.op("closure_apply", handle, xs)


def vjp(f, xs, cotangents):
    c = closure(f)
    values, grads = mlxc.op("vjp", c.handle, xs, cotangents)
    c.free()
    assert c.dropped == 1
    return values, grads


def jvp(f, xs, tangents):
    c = closure(f)
    values, moved = mlxc.op("jvp", c.handle, xs, tangents)
    c.free()
    return values, moved


def vmap(f, xs, axes, out_axis=0):
    c = closure(f)
    s_in, s_out = mlxc.op("detail_vmap_trace", c.handle, xs, axes)
    c.free()
    return mlxc.op("detail_vmap_replace", xs, s_in, s_out, axes, [out_axis] * len(s_out))
