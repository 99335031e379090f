"""The program as a person runs it: answers against the reference, output, errors, exit codes."""
import json
import os
import signal
import subprocess
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
NEXUS = os.environ["NEXUS_BIN"]
STORE = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"),
                     "nexus", "models")
MODEL = os.path.join(STORE, "SmolLM2-135M-Instruct.Q4_1.gguf")
GOLDEN = os.path.join(HERE, "..", "data", "golden", "smollm2-135m-instruct-q4_1.json")

needs_model = pytest.mark.skipif(not os.path.exists(MODEL), reason="the small model is not stored")


def nexus(*args, stdin=None, env=None, timeout=120):
    return subprocess.run([NEXUS, *args], input=stdin if stdin is not None else b"",
                          capture_output=True, timeout=timeout, env={**os.environ, **(env or {})})


def fails(result, code, *words):
    """One clear sentence on stderr, nothing on stdout."""
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert result.stdout == b""
    lines = text.strip().splitlines()
    assert lines[0].startswith("nexus: "), text
    assert len(lines) <= 2, text
    for word in words:
        assert word in text, text


def answer(*args, **kw):
    r = nexus("run", MODEL, *args, "--json", **kw)
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


# ---- the reference's answers ----

def golden_cases():
    with open(GOLDEN, encoding="utf-8") as f:
        return json.load(f)


def follows(case, got):
    """Ids are the reference's as long as its margin decides; log-probabilities within 0.01."""
    for i, (want, margin) in enumerate(zip(case["ids"], case["margins"])):
        assert i < len(got["ids"]), "the answer is too short"
        if got["ids"][i] != want:
            assert margin < 0.01, f"token {i}: {got['ids'][i]} instead of {want}"
            return  # either of the two best may win; from here the texts part
        assert abs(got["logprobs"][i] - case["logprobs"][i]) < 0.01, f"token {i}"
    assert len(got["ids"]) == len(case["ids"])
    assert got["text"] == case["text_out"]


@needs_model
@pytest.mark.parametrize("plain", ["", "1"], ids=["extensions", "plain"])
@pytest.mark.parametrize("number", range(len(golden_cases())))
def test_golden(number, plain):
    """With the engine's extensions, and with what mlx-c alone offers."""
    case = golden_cases()[number]
    limit = ["--max-tokens", str(len(case["ids"])), "--temp", "0"]
    env = {"NEXUS_NO_EXTENSIONS": plain}
    if "messages" in case and len(case["messages"]) > 2:
        pytest.skip("a command line has one user message; test_golden.c has this one")
    if "text" in case:
        got = answer(case["text"], "--raw", *limit, env=env)
    else:
        messages = {m["role"]: m["content"] for m in case["messages"]}
        system = ["--system", messages["system"]] if "system" in messages else []
        got = answer(messages["user"], *system, *limit, env=env)
    assert got["prompt_tokens"] == len(case["prompt_ids"])
    follows(case, got)


# ---- output ----

@needs_model
def test_streams_text_alone():
    r = nexus("run", MODEL, "What is the capital of France?", "--temp", "0")
    assert r.stdout == b"The capital of France is Paris.\n"
    assert r.stderr == b""


@needs_model
def test_prompt_from_a_pipe():
    r = nexus("run", MODEL, "--temp", "0", stdin=b"What is the capital of France?\n")
    assert r.stdout == b"The capital of France is Paris.\n"


@needs_model
def test_json_keys():
    got = answer("Hello", "--max-tokens", "5", "--seed", "3")
    for key in ("text ids logprobs prompt_tokens generated_tokens prefill_seconds decode_seconds "
                "time_to_first_token_seconds peak_memory_bytes stop_reason").split():
        assert key in got
    assert got["stop_reason"] == "length"
    assert got["generated_tokens"] == len(got["ids"]) == len(got["logprobs"]) == 5
    assert all(p <= 0 for p in got["logprobs"])


@needs_model
def test_seed_repeats_and_threads_do_not_matter():
    args = ("Tell me a story", "--seed", "11", "--temp", "1", "--max-tokens", "24")
    one = answer(*args, "--threads", "1")
    assert one["ids"] == answer(*args, "--threads", "2")["ids"]
    assert one["ids"] != answer(*args[:2], "12", *args[3:])["ids"]


@needs_model
def test_stop_string():
    got = answer("What is the capital of France?", "--temp", "0", "--stop", "France is")
    assert got["text"] == "The capital of "
    assert got["stop_reason"] == "stop"


@needs_model
def test_long_prompt_in_chunks_equals_itself_at_other_sizes():
    """A prompt of several chunks: the answer does not depend on where it was cut."""
    text = "The quick brown fox jumps over the lazy dog. " * 120
    whole = answer(text, "--raw", "--temp", "0", "--max-tokens", "4", "--ctx", "2048")
    assert whole["prompt_tokens"] > 1024
    assert whole["ids"] == answer(text, "--raw", "--temp", "0", "--max-tokens", "4", "--ctx", "4096")["ids"]


@needs_model
def test_invalid_utf8_is_replaced_and_told():
    r = nexus("run", MODEL, "--temp", "0", "--max-tokens", "3", stdin=b"caf\xff\xfe hello")
    assert r.returncode == 0
    assert b"2 places were replaced by U+FFFD" in r.stderr


@needs_model
def test_info():
    got = json.loads(nexus("info", MODEL, "--json").stdout)
    assert got["format"] == "gguf" and got["family"] == "llama" and got["quantization"] == "Q4_1"
    assert got["parameters"] == 134515008
    assert got["bytes"] == 98362432 and got["max_context"] == 8192
    assert 5.0 < got["bits_per_weight"] < 6.0
    assert got["bytes"] < got["memory_bytes"] < got["bytes"] + (250 << 20)
    more = json.loads(nexus("info", MODEL, "--json", "--ctx", "8192").stdout)
    per_token = 2 * 30 * 3 * 64 * 2
    assert more["memory_bytes"] - got["memory_bytes"] == 4096 * per_token
    assert b"parameters" in nexus("info", MODEL).stdout


@needs_model
@pytest.mark.skipif("NEXUS_NO_EXTENSIONS" not in os.environ, reason="the engine's extensions are there")
def test_packed_caches_need_the_extensions():
    fails(nexus("run", MODEL, "Hi", "--cache-type", "q8"), 2, "q8", "extensions", "f16")


needs_extensions = pytest.mark.skipif("NEXUS_NO_EXTENSIONS" in os.environ, reason="caches of 8 and 4 bits are an extension")


@needs_model
@needs_extensions
def test_packed_caches():
    """Caches of 8 and 4 bits: estimated, refused and measured as they are; a text does not depend on threads."""
    def need(kind):
        return json.loads(nexus("info", MODEL, "--json", "--ctx", "8192", "--cache-type", kind).stdout)["memory_bytes"]
    numbers, full = 2 * 30 * 3 * 64 * 8192, need("f16")
    assert full - need("q8") == numbers * 2 - numbers * 34 // 32
    assert full - need("q4") == numbers * 2 - numbers * 20 // 32
    words = "one two three four five six seven eight nine ten " * 55

    def run(kind, *more):
        return answer(words, "--raw", "--temp", "0", "--max-tokens", "4", "--ctx", "1024", "--cache-type", kind, *more)
    four, eight, wide = run("q4"), run("q8"), run("f32")
    assert four["prompt_tokens"] > 512 and run("q4", "--threads", "1")["ids"] == four["ids"]
    assert four["peak_memory_bytes"] < wide["peak_memory_bytes"] - (20 << 20)
    assert eight["peak_memory_bytes"] < wide["peak_memory_bytes"] - (16 << 20)
    fails(nexus("run", MODEL, "Hi", "--cache-type", "q5"), 2, "q5", "q8 or q4")
    fails(nexus("run", MODEL, "Hi", "--ctx", "8192", env={"NEXUS_MEMORY": str(full - (30 << 20))}), 1,
          "--cache-type q8")


@needs_model
def test_bench():
    got = json.loads(nexus("bench", MODEL, "-p", "16", "-n", "4", "-r", "1", "--json").stdout)
    for key in ("model threads prefill_tokens_per_second decode_tokens_per_second "
                "peak_memory_bytes").split():
        assert key in got
    assert got["prefill_tokens_per_second"] > 0 and got["decode_tokens_per_second"] > 0


@pytest.mark.parametrize("kind,shape,bits", [("gguf", "tiny", 4), ("gguf", "tiny-moe", 8),
                                             ("mlx", "tiny", 3), ("mlx", "tiny-moe", 4)])
def test_bench_of_a_shape(tmp_path, kind, shape, bits):
    """A model of random weights is made once, runs, and says what it reads."""
    command = ["bench", "--shape", shape, "--bits", str(bits), "--format", kind, "--out", str(tmp_path),
               "-p", "8", "-n", "4", "-r", "1", "-d", "16", "-b", "2", "--json"]
    first = nexus(*command)
    assert b"making" in first.stderr
    if os.environ.get("NEXUS_NO_EXTENSIONS") and (kind, shape) == ("gguf", "tiny-moe"):
        assert first.returncode == 1 and b"needs the engine's own GGUF support" in first.stderr
        return
    got = json.loads(first.stdout)
    assert got["depth"] == 16 and got["batch"] == 2 and got["decode_tokens_per_second"] > 0
    assert 0 < got["time_to_first_token_seconds"] and 0 < got["bandwidth_share"]
    made = tmp_path / f"{shape}-{bits}-bit"
    path = str(made) + ".gguf" if kind == "gguf" else str(made)
    info = json.loads(nexus("info", path, "--json").stdout)
    assert got["token_bytes"] < info["bytes"]
    assert info["format"] == kind
    assert b"making" not in nexus(*command).stderr


def test_bench_says_what_it_cannot_make(tmp_path):
    out = ["--out", str(tmp_path)]
    assert b"tinyllama-1.1b" in nexus("bench", "--shape", "giant", *out).stderr
    assert b"not 7" in nexus("bench", "--shape", "tiny", "--bits", "7", *out).stderr
    for wrong in (["--shape", "tiny", "model"], ["-b", "0", "model"], ["--shape", "tiny", "--format", "x"]):
        assert nexus("bench", *wrong).returncode == 2
    assert not list(tmp_path.iterdir())


@needs_model
def test_stored_name_in_any_case():
    assert nexus("info", "smollm2-135m-instruct.q4_1").returncode == 0


@needs_model
def test_settings_precedence(tmp_path):
    config = tmp_path / "nexus"
    config.mkdir()
    (config / "config.json").write_text('{"max_tokens": 2, "temp": 0}')
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert answer("Hello", env=env)["generated_tokens"] == 2
    assert answer("Hello", env={**env, "NEXUS_MAX_TOKENS": "3"})["generated_tokens"] == 3
    assert answer("Hello", "--max-tokens", "4",
                  env={**env, "NEXUS_MAX_TOKENS": "3"})["generated_tokens"] == 4


def test_help_and_version():
    assert nexus("--version").stdout.startswith(b"nexus ")
    for verb in ("run", "info", "bench"):
        r = nexus(verb, "--help")
        assert r.returncode == 0 and b"usage: nexus " + verb.encode() in r.stdout and r.stderr == b""


# ---- what goes wrong ----

def test_usage_errors():
    fails(nexus("run"), 2, "no model")
    fails(nexus("run", "x", "hi", "--nonsense"), 2, "--nonsense")
    fails(nexus("run", "x", "hi", "--temp"), 2, "needs a value")
    fails(nexus("run", "x", "hi", "--temp", "warm"), 2, "warm")
    fails(nexus("run", "x", "hi", "--max-tokens", "99999999999"), 2, "99999999999")
    fails(nexus("run", "x", ""), 2, "empty")
    fails(nexus("frobnicate"), 2, "frobnicate")
    assert nexus().returncode == 2


def test_missing_model():
    fails(nexus("run", "/nowhere/model.gguf", "hi"), 1, "/nowhere/model.gguf")
    fails(nexus("info", "no-such-model-stored"), 1, "no-such-model-stored")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all", b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_broken_files(tmp_path, content):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    fails(nexus("run", str(path), "hi"), 1, "broken.gguf")


def test_empty_folder(tmp_path):
    fails(nexus("run", str(tmp_path), "hi"), 1, str(tmp_path))


def test_unknown_family(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    header = b'{"__metadata__":{}}     '
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    fails(nexus("info", str(tmp_path)), 1, "nonesuch", "llama")


@needs_model
def test_truncated_model(tmp_path):
    data = open(MODEL, "rb").read()
    for size in (10, 1000, 100000, 2000000, len(data) // 2, len(data) - 1):
        path = tmp_path / "cut.gguf"
        path.write_bytes(data[:size])
        fails(nexus("run", str(path), "hi"), 1, "cut.gguf")


@needs_model
def test_prompt_longer_than_the_context():
    fails(nexus("run", MODEL, "word " * 100, "--ctx", "50"), 1, "context of 50")
    fails(nexus("run", MODEL, "hi", "--ctx", "100000"), 2, "8192")


@needs_model
def test_bad_values():
    fails(nexus("run", MODEL, "hi", "--cache-type", "q3"), 2, "q3", "f16")
    fails(nexus("run", MODEL, "hi", "--top-p", "7"), 2, "top_p")


@needs_model
def test_full_context_is_said():
    r = nexus("run", MODEL, "Count from one to a thousand", "--ctx", "64", "--temp", "0")
    assert r.returncode == 0
    assert b"context of 64 tokens is full" in r.stderr


@needs_model
def test_ctrl_c():
    p = subprocess.Popen([NEXUS, "run", MODEL, "Write a very long story", "--max-tokens", "4000",
                          "--temp", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.read(1)
    p.send_signal(signal.SIGINT)
    start = time.time()
    p.communicate(timeout=20)
    assert p.returncode == 130
    assert time.time() - start < 10


@needs_model
def test_closed_stdout():
    p = subprocess.Popen([NEXUS, "run", MODEL, "Write a long story", "--max-tokens", "2000"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(1)
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait(timeout=30) == 1
    assert b"could not be written" in err


@needs_model
def test_full_disk():
    with open("/dev/full", "wb") as full:
        r = subprocess.run([NEXUS, "run", MODEL, "Hello", "--max-tokens", "5"], stdout=full,
                           stderr=subprocess.PIPE, timeout=60)
    assert r.returncode == 1 and b"could not be written" in r.stderr


@needs_model
@pytest.mark.parametrize("n", [1, 2, 5, 50, 200, 500])
def test_allocation_failure(n):
    r = nexus("run", MODEL, "Hello", "--max-tokens", "3", env={"NEXUS_FAIL_ALLOC": str(n)})
    assert r.returncode in (0, 1)
    if r.returncode:
        assert b"memory" in r.stderr
