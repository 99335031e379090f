#!/usr/bin/env python3
"""Predicted beside measured memory, for docs/models.md.

    bench/memory.py NEXUS MODEL.gguf [CASES...]

Measured is the peak of the process's anonymous memory while it answers a prompt that fills the
context, plus the bytes of the model file; of those, the matrices that were turned into a faster
layout lie in anonymous memory already, and their pages of the file are given back: they count once.
The models besides MODEL are made here, of random weights and true shapes, in a scratch folder.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "faults"))
import tiny  # noqa: E402
import trees  # noqa: E402

REPACKED = {"Q4_0", "Q4_1", "Q8_0"}  # the types whose matrices are turned

# name -> shape, type, tied head, contexts
MADE = {
    "0.5B Q8_0, tied": (trees.Shape(24, 896, 14, 2, 4864, 151936, 32768), "Q8_0", True, (512, 1024, 2048)),
    "1.1B Q4_0": (trees.Shape(22, 2048, 32, 4, 5632, 32000, 4096), "Q4_0", False, (512, 1024, 2048)),
    "1.2B F16, tied": (trees.Shape(16, 2048, 32, 8, 8192, 128256, 8192), "F16", True, (512, 1024, 2048)),
    "3.2B Q4_0, tied": (trees.Shape(28, 3072, 24, 8, 8192, 128256, 8192), "Q4_0", True, (256, 512, 1024)),
}


def tensors_of(shape, tied):
    return [t for t in shape.tensors() if not (tied and t[0] == "lm_head.weight")]


def block(kind, seed):
    """A few hundred rows' worth of blocks with small scales, repeated over the file."""
    rng = __import__("random").Random(seed)
    _, _, size = trees.TYPES[kind]
    scale = struct.pack("<e", 0.002)
    if kind == "F16":
        return b"".join(struct.pack("<e", rng.uniform(-0.04, 0.04)) for _ in range(4096))
    head = 4 if kind == "Q4_1" else 2
    return b"".join(scale * (head // 2) + rng.randbytes(size - head) for _ in range(512))


def make(path, shape, kind, tied):
    tensors = tensors_of(shape, tied)
    tokens = tiny.TOKENS + [f"unused{i}" for i in range(len(tiny.TOKENS), shape.vocab)]
    head, data = trees.gguf_header(shape, kind, tensors=tensors, tokens=tokens,
                                   metadata=[("tokenizer.ggml.pre", "gpt-2"),
                                             ("tokenizer.ggml.merges", tiny.MERGES),
                                             ("tokenizer.ggml.eos_token_id", 2)])
    piece = block(kind, 1)
    with open(path, "wb") as f:
        f.write(head)
        for name, dims in tensors:
            n = dims[0] * (dims[1] if len(dims) > 1 else 1)
            if len(dims) == 1:
                f.write(struct.pack("<f", 1.0) * n)
            else:
                _, elements, size = trees.TYPES[kind]
                left = n // elements * size
                while left:
                    left -= f.write(piece[:left])
            f.write(b"\0" * (-(f.tell() - len(head)) % 32))
    assert os.path.getsize(path) == len(head) + data


def repacked_bytes(shape, kind, tied):
    if kind not in REPACKED:
        return 0
    _, elements, size = trees.TYPES[kind]
    return sum(d[0] * d[1] // elements * size for _, d in tensors_of(shape, tied) if len(d) > 1)


def turned_bytes_of_file(path):
    """Of SmolLM2's file: all but the header and the norms."""
    return os.path.getsize(path) - 1926208


def anonymous(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measure(nexus, model, context, word):
    p = subprocess.Popen([nexus, "run", model, "--raw", "--temp", "0", "--ctx", str(context),
                          "--max-tokens", "4", "--json"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    p.stdin.write(word * int(context * 0.97))
    p.stdin.close()
    peak = 0
    while p.poll() is None:
        peak = max(peak, anonymous(p.pid))
        time.sleep(0.003)
    out = json.load(p.stdout)
    assert p.returncode == 0 and out["prompt_tokens"] > context * 0.9, out["prompt_tokens"]
    info = subprocess.run([nexus, "info", model, "--ctx", str(context), "--json"], capture_output=True)
    return peak, json.loads(info.stdout)


def row(nexus, name, path, context, word, repacked):
    peak, info = measure(nexus, path, context, word)
    measured = peak + info["bytes"] - repacked
    error = info["memory_bytes"] / measured - 1
    print(f"| {name} | {context} | {info['memory_bytes'] / 1e6:.1f} MB | {measured / 1e6:.1f} MB | "
          f"{error:+.1%} |", flush=True)
    return abs(error)


def main():
    nexus, given = sys.argv[1:3]
    only = sys.argv[3:]
    print("| model | context | predicted | measured | error |\n| --- | --- | --- | --- | --- |")
    worst = 0
    for context in (512, 2048, 4096):
        if not only or "SmolLM2" in only:
            worst = max(worst, row(nexus, "SmolLM2-135M Q4_1, tied", given, context, b" the",
                                   turned_bytes_of_file(given)))
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as folder:
        for name, (shape, kind, tied, contexts) in MADE.items():
            if only and not any(o in name for o in only):
                continue
            path = os.path.join(folder, "made.gguf")
            make(path, shape, kind, tied)
            for context in contexts:
                worst = max(worst, row(nexus, name, path, context, b" the",
                                       repacked_bytes(shape, kind, tied)))
    print(f"\nthe largest error is {worst:.1%}")


if __name__ == "__main__":
    main()
