"""nexus pull against a hub with faults; rm, import and alias."""
import hashlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import time

import pytest

import trees
from hub import Hub
from test_models import SMOL, by_name, environment, home, listed, run  # noqa: F401

BIG = 20 << 20  # three ranges
NEXUS = os.environ["NEXUS_BIN"]
needs_model = pytest.mark.skipif(not os.path.exists(SMOL), reason="the small model is not stored")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A GGUF of some size, and the files of a folder."""
    d = tmp_path_factory.mktemp("content")
    trees.gguf(d / "m.gguf", trees.Shape(layers=4, hidden=1024, heads=8, ff=2816, vocab=2000), kind="Q4_0")
    data = bytearray((d / "m.gguf").read_bytes())
    assert len(data) > BIG, len(data)
    rng = random.Random(5)
    tail = len(data) // 2
    data[tail:] = rng.randbytes(len(data) - tail)
    trees.hf(d / "hf", trees.Shape(hidden=512, ff=1024, vocab=1000), shards=2)
    folder = {f: (d / "hf" / f).read_bytes() for f in os.listdir(d / "hf")}
    return bytes(data), folder


@pytest.fixture
def hub(content):
    h = Hub()
    data, folder = content
    h.repos["org/gguf"] = {"README.md": b"hello", "model-Q4_0.gguf": data, "model-Q8_0.gguf": data[:-1],
                           "model-Q4_K_M.gguf": data[:-2], "mmproj-model-f16.gguf": b"GGUF",
                           "sub/deep-IQ2_XXS.gguf": data[:-3]}
    h.repos["org/folder"] = {**folder, "README.md": b"hello", "pytorch_model.bin": b"x" * 100,
                             "onnx/model.onnx": b"y" * 100, ".gitattributes": b"z"}
    yield h
    h.close()


def env_of(hub, **more):
    return {"HF_ENDPOINT": hub.url, **more}


def pull(home, hub, *args, code=0, **env):
    r = run(home, "pull", *args, **env_of(hub, **env))
    assert r.returncode == code, r.stderr.decode()
    return r


def store(home):
    return home / ".local/share/nexus/models"


def visible(home):
    s = store(home)
    return sorted(os.listdir(s)) if s.exists() else []


def same(path, data):
    return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()


# ---- what is fetched ----

def test_a_quantization(home, hub, content):
    r = pull(home, hub, "org/gguf:Q4_0")
    path = store(home) / "model-Q4_0.gguf"
    assert r.stdout.decode().splitlines()[0] == str(path) and r.stderr == b""
    assert same(path, content[0]) and visible(home) == ["model-Q4_0.gguf"]
    assert by_name(home)["model-Q4_0"]["status"] == "ready"
    assert all(a is None for _, _, a in hub.requests)
    n = len(hub.requests)
    got = json.loads(pull(home, hub, "org/gguf:q4_0", "--json").stdout)
    assert got["was_there"] and got["fetched_bytes"] == 0 and len(hub.requests) == n + 1


def test_the_best_choice(home, hub, content):
    got = json.loads(pull(home, hub, "org/gguf", "--json").stdout)
    assert got["path"].endswith("/model-Q4_K_M.gguf") and got["bytes"] == len(content[0]) - 2


def test_a_file_and_a_name(home, hub, content):
    pull(home, hub, "org/gguf:sub/deep-IQ2_XXS.gguf", "--name", "mine")
    assert visible(home) == ["mine.gguf"]
    r = pull(home, hub, "org/gguf:Q4_0", "--name", "mine", code=1)
    assert b"there already" in r.stderr and b"nexus rm" in r.stderr


def test_a_folder(home, hub, content):
    pull(home, hub, "org/folder")
    folder = store(home) / "folder"
    assert visible(home) == ["folder"]
    assert sorted(os.listdir(folder)) == sorted(content[1])
    assert all(same(folder / f, data) for f, data in content[1].items())
    assert by_name(home)["folder"]["status"] == "ready"
    assert json.loads(pull(home, hub, "org/folder", "--json").stdout)["was_there"]


def test_a_split_model(home, hub, tmp_path):
    paths = trees.split_gguf(tmp_path / "s", "big-Q4_0", 3)
    hub.repos["org/split"] = {os.path.basename(p): open(p, "rb").read() for p in paths}
    pull(home, hub, "org/split:Q4_0")
    assert visible(home) == ["big-Q4_0"] and len(os.listdir(store(home) / "big-Q4_0")) == 3
    assert by_name(home)["big-Q4_0"]["status"] == "ready"
    assert run(home, "info", "big-q4_0").returncode == 0


def test_listing(home, hub):
    got = json.loads(pull(home, hub, "org/gguf:Q8_0", "--list", "--json").stdout)
    assert [f["path"] for f in got["files"] if f["wanted"]] == ["model-Q8_0.gguf"]
    assert b"* " in pull(home, hub, "org/gguf", "--list").stdout
    assert visible(home) == []


@needs_model
def test_the_fetched_model_answers(home, hub):
    hub.repos["org/smol"] = {"SmolLM2-135M-Instruct.Q4_1.gguf": open(SMOL, "rb").read()}
    pull(home, hub, "org/smol")
    r = run(home, "run", "smollm2-135m-instruct.q4_1", "What is the capital of France?", "--temp", "0")
    assert r.stdout == b"The capital of France is Paris.\n"


# ---- faults that pass ----

@pytest.mark.parametrize("fault", [
    {"drops": 5, "drop_after": 300000}, {"drops": 3, "drop_after": 0}, {"wrong_range": 2},
    {"errors": [(429, 0), (503, 1), (500, None), (502, None)]}, {"list_errors": [(503, 0), (429, 0)]},
    {"redirect": True}, {"ignore_ranges": True}, {"rate": 12e6}, {"overlong": 2},
    {"ignore_ranges": True, "drops": 2, "drop_after": 5 << 20}, {"hide_sha": True},
], ids=lambda f: "+".join(f))
def test_passing_faults(home, hub, content, fault):
    for k, v in fault.items():
        setattr(hub, k, v)
    pull(home, hub, "org/gguf:Q4_0")
    assert same(store(home) / "model-Q4_0.gguf", content[0]) and visible(home) == ["model-Q4_0.gguf"]


def test_retry_after_is_heeded(home, hub):
    hub.list_errors = [(429, 2)]
    start = time.time()
    pull(home, hub, "org/gguf:Q4_0")
    assert time.time() - start > 2


def test_corrupt_bytes_once_and_always(home, hub, content):
    hub.corrupt = 1
    pull(home, hub, "org/gguf:Q4_0")
    assert same(store(home) / "model-Q4_0.gguf", content[0])
    hub.corrupt = 1000
    r = pull(home, hub, "org/gguf:Q8_0", code=1)
    assert b"SHA-256" in r.stderr and visible_models(home) == ["model-Q4_0.gguf"]


def visible_models(home):
    return [f for f in visible(home) if not f.startswith(".")]


# ---- faults that stay ----

def test_lengths_that_lie(home, hub, content):
    hub.lie = {"model-Q4_0.gguf": len(content[0]) + 1000}
    r = pull(home, hub, "org/gguf:Q4_0", code=1)
    assert b"model-Q4_0.gguf" in r.stderr and visible_models(home) == []
    hub.lie = {"model-Q4_0.gguf": len(content[0]) - 1000}
    assert pull(home, hub, "org/gguf:Q4_0", code=1).stderr and visible_models(home) == []
    hub.lie = {"model-Q4_0.gguf": 10 ** 15}
    r = pull(home, hub, "org/gguf:Q4_0", code=1)
    assert b"are free" in r.stderr and b"1000000.00 GB" in r.stderr
    hub.lie = {"model-Q4_0.gguf": -5}
    assert pull(home, hub, "org/gguf:Q4_0", code=1).stderr


def test_always_an_error(home, hub):
    hub.errors = [(500, 0)] * 1000
    r = pull(home, hub, "org/gguf:Q4_0", code=1)
    assert b"500" in r.stderr and r.stderr.count(b"\n") == 1 and visible_models(home) == []


def test_missing_and_gated(home, hub):
    r = pull(home, hub, "org/none", code=1)
    assert b"no such repository" in r.stderr and b"HF_TOKEN" in r.stderr
    r = pull(home, hub, "org/gguf:Q3_K_L", code=1)
    assert b"Q3_K_L" in r.stderr and b"model-Q4_0.gguf" in r.stderr
    r = pull(home, hub, "org/gguf", "--revision", "v9", code=1)
    assert b"revision" in r.stderr
    hub.gated.add("org/gguf")
    hub.token = "secret"
    r = pull(home, hub, "org/gguf:Q4_0", code=1)
    assert b"gated" in r.stderr and b"accept its conditions" in r.stderr
    hub.redirect = True
    hub.requests.clear()
    pull(home, hub, "org/gguf:Q4_0", HF_TOKEN="secret")
    # The token goes to the hub alone, not to where it sends us.
    assert all((a is None) == p.startswith("/elsewhere") for p, _, a in hub.requests)
    for bad in ("../x", "a/b/c", "a b/c", "", "org/", "/etc"):
        assert pull(home, hub, bad, code=2).stderr
    assert run(home, "pull").returncode == 2


def test_hostile_file_names(home, hub):
    hub.repos["org/evil"] = {"../../evil.gguf": b"GGUF", "/etc/evil.gguf": b"GGUF", "a\\b.gguf": b"GGUF",
                             ".hidden.gguf": b"GGUF", "x\ny.gguf": b"GGUF"}
    r = pull(home, hub, "org/evil", code=1)
    assert r.stderr and visible_models(home) == []


def test_no_hub_at_all(home, hub):
    start = time.time()
    r = run(home, "pull", "org/gguf", HF_ENDPOINT="http://127.0.0.1:9")
    assert r.returncode == 1 and b"127.0.0.1:9" in r.stderr and time.time() - start < 20
    r = run(home, "pull", "org/gguf", HF_ENDPOINT="file:///etc")
    assert r.returncode == 1


# ---- interrupted ----

def start_pull(home, hub, *args):
    return subprocess.Popen([NEXUS, "pull", *args], env=environment(home, **env_of(hub)),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(hub, home, n):
    """Until n ranges are noted as there."""
    end = time.time() + 30
    while time.time() < end:
        for notes in store(home).glob(".pull-*/*.part.json") if store(home).exists() else []:
            try:
                if json.loads(notes.read_text())["done"].count("1") >= n:
                    return
            except ValueError:
                pass
        time.sleep(0.02)
    raise AssertionError("no progress")


@pytest.mark.parametrize("sig, code", [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_goes_on_after_an_interruption(home, hub, content, sig, code):
    hub.rate = 3e6
    p = start_pull(home, hub, "org/gguf:Q4_0", "-j", "1")
    wait_for(hub, home, 1)
    other = pull(home, hub, "org/gguf:Q4_0", code=1)
    assert b"another pull" in other.stderr
    p.send_signal(sig)
    p.communicate(timeout=30)
    assert p.returncode == code
    assert visible_models(home) == []
    assert listed(home)["models"] == []
    hub.reset()
    got = json.loads(pull(home, hub, "org/gguf:Q4_0", "--json").stdout)
    assert got["fetched_bytes"] <= len(content[0]) - (8 << 20)
    ranges = [r for _, r, _ in hub.requests if r]
    assert "bytes=0-8388607" not in ranges, ranges
    assert same(store(home) / "model-Q4_0.gguf", content[0]) and visible(home) == ["model-Q4_0.gguf"]


def test_what_was_there_of_another_version_is_not_used(home, hub, content):
    hub.rate = 3e6
    p = start_pull(home, hub, "org/gguf:Q4_0", "-j", "1")
    wait_for(hub, home, 1)
    p.kill()
    p.communicate()
    hub.reset()
    changed = bytes([content[0][0]]) + bytes(b ^ 255 for b in content[0][1:1000]) + content[0][1000:]
    hub.repos["org/gguf"]["model-Q4_0.gguf"] = changed
    pull(home, hub, "org/gguf:Q4_0")
    assert same(store(home) / "model-Q4_0.gguf", changed)


def test_progress_on_a_terminal(home, hub):
    hub.rate = 3e6
    master, slave = pty.openpty()
    p = subprocess.Popen([NEXUS, "pull", "org/gguf:Q4_0"], stdout=slave, stderr=slave,
                         env=environment(home, **env_of(hub)))
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
    text = out.decode()
    assert re.search(r"model-Q4_0\.gguf +\d+%  [\d.]+ [kM]?B of [\d.]+ MB  [\d.]+ [kM]B/s", text), text
    assert " left" in text and text.rstrip().endswith("/s")
    assert "checked" in text


@pytest.mark.skipif(os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"]).returncode != 0,
                    reason="a small disk can only be made by root")
def test_full_disk(home, hub, content):
    """A disk of 40 MB: too small for the room that is to be left, told before anything is fetched."""
    data = home / ".local/share/nexus"
    data.mkdir(parents=True)
    script = f"mount -t tmpfs -o size=40m none {data} && exec {NEXUS} pull org/gguf:Q4_0"
    r = subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment(home, **env_of(hub)),
                       capture_output=True)
    if b"mount" in r.stderr:
        pytest.skip("nothing can be mounted here")
    assert r.returncode == 1 and b"are free" in r.stderr


# ---- rm, import, alias ----

def test_import_and_rm(home, tmp_path):
    trees.gguf(tmp_path / "a" / "x.gguf", seed=1)
    trees.mlx(tmp_path / "a" / "folder")
    trees.split_gguf(tmp_path / "a", "parts", 2)
    r = run(home, "import", str(tmp_path / "a" / "x.gguf"))
    assert r.returncode == 0 and (store(home) / "x.gguf").is_symlink()
    assert run(home, "import", str(tmp_path / "a" / "x.gguf"), "--copy", "--name", "y").returncode == 0
    assert not (store(home) / "y.gguf").is_symlink()
    assert run(home, "import", str(tmp_path / "a" / "x.gguf"), "--hard-link", "--name", "z").returncode == 0
    assert os.stat(store(home) / "z.gguf").st_ino == os.stat(tmp_path / "a" / "x.gguf").st_ino
    assert run(home, "import", str(tmp_path / "a" / "folder"), "--copy").returncode == 0
    assert run(home, "import", str(tmp_path / "a" / "parts-00001-of-00002.gguf"), "--copy").returncode == 0
    m = by_name(home)
    assert sorted(m) == ["folder", "parts", "x", "y", "z"]
    assert all(x["status"] == "ready" for x in m.values())
    r = run(home, "import", str(tmp_path / "a" / "x.gguf"))
    assert r.returncode == 1 and b"there already" in r.stderr
    assert run(home, "rm", "X", "folder", "parts").returncode == 0
    assert sorted(by_name(home)) == ["y", "z"]
    assert (tmp_path / "a" / "x.gguf").exists() and (tmp_path / "a" / "folder" / "config.json").exists()
    r = run(home, "rm", "nothing")
    assert r.returncode == 1 and b"no stored model" in r.stderr
    r = run(home, "rm", str(tmp_path / "a" / "x.gguf"))
    assert r.returncode == 2 and (tmp_path / "a" / "x.gguf").exists()
    assert run(home, "rm", "../nexus").returncode == 2
    assert run(home, "import", str(tmp_path / "nowhere")).returncode == 1
    assert run(home, "import", str(tmp_path / "a" / "x.gguf"), "--name", "../x").returncode == 2


def test_alias(home, tmp_path):
    trees.gguf(tmp_path / "m" / "long-name-Q4_0.gguf")
    os.makedirs(store(home))
    assert run(home, "alias", "tiny", str(tmp_path / "m" / "long-name-Q4_0.gguf")).returncode == 0
    got = json.loads(run(home, "info", "TINY", "--json").stdout)
    assert got["path"] == str(tmp_path / "m" / "long-name-Q4_0.gguf")
    assert json.loads(run(home, "alias", "--json").stdout) == {"tiny": got["path"]}
    assert b"tiny" in run(home, "alias").stdout
    assert run(home, "alias", "a/b", got["path"]).returncode == 2
    assert run(home, "alias", "x", "/nowhere").returncode == 1
    assert run(home, "rm", "tiny").returncode == 1
    assert run(home, "alias", "tiny", "--remove").returncode == 0
    assert run(home, "info", "tiny").returncode == 1
    assert run(home, "alias", "tiny", "--remove").returncode == 2
