"""NEXUS beside llama.cpp (PyPI llama-cpp-python) on the same GGUF file and threads, in one run.

Entered through bench/peers.py models. Each measurement is a process of its own; the two alternate;
medians and their ratio are printed.
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import time

def llama(args):
    """One process: prefill and decode once each, after a warm-up."""
    import ctypes
    import llama_cpp as L

    log = L.llama_log_callback(lambda *a: None)
    L.llama_log_set(log, ctypes.c_void_p(0))
    start = time.perf_counter()
    L.llama_backend_init()
    mp = L.llama_model_default_params()
    model = L.llama_model_load_from_file(args.model.encode(), mp)
    cp = L.llama_context_default_params()
    cp.n_ctx, cp.n_batch, cp.n_ubatch = args.d + max(args.p, args.first) + args.n + 16, 512, 512
    cp.n_threads = cp.n_threads_batch = args.threads
    ctx = L.llama_init_from_model(model, cp)
    mem = L.llama_get_memory(ctx)

    def decode(tokens):
        ids = (L.llama_token * len(tokens))(*tokens)
        assert L.llama_decode(ctx, L.llama_batch_get_one(ids, len(tokens))) == 0
        L.llama_synchronize(ctx)

    decode([100 + i * 31 % 1000 for i in range(args.first)])
    first = time.perf_counter() - start

    def fill(n):
        prompt = [100 + i * 31 % 1000 for i in range(n)]
        for i in range(0, n, 512):
            decode(prompt[i:i + 512])

    L.llama_memory_clear(mem, True)
    fill(args.d)
    t = time.perf_counter()
    fill(args.p)
    prefill = args.p / (time.perf_counter() - t)
    L.llama_memory_clear(mem, True)
    fill(max(args.d, 1))
    t = time.perf_counter()
    for i in range(args.n):
        decode([101 + i])
    decode_speed = args.n / (time.perf_counter() - t)
    print(json.dumps({"prefill": prefill, "decode": decode_speed, "first": first,
                      "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def nexus(args):
    binary = os.path.join(args.build, "nexus")
    out = subprocess.run([binary, "bench", args.model, "-p", str(args.p), "-n", str(args.n), "-d", str(args.d),
                          "-r", "1", "--threads", str(args.threads), "--json"], capture_output=True, check=True)
    got = json.loads(out.stdout)
    prompt = "The quick brown fox jumps over the lazy dog"
    start = time.perf_counter()
    out = subprocess.run([binary, "run", args.model, prompt, "--raw", "--temp", "0", "--max-tokens", "1",
                          "--threads", str(args.threads), "--json"], capture_output=True, check=True)
    first = time.perf_counter() - start
    return {"prefill": got["prefill_tokens_per_second"], "decode": got["decode_tokens_per_second"],
            "first": first, "memory": got["peak_memory_bytes"],
            "first_tokens": json.loads(out.stdout)["prompt_tokens"]}


def main(args):
    if args.llama:
        return llama(args)
    ours, theirs = [], []
    for _ in range(args.r):
        ours.append(nexus(args))
        tokens = str(ours[-1]["first_tokens"])  # so many as the same words are for this vocabulary
        out = subprocess.run([sys.executable, *sys.argv, "--llama", "--first", tokens],
                             capture_output=True, check=True)
        theirs.append(json.loads(out.stdout))
    print(f"{os.path.basename(args.model)}, {args.threads} threads, {args.d} tokens before, "
          f"medians of {args.r}, alternating")
    print(f"{'':28}{'nexus':>12}{'llama.cpp':>12}{'ratio':>8}")
    for key, label, unit, better in (("prefill", f"prefill {args.p}", "tokens/s", 1),
                                     ("decode", f"decode {args.n}", "tokens/s", 1),
                                     ("first", f"to first token of {ours[-1]['first_tokens']}", "s", -1),
                                     ("memory", "peak memory", "MB", -1)):
        a, b = (statistics.median(x[key] for x in side) for side in (ours, theirs))
        scale = 1e-6 if key == "memory" else 1
        ratio = a / b if better > 0 else b / a
        print(f"{label + ' (' + unit + ')':28}{a * scale:12.2f}{b * scale:12.2f}{ratio:7.2f}x")

