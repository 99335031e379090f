"""Bad input through the real program: one clear sentence, a non-zero exit, never a crash.

The models are made here (tiny.py), so that this needs no download. NEXUS_BIN names the program.
"""
import json
import os
import random
import resource
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tiny

NEXUS = os.environ["NEXUS_BIN"]
# The address sanitizer reserves terabytes of addresses: `ulimit -v` cannot be used with it.
SANITIZED = b"__asan_init" in open(NEXUS, "rb").read()
PLACES = 60 if SANITIZED else 200


@pytest.fixture(autouse=True)
def quiet_home(tmp_path, monkeypatch):
    """No settings or stored models of this machine, and a leak is not what is looked for here."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


def nexus(*args, env=None, limit=None):
    def limits():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return subprocess.run([NEXUS, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          env={**os.environ, **(env or {})}, preexec_fn=limits if limit else None)


def info(model, **kw):
    return nexus("info", model, **kw)


def run(model, **kw):
    return nexus("run", model, "hello", "--raw", "--max-tokens", "1", "--temp", "0", **kw)


def no_crash(r, what):
    text = r.stderr.decode(errors="replace")
    assert r.returncode in (0, 1), f"{what}: exit {r.returncode}: {text[-2000:]}"
    assert "internal error" not in text and "Sanitizer" not in text, f"{what}: {text[-2000:]}"
    assert r.returncode == 0 or refusal(text), f"{what}: says {text!r}"


def refusal(text):
    """One sentence that starts with the program's name (a warning may stand before it)."""
    lines = text.strip().splitlines()
    return 1 <= len(lines) <= 2 and lines[-1].startswith("nexus: ") and len(lines[-1]) > 20


def refused(r, what, *words):
    no_crash(r, what)
    assert r.returncode == 1, f"{what}: accepted: {r.stdout[:200]!r}"
    assert r.stdout == b"", f"{what}: {r.stdout[:200]!r}"
    for word in words:
        assert word in r.stderr.decode(errors="replace"), f"{what}: {r.stderr.decode()!r}"


def each(check, cases):
    """check(case) for all, on as many processors as there are."""
    def verdict(case):
        try:
            check(case)
        except AssertionError as e:
            return str(e).splitlines()[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [v for v in pool.map(verdict, cases) if v]
    assert not wrong, "\n".join([f"{len(wrong)} cases:", *wrong[:40]])


def answer(model, tokens=8, env=None):
    r = nexus("run", model, "hello and the other thing", "--raw", "--temp", "0", "--json",
              "--max-tokens", str(tokens), env=env)
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return str(path)


def gguf(tmp_path, kind="f32", exact=False, name=None):
    return put(tmp_path / f"{name or kind + str(exact)}.gguf",
               tiny.gguf_bytes(tensors=tiny.gguf_tensors(kind, exact)))


# ---- the tiny models are good ones: every format gives the numbers its weights mean ----


def same(a, b, tolerance):
    assert a["ids"] == b["ids"]
    assert np.abs(np.subtract(a["logprobs"], b["logprobs"])).max() < tolerance


def test_gguf_and_folder_agree(tmp_path):
    """q and k have their rows in another order in each: the rotation must follow."""
    same(answer(gguf(tmp_path)), answer(tiny.folder(tmp_path / "hf")), 1e-5)


def tolerance(kind, plain=os.environ.get("NEXUS_NO_EXTENSIONS")):
    """Plain mlx-c multiplies bfloat16 weights with activations rounded to bfloat16."""
    return 0.05 if kind == "bf16" and plain else 5e-3


@pytest.mark.parametrize("plain", ["", "1"], ids=["extensions", "plain"])
@pytest.mark.parametrize("kind", ["f16", "bf16", "q4_0", "q4_1", "q8_0"])
def test_gguf_types(tmp_path, kind, plain):
    env = {"NEXUS_NO_EXTENSIONS": plain}
    same(answer(gguf(tmp_path, kind), 2, env), answer(gguf(tmp_path, kind, True), 2),
         tolerance(kind, plain))


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_folder_types(tmp_path, kind):
    exact = {n: ("F32", w.shape, tiny.GGML[kind][2](w)[1].astype(np.float32).tobytes())
             for n, w in tiny.weights().items()}
    same(answer(tiny.folder(tmp_path / "half", tiny.hf_tensors(kind)), 2),
         answer(tiny.folder(tmp_path / "exact", exact), 2), tolerance(kind))


def mlx_config():
    return {**tiny.config_json(), "quantization": {"group_size": 64, "bits": 4}}


@pytest.mark.parametrize("plain", ["", "1"], ids=["extensions", "plain"])
def test_mlx_folder(tmp_path, plain):
    model = tiny.folder(tmp_path / "mlx", tiny.mlx_tensors(), mlx_config())
    exact = tiny.folder(tmp_path / "exact", tiny.mlx_tensors(exact=True))
    same(answer(model, 4, {"NEXUS_NO_EXTENSIONS": plain}), answer(exact, 4), 5e-3)
    assert b"mlx" in info(model).stdout


# ---- missing, empty, cut, flipped ----


def test_missing_and_empty(tmp_path):
    for verb in (info, run):
        refused(verb(str(tmp_path / "nothing.gguf")), "missing", "nothing.gguf")
        refused(verb(put(tmp_path / "empty.gguf", b"")), "empty", "empty.gguf")
        refused(verb(put(tmp_path / "zero.gguf", b"\0" * 4096)), "zeros", "zero.gguf")
        refused(verb(put(tmp_path / "magic.gguf", tiny.gguf_bytes(magic=b"GGML"))), "magic",
                "magic.gguf")
        refused(verb(tiny.folder(tmp_path / "hf", b"")), "empty safetensors", "model.safetensors")
        os.remove(tmp_path / "hf" / "model.safetensors")
        refused(verb(str(tmp_path / "hf")), "no safetensors", "safetensors")
        refused(verb("/dev/null"), "a device")
    tiny.folder(tmp_path / "hf")
    os.remove(tmp_path / "hf" / "tokenizer.json")
    refused(run(str(tmp_path / "hf")), "no tokenizer", "tokenizer.json")


def places(size, header):
    """Half of them in the header, where they mean most; the last byte too."""
    rng = random.Random(size)
    some = [rng.randrange(header) for _ in range(PLACES // 2)]
    return sorted({*some, *(rng.randrange(size) for _ in range(PLACES - len(some) - 1)), size - 1})


def header_size(data):
    if data[:4] == b"GGUF":
        return len(data) - sum(len(t[3]) + -len(t[3]) % 32 for t in tiny.gguf_tensors("q4_1"))
    return 8 + struct.unpack("<Q", data[:8])[0]


def test_cut_gguf(tmp_path):
    data = tiny.gguf_bytes(tensors=tiny.gguf_tensors("q4_1"))

    def check(n):
        path = put(tmp_path / f"cut{n}.gguf", data[:n])
        refused(info(path), f"info of {n} bytes", f"cut{n}.gguf")
        refused(run(path), f"run of {n} bytes", f"cut{n}.gguf")
        os.remove(path)

    each(check, places(len(data), header_size(data)))


def test_flipped_gguf(tmp_path):
    data = tiny.gguf_bytes(tensors=tiny.gguf_tensors("q4_1"))

    def check(at):
        bad = bytearray(data)
        bad[at] ^= 1 << at % 8
        path = put(tmp_path / f"flip{at}.gguf", bad)
        no_crash(info(path), f"info with byte {at} flipped")
        no_crash(run(path), f"run with byte {at} flipped")
        os.remove(path)

    each(check, places(len(data), header_size(data)))


def folder_with(tmp_path, name, file, content):
    """A good folder in which one file is another; the others are links."""
    path = tmp_path / name
    path.mkdir()
    for good in os.listdir(tmp_path / "good"):
        if good != file:
            os.symlink(tmp_path / "good" / good, path / good)
    put(path / file, content)
    return str(path)


@pytest.mark.parametrize("kind", ["hf", "mlx"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_folder(tmp_path, kind, damage):
    if kind == "mlx":
        tiny.folder(tmp_path / "good", tiny.mlx_tensors(), mlx_config())
    else:
        tiny.folder(tmp_path / "good")

    def check(case):
        file, at = case
        data = (tmp_path / "good" / file).read_bytes()
        bad = bytearray(data[:at]) if damage == "cut" else bytearray(data)
        if damage == "flip":
            bad[at] ^= 1 << at % 8
        path = folder_with(tmp_path, f"{file}{at}", file, bad)
        what = f"{file} {damage} at {at}"
        if damage == "cut":
            refused(run(path), "run of " + what, file)
            if file == "model.safetensors":
                refused(info(path), "info of " + what, file)
        else:
            no_crash(run(path), "run of " + what)
            if file != "tokenizer.json":
                no_crash(info(path), "info of " + what)

    data = (tmp_path / "good" / "model.safetensors").read_bytes()
    cases = [("model.safetensors", at) for at in places(len(data), header_size(data))]
    for file in ("config.json", "tokenizer.json"):
        size = (tmp_path / "good" / file).stat().st_size
        cases += [(file, at) for at in range(size // 50, size, size // 25)]
    each(check, cases)


# ---- what a header may claim ----

HUGE = [2**63, 2**64 - 1, 2**61, 2**32, 2**31]


def broken_gguf_headers():
    """(what, bytes): all must be refused."""
    def pairs(**changes):
        p = tiny.metadata()
        for key, v in changes.items():
            key = key.replace("__", ".")
            if v is None:
                del p[key]
            else:
                p[key] = v
        return tiny.gguf_bytes(p)

    def tensor(change):
        return tiny.gguf_bytes(tensors=[change(*t) if t[0] == "blk.0.attn_q.weight" else t
                                        for t in tiny.gguf_tensors()])

    for n in HUGE:
        yield f"{n} tensors", tiny.gguf_bytes(n_tensors=n)
        yield f"{n} pairs", tiny.gguf_bytes(n_pairs=n)
        yield f"a string of {n}", pairs(general__name=(tiny.STR + 0, "x")).replace(
            tiny.string("general.name") + struct.pack("<IQ", tiny.STR, 1),
            tiny.string("general.name") + struct.pack("<IQ", tiny.STR, n))
        for item in (tiny.U8, tiny.F64, tiny.STR, tiny.ARRAY):
            yield f"an array of {n} of type {item}", pairs(
                extra=(tiny.ARRAY, struct.pack("<IQ", item, n)))
        yield f"a dimension of {n}", tensor(lambda a, d, k, b, n=n: (a, (n, d[1]), k, b))
        yield f"dimensions of {n} squared", tensor(lambda a, d, k, b, n=n: (a, (n, n), k, b))
        yield f"an offset of {n}", tiny.gguf_bytes(offsets={"blk.0.attn_q.weight": n - n % 32})
        yield f"an odd offset by {n}", tiny.gguf_bytes(
            offsets={"blk.0.attn_q.weight": n - n % 32 + 1})
    nested = b"".join(struct.pack("<IQ", tiny.ARRAY, 1) for _ in range(100000))
    yield "arrays in arrays", pairs(extra=(tiny.ARRAY, nested))
    yield "an unknown pair type", pairs(extra=(99, b"\0" * 8))
    yield "version 0", tiny.gguf_bytes(version=0)
    yield "version 99", tiny.gguf_bytes(version=99)
    yield "no pairs", tiny.gguf_bytes({})
    yield "no tensors", tiny.gguf_bytes(tensors=[])
    for align in (0, 3, 2**31):
        yield f"alignment {align}", pairs(general__alignment=(tiny.U32, align))
    yield "no dimensions too many", tensor(lambda a, d, k, b: (a, d + (1,) * 5, k, b))
    yield "ggml type 9999", tensor(lambda a, d, k, b: (a, d, 9999, b))
    yield "a removed ggml type", tensor(lambda a, d, k, b: (a, d, 4, b))
    yield "integers for weights", tensor(lambda a, d, k, b: (a, d, 26, b))
    yield "a dimension of 0", tensor(lambda a, d, k, b: (a, (0, d[1]), k, b""))
    yield "three dimensions", tensor(lambda a, d, k, b: (a, (d[0], 1, d[1]), k, b))
    yield "a shape of its own", tensor(lambda a, d, k, b: (a, (d[0] // 2, d[1] * 2), k, b))
    yield "a tensor twice", tiny.gguf_bytes(tensors=tiny.gguf_tensors() + tiny.gguf_tensors()[:1])
    yield "a tensor missing", tiny.gguf_bytes(tensors=tiny.gguf_tensors()[:-2])
    yield "a tensor too many", tiny.gguf_bytes(
        tensors=tiny.gguf_tensors() + [("blk.0.extra.weight", (32,), 0, b"\0" * 128)])
    for name, data in (("output_norm.weight", b"\0" * 36), ("blk.1.attn_norm.weight", b"\0" * 36)):
        yield f"{name} in blocks", tiny.gguf_bytes(
            tensors=[(n, d, 2, data) if n == name else (n, d, k, b)
                     for n, d, k, b in tiny.gguf_tensors()])
        yield f"{name} a matrix", tiny.gguf_bytes(
            tensors=[(n, (*d, 1), 1, b[:128]) if n == name else (n, d, k, b)
                     for n, d, k, b in tiny.gguf_tensors()])
    yield "an unknown family", pairs(general__architecture=(tiny.STR, "nonesuch"))
    yield "no family", pairs(general__architecture=None)
    yield "a family that is a number", pairs(general__architecture=(tiny.U32, 7))
    yield "a long family", pairs(general__architecture=(tiny.STR, "x" * 5000))
    for n in (0, 1, 3, 10**9, 2**32 - 1):
        yield f"{n} layers", pairs(llama__block_count=(tiny.U32, n))
        yield f"{n} heads", pairs(llama__attention__head_count=(tiny.U32, n))
        yield f"hidden size {n}", pairs(llama__embedding_length=(tiny.U32, n))
        yield f"MLP size {n}", pairs(llama__feed_forward_length=(tiny.U32, n))
        yield f"vocabulary {n}", pairs(llama__vocab_size=(tiny.U32, n or 7))
    for n in (1, 3, 8, 65536, 2**32 - 1):
        yield f"{n} KV heads", pairs(llama__attention__head_count_kv=(tiny.U32, n))
        yield f"head size {n}", pairs(llama__attention__key_length=(tiny.U32, n))
        yield f"rotates {n}", pairs(llama__rope__dimension_count=(tiny.U32, n if n != 8 else 7))
    yield "all that an int cannot hold", pairs(
        llama__attention__head_count=(tiny.U32, 65536), llama__attention__key_length=(tiny.U32, 65536),
        llama__attention__head_count_kv=(tiny.U32, 65536))
    yield "a context of 0", pairs(llama__context_length=(tiny.U32, 0))
    yield "layers that are text", pairs(llama__block_count=(tiny.STR, "two"))
    yield "layers that are no number", pairs(llama__block_count=(tiny.F64, float("nan")))
    yield "negative layers", pairs(llama__block_count=(tiny.I32, -2))
    yield "unknown rope scaling", pairs(llama__rope__scaling__type=(tiny.STR, "spiral"))


def test_broken_gguf_headers(tmp_path):
    def check(case):
        number, (what, data) = case
        path = put(tmp_path / f"broken{number}.gguf", data)
        no_crash(info(path), "info: " + what)
        refused(run(path), "run: " + what)
        os.remove(path)

    cases = list(broken_gguf_headers())
    assert len(cases) > 100
    each(check, enumerate(cases))


def broken_gguf_vocabularies():
    """(what, changes, refused): a vocabulary that makes no sense."""
    k = "tokenizer.ggml."
    yield "no tokenizer", {k + "model": None}, True
    yield "an unknown tokenizer", {k + "model": (tiny.STR, "nonesuch")}, True
    yield "no tokens", {k + "tokens": None}, True
    yield "tokens that are numbers", {k + "tokens": (tiny.ARRAY, (tiny.I32, [1, 2, 3]))}, True
    yield "an empty vocabulary", {k + "tokens": (tiny.ARRAY, (tiny.STR, []))}, True
    yield "no merges", {k + "merges": None}, None
    yield "merges of nothing", {k + "merges": (tiny.ARRAY, (tiny.STR, ["", " ", "x", "a b c"]))}, None
    yield "merges of unknown tokens", {k + "merges": (tiny.ARRAY, (tiny.STR, ["qq zz"]))}, None
    yield "bytes that are no text", {k + "merges": (tiny.ARRAY, (tiny.STR, [b"\xff \xfe"]))}, None
    yield "few token types", {k + "token_type": (tiny.ARRAY, (tiny.I32, [1]))}, None
    yield "odd token types", {k + "token_type": (tiny.ARRAY, (tiny.I32, [77] * tiny.VOCAB))}, None
    for n in (-1, 10**9, 2**31 - 1):
        yield f"bos {n}", {k + "bos_token_id": (tiny.I32, n)}, None
        yield f"eos {n}", {k + "eos_token_id": (tiny.I32, n)}, None
    yield "a bos of 2^32 - 1", {k + "bos_token_id": (tiny.U32, 2**32 - 1)}, None
    yield "a vocabulary beyond the matrix", {
        k + "tokens": (tiny.ARRAY, (tiny.STR, tiny.TOKENS + ["hello more"] * 500))}, None
    yield "an unknown cut into words", {k + "pre": (tiny.STR, "nonesuch")}, None
    for t in ("{{", "{% for %}", "{{ 1 / 0 }}", "{% for i in range(10**9) %}x{% endfor %}",
              "{{ raise_exception('no') }}", "{{ messages[99].content }}", "x" * 100000):
        yield f"the template {t[:30]}", {"tokenizer.chat_template": (tiny.STR, t)}, None


def test_broken_gguf_vocabularies(tmp_path):
    def check(case):
        number, (what, changes, must) = case
        pairs = tiny.metadata()
        for key, v in changes.items():
            pairs[key] = v
        path = put(tmp_path / f"vocab{number}.gguf",
                   tiny.gguf_bytes({k: v for k, v in pairs.items() if v is not None}))
        chat = nexus("run", path, "hello", "--max-tokens", "1")
        no_crash(chat, what)
        if must:
            refused(run(path), what)
        else:
            no_crash(run(path), what)

    each(check, enumerate(broken_gguf_vocabularies()))


def broken_safetensors():
    """(what, bytes): all must be refused."""
    good = tiny.safetensors_bytes(tiny.hf_tensors())
    size = struct.unpack("<Q", good[:8])[0]
    header, body = json.loads(good[8:8 + size]), good[8 + size:]
    name = "model.layers.0.self_attn.q_proj.weight"

    def change(**entry):
        return tiny.join_safetensors({**header, name: {**header[name], **entry}}, body)

    for n in HUGE + [0, 1, size - 1, size + 1]:
        yield f"a header of {n}", struct.pack("<Q", n) + good[8:]
    at = header[name]["data_offsets"]
    for n in HUGE:
        yield f"shape [{n}, 64]", change(shape=[n, 64])
        yield f"shape [{n}, {n}]", change(shape=[n, n])
        yield f"ends at {n}", change(data_offsets=[at[0], n])
        yield f"begins at {n}", change(data_offsets=[n, n + 16384])
    yield "ends before it begins", change(data_offsets=[at[1], at[0]])
    yield "negative offsets", change(data_offsets=[-16384, 0])
    yield "fractional offsets", change(data_offsets=[0.5, 16384.5])
    yield "three offsets", change(data_offsets=[0, 1, 2])
    yield "overlapping", change(data_offsets=[0, 16384])
    yield "negative shape", change(shape=[-64, -64])
    yield "a shape of text", change(shape="64")
    yield "too many dimensions", change(shape=[1] * 60 + [64, 64])
    yield "three dimensions", change(shape=[64, 1, 64])
    yield "an unknown type", change(dtype="F128")
    yield "integers for weights", change(dtype="I32")
    yield "a type that is a number", change(dtype=5)
    yield "an entry that is a number", tiny.join_safetensors({**header, name: 5}, body)
    yield "no JSON", struct.pack("<Q", 16) + b"not a header at " + body
    yield "an array", tiny.join_safetensors([1, 2], body)
    yield "deep JSON", struct.pack("<Q", 100000) + b"[" * 100000 + body
    yield "metadata of numbers", tiny.join_safetensors({**header, "__metadata__": {"a": 1}}, body)
    yield "no tensors", tiny.join_safetensors({}, b"")
    tensors = tiny.hf_tensors()
    yield "a tensor too many", tiny.safetensors_bytes({**tensors, "odd.weight": ("F32", (1,), b"abcd")})
    del tensors[name]
    yield "a tensor missing", tiny.safetensors_bytes(tensors)


def test_broken_safetensors(tmp_path):
    tiny.folder(tmp_path / "good")

    def check(case):
        number, (what, data) = case
        path = folder_with(tmp_path, f"broken{number}", "model.safetensors", data)
        no_crash(info(path), "info: " + what)
        refused(run(path), "run: " + what)

    each(check, enumerate(broken_safetensors()))


def broken_mlx():
    """(what, config, tensors): all must be refused."""
    t = tiny.mlx_tensors()
    name = "model.layers.0.self_attn.q_proj"

    def quantized(**q):
        return {**tiny.config_json(), "quantization": {"group_size": 64, "bits": 4, **q}}

    for bits in (0, -4, 1, 3, 5, 7, 8, 16, 2**31):
        yield f"{bits} bits", quantized(bits=bits), t
    for group in (0, -64, 1, 16, 32, 128, 2**31):
        yield f"groups of {group}", quantized(group_size=group), t
    yield "an unknown mode", quantized(mode="nonesuch"), t
    yield "no biases", quantized(), {k: v for k, v in t.items() if k != name + ".biases"}
    yield "no scales", quantized(), {k: v for k, v in t.items() if k != name + ".scales"}
    for part in (".scales", ".biases"):
        dtype, shape, data = t[name + part]
        yield f"integer {part}", quantized(), {**t, name + part: ("U32", shape, data)}
        yield f"flat {part}", quantized(), {**t, name + part: (dtype, (shape[0],), data)}
        yield f"short {part}", quantized(), {**t, name + part: (dtype, (32, 1), data[:128])}
    yield "plain quantization_config", {**tiny.config_json(),
                                        "quantization_config": {"quant_method": "hqq"}}, t
    norm = "model.norm.weight"
    yield "a quantized norm", quantized(), {
        **t, norm: ("U32", (1, 8), b"\0" * 32), "model.norm.scales": ("F32", (1, 1), b"\0" * 4),
        "model.norm.biases": ("F32", (1, 1), b"\0" * 4)}


def test_broken_mlx(tmp_path):
    def check(case):
        number, (what, config, tensors) = case
        path = tiny.folder(tmp_path / f"mlx{number}", tensors, config)
        no_crash(info(path), "info: " + what)
        refused(run(path), "run: " + what)

    each(check, enumerate(broken_mlx()))


def broken_settings():
    """(what, config.json, refused)."""
    c = tiny.config_json()
    yield "no family", {**c, "model_type": None}, True
    yield "an unknown family", {**c, "model_type": "nonesuch"}, True
    yield "a list", b"[1, 2]", True
    yield "a deep list", b"[" * 100000, True
    yield "no JSON", b"\xff\xfe{", True
    yield "empty", b"", True
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        for v in (None, 0, -1, "64", 1e300, 2**31, 65536, [64]):
            yield f"{key} {v}", {**c, key: v}, True
    for v in (-2, 3, 1e300):
        yield f"num_key_value_heads {v}", {**c, "num_key_value_heads": v}, True
    for v in (-16, 1, 15, 2**31):
        yield f"head_dim {v}", {**c, "head_dim": v}, True
    yield "a negative window", {**c, "model_type": "mistral", "sliding_window": -4}, True
    yield "unknown rope scaling", {**c, "rope_scaling": {"rope_type": "spiral", "factor": 2}}, True
    yield "a rope factor of 0", {**c, "rope_scaling": {"rope_type": "linear", "factor": 0}}, True
    yield "a rope scaling of text", {**c, "rope_scaling": {"rope_type": 5, "factor": "x"}}, None
    for v in (0, -1, 1e-300, 1e300):
        yield f"rope_theta {v}", {**c, "rope_theta": v}, None
        yield f"rms_norm_eps {v}", {**c, "rms_norm_eps": v}, None
    yield "a context of a billion", {**c, "max_position_embeddings": 10**9}, None


def test_broken_settings(tmp_path):
    tiny.folder(tmp_path / "good")

    def check(case):
        number, (what, config, must) = case
        data = config if isinstance(config, bytes) else json.dumps(config).encode()
        path = folder_with(tmp_path, f"settings{number}", "config.json", data)
        no_crash(info(path), "info: " + what)
        (refused if must else no_crash)(run(path), "run: " + what)

    each(check, enumerate(broken_settings()))


# ---- too little memory ----


@pytest.mark.skipif(SANITIZED, reason="the sanitizer needs all addresses")
@pytest.mark.parametrize("verb", ["info", "run"])
def test_too_little_memory(tmp_path, verb):
    """Every limit from nothing up to what suffices. Where not even `nexus --version` starts, the
    loader of programs fails, in its own way; from there on the program answers for itself."""
    model = gguf(tmp_path, "q4_1")
    folder = tiny.folder(tmp_path / "hf")
    enough = []

    def check(case):
        path, kilobytes = case
        if nexus("--version", limit=kilobytes * 1024).returncode != 0:
            return
        r = (run if verb == "run" else info)(path, limit=kilobytes * 1024)
        no_crash(r, f"{verb} in {kilobytes} kB")
        if r.returncode == 0:
            enough.append(kilobytes)

    limits = [*range(4096, 40960, 768), *range(40960, 400000, 8192), 2**20, 2**22]
    each(check, [(path, kb) for path in (model, folder) for kb in limits])
    assert 2**22 in enough


@pytest.mark.parametrize("plain", ["", "1"], ids=["extensions", "plain"])
def test_allocation_failure_at_every_place(tmp_path, plain):
    """NEXUS_FAIL_ALLOC=N: the N-th tensor allocation fails; for all N until nothing fails."""
    for path in (gguf(tmp_path, "q4_1"), gguf(tmp_path, "q8_0"), tiny.folder(tmp_path / "hf"),
                 tiny.folder(tmp_path / "mlx", tiny.mlx_tensors(), mlx_config())):
        failures, n = 0, 0
        while True:
            r = run(path, env={"NEXUS_FAIL_ALLOC": str(n), "NEXUS_NO_EXTENSIONS": plain})
            no_crash(r, f"{path}: allocation {n}")
            if r.returncode == 0:
                break
            failures += 1
            assert b"memory" in r.stderr, r.stderr
            n += 7 if SANITIZED and n > 40 else 1
            assert n < 5000
        assert failures > 10
