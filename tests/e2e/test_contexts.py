"""The context that a request asks for: given where it can be, refused with a sentence where not."""
import os
import sys

import pytest

from servers import ask, chat, serving

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "faults"))
import tiny  # noqa: E402  (made for at most 512 tokens)

LONG = [{"role": "user", "content": "the " * 200}]


@pytest.fixture()
def server(tmp_path):
    models, home = tmp_path / "models", str(tmp_path / "home")
    models.mkdir()
    (models / "small.gguf").write_bytes(tiny.gguf_bytes())
    with serving("--models", str(models), "--ctx", "128", "--parallel", "2",
                 env={"XDG_DATA_HOME": home, "HOME": home}) as s:
        yield s
        assert s.stop() == 0


def loaded(server):
    return {m["name"]: m["context"] for m in ask(server, "GET", "/nexus/ps")[1]["models"]}


def test_ollama(server):
    def send(context, messages=LONG):
        return ask(server, "POST", "/api/chat", {"messages": messages, "stream": False,
                                                 "options": {"num_predict": 4, **({"num_ctx": context} if context else {})}})
    status, r, _ = send(None)
    assert status == 400 and "the context of small here is 128" in r["error"] and "num_ctx" in r["error"]
    status, r, _ = send(1000)
    assert status == 400 and "1000 tokens is not possible: small was made for at most 512" in r["error"]
    assert loaded(server) == {"small": 128}
    status, r, _ = send(300)
    assert status == 200 and r["prompt_eval_count"] > 128 and r["eval_count"] == 4, r
    assert loaded(server) == {"small": 300}
    assert send(64)[0] == 200, "more room than asked for does no harm"
    assert loaded(server) == {"small": 300} and chat(server, messages=LONG, max_tokens=4)[0] == 200
    status, r, _ = ask(server, "POST", "/api/generate", {"model": "small", "options": {"num_ctx": 310}})
    assert status == 200 and r["done_reason"] == "load" and loaded(server) == {"small": 310}


def test_lmstudio(server):
    def load(context):
        return ask(server, "POST", "/api/v1/models/load",
                   {"model": "small", "context_length": context, "echo_load_config": True})
    status, r, _ = load(1000)
    assert status == 400 and "at most 512" in r["error"]["message"] and loaded(server) == {}
    for context in (400, 200):
        status, r, _ = load(context)
        assert status == 200 and r["load_config"]["context_length"] == context and "warnings" not in r
        assert loaded(server) == {"small": context}
    status, r, _ = ask(server, "POST", "/api/v1/chat", {"input": LONG[0]["content"], "max_output_tokens": 3})
    assert status == 400 and "200, answer included" in r["error"]["message"]
    body = {"input": LONG[0]["content"], "max_output_tokens": 3, "context_length": 256}
    status, r, _ = ask(server, "POST", "/api/v1/chat", body)
    assert status == 200 and r["stats"]["total_output_tokens"] == 3 and "warnings" not in r, r
    assert loaded(server) == {"small": 256}
    assert load("much")[0] == 400 and load(0)[0] == 400


def test_a_model_loaded_for_it(server):
    body = {"model": "small", "input": LONG[0]["content"], "context_length": 500, "max_output_tokens": 3}
    assert ask(server, "POST", "/api/v1/chat", body)[0] == 200
    assert loaded(server) == {"small": 500}
