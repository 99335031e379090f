"""A training step of a 4-layer transformer (forward, loss, gradients, SGD): libmlxc beside PyTorch's
eager CPU build and MLX's CPU build; and the gradients of a small MLP. Entered through bench/peers.py
train. Ours and MLX trace the step once (compile), as programs for them do."""
import ctypes as C
import os

import numpy as np

from measure import alternate, machine

LAYERS, WIDTH, HEADS, VOCABULARY, BATCH, LENGTH = 4, 256, 4, 2048, 8, 128
RATE = 0.01


def weights(rng):
    """Name and initial value; the order is that of the step's arguments."""
    w = {"embed": rng.normal(0, 0.02, (VOCABULARY, WIDTH)), "head": rng.normal(0, 0.02, (WIDTH, VOCABULARY))}
    for i in range(LAYERS):
        for name, shape in (("q", (WIDTH, WIDTH)), ("k", (WIDTH, WIDTH)), ("v", (WIDTH, WIDTH)),
                            ("o", (WIDTH, WIDTH)), ("up", (WIDTH, 4 * WIDTH)), ("down", (4 * WIDTH, WIDTH))):
            w[f"{i}.{name}"] = rng.normal(0, shape[0] ** -0.5, shape)
        for name in ("norm1", "norm2"):
            w[f"{i}.{name}"] = np.ones(WIDTH)
            w[f"{i}.{name}.bias"] = np.zeros(WIDTH)
    return {k: v.astype(np.float32) for k, v in w.items()}


def data(rng):
    return (rng.integers(0, VOCABULARY, (BATCH, LENGTH)).astype(np.int32),
            rng.integers(0, VOCABULARY, (BATCH, LENGTH)).astype(np.int32))


# ---- the same network in three libraries ---------------------------------------------------------


def transformer(lib, w, tokens, targets):
    """Mean cross entropy; lib has the operations that differ by name."""
    x = lib.take(w["embed"], tokens)
    for i in range(LAYERS):
        h = lib.norm(x, w[f"{i}.norm1"], w[f"{i}.norm1.bias"])
        q, k, v = (lib.heads(lib.matmul(h, w[f"{i}.{n}"])) for n in "qkv")
        a = lib.matmul(lib.join(lib.attention(q, k, v)), w[f"{i}.o"])
        x = lib.add(x, a)
        h = lib.norm(x, w[f"{i}.norm2"], w[f"{i}.norm2.bias"])
        h = lib.matmul(lib.gelu(lib.matmul(h, w[f"{i}.up"])), w[f"{i}.down"])
        x = lib.add(x, h)
    return lib.loss(lib.matmul(x, w["head"]), targets)


def mlp(lib, w, x, y):
    h = lib.gelu(lib.matmul(x, w["0.up"]))
    e = lib.add(lib.matmul(h, w["0.down"]), lib.negative(y))
    return lib.mean_square(e)


class InTorch:
    def __init__(self, torch):
        F = torch.nn.functional
        self.take = lambda e, t: F.embedding(t, e)
        self.norm = lambda x, w, b: F.layer_norm(x, (WIDTH,), w, b, 1e-5)
        self.matmul, self.add, self.negative = torch.matmul, torch.add, torch.neg
        self.heads = lambda x: x.view(BATCH, LENGTH, HEADS, -1).transpose(1, 2)
        self.join = lambda x: x.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH)
        self.attention = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
        self.gelu = F.gelu
        self.loss = lambda x, t: F.cross_entropy(x.view(-1, VOCABULARY), t.reshape(-1))
        self.mean_square = lambda e: (e * e).mean()


class InMlx:
    def __init__(self, mx):
        self.take = lambda e, t: mx.take(e, t, 0)
        self.norm = lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5)
        self.matmul, self.add, self.negative = mx.matmul, mx.add, mx.negative
        self.heads = lambda x: mx.transpose(mx.reshape(x, (BATCH, LENGTH, HEADS, -1)), (0, 2, 1, 3))
        self.join = lambda x: mx.reshape(mx.transpose(x, (0, 2, 1, 3)), (BATCH, LENGTH, WIDTH))
        self.attention = lambda q, k, v: mx.fast.scaled_dot_product_attention(
            q, k, v, scale=(WIDTH // HEADS) ** -0.5, mask="causal")
        self.gelu = lambda x: x * 0.5 * (1 + mx.erf(x * 0.5 ** 0.5))
        self.loss = lambda x, t: mx.mean(
            mx.logsumexp(x, -1) - mx.squeeze(mx.take_along_axis(x, mx.expand_dims(t, -1), -1), -1))
        self.mean_square = lambda e: mx.mean(e * e)


class InOurs:
    def __init__(self, o):
        op, num = o.mlxc.op, o.scalar
        self.take = lambda e, t: op("take_axis", e, t, 0)
        self.norm = lambda x, w, b: op("fast_layer_norm", x, w, b, 1e-5)
        self.matmul = lambda a, b: op("matmul", a, b)
        self.add = lambda a, b: op("add", a, b)
        self.negative = lambda a: op("negative", a)
        self.heads = lambda x: op("transpose_axes", op("reshape", x, [BATCH, LENGTH, HEADS, -1]),
                                  [0, 2, 1, 3])
        self.join = lambda x: op("reshape", op("transpose_axes", x, [0, 2, 1, 3]),
                                 [BATCH, LENGTH, WIDTH])
        self.attention = lambda q, k, v: op("fast_scaled_dot_product_attention", q, k, v,
                                            (WIDTH // HEADS) ** -0.5, "causal", None, None)

        def gelu(x):
            e = op("erf", op("multiply", x, num(0.5 ** 0.5)))
            return op("multiply", op("multiply", x, num(0.5)), op("add", e, num(1.0)))

        def loss(x, t):
            picked = op("take_along_axis", x, op("expand_dims", t, -1), -1)
            return op("mean", op("subtract", op("logsumexp_axis", x, -1, False),
                                 op("squeeze_axis", picked, -1)), False)

        self.gelu, self.loss = gelu, loss
        self.mean_square = lambda e: op("mean", op("multiply", e, e), False)


# ---- steps ---------------------------------------------------------------------------------------


def torch_step(torch, network, w, inputs, update):
    lib = InTorch(torch)
    p = {k: torch.tensor(v, requires_grad=True) for k, v in w.items()}
    inputs = [torch.tensor(x).long() if x.dtype == np.int32 else torch.tensor(x) for x in inputs]
    sgd = torch.optim.SGD(p.values(), lr=RATE if update else 0.0)

    def step():
        sgd.zero_grad()
        loss = network(lib, p, *inputs)
        loss.backward()
        if update:
            sgd.step()
        return loss.item()
    return step


def mlx_step(mx, network, w, inputs, update):
    lib, names = InMlx(mx), list(w)
    inputs = [mx.array(x) for x in inputs]
    value_and_grad = mx.value_and_grad(lambda p: network(lib, p, *inputs))

    def body(p):
        loss, g = value_and_grad(p)
        return loss, ({k: p[k] - RATE * g[k] for k in names} if update else g)

    body = mx.compile(body)
    state = {k: mx.array(v) for k, v in w.items()}

    def step():
        nonlocal state
        loss, new = body(state)
        mx.eval(loss, new)
        if update:
            state = new
        return loss.item()
    return step


def ours_step(o, network, w, inputs, update):
    m, lib, names = o.mlxc, InOurs(o), list(w)
    inputs = [m.array(x) for x in inputs]
    loss_of = o.Closure(lambda a: [network(lib, dict(zip(names, a)), *inputs)])
    with_grad = m.structs["mlx_closure_value_and_grad"]()
    argnums = (C.c_int * len(names))(*range(len(names)))
    if m.function("mlx_value_and_grad")(C.byref(with_grad), loss_of.handle, argnums, len(names)):
        m.failed("value_and_grad")

    def body(a):
        call = m.Call()
        loss, g = m.structs["mlx_vector_array"](), m.structs["mlx_vector_array"]()
        if m.function("mlx_closure_value_and_grad_apply")(C.byref(loss), C.byref(g), with_grad,
                                                          call.vector(a)):
            m.failed("value_and_grad_apply")
        p = next(q for q in m.functions["mlx_closure_value_and_grad_apply"][1])
        loss, g = m.take_result(p, loss), m.take_result(p, g)
        call.free()
        rate = o.scalar(RATE)
        return loss + ([m.op("subtract", x, m.op("multiply", d, rate)) for x, d in zip(a, g)]
                       if update else g)

    step_of, compiled = o.Closure(body), m.structs["mlx_closure"]()
    if m.function("mlx_compile")(C.byref(compiled), step_of.handle, False):
        m.failed("compile")
    apply, evaluate = m.function("mlx_closure_apply"), m.function("mlx_eval")
    free = m.function("mlx_vector_array_free")
    state = [m.array(v) for v in w.values()]
    p = m.functions["mlx_closure_apply"][1][0]

    def step():
        nonlocal state
        call, out = m.Call(), m.structs["mlx_vector_array"]()
        vector = call.vector(state)
        if apply(C.byref(out), compiled, vector) or evaluate(out):
            m.failed("step")
        call.free()
        if not update:
            free(out)
            return 0
        loss, *state = m.take_result(p, out)
        return float(loss.numpy())
    step.kept = loss_of, step_of
    return step


def compare(title, network, w, inputs, update, args, libraries):
    makers = {"ours": ours_step, "torch": torch_step, "mlx": mlx_step}
    steps = {name: makers[name](lib, network, w, inputs, update) for name, lib in libraries.items()}
    losses = {name: [step() for _ in range(3)] for name, step in steps.items()}
    if update:
        print(f"\nlosses of three steps: {losses}")
    t = alternate(steps, args.threads, 4 * args.budget, args.rounds)
    print(f"{title:46}" + "".join(f"{name}: {s * 1e3:.1f} ms  " for name, s in t.items())
          + "  ratios: " + ", ".join(f"{name} {s / t['ours']:.2f}x" for name, s in t.items()
                                     if name != "ours"))


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
    libraries = {"ours": o}
    if "torch" in args.peers:
        libraries["torch"] = torch
    if "mlx" in args.peers:
        libraries["mlx"] = mx
    rng = np.random.default_rng(1)
    w = weights(rng)
    compare("step of a 4-layer transformer", transformer, w, data(rng), True, args, libraries)
    small = {k: w[k] for k in ("0.up", "0.down")}
    x, y = (rng.standard_normal((1024, WIDTH), np.float32) for _ in range(2))
    compare("gradients of an MLP of 256, 1024, 256", mlp, small, [x, y], False, args, libraries)
