"""libmlxc in the benchmarks: chains of its functions, prepared once and called with little more than
their own cost, through the binding of the tests (tests/oracle/mlxc.py; MLXC_LIB names the library)."""
import ctypes as C
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "oracle"))
import mlxc  # noqa: E402


class Result:
    """Stands for what an earlier step of a chain made."""

    def __init__(self, step):
        self.step = step


def chain(*steps):
    """Steps are (name, arguments...); Result(i) among them is what step i made. Returns run(), which
    calls them all, lets go of all but the last result, as a program does, evaluates it and frees it;
    run.value() gives it as a numpy array."""
    holders, calls, kept = [], [], []

    def handle(value):
        return Handle(holders[value.step]) if isinstance(value, Result) else value

    class Handle(mlxc.Array):
        def __init__(self, h):
            self.handle = h

        def __del__(self):
            pass

    for name, *args in steps:
        args = [[handle(v) for v in a] if isinstance(a, list) and a and isinstance(a[0], Result)
                else handle(a) for a in args]
        f, c_args, results, call = mlxc.prepare(name, *args)
        holders.append(results[0][1])
        calls.append((f, c_args))
        kept.append((args, call))
    evaluate, free = mlxc.function("mlx_array_eval"), mlxc.function("mlx_array_free")
    last = holders[-1]

    def work():
        mlxc.messages.clear()
        for f, c_args in calls:
            if f(*c_args):
                mlxc.failed(str(steps))
        for h in holders[:-1]:
            free(h)
            h.ctx = None
        if evaluate(last):
            mlxc.failed(str(steps))

    def release():
        free(last)
        last.ctx = None

    def run():
        work()
        release()

    def value():
        work()
        out = mlxc.Array(last).numpy()
        last.ctx = None
        return out

    run.value = value
    run.kept = kept
    return run


class Closure:
    """A Python function of lists of arrays as an mlx_closure; kept alive by its owner."""

    def __init__(self, fn):
        vector = mlxc.structs["mlx_vector_array"]

        def call(out, inputs):
            get, given = mlxc.function("mlx_vector_array_get"), []
            for i in range(mlxc.function("mlx_vector_array_size")(inputs)):
                h = mlxc.structs["mlx_array"]()
                get(C.byref(h), inputs, i)
                given.append(mlxc.Array(h))
            made = fn(given)
            handles = (mlxc.structs["mlx_array"] * len(made))(*[m.handle for m in made])
            return mlxc.function("mlx_vector_array_set_data")(out, handles, len(made))

        self.callback = C.CFUNCTYPE(C.c_int, C.POINTER(vector), vector)(call)
        self.handle = mlxc.function("mlx_closure_new_func")(C.cast(self.callback, C.c_void_p))


def compiled(fn, *arrays):
    """run() and run.value() of fn (of lists of arrays), compiled once."""
    closure, traced = Closure(fn), mlxc.structs["mlx_closure"]()
    if mlxc.function("mlx_compile")(C.byref(traced), closure.handle, False):
        mlxc.failed("compile")
    apply, evaluate = mlxc.function("mlx_closure_apply"), mlxc.function("mlx_eval")
    free, call = mlxc.function("mlx_vector_array_free"), mlxc.Call()
    given = call.vector(list(arrays))

    def work():
        out = mlxc.structs["mlx_vector_array"]()
        if apply(C.byref(out), traced, given) or evaluate(out):
            mlxc.failed("a compiled function")
        return out

    def run():
        free(work())

    def value():
        return mlxc.take_result(mlxc.functions["mlx_closure_apply"][1][0], work())[0].numpy()

    run.value, run.kept = value, (closure, call)
    return run


def scalar(v):
    h = mlxc.function("mlx_array_new_float")(C.c_float(v))
    return mlxc.Array(h)
