#!/usr/bin/env python3
"""NEXUS beside its peers, in one run: the same threads, alternating, medians, ratios.

    python bench/peers.py models MODEL.gguf [-p 512] [-n 128] [-d 0] [-r 5]   llama.cpp
    python bench/peers.py ops [--only NAME...] [--sides 1024 4096]         PyTorch and MLX on the CPU
    python bench/peers.py gemm [--rows NAME...] [--types bfloat16 float16]  OpenBLAS and PyTorch
    python bench/peers.py train                                            PyTorch and MLX on the CPU
    python bench/peers.py server MODEL.gguf [--clients 1 8 32 64] [-n 48]  llama-cpp-python's server

--threads N for all (1: processor time instead of the clock, for machines with other work on them);
--build DIR where the programs were built (build). Needs bench/requirements.txt.
"""
import argparse
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    common.add_argument("--build", default=os.path.join(HERE, "..", "build"))
    sub = p.add_subparsers(dest="what", required=True)
    models = sub.add_parser("models", parents=[common])
    models.add_argument("model")
    models.add_argument("-p", type=int, default=512)
    models.add_argument("-n", type=int, default=128)
    models.add_argument("-d", type=int, default=0, help="tokens in the cache before either")
    models.add_argument("-r", type=int, default=5)
    models.add_argument("--llama", action="store_true", help=argparse.SUPPRESS)
    models.add_argument("--first", type=int, default=30, help=argparse.SUPPRESS)
    server = sub.add_parser("server", parents=[common])
    server.add_argument("model")
    server.add_argument("--clients", nargs="*", type=int, default=[1, 8, 32, 64])
    server.add_argument("-n", type=int, default=48, help="tokens of an answer")
    server.add_argument("--seconds", type=float, default=20, help="a row and server")
    server.add_argument("--parallel", type=int, default=8, help="lanes of ours")
    server.add_argument("--ctx", type=int, default=4096)
    server.add_argument("--alone", action="store_true", help="ours only")
    server.add_argument("--ours", nargs="*", default=[], help="further options of nexus serve, after a '='")
    ops = sub.add_parser("ops", parents=[common])
    ops.add_argument("--only", nargs="*", help="operations whose names have one of these in them")
    ops.add_argument("--sides", nargs="*", type=int, default=[1024, 4096], help="of squares")
    gemm = sub.add_parser("gemm", parents=[common])
    gemm.add_argument("--rows", nargs="*", help="of the table of bench/gemm.py")
    gemm.add_argument("--types", nargs="*", default=["bfloat16", "float16"])
    train = sub.add_parser("train", parents=[common])
    for s in (ops, train):
        s.add_argument("--peers", nargs="*", default=["torch", "mlx"])
    for s in (ops, gemm, train):
        s.add_argument("--rounds", type=int, default=7)
        s.add_argument("--budget", type=float, default=1.5, help="seconds a peer and measurement")
    return p


if __name__ == "__main__":
    arguments = parser().parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)  # read when numpy is loaded
    importlib.import_module(arguments.what).main(arguments)
