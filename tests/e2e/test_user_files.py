"""The user's own files: the Python module and the scripts."""
import os
import subprocess
import sys

import pytest

import trees
from test_models import SMOL, environment, home, run  # noqa: F401

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "src"))
from nexus.core import ai_model_manager as manager  # noqa: E402

needs_model = pytest.mark.skipif(not os.path.exists(SMOL), reason="the small model is not stored")


@pytest.fixture
def at_home(home, monkeypatch):
    for k in list(os.environ):
        if k.startswith(("XDG_", "HF_", "OLLAMA_")):
            monkeypatch.delenv(k)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def models(tmp_path):
    d = tmp_path / "models"
    trees.mlx(d / "TinyLlama-1.1B-Chat-v1.0-mlx", trees.Shape(22, 2048, 32, 4, 5632, 32000, 2048))
    trees.gguf(d / "Meta-Llama-3.1-8B-Instruct-Q6_K.gguf",
               trees.Shape(32, 4096, 32, 8, 14336, 128256, 131072), kind="Q6_K")
    return d


def test_select_optimal_model(at_home, models):
    s = manager.select_optimal_model("chat", 8.5, folder=models)
    assert s.model == "Meta-Llama-3.1-8B-Instruct-Q6_K" and s.path.endswith(".gguf") and s.reason
    assert all(isinstance(c, manager.Candidate) for c in s.candidates) and s.candidates[0].fits
    assert manager.select_optimal_model("chat", 4, folder=models).model == "TinyLlama-1.1B-Chat-v1.0-mlx"
    none = manager.select_optimal_model("vision", 4, folder=models)
    assert none.model is None and none.pull
    with pytest.raises(manager.NexusError, match="juggle"):
        manager.select_optimal_model("juggle")


def test_list_models(at_home, models):
    assert len(manager.list_models(models)) == 2
    assert [m["format"] for m in manager.list_models(models, mlx_only=True)] == ["mlx"]
    with pytest.raises(manager.NexusError, match="/nowhere"):
        manager.list_models("/nowhere")


def test_optimize_for_unified_memory(at_home):
    r = manager.optimize_for_unified_memory()
    assert r.copies_when_loading is False and 0 < r.available_bytes <= r.total_bytes
    assert r.reserve_bytes > 0 and r.engine in ("own", "system") and isinstance(r.advice, list)


@needs_model
def test_load_and_answer(at_home):
    with manager.load_mlx_model(SMOL) as m:
        assert m.info["family"] == "llama"
        assert m.tokenize("Hello world") and "assistant" in m.render([{"role": "user", "content": "Hi"}])
        answer = m.chat("What is the capital of France?", temperature=0)
        assert answer == "The capital of France is Paris."
        assert isinstance(m.chat("--help", max_tokens=3, seed=1), str)
    with pytest.raises(manager.NexusError, match="closed"):
        m.tokenize("x")
    m.close()


def test_unquantized_is_told(at_home, tmp_path):
    trees.hf(tmp_path / "big")
    with pytest.raises(manager.NexusError, match="quantized=False"):
        manager.load_mlx_model(tmp_path / "big")
    with pytest.raises(manager.NexusError):
        manager.load_mlx_model("/nowhere/model")


# ---- scripts ----

def script(home, name, *args, **env):
    return subprocess.run(["sh", os.path.join(ROOT, "scripts", name), *map(os.fspath, args)],
                          capture_output=True, env=environment(home, NEXUS_BIN=os.environ["NEXUS_BIN"], **env))


def test_enhanced_ai_integration(home, models, tmp_path):
    r = script(home, "ai/enhanced_ai_integration.sh", models)
    assert r.returncode == 0, r.stderr.decode()
    assert b"MLX models: 1" in r.stdout and b"TinyLlama" in r.stdout and b"nexus select" in r.stdout
    assert script(home, "ai/enhanced_ai_integration.sh", NEXUS_MODELS_DIR=str(models)).returncode == 0
    trees.gguf(tmp_path / "none" / "x.gguf")
    r = script(home, "ai/enhanced_ai_integration.sh", tmp_path / "none")
    assert r.returncode == 1 and b"no MLX models" in r.stdout
    r = script(home, "ai/enhanced_ai_integration.sh", "/nowhere")
    assert r.returncode == 1 and b"not there" in r.stderr
    assert script(home, "ai/enhanced_ai_integration.sh").returncode == 1


def test_adaptive_display_detector(home):
    r = script(home, "adaptive_display_detector.sh", DISPLAY="", NEXUS_DRM="/nowhere")
    assert r.returncode == 0 and b"memory" in r.stdout and b"suits" in r.stdout


def test_scripts_are_posix(home):
    for name in ("ai/enhanced_ai_integration.sh", "adaptive_display_detector.sh"):
        path = os.path.join(ROOT, "scripts", name)
        assert open(path).readline() == "#!/bin/sh\n" and os.access(path, os.X_OK)
        assert subprocess.run(["sh", "-n", path]).returncode == 0
