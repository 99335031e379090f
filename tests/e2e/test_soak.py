"""Many clients at once for a while: none fails, and memory is as before when they have gone.

NEXUS_SOAK_SECONDS (2) and NEXUS_SOAK_CLIENTS (24); ./check full takes a minute with 64, and runs this on
builds with sanitizers too, whose findings end the server with a failure. NEXUS_SOAK_TINY takes a tiny
random model: on a build that runs fifty times slower it still meets thousands of requests.
"""
import collections
import concurrent.futures
import http.client
import json
import os
import random
import sys
import threading
import time

import pytest

from servers import FRANCE, HAS_MODEL, MODEL, PARIS, Server, ask, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "faults"))
import tiny  # noqa: E402

TINY = "NEXUS_SOAK_TINY" in os.environ
pytestmark = pytest.mark.skipif(not HAS_MODEL and not TINY, reason="the small model is not stored")
SECONDS = float(os.environ.get("NEXUS_SOAK_SECONDS") or 2)
CLIENTS = int(os.environ.get("NEXUS_SOAK_CLIENTS") or 24)
# A tiny model reads letter by letter, and its context is short.
SHELVES = " ".join(f"Shelf {i} holds the books about subject {i}." for i in range(4 if TINY else 12))


def bodies(r, name, alone):
    """One request of the mixture: path, body, what the answer must have in it; alone: what the server
    answered to the first when it had nothing else to do."""
    n = r.randrange(1, 13)
    question = [{"role": "system", "content": SHELVES}, {"role": "user", "content": f"Where is subject {n}?"}]
    return r.choice((
        ("/v1/chat/completions", {"messages": FRANCE, "temperature": 0, "max_tokens": 12}, alone),
        ("/v1/chat/completions", {"messages": question, "seed": n, "max_tokens": n, "stream": True}, b"data: [DONE]"),
        ("/v1/chat/completions", {"messages": question, "max_tokens": 40, "lookup": True, "temperature": 0}, b'"choices"'),
        ("/v1/chat/completions", {"messages": FRANCE, "max_tokens": 40, "regex": "[a-z]{3,9}( [a-z]{2,5}){2}"}, b'"choices"'),
        ("/v1/messages", {"messages": FRANCE, "max_tokens": n}, b'"usage"'),
        ("/api/generate", {"model": name, "prompt": f"Tale {n}", "options": {"num_predict": n}}, b'"done":true'),
        ("/v1/completions", {"prompt": f"{n} and", "max_tokens": n, "n": 2}, b'"text_completion"'),
        ("/tokenize", {"content": SHELVES}, b'"tokens"'),
    ))


def client(server, name, alone, seed, end, counts, lock):
    r = random.Random(seed)
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=240)
    while time.monotonic() < end:
        path, body, expected = bodies(r, name, alone)
        if r.random() < 0.05:  # some leave without waiting
            gone = http.client.HTTPConnection("127.0.0.1", server.port, timeout=240)
            gone.request("POST", path, json.dumps(body))
            gone.close()
            continue
        c.request("POST", path, json.dumps(body))
        answer = c.getresponse()
        text = answer.read()
        assert answer.status == 200 and expected in text, (path, body, answer.status, text[-300:])
        with lock:
            counts[path] += 1
    c.close()


def load(server, name, alone, seconds):
    counts, lock, end = collections.Counter(), threading.Lock(), time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client, server, name, alone, i, end, counts, lock) for i in range(CLIENTS)]:
            done.result()
    assert wait_for(lambda: ask(server, "GET", "/nexus/ps")[1]["requests"] == 1, 20)
    time.sleep(0.3)
    ps = ask(server, "GET", "/nexus/ps")[1]
    assert all(m["running"] == 0 and m["waiting"] == 0 for m in ps["models"])
    return counts, ps["resident_bytes"]


@pytest.fixture
def model(tmp_path):
    """Its name, and the arguments of a server that has it."""
    if not TINY:
        return MODEL, ("--model", MODEL, "--ctx", "1024")
    with open(tmp_path / "tiny.gguf", "wb") as f:
        f.write(tiny.gguf_bytes(tiny.metadata(), tiny.gguf_tensors()))
    return "tiny", ("--models", str(tmp_path), "--model", "tiny")


def test_many_clients_for_a_while(model):
    name, arguments = model
    server = Server(*arguments)
    try:
        said = ask(server, "POST", "/v1/chat/completions", {"messages": FRANCE, "temperature": 0, "max_tokens": 12})
        text = said[1]["choices"][0]["message"]["content"]
        assert TINY or text == PARIS
        alone = json.dumps(text, ensure_ascii=False).encode()
        counts, before = load(server, name, alone, SECONDS / 3)  # lanes, buffers and threads' stacks are there
        counts, after = load(server, name, alone, SECONDS)
        print(dict(counts), before, after)
        assert sum(counts.values()) >= CLIENTS / 2
        # A lane's cache grows to the longest prompt it met; what grows with requests would show. A
        # sanitizer keeps what was freed, to find who uses it still.
        assert "NEXUS_SLOW" in os.environ or after < before * 1.1 + 24e6, (before, after, counts)
    finally:
        code = server.stop()
    assert code == 0, server.log[-3000:]
