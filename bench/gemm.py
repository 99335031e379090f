"""Products of square matrices and of batches: libmlxc beside numpy's OpenBLAS and PyTorch.

Entered through bench/peers.py gemm. float32 beside both; bfloat16 and float16 beside PyTorch and our
own float32, whose ratio the last column gives.
"""
import os
import time

import numpy as np

from measure import alternate, geometric_mean, machine

# name of the row: shapes of a and b, and whether b is given turned (x @ w.T)
SHAPES = {f"{n}": ((n, n), (n, n), False) for n in (64, 128, 256, 512, 1024, 2048, 4096)}
SHAPES |= {
    "256 of 64": ((256, 64, 64), (256, 64, 64), False),
    "1024 turned": ((1024, 1024), (1024, 1024), True),
    "2048 turned": ((2048, 2048), (2048, 2048), True),
    "512 x 576 x 1536 turned": ((512, 576), (1536, 576), True),
    "100 x 300 x 500": ((100, 300), (300, 500), False),
    "8 x 2048 x 2048 turned": ((8, 2048), (2048, 2048), True),
}


def operands(shapes):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(s, np.float32) for s in shapes]


def ours_of(o, arrays, turned):
    a, b = (o.mlxc.array(x) for x in arrays)
    if turned:
        return o.chain(("transpose_axes", b, [1, 0]), ("matmul", a, o.Result(0)))
    return o.chain(("matmul", a, b))


def torch_of(torch, a, b, turned):
    b = b.T if turned else b
    out = torch.matmul(a, b)  # into memory that is there already
    return lambda: torch.matmul(a, b, out=out)


def numpy_of(a, b, turned):
    b = b.T if turned else b
    out = np.matmul(a, b)
    return lambda: np.matmul(a, b, out=out)


def peers_of(row, o, torch, types):
    import ml_dtypes
    a_shape, b_shape, turned = SHAPES[row]
    arrays = operands((a_shape, b_shape))
    a, b = (torch.tensor(x) for x in arrays)
    peers = {"float32": ours_of(o, arrays, turned), "OpenBLAS": numpy_of(*arrays, turned),
             "torch float32": torch_of(torch, a, b, turned)}
    for name, theirs, kind in (("bfloat16", torch.bfloat16, ml_dtypes.bfloat16),
                               ("float16", torch.float16, np.float16)):
        if name in types:
            peers[name] = ours_of(o, [x.astype(kind) for x in arrays], turned)
            peers["torch " + name] = torch_of(torch, a.to(theirs), b.to(theirs), turned)
    return peers


def main(args):
    os.environ["NEXUS_THREADS"] = str(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("MLXC_LIB", os.path.join(args.build, "libmlxc.so"))
    import torch
    import ours as o
    torch.set_num_threads(args.threads)
    machine(args.build, args.threads)
    types = [t for t in ("bfloat16", "float16") if t in args.types]
    print("\nGFLOP/s of float32; ratios: theirs over ours in time, of 16-bit types also over our float32\n")
    titles = ["ours", "OpenBLAS", "PyTorch"] + [f"{t}: PyTorch, float32" for t in types]
    print("| matrices | " + " | ".join(titles) + " |\n|" + " --- |" * (len(titles) + 1))
    ratios = []
    for row in args.rows or SHAPES:
        (*batch, m, k), b_shape, turned = SHAPES[row]
        n = b_shape[0] if turned else b_shape[-1]
        t = alternate(peers_of(row, o, torch, types), args.threads, args.budget, args.rounds)
        ours = t["float32"]
        flops = 2e-9 * np.prod(batch, initial=1) * m * n * k
        ratios.append(t["OpenBLAS"] / ours)
        cells = [f"{flops / ours:.0f}", f"{ratios[-1]:.2f}×", f"{t['torch float32'] / ours:.2f}×"]
        cells += [f"{t['torch ' + x] / t[x]:.2f}×, {ours / t[x]:.2f}×" for x in types]
        print(f"| {row} | " + " | ".join(cells) + " |", flush=True)
        time.sleep(0.01)
    print(f"\nOpenBLAS, geometric mean: {geometric_mean(ratios):.2f}×")
