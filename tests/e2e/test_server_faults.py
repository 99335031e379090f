"""Clients, disks and files that fail while the server runs."""
import concurrent.futures
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from servers import FRANCE, HAS_MODEL, MODEL, NEXUS, PARIS, STORE, Server, ask, chat, serving, wait_for

pytestmark = pytest.mark.skipif(not HAS_MODEL, reason="the small model is not stored")

# What each interface takes: a body that is answered with 200, cheaply.
BODIES = {
    "/v1/chat/completions": {"messages": FRANCE, "max_tokens": 1},
    "/v1/completions": {"prompt": "One", "max_tokens": 1},
    "/v1/responses": {"input": "One", "max_output_tokens": 1, "store": False},
    "/v1/messages": {"messages": FRANCE, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": FRANCE},
    "/api/chat": {"model": MODEL, "messages": FRANCE, "options": {"num_predict": 1}, "stream": False},
    "/api/generate": {"model": MODEL, "prompt": "One", "options": {"num_predict": 1}, "stream": False},
    "/tokenize": {"content": "One"},
    "/detokenize": {"tokens": [1, 2]},
    "/apply-template": {"messages": FRANCE},
}


@pytest.fixture(scope="module")
def server():
    s = Server("--model", MODEL)
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def small():
    """One whose answers cannot become long, whatever a request asks."""
    s = Server("--model", MODEL, "--ctx", "64")
    yield s
    assert s.stop() == 0


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def active(server):
    return ask(server, "GET", "/nexus/ps")[1]["requests"] - 1


def request(path, body, more=b""):
    return (b"POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n"
            % (path.encode(), more, len(body)) + body)


# ---- bodies ----

@pytest.mark.parametrize("path", BODIES)
def test_bodies_cut_at_every_place(server, path):
    """Cut JSON, whole as HTTP: 400 each time, with a message, and never anything generated."""
    body = json.dumps(BODIES[path]).encode()
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for cut in range(len(body)):
        c.request("POST", path, body[:cut])
        r = c.getresponse()
        text = r.read()
        assert r.status == 400 and b"error" in text, (cut, r.status, text)
    c.request("POST", path, body)
    r = c.getresponse()
    assert r.status == 200, r.read()
    c.close()


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_are_none(server, path):
    deep = b'{"messages":' + b"[" * 200000
    closed = b'{"messages":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    texts = [b"", b"null", b"3", b'"x"', b"[]", b"{}x", b"\x00", b'{"messages": "\xc3\x28"}', b'{"\xff": 1}',
             b'{"prompt": "\xed\xa0\x80"}', b"\xef\xbb\xbf{}", deep, closed, b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}"]
    for text in texts:
        status, r, _ = ask(server, "POST", path, raw=text)
        assert status == 400 and isinstance(r, dict) and r.get("error"), (text[:40], status, r)


WRONG = (None, True, -1, 1 << 62, 1.5, "", "x", [], [None], {}, {"a": []}, [[]], ["\u0000"], [{"role": 3}],
         [{"role": "user"}], [{"role": "user", "content": [{"type": "text"}]}], {"type": 3}, "\ud7ff", float("1e300"))
KEYS = ("model", "messages", "prompt", "input", "system", "max_tokens", "temperature", "stop", "stream", "tools",
        "tool_choice", "logit_bias", "response_format", "format", "grammar", "regex", "options", "n", "logprobs",
        "top_logprobs", "seed", "stream_options", "chat_template_kwargs", "think", "keep_alive", "lookup",
        "draft_tokens", "json_schema", "stop_sequences", "echo", "best_of", "content", "tokens")


@pytest.mark.parametrize("path", BODIES)
def test_every_field_with_every_kind_of_value(small, path):
    """Whatever stands in a field: an answer or a 4xx that says what is wrong; never a 5xx."""
    every = 1 if os.environ.get("NEXUS_LONG") else 13  # ./check tries a sample, ./check full all
    pairs = [(key, value) for key in KEYS
             for value in (WRONG if key in BODIES[path] or key in ("tools", "format", "options") else WRONG[:8])
             if (key, value) not in (("stream", True), ("n", 1 << 62))]
    c = http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)
    for key, value in pairs[list(BODIES).index(path) % every::every]:
        c.request("POST", path, json.dumps({**BODIES[path], key: value}))
        r = c.getresponse()
        text = r.read()
        assert r.status < 500, (key, value, text)
        assert r.status == 200 or b"error" in text, (key, value, text)
    c.close()


def test_lengths_that_lie(server):
    for header in (b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: x",
                   b"Content-Length: 4611686018427387904", b"Transfer-Encoding: chunked\r\n\r\nZZ",
                   b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"):
        s = connect(server)
        s.settimeout(5)
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n{}")
        try:
            got = s.recv(4096)
        except TimeoutError:
            got = b""  # it waits for what was announced
        assert not got or re.match(rb"HTTP/1\.1 4\d\d", got), (header, got[:100])
        s.close()
    s = connect(server)
    s.settimeout(10)
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = 0
    with pytest.raises((OSError, StopIteration)):  # refused before it has sent 40 MB, or answered
        while sent < 40 << 20:
            s.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
            sent += 1 << 20
        raise StopIteration
    s.close()
    assert chat(server, max_tokens=1)[0] == 200


# ---- clients ----

def test_slow_and_half_open_clients_hinder_nobody(server):
    body = json.dumps(BODIES["/v1/chat/completions"]).encode()
    whole = request("/v1/chat/completions", body)
    slow = [connect(server) for _ in range(100)]
    for i, s in enumerate(slow):  # each stops at another place, and stays
        s.sendall(whole[:i * (len(whole) - 1) // 100])
    half = []
    for _ in range(20):  # they will say no more, and wait for the answer
        s = connect(server)
        s.sendall(whole)
        s.shutdown(socket.SHUT_WR)
        half.append(s)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(status == 200 for status, _, _ in pool.map(lambda i: chat(server, max_tokens=2), range(8)))
    for s in half:
        s.settimeout(30)
        s.recv(1 << 16)
        s.close()
    for i, s in enumerate(slow):
        s.sendall(whole[i * (len(whole) - 1) // 100:])
    for s in slow:  # slow is not wrong
        assert b" 200 " in s.recv(64)
        s.close()
    assert wait_for(lambda: active(server) == 0)


def test_a_reader_that_stands_still_holds_no_lane_for_ever(server):
    """A stream that nobody reads fills the socket; closing it ends the work."""
    s = connect(server)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(request("/v1/chat/completions", json.dumps(
        {"messages": FRANCE, "max_tokens": 2000, "ignore_eos": True, "stream": True}).encode()))
    assert wait_for(lambda: active(server) == 1)
    time.sleep(0.5)
    assert chat(server, max_tokens=2)[0] == 200
    s.close()
    assert wait_for(lambda: active(server) == 0, 10)


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_while_the_prompt_is_read(server, stream):
    before = float(re.search(r"^nexus_prompt_tokens_total (\S+)$", ask(server, "GET", "/metrics")[1], re.M).group(1))
    body = {"messages": [{"role": "user", "content": f"{stream} " + "word " * 3800}], "max_tokens": 5, "stream": stream}
    s = connect(server)
    s.sendall(request("/v1/chat/completions", json.dumps(body).encode()))
    assert wait_for(lambda: active(server) == 1)
    time.sleep(0.3)
    s.close()
    start = time.monotonic()
    assert wait_for(lambda: active(server) == 0, 5), "the prompt was read on for nobody"
    assert time.monotonic() - start < 5
    after = float(re.search(r"^nexus_prompt_tokens_total (\S+)$", ask(server, "GET", "/metrics")[1], re.M).group(1))
    assert after >= before


def test_leaving_in_the_queue():
    with serving("--model", MODEL, "--parallel", "1") as s:
        long = json.dumps({"messages": FRANCE, "max_tokens": 2000, "ignore_eos": True}).encode()
        waiting = []
        for _ in range(6):
            c = connect(s)
            c.sendall(request("/v1/chat/completions", long))
            waiting.append(c)
        assert wait_for(lambda: active(s) == 6)
        for c in waiting[::-1]:
            c.close()
        assert wait_for(lambda: active(s) == 0)
        assert chat(s)[1]["choices"][0]["message"]["content"] == PARIS


# ---- disks and files ----

def data_home(tmp_path):
    """A data folder of its own whose store has the model."""
    models = tmp_path / "nexus" / "models"
    models.mkdir(parents=True)
    os.symlink(os.path.join(STORE, MODEL + ".gguf"), models / (MODEL + ".gguf"))
    return {"XDG_DATA_HOME": str(tmp_path)}


def store(server, i, size=400):
    return ask(server, "PUT", f"/nexus/conversations/talk-{i}",
               {"title": f"Talk {i}", "changed": i, "messages": [{"role": "user", "content": f"{i} " * size}]})[0]


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    env = data_home(tmp_path)
    kept = []
    for turn in range(3):
        with serving(env=env) as s:
            for i in kept:
                got = ask(s, "GET", f"/nexus/conversations/talk-{i}")
                assert got[0] == 200 and got[1]["messages"][0]["content"].startswith(f"{i} ")

            def writer(k):
                for i in range(1000 * turn + 200 * k, 1000 * turn + 200 * k + 200):
                    try:
                        if store(s, i) == 200:
                            kept.append(i)
                    except (OSError, http.client.HTTPException):
                        return
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                for k in range(4):
                    pool.submit(writer, k)
                assert wait_for(lambda: len(kept) > 20 * (turn + 1))
                s.process.send_signal(signal.SIGKILL)
    with serving(env=env) as s:
        ids = {c["id"] for c in ask(s, "GET", "/nexus/conversations")[1]["conversations"]}
        assert {f"talk-{i}" for i in kept} <= ids
        assert s.stop() == 0


def test_a_full_disk(tmp_path):
    """No file may grow over 64 kB: what cannot be stored is refused, and the rest goes on."""
    env = {**os.environ, **data_home(tmp_path)}

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    log = open(tmp_path / "log", "w+")
    process = subprocess.Popen([NEXUS, "serve", "--port", "0", "--model", MODEL], stderr=log, env=env, preexec_fn=limited)

    class Limited:
        port = None
    try:
        assert wait_for(lambda: "serving at" in open(tmp_path / "log").read(), 20)
        Limited.port = int(re.search(r"serving at http://127\.0\.0\.1:(\d+)", open(tmp_path / "log").read()).group(1))
        statuses = [store(Limited, i, 4000) for i in range(12)]
        assert statuses[-1] == 500 and set(statuses) <= {200, 500}
        good = [i for i, status in enumerate(statuses) if status == 200]
        for i in good:
            assert ask(Limited, "GET", f"/nexus/conversations/talk-{i}")[0] == 200
        r = ask(Limited, "PUT", "/nexus/conversations/big", {"title": "x", "messages": [{"content": "y" * 200000}]})
        assert r[0] == 500 and "conversations cannot be" in r[1]["error"]["message"]
        assert chat(Limited)[1]["choices"][0]["message"]["content"] == PARIS
    finally:
        process.terminate()
        assert process.wait(40) == 0
        log.close()


def test_a_model_that_is_removed_while_loaded(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copyfile(os.path.join(STORE, MODEL + ".gguf"), folder / "going.gguf")
    with serving("--models", str(folder)) as s:
        def ask_it(**body):
            return chat(s, model="going", **body)
        assert ask_it()[1]["choices"][0]["message"]["content"] == PARIS
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(ask_it, max_tokens=60, ignore_eos=True)
            assert wait_for(lambda: active(s) == 1)
            (folder / "going.gguf").unlink()
            assert running.result()[0] == 200  # the mapped file lives on
        time.sleep(5.5)  # the catalog looks again
        status, r, _ = ask_it()
        assert (status == 200 and r["choices"][0]["message"]["content"] == PARIS) or status == 404
        ask(s, "POST", "/nexus/unload", {"model": "going"})
        status, r, _ = ask_it()
        assert status == 404 and "going" in r["error"]["message"]
        assert chat(s, model=MODEL)[1]["choices"][0]["message"]["content"] == PARIS
        assert s.stop() == 0
