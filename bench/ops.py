"""Some sixty operations on arrays of 1 M and 16 M elements: libmlxc beside MLX's CPU build and PyTorch's.

Entered through bench/peers.py ops. A case is a row: name, inputs (numpy, from the side of a square of
n elements), and the operation in MLX, in PyTorch and in ours. Where a library has its own layout
(convolutions), it gets its own.
"""
import math
import os
import sys

import numpy as np

from measure import alternate, geometric_mean, machine

rng = np.random.default_rng(1)


def normal(*shape):
    return rng.standard_normal(shape, np.float32)


def between(low, high, *shape):
    return rng.uniform(low, high, shape).astype(np.float32)


def square(s):
    return [normal(s, s)]


def positive(s):
    return [between(0.01, 10, s, s)]


def inside(s):
    return [between(-0.99, 0.99, s, s)]


def two(s):
    return [normal(s, s), normal(s, s)]


def bf16(s):
    import ml_dtypes
    return [normal(s, s).astype(ml_dtypes.bfloat16)]


def images(s):
    side = s // 8
    return [normal(1, side, side, 64) * 0.1, normal(64, 3, 3, 64) * 0.1]


def cases(mx, torch, o):
    """[(name, inputs of a side, MLX, PyTorch, ours)]; o has chain, Result and scalar."""
    F = torch.nn.functional
    R, num = o.Result, o.scalar
    rows = []

    def add(name, inputs, in_mlx, in_torch, *steps):
        rows.append((name, inputs, in_mlx, in_torch, steps))

    def unary(name, inputs, in_mlx, in_torch=None):
        add(name, inputs, in_mlx, in_torch or getattr(torch, name), lambda a: (name, a))

    # elementwise, one input
    unary("exp", square, mx.exp)
    unary("log", positive, mx.log)
    unary("log1p", positive, mx.log1p)
    unary("expm1", square, mx.expm1)
    unary("tanh", square, mx.tanh)
    unary("sigmoid", square, mx.sigmoid)
    unary("erf", square, mx.erf)
    unary("sin", square, mx.sin)
    unary("cos", square, mx.cos)
    unary("tan", square, mx.tan)
    unary("arctan", square, mx.arctan)
    unary("arcsin", inside, mx.arcsin)
    unary("sqrt", positive, mx.sqrt)
    unary("rsqrt", positive, mx.rsqrt)
    unary("square", square, mx.square)
    unary("abs", square, mx.abs)
    # a function of five operations, compiled where libraries compile
    half = num(0.5), num(math.sqrt(0.5)), num(1.0)

    def gelu(a):
        e = o.mlxc.op("erf", o.mlxc.op("multiply", a[0], half[1]))
        return [o.mlxc.op("multiply", o.mlxc.op("multiply", a[0], half[0]), o.mlxc.op("add", e, half[2]))]

    add("gelu", square, mx.compile(lambda x: x * 0.5 * (1 + mx.erf(x * math.sqrt(0.5)))), F.gelu, gelu)
    # two inputs
    add("add", two, mx.add, torch.add, lambda a, b: ("add", a, b))
    add("add a row", lambda s: [normal(s, s), normal(s)], mx.add, torch.add,
        lambda a, b: ("add", a, b))
    add("multiply a column", lambda s: [normal(s, s), normal(s, 1)], mx.multiply, torch.multiply,
        lambda a, b: ("multiply", a, b))
    add("multiply a number", square, lambda x: x * 1.7, lambda x: x * 1.7,
        lambda a: ("multiply", a, num(1.7)))
    add("divide", lambda s: [normal(s, s), between(1, 2, s, s)], mx.divide, torch.divide,
        lambda a, b: ("divide", a, b))
    add("maximum", two, mx.maximum, torch.maximum, lambda a, b: ("maximum", a, b))
    add("power", lambda s: [between(0.1, 4, s, s), between(-3, 3, s, s)], mx.power, torch.pow,
        lambda a, b: ("power", a, b))
    add("add bfloat16", lambda s: bf16(s) + bf16(s), mx.add, torch.add, lambda a, b: ("add", a, b))
    add("exp bfloat16", bf16, mx.exp, torch.exp, lambda a: ("exp", a))
    add("greater", two, mx.greater, torch.gt, lambda a, b: ("greater", a, b))
    add("where", lambda s: [normal(s, s) > 0, normal(s, s), normal(s, s)], mx.where, torch.where,
        lambda c, a, b: ("where", c, a, b))
    # casts
    add("float32 to bfloat16", square, lambda x: x.astype(mx.bfloat16),
        lambda x: x.to(torch.bfloat16), lambda a: ("astype", a, "bfloat16"))
    add("bfloat16 to float32", bf16, lambda x: x.astype(mx.float32), lambda x: x.to(torch.float32),
        lambda a: ("astype", a, "float32"))
    add("float32 to float16", square, lambda x: x.astype(mx.float16), lambda x: x.to(torch.float16),
        lambda a: ("astype", a, "float16"))
    add("float32 to int32", lambda s: [normal(s, s) * 100], lambda x: x.astype(mx.int32),
        lambda x: x.to(torch.int32), lambda a: ("astype", a, "int32"))
    # reductions and scans
    add("sum", square, mx.sum, torch.sum, lambda a: ("sum", a, False))
    add("sum axis 0", square, lambda x: mx.sum(x, 0), lambda x: torch.sum(x, 0),
        lambda a: ("sum_axis", a, 0, False))
    add("sum axis 1", square, lambda x: mx.sum(x, 1), lambda x: torch.sum(x, 1),
        lambda a: ("sum_axis", a, 1, False))
    add("max axis 0", square, lambda x: mx.max(x, 0), lambda x: torch.amax(x, 0),
        lambda a: ("max_axis", a, 0, False))
    add("max axis 1", square, lambda x: mx.max(x, 1), lambda x: torch.amax(x, 1),
        lambda a: ("max_axis", a, 1, False))
    add("variance axis 1", square, lambda x: mx.var(x, 1), lambda x: torch.var(x, 1, correction=0),
        lambda a: ("var_axis", a, 1, False, 0))
    add("argmax axis 0", square, lambda x: mx.argmax(x, 0), lambda x: torch.argmax(x, 0),
        lambda a: ("argmax_axis", a, 0, False))
    add("argmax axis 1", square, lambda x: mx.argmax(x, 1), lambda x: torch.argmax(x, 1),
        lambda a: ("argmax_axis", a, 1, False))
    add("cumsum axis 0", square, lambda x: mx.cumsum(x, 0), lambda x: torch.cumsum(x, 0),
        lambda a: ("cumsum", a, 0, False, True))
    add("cumsum axis 1", square, lambda x: mx.cumsum(x, 1), lambda x: torch.cumsum(x, 1),
        lambda a: ("cumsum", a, 1, False, True))
    # of a model
    add("softmax", square, lambda x: mx.softmax(x, -1), lambda x: torch.softmax(x, -1),
        lambda a: ("softmax_axis", a, -1, False))
    add("logsumexp", square, lambda x: mx.logsumexp(x, -1), lambda x: torch.logsumexp(x, -1),
        lambda a: ("logsumexp_axis", a, -1, False))
    add("layer norm", lambda s: [normal(s, s), normal(s), normal(s)],
        lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
        lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b, 1e-5),
        lambda x, w, b: ("fast_layer_norm", x, w, b, 1e-5))
    add("rms norm", lambda s: [normal(s, s), normal(s)], lambda x, w: mx.fast.rms_norm(x, w, 1e-5),
        lambda x, w: F.rms_norm(x, (x.shape[-1],), w, 1e-5),
        lambda x, w: ("fast_rms_norm", x, w, 1e-5))
    tables = {}

    def torch_rope(x):
        """As models in PyTorch have it: tables made once, halves turned."""
        t, d = x.shape[-2:]
        if t not in tables:
            angle = torch.outer(torch.arange(t), 10000.0 ** (-torch.arange(0, d, 2) / d))
            angle = torch.cat([angle, angle], -1)
            tables[t] = angle.cos(), angle.sin()
        c, s = tables[t]
        return x * c + torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1) * s

    add("rope", lambda s: [normal(1, 16, s * s // 1024, 64)],
        lambda x: mx.fast.rope(x, 64, traditional=False, base=10000.0, scale=1.0, offset=0), torch_rope,
        lambda x: ("fast_rope", x, 64, False, 10000.0, 1.0, 0, None))
    # order
    add("sort", square, lambda x: mx.sort(x, -1), lambda x: torch.sort(x, -1)[0],
        lambda a: ("sort_axis", a, -1))
    add("argsort", square, lambda x: mx.argsort(x, -1), lambda x: torch.argsort(x, -1),
        lambda a: ("argsort_axis", a, -1))
    add("top 8", square, lambda x: mx.topk(x, 8, -1), lambda x: torch.topk(x, 8, -1, sorted=False)[0],
        lambda a: ("topk_axis", a, 8, -1))
    # moves
    add("take rows", lambda s: [normal(4 * s, s // 4), rng.integers(0, 4 * s, 4 * s, np.int32)],
        lambda a, i: mx.take(a, i, 0), lambda a, i: torch.index_select(a, 0, i),
        lambda a, i: ("take_axis", a, i, 0))
    add("take along axis", lambda s: [normal(s, s), rng.integers(0, s, (s, s), np.int64)],
        lambda a, i: mx.take_along_axis(a, i, -1), lambda a, i: torch.gather(a, -1, i),
        lambda a, i: ("take_along_axis", a, i, -1))
    add("add at indices", lambda s: [normal(s, s), rng.integers(0, s, s, np.int32), normal(s, s)],
        lambda a, i, v: a.at[i].add(v), lambda a, i, v: torch.index_add(a, 0, i, v),
        lambda a, i, v: ("expand_dims", v, 1), lambda a, i, v: ("scatter_add", a, [i], R(0), [0]))
    add("concatenate", two, lambda a, b: mx.concatenate([a, b], 1), lambda a, b: torch.cat([a, b], 1),
        lambda a, b: ("concatenate_axis", [a, b], 1))
    add("transposed copy", square, lambda x: mx.contiguous(x.T), lambda x: x.T.contiguous(),
        lambda a: ("transpose", a), lambda a: ("contiguous", R(0), False))
    add("heads to front", lambda s: [normal(1, s * s // 1024, 16, 64)],
        lambda x: mx.contiguous(x.transpose(0, 2, 1, 3)), lambda x: x.transpose(1, 2).contiguous(),
        lambda a: ("transpose_axes", a, [0, 2, 1, 3]), lambda a: ("contiguous", R(0), False))
    add("pad", square, lambda x: mx.pad(x, 2), lambda x: F.pad(x, (2, 2, 2, 2)),
        lambda a: ("pad", a, [0, 1], [2, 2], [2, 2], num(0.0), "constant"))
    # products
    add("matmul of 64 x 64", lambda s: [normal(s * s // 4096, 64, 64), normal(s * s // 4096, 64, 64)],
        mx.matmul, torch.matmul, lambda a, b: ("matmul", a, b))
    add("conv1d of 3, 64 to 64", lambda s: [normal(4, s * s // 256, 64) * 0.1,
                                            normal(64, 3, 64) * 0.1],
        lambda x, w: mx.conv1d(x, w, padding=1), lambda x, w: F.conv1d(x, w, padding=1),
        lambda x, w: ("conv1d", x, w, 1, 1, 1, 1))
    add("conv2d of 3 x 3, 64 to 64", images, lambda x, w: mx.conv2d(x, w, padding=1),
        lambda x, w: F.conv2d(x, w, padding=1), lambda x, w: ("conv2d", x, w, 1, 1, 1, 1, 1, 1, 1))
    add("depthwise conv2d of 3 x 3", lambda s: [normal(1, s // 8, s // 8, 64), normal(64, 3, 3, 1)],
        lambda x, w: mx.conv2d(x, w, padding=1, groups=64), lambda x, w: F.conv2d(x, w, padding=1, groups=64),
        lambda x, w: ("conv2d", x, w, 1, 1, 1, 1, 1, 1, 64))
    add("conv3d of 3, 16 to 16, turned, by 2", lambda s: [normal(1, s // 64, 16, 16, 16), normal(16, 3, 3, 3, 16)],
        lambda x, w: mx.conv_transpose3d(x, w, stride=2, padding=1),
        lambda x, w: F.conv_transpose3d(x, w.transpose(0, 1), stride=2, padding=1),
        lambda x, w: ("conv_transpose3d", x, w, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1))
    add("fft", square, lambda x: mx.fft.rfft(x), lambda x: torch.fft.rfft(x),
        lambda a: ("fft_rfft", a, a.shape[-1], -1, 0))
    add("random uniform", square, lambda x: mx.random.uniform(shape=x.shape), torch.rand_like,
        lambda a: ("random_uniform", num(0.0), num(1.0), list(a.shape), "float32", None))
    return rows


def torch_layout(name, inputs):
    """Convolutions have channels first there."""
    if "conv" in name:
        return [np.ascontiguousarray(np.moveaxis(a, -1, 1)) for a in inputs]
    return inputs


def to_torch(torch, a):
    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def agrees(name, ours, theirs):
    if name.startswith("random") or name.startswith("top"):
        return True
    theirs = theirs.float() if theirs.dtype.is_floating_point else theirs
    theirs = theirs.resolve_conj().numpy()
    if "conv" in name:
        theirs = np.moveaxis(theirs, 1, -1)
    if ours.dtype.name == "bfloat16":
        return np.allclose(ours.astype(np.float32), theirs, rtol=1e-2, atol=1e-2)
    return np.allclose(ours.reshape(theirs.shape), theirs, rtol=2e-3, atol=2e-3)


def time_case(mx, torch, o, case, side, args):
    """{"ours", "mlx", "torch"}: seconds; who is absent is not there."""
    name, make, in_mlx, in_torch, steps = case
    inputs = make(side)
    xs = [mx.array(a) if a.dtype.name != "bfloat16" else
          mx.array(a.astype(np.float32)).astype(mx.bfloat16) for a in inputs]
    ts = [to_torch(torch, a) for a in torch_layout(name, inputs)]
    peers = {}
    ours = [o.mlxc.array(a) for a in inputs]
    try:
        run = (o.compiled(*steps, *ours) if name == "gelu" else
               o.chain(*[step(*ours) for step in steps]))
        if side <= 1024 and not agrees(name, run.value(), in_torch(*ts)):
            print(f"{name}: our result is another than PyTorch's", file=sys.stderr)
        peers["ours"] = run
    except (o.mlxc.Missing, o.mlxc.Error) as e:
        print(f"{name}: {e}", file=sys.stderr)
    if "torch" in args.peers:
        peers["torch"] = lambda: in_torch(*ts)
    if "mlx" in args.peers:
        peers["mlx"] = lambda: mx.eval(in_mlx(*xs))
    with torch.no_grad():
        return alternate(peers, args.threads, args.budget, args.rounds)


def one_size(mx, torch, o, side, args):
    print(f"\n{side * side >> 20} M elements{'':22}{'ours':>10}{'PyTorch':>10}{'MLX':>10}"
          f"{'PyTorch/ours':>14}{'MLX/ours':>10}")
    ratios = {"torch": {}, "mlx": {}}
    for case in cases(mx, torch, o):
        if args.only and not any(w in case[0] for w in args.only):
            continue
        t = time_case(mx, torch, o, case, side, args)
        line = f"{case[0]:34}"
        for peer in ("ours", "torch", "mlx"):
            line += f"{t[peer] * 1e3:8.3f}ms" if peer in t else f"{'absent':>10}"
        for peer in ("torch", "mlx"):
            r = t[peer] / t["ours"] if peer in t and "ours" in t else None
            if r:
                ratios[peer][case[0]] = r
            width = 14 if peer == "torch" else 10
            line += f"{r:{width - 1}.2f}x" if r else " " * width
        print(line, flush=True)
    return ratios


def summary(all_ratios):
    print("\nours against", end="")
    sizes = list(all_ratios)
    print("".join(f"{side * side >> 20:>9} M" for side in sizes))
    for peer, label in (("torch", "PyTorch CPU"), ("mlx", "MLX CPU")):
        means = [geometric_mean(all_ratios[s][peer].values()) for s in sizes]
        print(f"{label + ', geometric mean':40}" + "".join(f"{m:10.2f}x" for m in means))
        lows = [min(all_ratios[s][peer].items(), key=lambda x: x[1], default=("none", 0)) for s in sizes]
        print(f"{label + ', least':40}" + "".join(f"{v:10.2f}x ({k})" for k, v in lows))
        under = [sorted((round(v, 2), k) for k, v in all_ratios[s][peer].items() if v < 0.5)
                 for s in sizes]
        for s, u in zip(sizes, under):
            print(f"  under 0.5x at {s * s >> 20} M: {u or 'none'}")


def main(args):
    os.environ["NEXUS_THREADS"] = str(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("MLXC_LIB", os.path.join(args.build, "libmlxc.so"))
    import mlx.core as mx
    import torch
    import ours as o
    mx.set_default_device(mx.cpu)
    torch.set_num_threads(args.threads)
    machine(args.build, args.threads)
    summary({side: one_size(mx, torch, o, side, args) for side in args.sides})
