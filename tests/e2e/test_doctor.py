"""nexus doctor, with a stand-in that speaks LM Studio's REST API."""
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import trees
from test_models import home, run  # noqa: F401


class Studio:
    """Answers GET /api/v0/models as LM Studio 0.3 and later do."""

    def __init__(self, models, status=200, raw=None):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                body = raw if raw is not None else json.dumps({"object": "list", "data": models}).encode()
                ok = self.path == "/api/v0/models"
                self.send_response(status if ok else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def studio():
    started = []

    def start(*args, **kw):
        started.append(Studio(*args, **kw))
        return started[-1].url

    yield start
    for s in started:
        s.server.shutdown()
        s.server.server_close()


def model(name, state="loaded", **more):
    return {"id": name, "object": "model", "type": "llm", "publisher": "p", "arch": "llama",
            "compatibility_type": "gguf", "quantization": "Q4_0", "state": state,
            "max_context_length": 131072, **more}


def examined(home, *args, code=0, **env):
    r = run(home, "doctor", "--json", *args, **env)
    assert r.returncode == code, r.stdout.decode() + r.stderr.decode()
    return json.loads(r.stdout)


def told(got, name):
    return [c for c in got["checks"] if c["name"] == name]


def test_a_page_for_a_bug_report(home):
    r = run(home, "doctor", "--lmstudio", "http://127.0.0.1:9")
    out = r.stdout.decode()
    assert r.returncode == 0 and "\033" not in out and r.stderr == b""
    for word in ("nexus", "engine", "MLX", "matmul", "GFLOP/s", "memory", "models", "LM Studio", "All is well"):
        assert word in out
    got = examined(home, "--lmstudio", "http://127.0.0.1:9")
    assert got["ok"] and got["engine"]["interface_version"] == "0.31.2"
    assert got["engine"]["shares_memory"] and got["engine"]["matmul_error"] < 1e-5
    assert 0 < got["engine"]["matmul_seconds"] < 30
    assert 0 < got["memory"]["available"] <= got["memory"]["total"]
    assert got["models"]["count"] == 0 and got["lmstudio"] == {"running": False}
    assert {c["status"] for c in got["checks"]} <= {"ok", "note", "bad"}


def test_lmstudio_and_what_it_has_loaded(home, studio):
    trees.gguf(home / ".lmstudio/models/p/small-GGUF/small-Q4_0.gguf")
    url = studio([model("small-q4_0", loaded_context_length=2048), model("other", "not-loaded")])
    got = examined(home, "--lmstudio", url)
    lm = got["lmstudio"]
    assert lm["running"] and lm["models"] == 2 and len(lm["loaded"]) == 1
    assert lm["loaded"][0]["context"] == 2048 and lm["loaded"][0]["suits"]
    assert lm["loaded"][0]["memory_bytes"] > 0
    assert any("small-q4_0 is loaded: gguf, Q4_0, context 2048" in c["text"] for c in told(got, "LM Studio"))
    got = examined(home, NEXUS_LMSTUDIO=url + "/")
    assert got["lmstudio"]["running"]


def test_a_model_too_big_for_the_machine_is_bad(home, studio):
    big = trees.Shape(126, 16384, 128, 8, 53248, 1000, 131072)
    trees.gguf(home / ".lmstudio/models/p/big/big-Q8_0.gguf", big, kind="Q8_0")
    url = studio([model("big", loaded_context_length=131072)])
    got = examined(home, "--lmstudio", url, code=1)
    assert not got["ok"] and not got["lmstudio"]["loaded"][0]["suits"]
    r = run(home, "doctor", "--lmstudio", url)
    assert r.returncode == 1 and b"to be put right" in r.stdout


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"data": 3}', b"{" * 100000, b"x" * (5 << 20),
                                    b'{"data": [3, null, {"state": "loaded"}]}'],
                         ids=["empty", "html", "list", "number", "deep", "long", "odd"])
def test_something_else_on_the_port(home, studio, answer):
    got = examined(home, "--lmstudio", studio([], raw=answer))
    assert got["ok"]


def test_an_error_on_the_port(home, studio):
    assert examined(home, "--lmstudio", studio([], status=500))["ok"]


def test_only_this_machine_is_asked(home):
    for url in ("http://example.com:1234", "http://127.0.0.1.evil.example", "http://127.0.0.1:1@evil.example"):
        got = examined(home, "--lmstudio", url)
        assert "no address of this machine" in told(got, "LM Studio")[0]["text"]


def test_what_is_wrong_is_told(home, tmp_path):
    trees.settings(home / ".config/nexus", "config.json", {"folders": ["/nowhere"]})
    got = examined(home, code=1)
    assert told(got, "folder")[0]["status"] == "bad"
    (home / ".config/nexus/config.json").write_text("{ no json")
    got = examined(home, code=1)
    assert told(got, "settings")[0]["status"] == "bad"


def test_models_are_counted(home, tmp_path):
    trees.gguf(tmp_path / "m" / "a.gguf", seed=1)
    trees.mlx(tmp_path / "m" / "b")
    (tmp_path / "m" / "c.gguf").write_bytes(b"broken, as it happens to be")
    got = examined(home, NEXUS_FOLDERS=str(tmp_path / "m"))
    assert got["models"] == {"count": 3, "ready": 2, "mlx": 1, "gguf": 2, "broken": 1, "fit_now": 2,
                             "copies": 0, "bytes": got["models"]["bytes"]}
