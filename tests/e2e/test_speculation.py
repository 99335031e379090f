"""Tokens proposed ahead change no text; and what one lane has read serves the others."""
import concurrent.futures
import http.client
import json
import re
import subprocess

import pytest

from test_server import FRANCE, MODEL, NEXUS, ask, chat, pytestmark, serving  # noqa: F401

PROMPTS = (
    "Repeat this list three times, as it stands: apple, banana, cherry, date, elderberry, fig, grape.",
    "Write a short poem about a river and repeat its first line at the end.",
    "Write a C function that adds two integers, then the same function again for floats.",
    "What is the capital of France?",
)
SAMPLERS = (
    {"temperature": 0},
    {"temperature": 0.8, "seed": 11},
    {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "seed": 12},
    {"temperature": 0.9, "repeat_penalty": 1.2, "presence_penalty": 0.5, "dry_multiplier": 0.8, "seed": 13},
    {"temperature": 1, "typical_p": 0.7, "xtc_probability": 0.5, "xtc_threshold": 0.1, "seed": 14},
    {"temperature": 1, "mirostat": 1, "seed": 15},
    {"temperature": 1, "mirostat": 2, "seed": 16},
)
FORMS = (
    {},
    {"regex": "([a-z]+, ){6,20}and [a-z]+\\."},
    {"grammar": 'root ::= ("<" [a-z]{1,6} ">"){4,12}'},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {
        "type": "object", "required": ["items"], "properties": {"items": {
            "type": "array", "minItems": 3, "maxItems": 6, "items": {
                "type": "object", "required": ["name", "count"], "properties": {
                    "name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"}}}}}}}}},
)


@pytest.fixture(scope="module")
def server():
    with serving("--model", MODEL, "--draft", MODEL, "--ctx", "2048") as s:
        yield s
        assert s.stop() == 0


def answer(server, prompt, **body):
    status, r, _ = chat(server, messages=[{"role": "user", "content": prompt}], max_tokens=28, **body)
    assert status == 200, r
    details = r["usage"]["completion_tokens_details"]
    return (r["choices"][0]["message"]["content"], details["accepted_prediction_tokens"],
            details["rejected_prediction_tokens"])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_drafts_change_no_text(server, sampler):
    i = SAMPLERS.index(sampler)
    body = {**sampler, **FORMS[i % len(FORMS)]}
    plain, accepted, rejected = answer(server, PROMPTS[i % len(PROMPTS)], draft_tokens=-1, **body)
    assert accepted == rejected == 0
    for how in ({"draft_tokens": 16}, {"lookup": True}):
        assert answer(server, PROMPTS[i % len(PROMPTS)], **how, **body)[0] == plain, (how, body)


def test_forms_with_drafts(server):
    for seed, form in enumerate(FORMS[1:], 1):
        body = {"temperature": 1.5, "seed": seed, **form}
        plain = answer(server, PROMPTS[0], draft_tokens=-1, **body)[0]
        assert answer(server, PROMPTS[0], **body)[0] == plain
        assert answer(server, PROMPTS[0], lookup=True, **body)[0] == plain


def test_a_draft_of_itself_is_always_right(server):
    text, accepted, rejected = answer(server, PROMPTS[0], temperature=0)
    assert accepted > 0 and rejected <= 4  # those past the end
    metrics = ask(server, "GET", "/metrics")[1]
    assert "nexus_drafted_tokens_total" in metrics and "nexus_accepted_tokens_total" in metrics
    assert ask(server, "GET", "/nexus/ps")[1]["accepted_tokens"] > 0
    stats = ask(server, "POST", "/api/v0/chat/completions",
                {"messages": [{"role": "user", "content": PROMPTS[0]}], "temperature": 0, "max_tokens": 30})[1]["stats"]
    assert stats["total_draft_tokens_count"] >= stats["accepted_draft_tokens_count"] > 0


def test_together_as_alone(server):
    def one(i):
        return answer(server, PROMPTS[i % 4], lookup=i % 3 == 0, temperature=1.1, seed=100 + i,
                      draft_tokens=(0, -1, 16)[i % 3])[0]
    alone = [one(i) for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == alone


def test_bad_numbers(server):
    status, r, _ = chat(server, draft_tokens=17)
    assert status == 400 and "draft_tokens 17" in r["error"]["message"]


def test_the_command_line(tmp_path):
    def run(*more):
        r = subprocess.run([NEXUS, "run", MODEL, PROMPTS[0], "--temp", "0.7", "--seed", "5", "-n", "40", "--json", *more],
                           capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)
    plain, looked, drafted = run(), run("--lookup"), run("--draft", MODEL, "--draft-tokens", "6")
    assert plain["ids"] == looked["ids"] == drafted["ids"]
    assert plain["drafted_tokens"] == 0 and drafted["accepted_tokens"] > 0
    r = subprocess.run([NEXUS, "run", MODEL, "Hello", "--draft", str(tmp_path / "none.gguf")], capture_output=True, text=True)
    assert r.returncode == 1 and "none.gguf" in r.stderr


# ---- what one lane has read ----

LONG = "You are the clerk of a library. " + " ".join(f"Shelf {i} holds the books about subject {i}." for i in range(30))


def test_a_prefix_is_shared_between_lanes():
    with serving("--model", MODEL, "--parallel", "4") as s:
        def one(i):
            messages = [{"role": "system", "content": LONG}, {"role": "user", "content": f"Where is subject {i}?"}]
            r = chat(s, messages=messages, max_tokens=16)[1]
            return r["choices"][0]["message"]["content"], r["usage"]["prompt_tokens_details"]["cached_tokens"]
        first, cached = one(0)
        assert cached == 0
        with concurrent.futures.ThreadPoolExecutor(4) as pool:  # each in a lane of its own
            together = list(pool.map(one, range(1, 5)))
        assert all(cached > 300 for _, cached in together), together
    with serving("--model", MODEL, "--parallel", "1") as s:  # nothing is shared with a lane that was emptied
        for i in range(1, 5):
            assert chat(s, messages=[{"role": "user", "content": "x"}], max_tokens=1)[0] == 200
            text, cached = one(i)
            assert cached < 40 and text == together[i - 1][0]


def test_a_prefix_of_a_lane_that_runs():
    with serving("--model", MODEL, "--parallel", "2") as s:
        messages = [{"role": "system", "content": LONG}, {"role": "user", "content": "Tell me about all shelves."}]
        c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
        c.request("POST", "/v1/chat/completions", json.dumps({"messages": messages, "max_tokens": 100, "stream": True,
                                                              "ignore_eos": True}))
        running = c.getresponse()
        while not re.search(rb'"content":"[^"]', running.readline()):
            pass  # until it has read its prompt
        r = chat(s, messages=messages[:1] + FRANCE, max_tokens=20)[1]
        assert r["usage"]["prompt_tokens_details"]["cached_tokens"] > 300
        assert b"[DONE]" in running.read()
        c.close()
        alone = chat(s, messages=messages[:1] + FRANCE, max_tokens=20)[1]
        assert alone["choices"][0]["message"]["content"] == r["choices"][0]["message"]["content"]
