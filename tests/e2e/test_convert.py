"""nexus convert, quantize and eval, from outside: texts stay, nothing half-made remains, and the files
load in the programs they are made for."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

NEXUS = os.environ["NEXUS_BIN"]
MODEL = os.path.expanduser("~/.local/share/nexus/models/SmolLM2-135M-Instruct.Q4_1.gguf")
FULL = os.environ.get("NEXUS_CONVERT") == "full"
QUESTION = "Name three colours."
needs_extensions = pytest.mark.skipif("NEXUS_NO_EXTENSIONS" in os.environ,
                                      reason="GGUF's blocks are read by the engine's extensions")
needs_model = pytest.mark.skipif(not os.path.exists(MODEL), reason="no test model")
HERE = os.path.dirname(os.path.abspath(__file__))
FAMILIES = os.path.join(HERE, "..", "data", "families")


def nexus(*args, **more):
    return subprocess.run([NEXUS, *map(str, args)], capture_output=True, timeout=600, **more)


def done(*args):
    got = nexus(*args)
    assert got.returncode == 0, got.stderr.decode()
    return got.stdout.decode()


def answer(model, n=16):
    return done("run", model, QUESTION, "-t", 0, "-n", n)


@pytest.fixture(scope="module")
def mlx(tmp_path_factory):
    out = tmp_path_factory.mktemp("convert") / "mlx"
    done("convert", MODEL, out)
    return out


@needs_model
def test_gguf_to_mlx_and_back_keeps_text_and_numbers(mlx, tmp_path):
    """Q4_1 is MLX's 4 bits in groups of 32: nothing is rounded."""
    config = json.loads((mlx / "config.json").read_text())
    assert config["model_type"] == "llama" and config["quantization"]["group_size"] == 32
    text = tmp_path / "text"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 3)
    back = tmp_path / "back.gguf"
    done("convert", mlx, back)
    for other in (mlx, back):
        got = json.loads(done("eval", other, "--text", text, "--against", MODEL, "--json"))
        assert got["kl_divergence"] < 2e-4 and got["top1_agreement"] > 0.98
    assert answer(mlx) == answer(MODEL)


@needs_model
def test_tokens_are_the_same(mlx):
    text = "Hello, wörld!\n  def f(x): return 12345 🙂<|im_end|>".encode()
    ids = [nexus("tokenize", m, "--json", input=text).stdout for m in (MODEL, mlx)]
    assert ids[0] == ids[1] and len(json.loads(ids[0])) > 10


@needs_model
def test_shards_and_refusals(mlx, tmp_path):
    out = tmp_path / "parts"
    done("convert", mlx, out, "--shard-size", "20M")
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 3 and all((out / f).stat().st_size < 40e6 for f in files)
    assert answer(out, 4) == answer(MODEL, 4)
    assert b"is there already" in nexus("convert", mlx, out).stderr
    assert nexus("convert", mlx, out, "--force").returncode == 0
    assert not (out / "model.safetensors.index.json").exists()
    done("convert", mlx, tmp_path / "p.gguf", "--shard-size", "30M")
    parts = sorted(f.name for f in tmp_path.iterdir() if f.suffix == ".gguf")
    assert len(parts) > 2 and parts[0] == f"p-00001-of-{len(parts):05d}.gguf"
    assert answer(tmp_path / parts[0], 4) == answer(MODEL, 4)


@pytest.mark.parametrize("wrong", [["--bits", "7"], ["--mode", "magic"], ["--type", "Q9"],
                                   ["--group", "48", "--bits", "4"], ["--recipe", "best"],
                                   ["--target-bpw", "1"], ["--shard-size", "much"], ["--to", "onnx"],
                                   ["--type", "Q8_0", "--bits", "4"]])
def test_wrong_requests_leave_nothing(tmp_path, wrong):
    got = nexus("convert", os.path.join(FAMILIES, "llama"), tmp_path / "out", *wrong)
    assert got.returncode == 2 or got.returncode == 1, got.stdout
    assert b"nexus: " in got.stderr and not list(tmp_path.iterdir())


def test_families_that_gguf_is_not_known_for(tmp_path):
    got = nexus("convert", os.path.join(FAMILIES, "rwkv7"), tmp_path / "m.gguf")
    assert got.returncode and b"rwkv7" in got.stderr and not list(tmp_path.iterdir())


def test_layers_that_gguf_cannot_tell_apart(tmp_path):
    model = tmp_path / "exaone4"
    shutil.copytree(os.path.join(FAMILIES, "exaone4"), model)
    config = json.loads((model / "config.json").read_text())
    config["layer_types"] = ["full_attention"] + ["sliding_attention"] * 3
    (model / "config.json").write_text(json.dumps(config))
    got = nexus("convert", model, tmp_path / "m.gguf")
    assert got.returncode and b"layer 0 is of a kind" in got.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["exaone4"]


def test_a_folder_is_made_only_of_gguf_files_that_say_all_of_it(tmp_path):
    source = os.path.join(FAMILIES, "gguf_mamba2", "model.gguf")
    got = nexus("convert", source, tmp_path / "out", "--to", "hf")
    assert got.returncode and b"config.json" in got.stderr and not list(tmp_path.iterdir())


def with_pieces(folder, **how):
    """A tiny llama with a tokenizer.model that is trained here."""
    np, spm = pytest.importorskip("numpy"), pytest.importorskip("sentencepiece")
    safetensors = pytest.importorskip("safetensors.numpy")
    source = os.path.join(FAMILIES, "llama")
    folder.mkdir()
    words = "the quick brown fox jumps over a lazy dog while naïve größer words привет go on and on again".split()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words[i:] + words[:i]) for i in range(len(words))] * 3),
        model_prefix=str(folder / "tokenizer"), vocab_size=330, hard_vocab_limit=False, minloglevel=2, **how)
    os.remove(folder / "tokenizer.vocab")
    rows = spm.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).get_piece_size() + 3
    config = {**json.load(open(os.path.join(source, "config.json"))), "vocab_size": rows}
    (folder / "config.json").write_text(json.dumps(config))
    weights = safetensors.load_file(os.path.join(source, "model.safetensors"))
    weights["model.embed_tokens.weight"] = np.ones((rows, 32), np.float32)
    safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


PLAIN = dict(normalization_rule_name="identity", remove_extra_whitespaces=False)


@pytest.mark.parametrize("how", [dict(model_type="bpe", byte_fallback=True, **PLAIN),
                                 dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=False, **PLAIN),
                                 dict(model_type="unigram"), dict(model_type="unigram", **PLAIN)])
def test_pieces_go_to_gguf(tmp_path, how):
    folder = with_pieces(tmp_path / "m", **how)
    done("convert", folder, tmp_path / "m.gguf")
    for text in ("the quick brown fox", "go on, naïve größer", "привет dog 12 again", "lazy", "on", "a  b dog"):
        ids = [subprocess.run([NEXUS, "tokenize", model, "--json"], input=text.encode(), capture_output=True).stdout
               for model in (folder, tmp_path / "m.gguf")]
        assert ids[0] == ids[1] and ids[0] not in (b"", b"[]\n"), text


@pytest.mark.parametrize("how,why", [(dict(model_type="bpe", byte_fallback=True), "changes texts"),
                                     (dict(model_type="bpe", **PLAIN), "no bytes"),
                                     (dict(model_type="word", **PLAIN), "words"),
                                     (dict(model_type="unigram", byte_fallback=True), "bytes")])
def test_pieces_that_gguf_cannot_say(tmp_path, how, why):
    got = nexus("convert", with_pieces(tmp_path / "m", **how), tmp_path / "m.gguf")
    assert got.returncode and why in got.stderr.decode(), got.stderr
    assert not (tmp_path / "m.gguf").exists()


@needs_model
@needs_extensions
def test_killed_it_leaves_nothing_whole(tmp_path):
    out = tmp_path / "out.gguf"
    for wait in (0.05, 0.4):
        p = subprocess.Popen([NEXUS, "quantize", MODEL, out, "--type", "Q6_K"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(wait)
        p.send_signal(signal.SIGKILL)
        p.wait()
        assert not out.exists()
        left = [f for f in tmp_path.iterdir()]
        assert all(f.name.startswith(".out.gguf.partial-") for f in left)
    got = nexus("models", "--dir", tmp_path, "--json")
    assert b"partial" not in got.stdout
    p = subprocess.Popen([NEXUS, "quantize", MODEL, out, "--type", "Q6_K"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    time.sleep(0.4)
    p.send_signal(signal.SIGINT)
    assert p.wait(30) in (0, 130)
    assert p.returncode == 0 or not list(tmp_path.iterdir())  # what the killed ones left is gone too


@needs_model
def test_memory_stays_small(mlx, tmp_path):
    """Not the model, but a few rows and its largest tensor's share."""
    import resource
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    p = subprocess.Popen([NEXUS, "convert", mlx, tmp_path / "hf", "--to", "hf"])
    _, status, usage = os.wait4(p.pid, 0)
    assert status == 0 and before >= 0
    assert usage.ru_maxrss < 120_000, f"{usage.ru_maxrss} kB"  # 270 MB are written; the embedding is 57


@needs_model
@needs_extensions
def test_quantize_reports(tmp_path):
    text = tmp_path / "text"
    text.write_text("One, two, three, four, five, six, seven, eight, nine, ten. " * 2)
    got = json.loads(done("quantize", MODEL, tmp_path / "q",
                          "--bits", 8, "--report", text, "--json"))
    assert got["kl_divergence"] < 0.01 and got["perplexity"] > 1 and got["perplexity_before"] > 1


@needs_model
def test_quantize_at_load_is_kept(mlx, tmp_path):
    full = tmp_path / "full"
    done("convert", mlx, full, "--to", "hf", "--type", "f16")
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"))
    ask = ["run", full, QUESTION, "-t", 0, "-n", 8]
    first = nexus(*ask, "--quantize", "8:32", env=env)
    assert first.returncode == 0 and b"8 bits a weight" in first.stderr and b"made in" in first.stderr
    again = nexus(*ask, "--quantize", "8:32", env=env)
    assert b"made in" not in again.stderr and b"from" in again.stderr and again.stdout == first.stdout
    kept = list((tmp_path / "cache" / "nexus" / "quantized").iterdir())
    assert len(kept) == 1 and (kept[0] / "config.json").exists()
    (full / "model.safetensors").touch()
    assert b"made in" in nexus(*ask, "--quantize", "8:32", env=env).stderr
    assert b"as it is" in nexus(*ask, "--quantize", "auto", env=env).stderr
    tight = dict(env, NEXUS_MEMORY="260M")
    assert b"bits a weight" in nexus(*ask, "--quantize", "auto", "--ctx", 256, env=tight).stderr
    assert b"quantized already" in nexus("run", mlx, "x", "-n", 1, "--quantize", "4", env=env).stderr
    assert nexus(*ask, "--quantize", "7", env=env).returncode == 2


@needs_extensions
def test_target_bits_a_weight(tmp_path):
    for out in ("q", "q.gguf"):
        source = os.path.join(FAMILIES, "llama")
        got = json.loads(done("quantize", source, tmp_path / out, "--target-bpw", 8, "--json"))
        assert 5 < got["bits_per_weight"] < 8.6


def test_encoders_against_llama_cpp(tmp_path):
    """Errors on the same matrix, as the same decoder reads them: ours are at most 1.05 of theirs."""
    llama_cpp = pytest.importorskip("llama_cpp")
    gguf = pytest.importorskip("gguf")
    np = pytest.importorskip("numpy")
    import ctypes
    rng = np.random.default_rng(5)
    source = tmp_path / "src.gguf"
    x = (rng.standard_normal((64, 1024)) * 0.03).astype(np.float32)
    x[:, ::97] *= 6  # columns that stand out
    tool = encoder_model(source, x, gguf)
    quantize = llama_cpp.llama_cpp._lib.ggml_quantize_chunk if hasattr(llama_cpp.llama_cpp, "_lib") else None
    if quantize is None:
        lib = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
        quantize = lib.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                         ctypes.c_int64, ctypes.c_void_p]
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"):
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        theirs = np.empty((64, 1024 // block * size), np.uint8)
        quantize(int(kind), x.ctypes.data, theirs.ctypes.data, 0, 64, 1024, None)
        out = tmp_path / f"{name}.gguf"
        done("quantize", tool, out, "--type", name)
        ours = next(t for t in gguf.GGUFReader(out).tensors if t.name == "blk.0.ffn_gate.weight")
        assert ours.tensor_type == kind
        errors = [np.sqrt(((gguf.dequantize(d, kind) - x) ** 2).mean()) for d in (ours.data, theirs)]
        assert errors[0] <= 1.05 * errors[1], (name, errors)


def encoder_model(path, x, gguf):
    """A model of one layer with x as a weight."""
    import numpy as np
    h, ff = x.shape[1], x.shape[0]
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(h)
    w.add_feed_forward_length(ff)
    w.add_head_count(8)
    w.add_head_count_kv(8)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(256)
    w.add_tokenizer_model("no_vocab")
    small = np.zeros((h, h), np.float32)
    w.add_tensor("token_embd.weight", np.zeros((256, h), np.float32))
    w.add_tensor("output_norm.weight", np.ones(h, np.float32))
    for n in ("attn_norm", "ffn_norm"):
        w.add_tensor(f"blk.0.{n}.weight", np.ones(h, np.float32))
    for n in ("attn_q", "attn_k", "attn_v", "attn_output"):
        w.add_tensor(f"blk.0.{n}.weight", small)
    w.add_tensor("blk.0.ffn_gate.weight", x)
    w.add_tensor("blk.0.ffn_up.weight", x)
    w.add_tensor("blk.0.ffn_down.weight", np.zeros((h, ff), np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


@needs_model
@pytest.mark.skipif(not FULL, reason="takes a minute")
def test_calibration_helps(tmp_path):
    """Three bits with and without: the divergence on a text that was not the calibration's."""
    with open(os.path.join(HERE, "..", "..", "docs", "guide.md")) as f:
        words = f.read()
    (tmp_path / "seen").write_text(words[:3000])
    (tmp_path / "new").write_text(words[6000:7500])
    got = []
    for more in ([], ["--calibrate", tmp_path / "seen"]):
        got.append(json.loads(done("quantize", MODEL, tmp_path / "q.gguf", "--type", "Q3_K", "--force",
                                   "--report", tmp_path / "new", "--json", *more)))
    assert got[1]["bytes"] == got[0]["bytes"]
    assert got[1]["kl_divergence"] < 0.8 * got[0]["kl_divergence"]


@needs_model
@pytest.mark.skipif(not FULL, reason="takes a minute")
@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_llama_cpp_gives_the_same_text(tmp_path, kind):
    llama_cpp = pytest.importorskip("llama_cpp")
    out = tmp_path / "m.gguf"
    done("quantize", MODEL, out, "--type", kind)
    m = llama_cpp.Llama(str(out), n_ctx=256, verbose=False, n_threads=2)
    got = m.create_chat_completion([{"role": "user", "content": QUESTION}], max_tokens=16, temperature=0)
    assert got["choices"][0]["message"]["content"].strip() == answer(out).strip()


def expected_of(folder):
    """The reference's tokens and logits, by name: safetensors of float32 and int32."""
    import numpy as np
    data = open(os.path.join(folder, "logits.bin"), "rb").read()
    size = int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "I32": np.int32}
    return {name: np.frombuffer(data[8 + size:][slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"])
            for name, t in json.loads(data[8:8 + size]).items() if name != "__metadata__"}


def llama_cpp_logits(c, path, tokens):
    """Of all tokens of a text, with float32 caches."""
    import numpy as np
    how = c.llama_context_default_params()
    how.n_ctx = how.n_batch = 128
    how.type_k = how.type_v = how.flash_attn_type = 0
    model = c.llama_model_load_from_file(os.fsencode(path), c.llama_model_default_params())
    assert model
    context = c.llama_init_from_model(model, how)
    width = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    batch = c.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, t in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(t), i, 1, 1
        batch.seq_id[i][0] = 0
    assert c.llama_decode(context, batch) == 0
    rows = [np.ctypeslib.as_array(c.llama_get_logits_ith(context, i), (width,)).copy() for i in range(len(tokens))]
    c.llama_batch_free(batch)
    c.llama_free(context)
    c.llama_model_free(model)
    return np.stack(rows)


@pytest.mark.parametrize("family", ["llama", "internlm2", "gpt_oss"])
def test_llama_cpp_gives_the_same_logits(tmp_path, family):
    llama_cpp = pytest.importorskip("llama_cpp")
    np = pytest.importorskip("numpy")
    folder = os.path.join(FAMILIES, family)
    done("convert", folder, tmp_path / "m.gguf")
    expected = expected_of(folder)
    for text in "ab":
        want = expected["logits_" + text]
        got = llama_cpp_logits(llama_cpp.llama_cpp, tmp_path / "m.gguf", expected["tokens_" + text])
        assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


@needs_model
@pytest.mark.skipif(not FULL, reason="takes minutes")
def test_mlx_lm_gives_the_same_text(mlx):
    mlx_lm = pytest.importorskip("mlx_lm")
    import mlx.core as mx
    mx.set_default_device(mx.cpu)
    m, tokenizer = mlx_lm.load(str(mlx))
    m.set_dtype(mx.float32)  # as here
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}],
                                           add_generation_prompt=True)
    got = mlx_lm.generate(m, tokenizer, prompt=prompt, max_tokens=12)
    assert got.strip() == answer(mlx, 12).strip()


if __name__ == "__main__":
    raise SystemExit(pytest.main(["-q", __file__]))
