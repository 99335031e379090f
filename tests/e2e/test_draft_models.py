"""A small model proposes tokens to a larger one of its vocabulary: tiny random models, so that this
runs anywhere. The text is that without proposals, whatever form it has to have."""
import os
import re
import sys

import pytest

from servers import NEXUS, ask, chat, serving  # noqa: F401

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "faults"))
import tiny  # noqa: E402

ASK = [{"role": "user", "content": "and the other and the other and the"}]
WORDS = {"regex": "((the|and|in|on)( the| and|, ))+\\."}
FORMS = (
    {}, WORDS, {"grammar": 'root ::= ("<" [a-z]{1,6} ">"){4,12}'},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {
        "type": "array", "minItems": 2, "maxItems": 4, "items": {
            "type": "object", "required": ["n", "b"], "properties": {
                "n": {"type": "integer"}, "b": {"type": "boolean"}}}}}}},
)
SAMPLERS = ({"temperature": 0}, {"temperature": 1.2, "seed": 3},
            {"temperature": 0.9, "top_k": 20, "repeat_penalty": 1.1, "seed": 4},
            {"temperature": 1, "mirostat": 2, "seed": 5})


def write(path, tensors, **pairs):
    kinds = tiny.metadata()
    with open(path, "wb") as f:
        f.write(tiny.gguf_bytes({**kinds, **{k.replace("__", "."): (kinds[k.replace("__", ".")][0], v)
                                             for k, v in pairs.items()}}, tensors))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """large; half: its first layer alone; stranger: large with other names of tokens."""
    path = tmp_path_factory.mktemp("models")
    all_of_it = tiny.gguf_tensors()
    write(path / "large.gguf", all_of_it)
    write(path / "half.gguf", [t for t in all_of_it if not t[0].startswith("blk.1.")], llama__block_count=1)
    names = list(tiny.TOKENS)
    names[290], names[291] = names[291], names[290]
    write(path / "stranger.gguf", all_of_it, tokenizer__ggml__tokens=(tiny.STR, names))
    return path


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    home = str(tmp_path_factory.mktemp("home"))
    with serving("--models", str(folder), "--model", "large", "--draft", "half",
                 env={"XDG_DATA_HOME": home, "HOME": home}) as s:
        yield s
        assert s.stop() == 0


def answer(server, **body):
    status, r, _ = chat(server, messages=ASK, max_tokens=body.pop("max_tokens", 40), **body)
    assert status == 200, r
    d = r["usage"]["completion_tokens_details"]
    return (r["choices"][0]["message"]["content"], d["accepted_prediction_tokens"], d["rejected_prediction_tokens"],
            r["usage"]["completion_tokens"])


@pytest.mark.parametrize("form", FORMS, ids=("free", "regex", "grammar", "schema"))
def test_the_same_text(server, form):
    for sampler in SAMPLERS:
        body = {**sampler, **form}
        plain = answer(server, draft_tokens=-1, **body)
        assert plain[1] == plain[2] == 0
        for how in ({}, {"draft_tokens": 16}, {"lookup": True}, {"lookup": True, "draft_tokens": 3}):
            assert answer(server, **how, **body)[0] == plain[0], (how, body)


def test_proposals_keep_to_the_form(server):
    """Where the form leaves one token at a time, all that is proposed is right, but for what is past the end."""
    line = "qzxjqkvzxqjkzvxqzjkqxzvj"
    text, accepted, rejected, n = answer(server, regex=line, temperature=1, seed=1)
    assert text == line and accepted >= n // 2 and rejected <= 4, (text, accepted, rejected, n)
    # What stood in the prompt before is proposed as far as the form goes, and no farther.
    text, accepted, rejected, n = answer(server, regex="(qz){10,12}!", temperature=0, lookup=True)
    assert re.fullmatch("(qz){10,12}!", text) and accepted > 0


def test_another_vocabulary_is_told(server):
    status, r, _ = chat(server, model="stranger", messages=ASK, draft_tokens=8)
    assert status == 200 and r["usage"]["completion_tokens_details"]["rejected_prediction_tokens"] == 0
    told = {m["name"]: m["draft"] for m in ask(server, "GET", "/nexus/ps")[1]["models"]}
    assert "vocabularies differ from token 290 on" in told["stranger"], told
    chat(server, messages=ASK)
    assert {m["name"]: m["draft"] for m in ask(server, "GET", "/nexus/ps")[1]["models"]}["large"] == "half"
    assert any("vocabularies differ" in line for line in server.lines)
