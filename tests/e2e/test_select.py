"""nexus select, run auto, and the refusal of what does not fit."""
import json
import os
import sys

import pytest

import trees
from test_models import SMOL, environment, home, run  # noqa: F401  (home is a fixture)

needs_model = pytest.mark.skipif(not os.path.exists(SMOL), reason="the small model is not stored")
LLAMA8 = trees.Shape(32, 4096, 32, 8, 14336, 128256, 131072)
TINY = trees.Shape(22, 2048, 32, 4, 5632, 32000, 2048)
B14 = trees.Shape(40, 5120, 40, 8, 17408, 151936, 40960)


@pytest.fixture
def models(tmp_path):
    d = tmp_path / "models"
    trees.mlx(d / "Qwen3-14B-MLX-4bit", B14)
    trees.gguf(d / "Meta-Llama-3.1-8B-Instruct-Q6_K.gguf", LLAMA8, kind="Q6_K")
    trees.mlx(d / "TinyLlama-1.1B-Chat-v1.0-mlx", TINY)
    trees.gguf(d / "Some-Coder-1B.gguf", TINY, kind="Q8_0")
    trees.hf(d / "bge-small", trees.Shape(), model_type="bert", architectures=["BertModel"])
    (d / "broken.gguf").write_bytes(b"nothing that could be a model")
    return d


def chosen(home, *args, code=0, **env):
    r = run(home, "select", *map(os.fspath, args), "--json", **env)
    assert r.returncode == code, r.stderr.decode()
    return json.loads(r.stdout)


@pytest.mark.parametrize("memory, want", [
    (16, "Qwen3-14B-MLX-4bit"), (12, "Qwen3-14B-MLX-4bit"),
    (11.9, "Meta-Llama-3.1-8B-Instruct-Q6_K"), (8, "Meta-Llama-3.1-8B-Instruct-Q6_K"),
    (7.9, "TinyLlama-1.1B-Chat-v1.0-mlx"), (2, "TinyLlama-1.1B-Chat-v1.0-mlx")])
def test_the_users_rule(home, models, memory, want):
    got = chosen(home, "--dir", models, "--memory", str(memory))
    assert got["model"] == want and got["path"].startswith(str(models / want))
    assert want in got["reason"] and got["memory_bytes"] < memory * 1e9
    names = [c["model"] for c in got["candidates"]]
    assert names[0] == want and sorted(names) == sorted(set(names))
    assert "broken" not in names and "bge-small" not in names
    assert got["pull"] is None


def test_exact_memory_beats_the_rule(home, models):
    """At a long context the 8B model needs more than the 8 GB for which the rule names it."""
    got = chosen(home, "--dir", models, "--memory", "8", "--context", "32768")
    assert got["model"] == "TinyLlama-1.1B-Chat-v1.0-mlx"
    assert "Meta-Llama-3.1-8B-Instruct-Q6_K, which needs" in got["reason"]
    assert all(c["fits"] == (c["memory_bytes"] <= 8e9) for c in got["candidates"])


def test_tasks(home, models):
    assert chosen(home, "--dir", models, "--memory", "16", "--task", "code")["model"] in (
        "Some-Coder-1B", "Qwen3-14B-MLX-4bit")
    assert chosen(home, "--dir", models, "--memory", "3", "--task", "code")["model"] == "Some-Coder-1B"
    assert chosen(home, "--dir", models, "--task", "embed")["model"] == "bge-small"
    got = chosen(home, "--dir", models, "--task", "small")
    assert got["memory_bytes"] == min(c["memory_bytes"] for c in got["candidates"])
    r = run(home, "select", "--task", "juggle", "--dir", str(models))
    assert r.returncode == 2 and b"juggle" in r.stderr and b"transcribe" in r.stderr


def test_none_suitable_says_what_to_pull(home, models, tmp_path):
    got = chosen(home, "--dir", models, "--task", "transcribe", code=1)
    assert got["model"] is None and got["path"] is None and "whisper" in got["pull"]
    got = chosen(home, "--dir", models, "--memory", "0.3", code=1)
    assert got["model"] is None and "fits" in got["reason"] and got["pull"]
    r = run(home, "select", "--dir", str(tmp_path / "models"), "--memory", "0.3")
    assert r.returncode == 1 and b"nexus pull" in r.stderr
    got = chosen(home, code=1)  # nothing anywhere
    assert got["candidates"] == []


def test_a_policy_of_ones_own(home, models):
    shipped = run(home, "select", "--policy")
    policy = json.loads(shipped.stdout)
    assert b"policy.json" in shipped.stderr
    policy["tasks"]["chat"]["rules"] = [{"memory_gb": 1, "model": "some-coder-1b"}]
    policy["tasks"]["poetry"] = {"kinds": ["text"], "words": {"tiny": 100}}
    trees.settings(home / ".config/nexus", "policy.json", policy)
    assert chosen(home, "--dir", models, "--memory", "16")["model"] == "Some-Coder-1B"
    assert chosen(home, "--dir", models, "--task", "poetry")["model"].startswith("TinyLlama")
    (home / ".config/nexus/policy.json").write_text('{"tasks": 3}')
    r = run(home, "select", "--dir", str(models))
    assert r.returncode == 1 and b"policy.json" in r.stderr
    (home / ".config/nexus/policy.json").write_text('{"tasks": {')
    r = run(home, "select", "--dir", str(models))
    assert r.returncode == 1 and b"policy.json" in r.stderr


def test_text_for_a_person(home, models):
    r = run(home, "select", "--dir", str(models), "--memory", "9")
    out = r.stdout.decode()
    assert out.splitlines()[0] == "Meta-Llama-3.1-8B-Instruct-Q6_K"
    assert "Runners-up" in out and "TinyLlama" in out and "needs 9" in out


# ---- predicted against measured memory ----

@needs_model
@pytest.mark.skipif("NEXUS_NO_EXTENSIONS" in os.environ or "NEXUS_SLOW" in os.environ,
                    reason="the figures are those of the engine's own kernels")
@pytest.mark.parametrize("context", [512, 1536])
def test_predicted_memory_is_within_five_percent(context):
    """bench/memory.py has more models and longer contexts, for docs/models.md."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench"))
    import memory
    peak, info = memory.measure(os.environ["NEXUS_BIN"], SMOL, context, b" the")
    # all of its matrices are turned, so they lie in anonymous memory
    measured = peak + info["bytes"] - memory.turned_bytes_of_file(SMOL)
    assert info["memory_bytes"] == pytest.approx(measured, rel=0.05)


# ---- run auto, refusal ----

@pytest.fixture
def stored(home):
    store = home / ".local/share/nexus/models"
    store.mkdir(parents=True)
    os.symlink(SMOL, store / os.path.basename(SMOL))
    return home


@needs_model
def test_run_auto(stored):
    r = run(stored, "run", "auto", "What is the capital of France?", "--temp", "0")
    assert r.stdout == b"The capital of France is Paris.\n" and r.stderr == b""
    r = run(stored, "info", "auto:small", "--json")
    assert json.loads(r.stdout)["quantization"] == "Q4_1"
    r = run(stored, "run", "auto:vision", "hi")
    assert r.returncode == 1 and b"nexus pull" in r.stderr


@needs_model
def test_what_does_not_fit_is_refused_with_what_would(stored):
    r = run(stored, "run", SMOL, "hi", "-n", "2", "--ctx", "8192", NEXUS_MEMORY="200M")
    text = r.stderr.decode()
    assert r.returncode == 1 and r.stdout == b""
    assert "with a context of 8192" in text and "200 MB" in text and "--force" in text
    fits = text.split("--ctx ")[1].split(";")[0]
    assert run(stored, "run", SMOL, "hi", "-n", "2", "--ctx", fits, NEXUS_MEMORY="200M").returncode == 0
    more = str(int(fits) + 256)
    assert run(stored, "run", SMOL, "hi", "-n", "2", "--ctx", more, NEXUS_MEMORY="200M").returncode == 1
    r = run(stored, "run", SMOL, "hi", "-n", "2", "--ctx", "8192", "--force", NEXUS_MEMORY="200M")
    assert r.returncode == 0
    r = run(stored, "run", SMOL, "hi", "-n", "2", "--ctx", "2048", "--cache-type", "f32", NEXUS_MEMORY="190M")
    assert r.returncode == 1 and b"--cache-type f16" in r.stderr
    r = run(stored, "chat", SMOL, NEXUS_MEMORY="50M")
    assert r.returncode == 1 and b"needs" in r.stderr


def test_a_giant_is_refused_before_anything_is_read(home, tmp_path):
    shape = trees.Shape(126, 16384, 128, 8, 53248, 1000, 131072)
    trees.gguf(tmp_path / "giant.gguf", shape, kind="Q8_0")
    trees.gguf(home / ".local/share/nexus/models/small-one.gguf")
    r = run(home, "run", str(tmp_path / "giant.gguf"), "hi")
    assert r.returncode == 1 and b"needs" in r.stderr and b"small-one fits" in r.stderr
