"""libmlxc in Python, for tests: a small ctypes binding that reads our public headers.

    import mlxc
    a = mlxc.array(numpy_array)             # any dtype; bfloat16 through ml_dtypes
    b = mlxc.op("sum_axis", a, 0, False)    # mlx_sum_axis(&res, a, 0, false, stream)
    b.numpy()                               # evaluates, and copies whatever the strides are

Arguments follow the C prototype without results and without the stream at the end (the default CPU
stream is used). Lists stand for pointer and count, lists of arrays for vectors, dicts for maps, None
for an empty handle, a NULL pointer or an optional without a value, names for dtypes. An error raises
Error.
"""
import ctypes as C
import glob
import os
import re

import ml_dtypes
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Error(Exception):
    """What the library told its error handler."""


class Missing(Exception):
    """The library does not export a function of its headers yet."""


# ---- headers -> ctypes -----------------------------------------------------------------------

BASE = {
    "void": None, "int": C.c_int, "bool": C.c_bool, "float": C.c_float, "double": C.c_double,
    "size_t": C.c_size_t, "int8_t": C.c_int8, "int16_t": C.c_int16, "int32_t": C.c_int32,
    "int64_t": C.c_int64, "uint8_t": C.c_uint8, "uint16_t": C.c_uint16, "uint32_t": C.c_uint32,
    "uint64_t": C.c_uint64, "uintptr_t": C.c_size_t, "char": C.c_char, "FILE": C.c_char,
    "float16_t": C.c_uint16, "bfloat16_t": C.c_uint16, "mlx_complex64_t": C.c_float * 2,
}
structs, enums, constants, functions = {}, set(), {}, {}


def source():
    text = ""
    for path in sorted(glob.glob(os.path.join(ROOT, "include", "mlx", "c", "*.h"))):
        with open(path, encoding="utf-8") as f:
            text += f.read()
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    return re.sub(r"\s+", " ", text.replace('extern "C" {', ""))


def split(params):
    """Splits at commas outside parentheses."""
    return [p.strip() for p in re.findall(r"(?:[^,(]|\([^)]*\))+", params)]


def ctype(text):
    """The ctypes type of a declaration's type, with or without a name."""
    text = text.replace("const ", " ").strip()
    if "(*" in text:
        return C.c_void_p
    stars = text.count("*")
    base = text.replace("*", " ").split()[0]
    t = structs.get(base) or (C.c_int if base in enums else BASE.get(base, C.c_void_p))
    if base == "char" and stars:
        t, stars = C.c_char_p, stars - 1
    if t is None:
        t, stars = (C.c_void_p, stars - 1) if stars else (None, 0)
    for _ in range(stars):
        t = C.POINTER(t)
    return t


class Parameter:
    def __init__(self, text):
        self.text, self.type = text, ctype(text)
        self.name = re.search(r"(\w+)$", text).group(1) if "(*" not in text else "callback"
        self.base = text.replace("const ", "").replace("*", " ").split()[0]
        self.is_result = bool(re.match(r"mlx_\w+ \*", text))


def parse():
    text = source()
    for name, body in re.findall(r"typedef enum \w+ \{([^}]*)\} (\w+);", text):
        name, body = body, name
        enums.add(name)
        for key, value in re.findall(r"(\w+) = (\d+)", body):
            constants[key] = int(value)
    bodies = re.findall(r"typedef struct \w+ \{([^}]*)\} (\w+);", text)
    for _, name in bodies:
        structs[name] = type(name, (C.Structure,), {})
    for body, name in bodies:
        fields = []
        for field in filter(None, (f.strip() for f in body.split(";"))):
            inner = re.search(r"\(\*(\w+)\)", field)
            fields.append((inner.group(1) if inner else re.search(r"(\w+)$", field).group(1),
                           ctype(field)))
        structs[name]._fields_ = fields
    prototype = re.compile(r"((?:const )?\w+ \*?)(_?mlx_\w+)\(((?:[^()]|\([^()]*\))*)\);")
    for returned, name, params in prototype.findall(text):
        params = [] if params.strip() == "void" else split(params)
        functions[name] = (ctype(returned), [Parameter(p) for p in params if p != "..."])


parse()
dll = C.CDLL(os.environ.get("MLXC_LIB") or os.path.join(ROOT, "build", "libmlxc.so"))


def has(name):
    return hasattr(dll, "mlx_" + name)


def function(name):
    """The C function itself, typed; name with its prefix."""
    try:
        f = getattr(dll, name)
    except AttributeError:
        raise Missing(name) from None
    f.restype, f.argtypes = functions[name][0], [p.type for p in functions[name][1]]
    return f


# ---- errors ----------------------------------------------------------------------------------

messages = []
HANDLER = C.CFUNCTYPE(None, C.c_char_p, C.c_void_p)


@HANDLER
def on_error(message, data):
    messages.append(message.decode("utf-8", "replace"))


def failed(what):
    taken = "; ".join(messages) or what + " failed without a message"
    messages.clear()
    raise Error(taken)


function("mlx_set_error_handler")(C.cast(on_error, C.c_void_p), None, None)

# ---- arrays ----------------------------------------------------------------------------------

NAMES = {v: k[4:].lower() for k, v in constants.items() if k in (
    "MLX_BOOL MLX_UINT8 MLX_UINT16 MLX_UINT32 MLX_UINT64 MLX_INT8 MLX_INT16 MLX_INT32 MLX_INT64 "
    "MLX_FLOAT16 MLX_FLOAT32 MLX_FLOAT64 MLX_BFLOAT16 MLX_COMPLEX64").split()}
DTYPES = {name: value for value, name in NAMES.items()}


def numpy_dtype(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


class Array:
    """Owns one mlx_array handle."""

    def __init__(self, handle):
        self.handle = handle

    def __del__(self):
        if self.handle.ctx:
            dll.mlx_array_free(self.handle)

    @property
    def dtype(self):
        return NAMES[function("mlx_array_dtype")(self.handle)]

    @property
    def shape(self):
        n = function("mlx_array_ndim")(self.handle)
        return tuple(function("mlx_array_shape")(self.handle)[:n])

    @property
    def strides(self):
        n = function("mlx_array_ndim")(self.handle)
        return tuple(C.c_int64(s).value for s in function("mlx_array_strides")(self.handle)[:n])

    def eval(self):
        if function("mlx_array_eval")(self.handle):
            failed("mlx_array_eval")
        return self

    def numpy(self):
        self.eval()
        t = numpy_dtype(self.dtype)
        shape, strides = self.shape, self.strides
        if 0 in shape:
            return np.zeros(shape, t)
        reader = "uint16" if self.dtype in ("float16", "bfloat16") else self.dtype
        at = function("mlx_array_data_" + reader)(self.handle)
        low = sum(min(0, s * (n - 1)) for s, n in zip(strides, shape))
        high = sum(max(0, s * (n - 1)) for s, n in zip(strides, shape))
        address = C.cast(at, C.c_void_p).value + low * t.itemsize
        memory = (C.c_char * ((high - low + 1) * t.itemsize)).from_address(address)
        flat = np.frombuffer(memory, t)
        view = np.lib.stride_tricks.as_strided(
            flat[-low:], shape, [s * t.itemsize for s in strides])
        return view.copy()

    def __str__(self):
        return op("array_tostring", self)


def array(value, dtype=None):
    """A contiguous array; dtype by name converts before."""
    if isinstance(value, Array):
        return value
    value = np.array(value, numpy_dtype(dtype) if dtype else None, order="C")
    if dtype is None and value.dtype == np.float64 and not isinstance(value, np.ndarray):
        value = value.astype(np.float32)
    shape = (C.c_int * max(1, value.ndim))(*value.shape)
    made = function("mlx_array_new_data")(
        value.ctypes.data_as(C.c_void_p), shape, value.ndim, DTYPES[value.dtype.name])
    if not made.ctx:
        failed("mlx_array_new_data")
    return Array(made)


class Stream:
    """The default CPU stream; that of the pretended GPU where there is one."""
    handle = None

    @classmethod
    def get(cls):
        if cls.handle is None:
            kind = "gpu" if os.environ.get("NEXUS_PRETEND_GPU") else "cpu"
            cls.handle = function(f"mlx_default_{kind}_stream_new")()
        return cls.handle


# ---- calls -----------------------------------------------------------------------------------

POINTED = {"int": C.c_int, "int64_t": C.c_int64, "uint64_t": C.c_uint64, "size_t": C.c_size_t}


class Call:
    """Converts one call's arguments; keeps what they point to alive and frees temporaries."""

    def __init__(self):
        self.kept, self.frees = [], []

    def array(self, value):
        if value is None:
            return structs["mlx_array"]()
        made = array(value)
        self.kept.append(made)
        return made.handle

    def vector(self, values):
        if values is None:
            return structs["mlx_vector_array"]()
        handles = [self.array(v) for v in values]
        made = function("mlx_vector_array_new_data")(
            (structs["mlx_array"] * max(1, len(handles)))(*handles), len(handles))
        self.frees.append((dll.mlx_vector_array_free, made))
        return made

    def map(self, kind, values):
        made = function(kind + "_new")()
        self.frees.append((function(kind + "_free"), made))
        for key, value in values.items():
            value = self.array(value) if kind.endswith("array") else value.encode()
            function(kind + "_insert")(made, key.encode(), value)
        return made

    def argument(self, p, value):
        if p.base == "mlx_array":
            return self.array(value)
        if p.base == "mlx_vector_array":
            return self.vector(value)
        if p.base.startswith("mlx_map_"):
            return self.map(p.base, value)
        if p.base == "mlx_dtype":
            return DTYPES[value] if isinstance(value, str) else value
        if p.base.startswith("mlx_optional_"):
            if value is None:
                return structs[p.base]()
            if p.base == "mlx_optional_dtype" and isinstance(value, str):
                value = DTYPES[value]
            return structs[p.base](value, True)
        if p.base == "char":
            return value.encode() if isinstance(value, str) else value
        return value

    def free(self):
        for free, made in self.frees:
            free(made)


def take_map(kind, holder):
    out, it = {}, function(kind + "_iterator_new")(holder)
    step = function(kind + "_iterator_next")
    while True:
        key = C.c_char_p()
        value = structs["mlx_array"]() if kind.endswith("array") else C.c_char_p()
        if step(C.byref(key), C.byref(value), it):
            break
        out[key.value.decode()] = (Array(value) if kind.endswith("array")
                                   else value.value.decode())
    function(kind + "_iterator_free")(it)
    function(kind + "_free")(holder)
    return out


def take_result(p, holder):
    if p.base == "mlx_array":
        return Array(holder)
    if p.base == "mlx_string":
        text = function("mlx_string_data")(holder).decode()
        function("mlx_string_free")(holder)
        return text
    if p.base.startswith("mlx_map_"):
        return take_map(p.base, holder)
    if p.base == "mlx_vector_array":
        out, get = [], function("mlx_vector_array_get")
        for i in range(function("mlx_vector_array_size")(holder)):
            h = structs["mlx_array"]()
            get(C.byref(h), holder, i)
            out.append(Array(h))
        function("mlx_vector_array_free")(holder)
        return out
    return holder


def empty_result(p):
    """Maps are made beforehand: their functions fill them in place."""
    return function(p.base + "_new")() if p.base.startswith("mlx_map_") else structs[p.base]()


def prepare(name, *args):
    """The function mlx_<name>, its ctypes arguments, its results [(parameter, holder)], and what
    keeps the arguments alive: what a program that measures calls again and again."""
    f, params = function("mlx_" + name), functions["mlx_" + name][1]
    call, given, c_args, results = Call(), list(args), [], []
    i = 0
    while i < len(params):
        p = params[i]
        counted = i + 1 < len(params) and params[i + 1].text == "size_t %s_num" % p.name
        if p.is_result and all(q.is_result for q in params[:i]):
            results.append((p, empty_result(p)))
            c_args.append(C.byref(results[-1][1]))
        elif p.base == "mlx_stream" and not given:
            c_args.append(Stream.get())
        elif counted:
            values = given.pop(0)
            t = POINTED[p.base]
            c_args += [None, 0] if values is None else [
                (t * max(1, len(values)))(*values), len(values)]
            i += 1
        else:
            c_args.append(call.argument(p, given.pop(0)))
        i += 1
    if given:
        raise TypeError("mlx_%s: %d arguments too many" % (name, len(given)))
    return f, c_args, results, call


def op(name, *args):
    """Calls mlx_<name>; returns its result, or a tuple of them."""
    f, c_args, results, call = prepare(name, *args)
    messages.clear()
    status = f(*c_args)
    call.free()
    if status:
        failed("mlx_" + name)
    out = [take_result(p, holder) for p, holder in results]
    return out[0] if len(out) == 1 else tuple(out)
