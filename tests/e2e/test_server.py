"""The server as clients meet it: the openai, anthropic and ollama packages, plain HTTP, bad clients."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from servers import FRANCE, HAS_MODEL, MODEL, NEXUS, PARIS, Server, ask, chat, events, serving, wait_for

pytestmark = pytest.mark.skipif(not HAS_MODEL, reason="the small model is not stored")


@pytest.fixture(scope="module")
def server():
    s = Server("--model", MODEL)
    yield s
    assert s.stop() == 0


# ---- OpenAI ----

def test_openai_package(server):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    assert MODEL in [m.id for m in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    r = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_tokens=20)
    assert r.choices[0].message.content == PARIS
    assert r.choices[0].finish_reason == "stop"
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    text, finish, usage = "", None, None
    for c in client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_tokens=20,
                                            stream=True, stream_options={"include_usage": True}):
        usage = c.usage or usage
        for choice in c.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (text, finish) == (PARIS, "stop")
    assert usage.prompt_tokens_details.cached_tokens > 0
    r = client.completions.create(model=MODEL, prompt="The capital of France is", temperature=0,
                                  max_tokens=3, logprobs=2)
    assert "Paris" in r.choices[0].text
    assert len(r.choices[0].logprobs.tokens) == 3
    with pytest.raises(openai.NotFoundError, match="there is no model called 'nothing'"):
        client.chat.completions.create(model="nothing", messages=FRANCE)


def test_chat_fields(server):
    status, r, _ = chat(server, logprobs=True, top_logprobs=3)
    tokens = r["choices"][0]["logprobs"]["content"]
    assert len(tokens) == r["usage"]["completion_tokens"]
    assert all(len(t["top_logprobs"]) == 3 for t in tokens)
    assert all(t["logprob"] == pytest.approx(t["top_logprobs"][0]["logprob"]) for t in tokens)
    assert chat(server, max_tokens=2)[1]["choices"][0]["finish_reason"] == "length"
    r = chat(server, stop=["France"])[1]
    assert r["choices"][0]["message"]["content"] == "The capital of "
    r = chat(server, n=3)[1]
    assert [c["index"] for c in r["choices"]] == [0, 1, 2]
    assert {c["message"]["content"] for c in r["choices"]} == {PARIS}
    ids = ask(server, "POST", "/tokenize", {"content": " Paris"})[1]["tokens"]
    r = chat(server, logit_bias={str(i): -100 for i in ids})[1]
    assert "Paris" not in r["choices"][0]["message"]["content"]
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is the capital of "},
                                          {"type": "text", "text": "France?"}]}]
    assert chat(server, messages=parts)[1]["choices"][0]["message"]["content"] == PARIS
    begun = FRANCE + [{"role": "assistant", "content": "The capital of France is"}]
    assert chat(server, messages=begun)[0] == 200


def test_what_is_not_known_is_said(server):
    status, r, response = chat(server, frobnicate=1)
    assert status == 200 and "frobnicate" in r["warnings"][0]
    assert response.headers["X-Nexus-Ignored"] == "frobnicate"


def test_same_seed_same_text(server):
    def one(seed):
        return chat(server, temperature=1.2, seed=seed, max_tokens=30)[1]["choices"][0]["message"]["content"]
    alone = [one(s) for s in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, range(8)))
    assert alone == together
    assert len(set(alone)) > 4


def test_completions(server):
    r = ask(server, "POST", "/v1/completions", {"prompt": ["One, two,", "The sky is"], "max_tokens": 4,
                                                "temperature": 0, "echo": True})[1]
    assert [c["text"].startswith(p) for c, p in zip(r["choices"], ["One, two,", "The sky is"])] == [True] * 2
    ids = ask(server, "POST", "/tokenize", {"content": "The sky is"})[1]["tokens"]
    by_ids = ask(server, "POST", "/v1/completions", {"prompt": ids, "max_tokens": 4, "temperature": 0})[1]
    assert r["choices"][1]["text"] == "The sky is" + by_ids["choices"][0]["text"]
    streamed = "".join(json.loads(d)["choices"][0]["text"]
                       for _, d in events(server, "/v1/completions",
                                          {"prompt": ids, "max_tokens": 4, "temperature": 0, "stream": True})
                       if d != "[DONE]")
    assert streamed == by_ids["choices"][0]["text"]


# ---- Anthropic ----

def test_anthropic_package(server):
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
    r = client.messages.create(model=MODEL, max_tokens=20, extra_body={"temperature": 0}, messages=FRANCE)
    assert r.content[0].text == PARIS and r.stop_reason == "end_turn"
    with client.messages.stream(model=MODEL, max_tokens=20, extra_body={"temperature": 0}, messages=FRANCE) as s:
        assert "".join(s.text_stream) == PARIS
        final = s.get_final_message()
    assert final.usage.output_tokens == r.usage.output_tokens
    n = client.messages.count_tokens(model=MODEL, messages=FRANCE).input_tokens
    assert n == r.usage.input_tokens + (r.usage.cache_read_input_tokens or 0)
    r = client.messages.create(model=MODEL, max_tokens=20, extra_body={"temperature": 0}, messages=FRANCE,
                               stop_sequences=["France"], system="You answer shortly.")
    assert r.stop_reason in ("stop_sequence", "end_turn")
    if r.stop_reason == "stop_sequence":
        assert r.stop_sequence == "France"
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.post("/v1/messages", cast_to=object, body={"model": MODEL, "messages": FRANCE})


# ---- ollama ----

def test_ollama_package(server):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    options = {"temperature": 0, "num_predict": 20, "repeat_penalty": 1}
    assert MODEL in [m.model for m in client.list().models]
    r = client.chat(model=MODEL, messages=FRANCE, options=options)
    assert r.message.content == PARIS and r.done_reason == "stop" and r.eval_count > 0
    pieces = list(client.chat(model=MODEL + ":latest", messages=FRANCE, options=options, stream=True))
    assert "".join(p.message.content for p in pieces) == PARIS and pieces[-1].done
    r = client.generate(model=MODEL, prompt=FRANCE[0]["content"], options=options)
    assert r.response == PARIS
    r = client.generate(model=MODEL, prompt="The capital of France is", raw=True, options=options)
    assert "Paris" in r.response
    assert MODEL in [m.model for m in client.ps().models]
    assert client.show(MODEL).modelinfo["llama.context_length"] == 8192
    with pytest.raises(ollama.ResponseError, match="no model"):
        client.chat(model="nothing", messages=FRANCE)


# ---- LM Studio ----

def test_lmstudio(server):
    models = ask(server, "GET", "/api/v0/models")[1]["data"]
    mine = next(m for m in models if m["id"] == MODEL)
    assert mine["state"] == "loaded" and mine["compatibility_type"] == "gguf"
    assert ask(server, "GET", "/api/v0/models/" + MODEL)[1]["max_context_length"] == 8192
    r = ask(server, "POST", "/api/v0/chat/completions",
            {"model": MODEL, "messages": FRANCE, "temperature": 0, "max_tokens": 20})[1]
    assert r["stats"]["stop_reason"] == "eosFound" and r["stats"]["tokens_per_second"] > 0
    assert r["model_info"]["arch"] == "llama"
    key = next(m for m in ask(server, "GET", "/api/v1/models")[1]["models"] if m["key"] == MODEL)
    assert key["loaded_instances"][0]["config"]["context_length"] == 4096


CHAT = {"model": MODEL, "input": FRANCE[0]["content"], "temperature": 0, "max_output_tokens": 20}


def test_lmstudio_chat(server):
    status, r, _ = ask(server, "POST", "/api/v1/chat", CHAT)
    assert status == 200 and r["output"] == [{"type": "message", "content": PARIS}]
    assert r["model_instance_id"] == MODEL and r["response_id"].startswith("resp_")
    s = r["stats"]
    assert s["input_tokens"] > 10 and s["total_output_tokens"] > 5 and s["tokens_per_second"] > 0
    assert s["time_to_first_token_seconds"] > 0 and "model_load_time_seconds" not in s
    got = events(server, "/api/v1/chat", {**CHAT, "stream": True})
    assert all(name == json.loads(data)["type"] for name, data in got)
    names = [n for n, _ in got]
    order = [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]
    assert order == ["chat.start", "prompt_processing.start", "prompt_processing.progress", "prompt_processing.end",
                     "message.start", "message.delta", "message.end", "chat.end"]
    assert "".join(json.loads(d)["content"] for n, d in got if n == "message.delta") == PARIS
    assert json.loads(got[-1][1])["result"]["output"] == r["output"]
    # going on is what the whole conversation in one request is
    on = ask(server, "POST", "/api/v1/chat", {**CHAT, "input": "Are you sure?", "system_prompt": "Be short.",
                                              "previous_response_id": r["response_id"]})[1]
    whole = chat(server, messages=[{"role": "system", "content": "Be short."}, *FRANCE,
                                   {"role": "assistant", "content": PARIS}, {"role": "user", "content": "Are you sure?"}])[1]
    assert on["output"][0]["content"] == whole["choices"][0]["message"]["content"]
    assert on["stats"]["input_tokens"] == whole["usage"]["prompt_tokens"]
    assert "response_id" not in ask(server, "POST", "/api/v1/chat", {**CHAT, "store": False})[1]
    assert ask(server, "GET", "/v1/responses/" + r["response_id"])[0] == 404  # another interface's
    for bad, word in (({"input": 3}, "'input' is needed"), ({"input": [{"type": "image"}]}, "image"),
                      ({"reasoning": "deep"}, "reasoning"), ({"integrations": ["x"]}, "integrations"),
                      ({"previous_response_id": "resp_x"}, "resp_x"), ({"model": "nothing"}, "no model called")):
        status, r, _ = ask(server, "POST", "/api/v1/chat", {**CHAT, **bad})
        assert status in (400, 404) and word in r["error"]["message"], r


def test_lmstudio_chat_tells_of_loading():
    with serving() as s:
        got = events(s, "/api/v1/chat", {**CHAT, "stream": True})
        names = [n for n, _ in got]
        assert names[:5] == ["chat.start", "model_load.start", "model_load.progress", "model_load.progress",
                             "model_load.end"]
        assert json.loads(got[-1][1])["result"]["stats"]["model_load_time_seconds"] > 0


# ---- texts ----

def test_texts(server):
    r = ask(server, "POST", "/tokenize", {"content": "Hello, wörld", "with_pieces": True})[1]
    ids = [t["id"] for t in r["tokens"]]
    assert ask(server, "POST", "/detokenize", {"tokens": ids})[1]["content"] == "Hello, wörld"
    prompt = ask(server, "POST", "/apply-template", {"messages": FRANCE})[1]["prompt"]
    assert prompt.endswith("<|im_start|>assistant\n") and FRANCE[0]["content"] in prompt
    assert ask(server, "POST", "/detokenize", {"tokens": [10 ** 8]})[0] == 400


def test_tools_reach_the_template(server):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    status, r, _ = chat(server, tools=tools)
    assert status == 200
    assert chat(server, tools=tools, tool_choice="perhaps")[0] == 400
    assert chat(server, tools=[{"type": "function"}])[0] == 400


# ---- the server itself ----

def test_health_metrics_openapi(server):
    assert ask(server, "GET", "/health")[1] == {"status": "ok"}
    before = ask(server, "GET", "/metrics")[1]
    chat(server)
    after = ask(server, "GET", "/metrics")[1]

    def value(text, name):
        return float(re.search(rf"^nexus_{name} (\S+)$", text, re.M).group(1))
    assert value(after, "generated_tokens_total") >= value(before, "generated_tokens_total") + 8
    paths = ask(server, "GET", "/openapi.json")[1]["paths"]
    assert "post" in paths["/v1/chat/completions"] and "/v1/models/{name}" in paths
    for path, methods in paths.items():  # what is described is served
        for method in methods:
            if path == "/nexus/stop":
                continue
            status, r, _ = ask(server, method.upper(), path.replace("{name}", MODEL), {})
            assert status not in (405, 500) and "there is nothing" not in str(r), (method, path, r)


@pytest.mark.parametrize("body, word", [
    ("", "no body"), ("{", "no JSON"), ("[]", "must be a JSON object"), ("{\"a\":1,\"a\":2}", "no JSON"),
    ("\xff\xfe", "no JSON"), ("[" * 100000, "no JSON"),
    ({"messages": []}, "'messages' is empty"), ({"messages": "x"}, "'messages' must be a list"),
    ({}, "'messages' is needed"), ({"messages": [{"role": "king", "content": "x"}]}, "messages[0] needs a role"),
    ({"messages": [3]}, "messages[0]"), ({"messages": FRANCE, "temperature": "hot"}, "'temperature'"),
    ({"messages": FRANCE, "temperature": -1}, "temperature -1"),
    ({"messages": FRANCE, "max_tokens": 1.5}, "'max_tokens' must be a whole number"),
    ({"messages": FRANCE, "n": 0}, "'n' is 0"), ({"messages": FRANCE, "stop": 3}, "'stop'"),
    ({"messages": FRANCE, "logit_bias": {"x": 1}}, "logit_bias"),
    ({"messages": FRANCE, "logit_bias": [None]}, "logit_bias"), ({"messages": FRANCE, "logit_bias": [[]]}, "logit_bias"),
    ({"messages": FRANCE, "response_format": {"type": "unheard-of"}}, "response_format"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
    ({"messages": [{"role": "user", "content": "word " * 5000}]}, "4096"),
])
def test_bad_requests(server, body, word):
    raw = body.encode("latin-1") if isinstance(body, str) else None
    status, r, _ = ask(server, "POST", "/v1/chat/completions", body, raw=raw)
    assert status == 400, r
    assert word in r["error"]["message"], r


def test_bad_paths(server):
    assert ask(server, "GET", "/nowhere")[0] == 404
    assert ask(server, "GET", "/v1/chat/completions")[0] == 405
    assert ask(server, "GET", "/v1/models/%2Fetc%2Fpasswd")[0] == 404
    assert ask(server, "GET", "/v1/models/..%2F..")[0] == 404
    status, r, _ = chat(server, model="/etc/passwd")
    assert status == 404
    status, r, _ = ask(server, "POST", "/v1/messages", {"model": "x"})
    assert status == 400 and r["type"] == "error"


def test_strangers_are_refused(server):
    assert ask(server, "GET", "/v1/models", headers={"Host": "evil.example"})[0] == 403
    assert ask(server, "GET", "/v1/models", headers={"Origin": "http://evil.example"})[0] == 403
    same = f"http://127.0.0.1:{server.port}"
    assert ask(server, "GET", "/v1/models", headers={"Origin": same})[0] == 200


def test_too_large(server):
    status, r, _ = ask(server, "POST", "/v1/chat/completions", raw=b"x" * (33 << 20))
    assert status == 413 and "larger" in r["error"]["message"]


# ---- clients that misbehave ----

def connect(server):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return s


def active(server):
    return ask(server, "GET", "/nexus/ps")[1]["requests"] - 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(server, stream):
    body = json.dumps({"messages": [{"role": "user", "content": "Count to a thousand."}],
                       "max_tokens": 3000, "ignore_eos": True, "stream": stream}).encode()
    s = connect(server)
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
              % len(body) + body)
    assert wait_for(lambda: active(server) == 1)
    if stream:
        s.recv(100)
    time.sleep(0.2)
    s.close()
    assert wait_for(lambda: active(server) == 0, 5), "the generation went on without its client"
    assert chat(server)[0] == 200


def test_half_a_request_at_every_place(server):
    body = json.dumps({"messages": FRANCE, "max_tokens": 1}).encode()
    whole = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
             % len(body) + body)
    for cut in range(0, len(whole), 7):
        s = connect(server)
        s.sendall(whole[:cut])
        s.close()
    assert chat(server, max_tokens=1)[0] == 200
    assert wait_for(lambda: active(server) == 0)


@contextlib.contextmanager
def files_allowed(n):
    """As many files may be open as a shell lets its programs have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_idle_connections_cost_little():
    def ps():
        return ask(s, "GET", "/nexus/ps")[1]
    with files_allowed(512):  # which the server is not content with
        s = Server("--model", MODEL)
    try:
        before = ps()["resident_bytes"]
        with files_allowed(1200):
            idle = [connect(s) for _ in range(1000)]
            assert wait_for(lambda: ps()["connections"] > 1000)
            grown = ps()["resident_bytes"] - before
            for c in idle:
                c.close()
        assert grown < 50e6, grown
    finally:
        assert s.stop() == 0


def test_a_folder_that_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere", pathlib.Path(__file__)):
        r = subprocess.run([NEXUS, "serve", "--port", "0", "--models", str(path)], capture_output=True,
                           text=True, timeout=20)
        assert r.returncode == 1 and str(path) in r.stderr and "no such folder" in r.stderr


def test_many_at_once(server):
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        results = list(pool.map(lambda i: chat(server), range(48)))
    assert all(status == 200 for status, _, _ in results)
    assert {r["choices"][0]["message"]["content"] for _, r, _ in results} == {PARIS}


# ---- starting and stopping ----

def test_key_other_address_and_cors(tmp_path):
    key = tmp_path / "key"
    key.write_text("correct-horse-battery\n")
    r = subprocess.run([NEXUS, "serve", "--host", "0.0.0.0", "--port", "0"], capture_output=True, text=True)
    assert r.returncode == 1 and "--api-key-file" in r.stderr
    key_short = tmp_path / "short"
    key_short.write_text("abc\n")
    r = subprocess.run([NEXUS, "serve", "--port", "0", "--api-key-file", str(key_short)],
                       capture_output=True, text=True)
    assert r.returncode == 1 and "16 characters" in r.stderr
    with serving("--api-key-file", str(key), "--cors", "https://app.example") as s:
        assert ask(s, "GET", "/health")[0] == 200
        assert ask(s, "GET", "/v1/models")[0] == 401
        assert ask(s, "GET", "/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
        good = {"Authorization": "Bearer correct-horse-battery"}
        assert ask(s, "GET", "/v1/models", headers=good)[0] == 200
        assert ask(s, "GET", "/v1/models", headers={"x-api-key": "correct-horse-battery"})[0] == 200
        status, _, r = ask(s, "OPTIONS", "/v1/chat/completions", headers={"Origin": "https://app.example"})
        assert status == 204 and r.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert ask(s, "OPTIONS", "/v1/chat/completions", headers={"Origin": "https://x.example"})[0] == 403


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with serving("--host", "unix:" + path) as s:
        assert oct(os.stat(path).st_mode & 0o777) == "0o600"
        c = socket.socket(socket.AF_UNIX)
        c.connect(path)
        c.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b'{"status":"ok"}' in c.recv(4096)
        r = subprocess.run([NEXUS, "serve", "--host", "unix:" + path], capture_output=True, text=True)
        assert r.returncode == 1 and "in use" in r.stderr
        assert s.stop() == 0
    assert not os.path.exists(path)


def test_port_in_use(server):
    r = subprocess.run([NEXUS, "serve", "--port", str(server.port)], capture_output=True, text=True)
    assert r.returncode == 1 and f"port {server.port}" in r.stderr and "--port" in r.stderr


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with serving("--host", "::1") as s:
        c = http.client.HTTPConnection("::1", int(s.url.rsplit(":", 1)[1]), timeout=10)
        c.request("GET", "/health")
        assert c.getresponse().status == 200


def test_models_come_and_go():
    with serving("--ttl", "1") as s:
        assert ask(s, "GET", "/nexus/ps")[1]["models"] == []
        assert ask(s, "POST", "/nexus/load", {"model": MODEL.lower()})[1]["model"] == MODEL
        assert ask(s, "GET", "/nexus/ps")[1]["models"][0]["name"] == MODEL
        assert wait_for(lambda: ask(s, "GET", "/nexus/ps")[1]["models"] == [], 8)
        assert chat(s)[0] == 200
        assert ask(s, "POST", "/nexus/unload", {"model": MODEL})[0] == 200
        assert ask(s, "POST", "/nexus/unload", {"model": MODEL})[0] == 404
        assert ask(s, "POST", "/api/chat", {"model": MODEL})[1]["done_reason"] == "load"
        assert ask(s, "POST", "/nexus/stop", {})[0] == 200
        assert s.process.wait(20) == 0


def test_a_graceful_stop_finishes_what_runs():
    with serving("--model", MODEL) as s:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(chat, s, max_tokens=60, ignore_eos=True)
            assert wait_for(lambda: active(s) == 1)
            assert s.stop() == 0
            status, r, _ = running.result(30)
            assert status == 200 and r["usage"]["completion_tokens"] == 60


# ---- answers of a form ----

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
                                           "age": {"type": "integer", "minimum": 0, "maximum": 120},
                                           "likes": {"type": "array", "maxItems": 3,
                                                     "items": {"enum": ["tea", "chess", "rain"]}}},
          "required": ["name", "age", "likes"], "additionalProperties": False}


def is_person(text):
    p = json.loads(text)
    assert set(p) == {"name", "age", "likes"} and len(p["name"]) <= 12 and 0 <= p["age"] <= 120
    assert isinstance(p["age"], int) and set(p["likes"]) <= {"tea", "chess", "rain"} and len(p["likes"]) <= 3


def test_schemas_hold_whatever_is_sampled(server):
    ask_person = [{"role": "user", "content": "Describe somebody as JSON."}]
    format = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for seed in range(12):  # a hot sampler would leave the form at once
        r = chat(server, messages=ask_person, response_format=format, temperature=2, top_p=1, seed=seed + 1,
                 max_tokens=400)[1]
        assert r["choices"][0]["finish_reason"] == "stop", r
        is_person(r["choices"][0]["message"]["content"])
    r = ask(server, "POST", "/api/chat", {"model": MODEL, "messages": ask_person, "format": PERSON,
                                          "stream": False, "options": {"temperature": 1.5, "num_predict": 400}})[1]
    is_person(r["message"]["content"])
    r = chat(server, messages=ask_person, response_format={"type": "json_object"}, temperature=1, seed=3,
             max_tokens=600)[1]
    if r["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(r["choices"][0]["message"]["content"]), dict)


def test_other_forms(server):
    r = chat(server, regex="(Paris|London), in \\d{4}")[1]["choices"][0]["message"]["content"]
    assert re.fullmatch(r"(Paris|London), in \d{4}", r)
    r = chat(server, grammar='root ::= "<" [a-z]{3,5} ">"')[1]["choices"][0]["message"]["content"]
    assert re.fullmatch(r"<[a-z]{3,5}>", r)


@pytest.mark.parametrize("field, word", [
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {
        "properties": {"a": {"items": {"not": {}}}}}}}}, "/properties/a/items"),
    ({"response_format": {"type": "json_schema"}}, "needs a schema"),
    ({"grammar": "root ::="}, ""), ({"grammar": "root ::= root"}, "begins with itself"),
    ({"regex": "(?!x)"}, "look-around"), ({"regex": "a", "grammar": 'root ::= "a"'}, "too many"),
])
def test_forms_that_cannot_be_are_refused(server, field, word):
    status, r, _ = chat(server, **field)
    if word:
        assert status == 400 and word in r["error"]["message"], r


def test_forced_calls(server):
    tools = [{"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                                        "unit": {"enum": ["C", "F"]}},
                       "required": ["city", "unit"]}}},
        {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {
            "zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}}}]
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    for seed in range(1, 6):
        r = client.chat.completions.create(model=MODEL, messages=FRANCE, tools=tools, tool_choice="required",
                                           temperature=1.5, seed=seed, max_tokens=200)
        call = r.choices[0].message.tool_calls[0]
        assert r.choices[0].finish_reason == "tool_calls"
        arguments = json.loads(call.function.arguments)
        if call.function.name == "get_weather":
            assert arguments["unit"] in ("C", "F") and len(arguments["city"]) <= 20
        else:
            assert call.function.name == "get_time" and arguments["zone"] in ("UTC", "CET")
    named = {"type": "function", "function": {"name": "get_time"}}
    text = ""
    for c in client.chat.completions.create(model=MODEL, messages=FRANCE, tools=tools, tool_choice=named,
                                            temperature=0, max_tokens=200, stream=True):
        for call in c.choices[0].delta.tool_calls or [] if c.choices else []:
            assert call.function.name == "get_time"
            text += call.function.arguments
    assert json.loads(text)["zone"] in ("UTC", "CET")
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
    r = client.messages.create(model=MODEL, max_tokens=200, messages=FRANCE, tool_choice={"type": "any"},
                               tools=[{"name": "get_time", "input_schema": tools[1]["function"]["parameters"]}])
    use = next(b for b in r.content if b.type == "tool_use")
    assert r.stop_reason == "tool_use" and use.input["zone"] in ("UTC", "CET")
    assert chat(server, tools=tools, tool_choice={"type": "function", "function": {"name": "none"}})[0] == 400


# ---- the verbs that ask a running server ----

def nexus(*args):
    return subprocess.run([NEXUS, *args], capture_output=True, text=True, timeout=60)


def test_verbs_of_a_running_server():
    with serving() as s:
        at = ("--server", s.url)
        assert "no model is loaded" in nexus("ps", *at).stdout
        assert MODEL in nexus("load", MODEL, *at).stdout
        assert MODEL in nexus("ps", *at).stdout
        assert json.loads(nexus("ps", "--json", *at).stdout)["models"][0]["name"] == MODEL
        assert nexus("unload", MODEL, *at).returncode == 0
        r = nexus("unload", MODEL, *at)
        assert r.returncode == 1 and "not loaded" in r.stderr
        assert nexus("load", "nothing", *at).returncode == 1
        assert nexus("stop", *at).returncode == 0
        assert s.process.wait(20) == 0
    r = nexus("ps", *at)
    assert r.returncode == 1 and "nexus serve" in r.stderr


def test_run_by_a_server_is_run_here(server):
    at = ("--server", server.url)
    prompt = FRANCE[0]["content"]
    for options in (["--temp", "0"], ["--temp", "1.3", "--seed", "11", "-n", "30"],
                    ["--raw", "--temp", "0", "-n", "8"], ["-s", "Be short.", "--stop", "France", "--temp", "0"]):
        here, there = nexus("run", MODEL, prompt, *options), nexus("run", MODEL, prompt, *options, *at)
        assert there.returncode == 0 and there.stdout == here.stdout, (there, here)
    here = json.loads(nexus("run", MODEL, prompt, "--temp", "0", "--json").stdout)
    there = json.loads(nexus("run", MODEL, prompt, "--temp", "0", "--json", *at).stdout)
    for key in ("text", "ids", "prompt_tokens", "generated_tokens", "stop_reason"):
        assert here[key] == there[key], key
    assert there["logprobs"] == pytest.approx(here["logprobs"], abs=1e-5)
    r = nexus("run", MODEL, prompt, "-n", "2", "--ctx", "512", "--verbose", *at)
    assert "--ctx is the server's" in r.stderr and r.returncode == 0
    r = nexus("run", "nothing", prompt, *at)
    assert r.returncode == 1 and "no model called 'nothing'" in r.stderr
    r = nexus("run", MODEL, "word " * 5000, *at)
    assert r.returncode == 1 and "4096" in r.stderr
    r = nexus("run", MODEL, prompt, "--server", "http://127.0.0.1:9")
    assert r.returncode == 1 and "nexus serve" in r.stderr


def test_ctrl_c_ends_what_a_server_does(server):
    p = subprocess.Popen([NEXUS, "run", MODEL, "Count to a thousand.", "-n", "3000", "--server", server.url],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.read(4)
    p.send_signal(signal.SIGINT)
    assert p.wait(10) == 130
    assert wait_for(lambda: active(server) == 0, 5)


def test_chat_by_a_server(server, tmp_path):
    lines = FRANCE[0]["content"] + "\nAnd of Italy?\n"
    f = tmp_path / "f.txt"
    f.write_text("One two three.")

    def talk(*at):
        return subprocess.run([NEXUS, "chat", MODEL, "--temp", "0", "-n", "20", *at], input=lines + f"/read {f}\n",
                              capture_output=True, text=True, timeout=60)
    here, there = talk(), talk("--server", server.url)
    assert there.returncode == here.returncode == 0, there.stderr
    assert there.stdout == here.stdout and PARIS in there.stdout
    assert there.stderr == here.stderr  # what the file takes of the context
