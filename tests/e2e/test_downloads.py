"""Models that come and go through the server, from a hub on loopback: ollama's, LM Studio's and the
page's ways, and --offline."""
import http.client
import json
import os
import socket
import time

import pytest

import trees
from hub import Hub
from servers import Server, ask, serving, wait_for

TINY = trees.Shape(layers=2, hidden=64, heads=4, ff=128, vocab=300)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    d = tmp_path_factory.mktemp("content")
    trees.gguf(d / "m.gguf", TINY, kind="Q4_0")
    return (d / "m.gguf").read_bytes()


@pytest.fixture
def hub(content):
    h = Hub()
    h.repos["org/tiny"] = {"tiny-Q4_0.gguf": content, "tiny-Q8_0.gguf": content + b"\0" * 32}
    h.repos["org/slow"] = {"slow.gguf": content}
    h.rate = None
    yield h
    h.close()


def env(hub, tmp_path):
    return {"HF_ENDPOINT": hub.url, "XDG_DATA_HOME": str(tmp_path / "data"), "HF_TOKEN": "",
            "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HOME": str(tmp_path)}


@pytest.fixture
def server(hub, tmp_path):
    s = Server(env=env(hub, tmp_path))
    yield s
    if s.process.poll() is None:
        assert s.stop() == 0


def names(server):
    return [m["name"] for m in ask(server, "GET", "/api/tags")[1]["models"]]


def test_ollama_package(server, hub, tmp_path):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    lines = list(client.pull("hf.co/org/tiny:Q4_0", stream=True))
    assert lines[-1].status == "success" and names(server) == ["tiny-Q4_0"]
    assert (tmp_path / "data/nexus/models/tiny-Q4_0.gguf").exists()
    assert client.pull("org/tiny:Q4_0").status == "success"  # it is there
    client.copy("tiny-Q4_0", "small")
    assert client.show("small").details.format == "gguf"
    with pytest.raises(ollama.ResponseError, match="already"):
        client.copy("tiny-Q4_0", "tiny-q4_0")
    client.delete("small")
    with pytest.raises(ollama.ResponseError, match="no model"):
        client.show("small")
    client.delete("tiny-Q4_0:latest")
    assert names(server) == [] and not (tmp_path / "data/nexus/models/tiny-Q4_0.gguf").exists()
    with pytest.raises(ollama.ResponseError, match="no stored model"):
        client.delete("tiny-Q4_0")
    _, _, r = ask(server, "DELETE", "/api/delete", {"model": "tiny", "frobnicate": 1})
    assert r.headers["X-Nexus-Ignored"] == "frobnicate"
    for bad in ("org/none", "llama3", "../..", "org/../tiny", "org/tiny:nothing"):
        with pytest.raises(ollama.ResponseError):
            client.pull(bad)
        with pytest.raises(ollama.ResponseError):
            list(client.pull(bad, stream=True))
    for bad in ("../../x", "/etc/passwd", "", ".hidden"):
        assert ask(server, "DELETE", "/api/delete", {"model": bad})[0] in (400, 404)
        assert ask(server, "POST", "/api/copy", {"source": "tiny-Q4_0", "destination": bad})[0] in (400, 404)


def test_progress_and_a_client_that_leaves(server, hub, content):
    hub.rate = 20000
    body = json.dumps({"model": "org/slow"}).encode()
    s = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    s.sendall(b"POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert wait_for(lambda: any(p["status"] == "downloading" and p["downloaded_bytes"] > 0
                                for p in ask(server, "GET", "/nexus/pulls")[1]["pulls"]), 20)
    s.close()
    assert wait_for(lambda: ask(server, "GET", "/nexus/pulls")[1]["pulls"][0]["status"] == "paused", 20)
    assert names(server) == []
    hub.rate = None
    got = ask(server, "POST", "/api/pull", {"model": "org/slow", "stream": False})[1]
    assert got == {"status": "success"} and names(server) == ["slow"]


def test_lmstudio_download(server, hub):
    hub.rate = 40000
    status, job, _ = ask(server, "POST", "/api/v1/models/download",
                         {"model": "https://huggingface.co/org/tiny", "quantization": "Q4_0"})
    assert status == 200 and job["status"] == "downloading" and job["total_size_bytes"] > 0, job
    at = "/api/v1/models/download/status/" + job["job_id"]
    seen = []
    assert wait_for(lambda: seen.append(ask(server, "GET", at)[1]) or seen[-1]["status"] == "completed", 60)
    done = [s["downloaded_bytes"] for s in seen]
    assert done == sorted(done) and done[-1] == job["total_size_bytes"] and "bytes_per_second" in seen[0]
    again = ask(server, "POST", "/api/v1/models/download", {"model": "org/tiny", "quantization": "Q4_0"})[1]
    assert again["status"] == "already_downloaded"
    status, r, _ = ask(server, "POST", "/api/v1/models/download", {"model": "org/none"})
    assert status in (404, 502) and "org/none" in r["error"]["message"]
    assert ask(server, "GET", "/api/v1/models/download/status/none")[0] == 404
    assert ask(server, "POST", "/api/v1/models/download", {})[0] == 400


def test_cancel(server, hub):
    hub.rate = 20000
    job = ask(server, "POST", "/api/v1/models/download", {"model": "org/slow", "frobnicate": 1})[1]
    assert "frobnicate" in job["warnings"][0]
    assert ask(server, "DELETE", "/nexus/pulls/" + job["job_id"])[0] == 200
    assert wait_for(lambda: ask(server, "GET", "/nexus/pulls")[1]["pulls"][0]["status"] == "paused", 20)
    assert ask(server, "DELETE", "/nexus/pulls/none")[0] == 404


def test_the_end_of_the_server_ends_a_download(server, hub, tmp_path):
    hub.rate = 20000
    ask(server, "POST", "/api/v1/models/download", {"model": "org/slow"})
    start = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - start < 8
    assert [f for f in os.listdir(tmp_path / "data/nexus/models") if f.endswith(".gguf")] == []


def test_the_hub_gives_up_in_the_middle(server, hub):
    hub.corrupt = 100
    lines = raw_lines(server, {"model": "org/tiny:Q8_0"})
    assert "error" in lines[-1] and names(server) == []


def raw_lines(server, body):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    c.request("POST", "/api/pull", json.dumps(body))
    return [json.loads(line) for line in c.getresponse().read().splitlines()]


def test_offline(hub, tmp_path):
    with serving("--offline", env=env(hub, tmp_path)) as s:
        for path, body in (("/api/pull", {"model": "org/tiny"}), ("/api/v1/models/download", {"model": "org/tiny"})):
            status, r, _ = ask(s, "POST", path, body)
            assert status == 403 and "--offline" in str(r)
        assert ask(s, "GET", "/nexus/pulls")[1] == {"pulls": [], "offline": True}
    assert hub.requests == []


def test_models_in_folders(content, hub, tmp_path):
    for d in ("one", "two"):
        (tmp_path / d).mkdir()
        (tmp_path / d / f"{d}.gguf").write_bytes(content)
    with serving("--models", str(tmp_path / "one"), "--models", str(tmp_path / "two"), env=env(hub, tmp_path)) as s:
        assert len(names(s)) >= 1
        status, r, _ = ask(s, "DELETE", "/api/delete", {"model": "one"})
        assert status == 403 and (tmp_path / "one/one.gguf").exists()
