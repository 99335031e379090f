"""Fourier transforms beside MLX's own: python bench/fft.py [THREADS]; needs the tests' Python packages.

Times are the best of a quarter of a second, through each library's Python binding (ours costs about
10 us a call, MLX's 5), on 1 thread unless told, as MLX's CPU transforms run.
"""
import os
import sys
import time

os.environ.setdefault("NEXUS_THREADS", sys.argv[1] if len(sys.argv) > 1 else "1")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "oracle"))

import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402

import mlxc  # noqa: E402

LENGTHS = [64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 1000000, 1009, 10007, 65537, 1000003]
CASES = [("fft", (1, n)) for n in LENGTHS]
CASES += [("fft", s) for s in [(4096, 64), (1024, 256), (1024, 1024), (64, 4096), (256, 1000), (256, 1009)]]
CASES += [(k, s) for s in [(1, 65536), (1, 1048576), (1024, 1024)] for k in ("rfft", "irfft")]
CASES += [("fftn", s) for s in [(512, 512), (1024, 1024), (1000, 1000), (509, 509), (64, 64, 64)]]
CASES += [("rfftn", (1024, 1024))]


def best(run):
    run()
    until, least = time.perf_counter() + 0.25, 1e9
    while time.perf_counter() < until:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return 1e6 * least


def case(kind, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "irfft":
        x = np.fft.rfft(x).astype(np.complex64)
    elif kind[0] == "f":
        x = (x * (1 + 1j)).astype(np.complex64)
    ours, theirs = mlxc.array(x), mx.array(x)
    n, axes = (list(shape), list(range(len(shape)))) if kind[-1] == "n" else (shape[-1], -1)
    f, more = getattr(mx.fft, kind), {} if kind[-1] == "n" else {"n": n}
    return (best(lambda: mlxc.op("fft_" + kind, ours, n, axes, 0).eval()),
            best(lambda: mx.eval(f(theirs, **more, stream=mx.cpu))))


print("| transform | shape | ours us | MLX us | MLX / ours |\n| --- | --- | --- | --- | --- |")
for name, shape in CASES:
    a, b = case(name, shape)
    print("| %s | %s | %.0f | %.0f | %.2f |" % (name, " x ".join(map(str, shape)), a, b, b / a), flush=True)
