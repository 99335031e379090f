"""OpenAI's responses, by the openai package and by hand."""
import json
import re

import pytest

from servers import FRANCE, HAS_MODEL, MODEL, PARIS, Server, ask, events, serving

pytestmark = pytest.mark.skipif(not HAS_MODEL, reason="the small model is not stored")
QUESTION = FRANCE[0]["content"]
CLOCK = {"type": "function", "name": "get_time", "description": "The time of a zone", "strict": True,
         "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}},
                        "required": ["zone"], "additionalProperties": False}}


@pytest.fixture(scope="module")
def server():
    s = Server("--model", MODEL)
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def test_text(server, client):
    r = client.responses.create(model=MODEL, input=QUESTION, temperature=0, max_output_tokens=20)
    assert r.output_text == PARIS and r.status == "completed" and r.id.startswith("resp_")
    assert r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens
    n = client.responses.input_tokens.count(model=MODEL, input=QUESTION)
    assert n.input_tokens == r.usage.input_tokens
    again = client.responses.create(model=MODEL, input=[{"role": "user", "content": [
        {"type": "input_text", "text": QUESTION}]}], temperature=0, max_output_tokens=20)
    assert again.output_text == PARIS and again.usage.input_tokens_details.cached_tokens > 0
    short = client.responses.create(model=MODEL, input=QUESTION, temperature=0, max_output_tokens=2)
    assert short.status == "incomplete" and short.incomplete_details.reason == "max_output_tokens"
    named = client.responses.create(model=MODEL, input=QUESTION, temperature=0, max_output_tokens=20,
                                    instructions="You answer with one word.", metadata={"a": "b"})
    assert named.instructions == "You answer with one word." and named.metadata == {"a": "b"}
    assert named.usage.input_tokens != r.usage.input_tokens


def test_stream(client):
    with client.responses.stream(model=MODEL, input=QUESTION, temperature=0, max_output_tokens=20) as s:
        kinds, numbers, text = [], [], ""
        for e in s:
            kinds.append(e.type)
            numbers.append(e.sequence_number)
            if e.type == "response.output_text.delta":
                text += e.delta
        final = s.get_final_response()
    assert text == PARIS == final.output_text and final.usage.output_tokens > 0
    assert numbers == list(range(len(numbers)))
    assert [k for i, k in enumerate(kinds) if k != "response.output_text.delta" or kinds[i - 1] != k] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed"]


def test_the_raw_events_are_complete(server):
    """What a strict reader needs is there: the package's own classes, validated."""
    from openai.types.responses import ResponseStreamEvent
    from pydantic import TypeAdapter
    adapter = TypeAdapter(ResponseStreamEvent)
    body = {"model": MODEL, "input": QUESTION, "temperature": 0, "max_output_tokens": 20, "stream": True,
            "top_logprobs": 2, "tools": [CLOCK], "tool_choice": "auto"}
    got = events(server, "/v1/responses", body)
    assert all(name == json.loads(data)["type"] for name, data in got)
    for _, data in got:
        adapter.validate_json(data)
    deltas = [json.loads(d) for n, d in got if n == "response.output_text.delta"]
    assert sum(len(d["logprobs"]) for d in deltas) >= 7
    assert all(len(p["top_logprobs"]) == 2 for d in deltas for p in d["logprobs"])
    cut = events(server, "/v1/responses", {**body, "max_output_tokens": 2})
    assert cut[-1][0] == "response.incomplete"


def test_going_on(server, client):
    first = client.responses.create(model=MODEL, input="My name is Ada. Greet me by name.", temperature=0,
                                    max_output_tokens=20)
    second = client.responses.create(model=MODEL, input="What did I ask?", temperature=0,
                                     max_output_tokens=10, previous_response_id=first.id)
    assert second.previous_response_id == first.id
    whole = [{"role": "user", "content": "My name is Ada. Greet me by name."},
             {"role": "assistant", "content": first.output_text}, {"role": "user", "content": "What did I ask?"}]
    same = client.responses.create(model=MODEL, input=whole, temperature=0, max_output_tokens=10)
    assert same.output_text == second.output_text and same.usage.input_tokens == second.usage.input_tokens
    by_items = client.responses.create(model=MODEL, temperature=0, max_output_tokens=10, input=[
        whole[0], *[o.model_dump(exclude_none=True) for o in first.output], whole[2]])
    assert by_items.output_text == second.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    items = client.responses.input_items.list(second.id)
    assert items.data[0].content[0].text == "What did I ask?"
    client.responses.delete(first.id)
    assert ask(server, "GET", "/v1/responses/" + first.id)[0] == 404
    third = client.responses.create(model=MODEL, input="And now?", temperature=0, max_output_tokens=5,
                                    previous_response_id=second.id)
    assert third.usage.input_tokens > second.usage.input_tokens
    hidden = client.responses.create(model=MODEL, input="Hello", temperature=0, max_output_tokens=5, store=False)
    status, r, _ = ask(server, "POST", "/v1/responses", {"input": "x", "previous_response_id": hidden.id})
    assert status == 400 and r["error"]["param"] == "previous_response_id"


def test_calls(server, client):
    r = client.responses.create(model=MODEL, input="What time is it?", tools=[CLOCK], tool_choice="required",
                                temperature=1.5, max_output_tokens=200, extra_body={"seed": 3})
    call = r.output[-1]
    assert call.type == "function_call" and call.name == "get_time" and call.status == "completed"
    assert json.loads(call.arguments)["zone"] in ("UTC", "CET")
    after = client.responses.create(model=MODEL, temperature=0, max_output_tokens=10, tools=[CLOCK],
                                    previous_response_id=r.id, input=[
                                        {"type": "function_call_output", "call_id": call.call_id, "output": "12:00"}])
    assert after.usage.input_tokens > r.usage.input_tokens
    kinds, arguments = [], ""
    with client.responses.stream(model=MODEL, input="What time is it?", tools=[CLOCK], temperature=0,
                                 max_output_tokens=200,
                                 tool_choice={"type": "function", "name": "get_time"}) as s:
        for e in s:
            kinds.append(e.type)
            if e.type == "response.function_call_arguments.delta":
                arguments += e.delta
        final = s.get_final_response()
    assert kinds[2:6] == ["response.output_item.added", "response.function_call_arguments.delta",
                          "response.function_call_arguments.done", "response.output_item.done"]
    assert final.output[0].arguments == arguments and json.loads(arguments)["zone"] in ("UTC", "CET")


def test_form(client):
    from pydantic import BaseModel

    class City(BaseModel):
        name: str
        large: bool

    r = client.responses.parse(model=MODEL, input="Name a city.", text_format=City, temperature=0,
                               max_output_tokens=100)
    assert isinstance(r.output_parsed.large, bool) and r.output_parsed.name
    assert r.text.format.type == "json_schema"


def test_what_does_not_fit(server):
    turns = []
    for i in range(300):
        turns += [{"role": "user", "content": f"Question {i}: what is {i} plus {i}, in so many words?"},
                  {"role": "assistant", "content": f"It is {2 * i}, as everybody knows."}]
    body = {"input": turns + [{"role": "user", "content": QUESTION}], "temperature": 0, "max_output_tokens": 20,
            "instructions": "You know geography."}
    status, r, _ = ask(server, "POST", "/v1/responses", body)
    assert status == 400 and re.search(r"\d+ tokens.*4096", r["error"]["message"])
    status, r, _ = ask(server, "POST", "/v1/responses", {**body, "truncation": "auto"})
    assert status == 200 and r["usage"]["input_tokens"] <= 3072 and r["truncation"] == "auto"
    assert r["usage"]["input_tokens"] > 2000 and "were left out" in r["warnings"][0]
    lone = {"input": "word " * 5000, "truncation": "auto"}
    assert ask(server, "POST", "/v1/responses", lone)[0] == 400  # there is nothing older to leave out


@pytest.mark.parametrize("body, word", [
    ({}, "'input' is needed"), ({"input": 3}, "'input' must be"), ({"input": []}, "'input' is needed"),
    ({"input": [3]}, "input[0] must be an object"), ({"input": [{"role": "king", "content": "x"}]}, "input[0] needs a role"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input_image"),
    ({"input": [{"type": "web_search_call"}]}, "web_search_call"),
    ({"input": [{"type": "function_call", "name": "x"}]}, "input[0] is a function_call"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "call_id"),
    ({"input": "x", "tools": [{"type": "web_search"}]}, "web_search"),
    ({"input": "x", "tool_choice": "required"}, ""), ({"input": "x", "tool_choice": {"type": "mcp"}}, "tool_choice"),
    ({"input": "x", "background": True}, "background"), ({"input": "x", "conversation": "c"}, "conversation"),
    ({"input": "x", "truncation": "some"}, "truncation"), ({"input": "x", "include": ["all"]}, "include[0]"),
    ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format"),
    ({"input": "x", "text": {"format": {"type": "verse"}}}, "text.format"),
    ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
    ({"input": "x", "previous_response_id": "resp_none"}, "resp_none"),
    ({"input": "x", "model": "nothing"}, "no model called"),
])
def test_bad_requests(server, body, word):
    status, r, _ = ask(server, "POST", "/v1/responses", {"max_output_tokens": 1, **body})
    if word:
        assert status in (400, 404) and word in r["error"]["message"], r


def test_unknown_fields_are_said(server):
    status, r, response = ask(server, "POST", "/v1/responses",
                              {"input": "Hello", "max_output_tokens": 1, "frobnicate": 1})
    assert status == 200 and "frobnicate" in r["warnings"][0]
    assert response.headers["X-Nexus-Ignored"] == "frobnicate"


def test_thinking(tmp_path):
    """A copy of the model whose template thinks, made to think by a form."""
    from servers import STORE
    data = open(f"{STORE}/{MODEL}.gguf", "rb").read()
    at = data.index(b"{% for message in messages %}")
    end = data.index(b"{% endif %}", data.index(b"add_generation_prompt", at)) + len(b"{% endif %}")
    room = end - at
    text = (b"{% for m in messages %}{{m.role + m.content}}{% if m.reasoning_content %}<think>"
            b"{{m.reasoning_content}}</think>{% endif %}{% endfor %}")
    assert len(text) <= room, (room, len(text))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "thinker.gguf").write_bytes(data[:at] + text + b" " * (room - len(text)) + data[end:])
    with serving("--models", str(folder)) as s:
        body = {"model": "thinker", "input": "x", "regex": "<think>[a-z]{4,9}</think>Paris[.]", "temperature": 0,
                "max_output_tokens": 40}
        status, r, _ = ask(s, "POST", "/v1/responses", body)
        assert status == 200, r
        assert [o["type"] for o in r["output"]] == ["reasoning", "message"], r["output"]
        assert r["output"][1]["content"][0]["text"] == "Paris."
        thought = r["output"][0]["content"][0]["text"]
        assert 4 <= len(thought) <= 9 and r["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
        kinds = [n for n, _ in events(s, "/v1/responses", {**body, "stream": True})]
        assert "response.reasoning_text.delta" in kinds and "response.reasoning_text.done" in kinds
        assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")
        prompt = {"model": "thinker", "messages": [{"role": "assistant", "content": "", "reasoning_content": "why"}]}
        assert "<think>why</think>" in ask(s, "POST", "/apply-template", prompt)[1]["prompt"]
        with_thought = ask(s, "POST", "/v1/responses/input_tokens", {"model": "thinker", "input": [
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "a long thought"}]},
            {"role": "assistant", "content": "yes"}]})[1]["input_tokens"]
        without = ask(s, "POST", "/v1/responses/input_tokens", {"model": "thinker", "input": [
            {"role": "assistant", "content": "yes"}]})[1]["input_tokens"]
        assert with_thought > without
