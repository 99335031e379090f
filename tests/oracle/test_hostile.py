"""Every operation called with arguments that make little sense: it says what is wrong, in one message
that begins with the operation in brackets, and leaves its result empty; or it works. Whatever it does,
the process goes on. NEXUS_HOSTILE=N makes N calls of each (the default is small); the arguments of a
call that ends the process are in hostile.last of the temporary folder."""
import ctypes as C
import os
import random
import re
import tempfile

import extensions
import mlxc
import numpy as np
import pytest

CALLS = int(os.environ.get("NEXUS_HOSTILE", "15"))
LAST = os.path.join(tempfile.gettempdir(), "hostile.last")
SHAPES = [(), (0,), (1,), (3,), (64,), (2, 3), (3, 2), (4, 4), (0, 3), (3, 0), (2, 3, 4), (2, 4, 4),
          (2, 1, 32, 64), (1, 1, 1, 1, 1, 1), (4, 64), (1, 8, 3, 3)]
INTS = [-2**31, -2**31 + 1, -100, -7, -3, -2, -1, 0, 1, 2, 3, 4, 5, 8, 31, 32, 33, 64, 2**30, 2**31 - 1]
FLOATS = [0.0, 1.0, -1.0, 0.5, 1e-5, 1e38, float("nan"), float("inf"), float("-inf")]
WORDS = ["", "constant", "edge", "causal", "array", "affine", "mxfp4", "mxfp8", "nvfp4", "fro", "nuc",
         "ij,jk->ik", "ii->i", "...i->...", "ij,", "->", "pigeon", "xy", "ij"]
OTHER = {"mlx_dtype": [*range(14), 99, -1], "bool": [False, True], "float": FLOATS,
         "double": FLOATS, "int": INTS, "size_t": [0, 1, 3, 2**31, 2**63],
         "int64_t": INTS + [-2**63, 2**63 - 1], "uint64_t": [0, 1, 2**64 - 1]}


def is_operation(name):
    returned, params = mlxc.functions[name]
    return (returned is C.c_int and len(params) > 1 and params[-1].base == "mlx_stream" and
            params[0].is_result and params[0].base in ("mlx_array", "mlx_vector_array") and
            not any("callback" == p.name or "closure" in p.base or "kernel" in p.base or
                    p.base.startswith("mlx_io") for p in params) and
            mlxc.has(name[4:]) and not name.startswith("mlx_load"))


NAMES = sorted(n[4:] for n in mlxc.functions if is_operation(n))


def some_array(r):
    shape, dtype = r.choice(SHAPES), r.choice(list(mlxc.DTYPES))
    kind = r.random()
    if kind < 0.05:
        return None
    n = int(np.prod(shape))
    values = np.arange(n) - n // 2 if kind < 0.8 else np.array([r.choice(INTS) for _ in range(n)])
    if "float" in dtype and kind > 0.9:
        values = np.array([r.choice(FLOATS) for _ in range(n)])
    with np.errstate(all="ignore"):
        return mlxc.array(values.reshape(shape).astype(mlxc.numpy_dtype(dtype)))


def some_list(r, of):
    if r.random() < 0.1:
        return [r.choice(of) for _ in range(40)]
    small = [x for x in of if -4 <= x <= 5] if r.random() < 0.7 else of
    return [r.choice(small) for _ in range(r.randrange(5))]


def some_argument(r, p):
    """What prepare() takes for a parameter."""
    if p.base == "mlx_array":
        return some_array(r)
    if p.base == "mlx_vector_array":
        return None if r.random() < 0.05 else [a for a in (some_array(r) for _ in range(r.randrange(4)))
                                               if a is not None]
    if p.base.startswith("mlx_optional_"):
        if r.random() < 0.4:
            return None
        kind = p.base[len("mlx_optional_"):]
        return r.choice(OTHER["mlx_dtype" if kind == "dtype" else kind])
    if p.base == "char":
        return None if r.random() < 0.1 else r.choice(WORDS)
    if p.base in mlxc.enums and p.base not in OTHER:
        return r.choice([0, 1, 2, 3, 99, -1])
    if p.base in OTHER and "*" not in p.text:
        return r.choice(OTHER[p.base])
    return mlxc.structs[p.base]() if p.base in mlxc.structs else None


def some_arguments(r, name):
    params, args, i = mlxc.functions["mlx_" + name][1], [], 0
    while i < len(params):
        p = params[i]
        counted = i + 1 < len(params) and params[i + 1].text == "size_t %s_num" % p.name
        if p.is_result and all(q.is_result for q in params[:i]):
            pass
        elif counted:
            args.append(some_list(r, OTHER.get(p.base, INTS)))
            i += 1
        elif p.base != "mlx_stream":
            args.append(some_argument(r, p))
        i += 1
    return args


def describe(args):
    return ", ".join("%s%s" % (a.dtype, a.shape) if isinstance(a, mlxc.Array) else
                     "[%s]" % describe(a) if isinstance(a, list) else repr(a) for a in args)


@pytest.fixture(autouse=True)
def limited():
    """Sizes that make no sense are to be refused, not had."""
    extensions.table.set_hard_memory_limit(1 << 28)
    yield
    extensions.table.set_hard_memory_limit(0)


def settle(results):
    """Evaluates what came out, where that is little work."""
    for p, holder in results:
        for a in [mlxc.take_result(p, holder)] if p.base == "mlx_array" else mlxc.take_result(p, holder):
            if a.handle.ctx and np.prod(a.shape, dtype=float) < 1e6:
                mlxc.messages.clear()
                status = mlxc.function("mlx_array_eval")(a.handle)
                assert status == (1 if mlxc.messages else 0) and len(mlxc.messages) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_hostile(name):
    r = random.Random(name)
    for _ in range(CALLS):
        args = some_arguments(r, name)
        text = "%s(%s)" % (name, describe(args))
        with open(LAST, "w") as f:
            f.write(text)
        f, c_args, results, call = mlxc.prepare(name, *args)
        mlxc.messages.clear()
        status, said = f(*c_args), list(mlxc.messages)
        call.free()
        if status == 0:
            assert not said, text
            settle(results)
            continue
        assert status == 1 and len(said) == 1, (text, status, said)
        assert re.match(r"\[[\w:. ]+\] .", said[0]), (text, said[0])
        assert all(not holder.ctx for _, holder in results), text
