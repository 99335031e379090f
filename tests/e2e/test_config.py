"""Settings, profiles, completions and the man page."""
import json
import os
import re
import shutil
import subprocess

import pytest

import trees
from test_models import SMOL, home, run  # noqa: F401

needs_model = pytest.mark.skipif(not os.path.exists(SMOL), reason="the small model is not stored")


def config_of(home):
    return json.loads((home / ".config/nexus/config.json").read_text())


def good(home, *args, **env):
    r = run(home, *args, **env)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout.decode()


# ---- config ----

def test_set_get_list_unset(home):
    assert good(home, "config", "path").strip() == str(home / ".config/nexus/config.json")
    assert good(home, "config", "list").splitlines()[0].split() == ["SETTING", "VALUE", "FROM"]
    good(home, "config", "set", "max-tokens", "7")
    good(home, "config", "set", "temp", "0.25")
    good(home, "config", "set", "cache_type", "f32")
    good(home, "config", "set", "folders", "/a", "/b c")
    assert config_of(home) == {"max_tokens": 7, "temp": 0.25, "cache_type": "f32", "folders": ["/a", "/b c"]}
    assert good(home, "config", "get", "max-tokens") == "7\n"
    assert good(home, "config", "get", "folders") == "/a\n/b c\n"
    assert good(home, "config", "get", "max_tokens", NEXUS_MAX_TOKENS="9") == "9\n"
    listed = good(home, "config", "list", NEXUS_TEMP="1")
    assert re.search(r"max_tokens +7 +file", listed) and re.search(r"temp +1 +environment", listed)
    assert "top_k" not in listed and "top_k" in good(home, "config", "list", "--all")
    assert json.loads(good(home, "config", "list", "--json")) == config_of(home)
    good(home, "config", "unset", "temp")
    assert "temp" not in config_of(home)
    assert run(home, "config", "get", "temp").returncode == 1


def test_what_cannot_be_set(home):
    for args, code, word in ((("set", "colour", "red"), 2, b"colour"), (("set", "max_tokens", "many"), 2, b"many"),
                             (("set", "temp", "1", "2"), 2, b"one value"), (("get", "colour"), 2, b"colour"),
                             (("unset", "temp"), 1, b"not set"), (("frob",), 2, b"frob"),
                             (("set", "profile", "none-such"), 1, b"none-such"), (("set", "temp"), 2, b"set")):
        r = run(home, "config", *args)
        assert r.returncode == code and word in r.stderr, (args, r)
    assert not (home / ".config/nexus/config.json").exists()


def test_a_broken_file_is_not_overwritten(home):
    trees.settings(home / ".config/nexus", "config.json", {})
    (home / ".config/nexus/config.json").write_text("{ broken")
    for args in (("set", "temp", "1"), ("list",)):
        assert run(home, "config", *args).returncode == 1
    assert run(home, "profile", "use", "ai-research").returncode == 1
    assert (home / ".config/nexus/config.json").read_text() == "{ broken"


# ---- profiles ----

def test_profiles_by_command(home):
    assert "ai-research" in good(home, "profile", "list")
    shipped = json.loads(good(home, "profile", "show", "ai-research"))
    assert shipped["model"] == "auto:reason" and shipped["lmstudio"] == "http://127.0.0.1:1234"
    assert shipped["folders"] == ["/Volumes/MICRO/models"] and "system" in shipped
    good(home, "profile", "set", "poet", "system", "Answer in verse.")
    good(home, "profile", "set", "poet", "temp", "1.2")
    good(home, "profile", "set", "poet", "model", "auto")
    assert json.loads(good(home, "profile", "show", "poet")) == {
        "system": "Answer in verse.", "temp": 1.2, "model": "auto"}
    good(home, "profile", "set", "poet", "temp")  # taken out again
    assert "temp" not in json.loads(good(home, "profile", "show", "poet"))
    good(home, "profile", "set", "ai-research", "temp", "0.1")  # a copy of the shipped one
    got = json.loads(good(home, "profile", "show", "ai-research"))
    assert got["temp"] == 0.1 and got["model"] == "auto:reason"
    good(home, "profile", "use", "poet")
    got = json.loads(good(home, "profile", "list", "--json"))
    assert got["used"] == "poet" and sorted(got["profiles"]) == ["ai-research", "poet"]
    good(home, "profile", "remove", "poet")
    assert json.loads(good(home, "profile", "list", "--json"))["used"] is None
    for args in (("show", "x"), ("use", "x"), ("remove", "x"), ("set", "x", "colour", "red")):
        r = run(home, "profile", *args)
        assert r.returncode in (1, 2) and r.stderr
    r = run(home, "models", "--profile", "none-such")
    assert r.returncode == 2 and b"none-such" in r.stderr


@needs_model
def test_a_profile_is_obeyed(home):
    store = home / ".local/share/nexus/models"
    store.mkdir(parents=True)
    os.symlink(SMOL, store / os.path.basename(SMOL))
    for key, value in (("model", "auto:small"), ("temp", "0"), ("max_tokens", "3")):
        good(home, "profile", "set", "short", key, value)
    ask = "What is the capital of France?"
    tokens = lambda *a, **e: json.loads(good(home, "run", *a, "--json", **e))["generated_tokens"]
    assert tokens("--profile", "short", ask) == 3
    assert tokens("--profile=short", ask, "--max-tokens", "2") == 2
    assert tokens("--profile", "short", ask, NEXUS_MAX_TOKENS="4") == 4
    assert tokens("smollm2-135m-instruct.q4_1", ask, NEXUS_PROFILE="short") == 3
    good(home, "profile", "use", "short")
    assert tokens("smollm2-135m-instruct.q4_1", ask) == 3
    assert json.loads(good(home, "info", "--json"))["quantization"] == "Q4_1"
    good(home, "config", "set", "max_tokens", "5")
    assert tokens("smollm2-135m-instruct.q4_1", ask) == 3, "the profile wins over the file"
    good(home, "profile", "use", "none")
    assert tokens("smollm2-135m-instruct.q4_1", ask, "--temp", "0") == 5


def test_folders_and_lmstudio_of_a_profile(home, tmp_path):
    trees.gguf(tmp_path / "disk" / "x.gguf")
    good(home, "profile", "set", "disk", "folders", str(tmp_path / "disk"))
    good(home, "profile", "set", "disk", "lmstudio", "http://127.0.0.1:9")
    got = json.loads(good(home, "models", "--profile", "disk", "--json"))
    assert [m["name"] for m in got["models"]] == ["x"]
    assert "http://127.0.0.1:9" in good(home, "doctor", "--profile", "disk")
    assert json.loads(good(home, "models", "--profile", "ai-research", "--json"))["problems"] == []


# ---- completions, man page ----

def verbs(home):
    return re.findall(r"^  (\w+) +\S", good(home, "--help"), re.M)


def test_help_names_every_verb_and_all_are_completed(home):
    names = verbs(home)
    assert {"run", "models", "select", "doctor", "pull", "display", "config", "profile"} <= set(names)
    for shell in ("bash", "zsh", "fish", "man"):
        text = good(home, "completion", shell)
        for name in names:
            assert re.search(rf"\b{name}\b", text), (shell, name)
        assert "max" in text
    assert run(home, "completion", "tcsh").returncode == 2
    assert run(home, "completion").returncode == 2


def test_bash_completion_works(home, tmp_path):
    (tmp_path / "c.bash").write_text(good(home, "completion", "bash"))
    script = (f"source {tmp_path}/c.bash; COMP_WORDS=(nexus {{}}); COMP_CWORD={{}}; _nexus; "
              'printf "%s\\n" "${{COMPREPLY[@]}}"')
    complete = lambda words, at: subprocess.run(["bash", "-c", script.format(words, at)], cwd=tmp_path,
                                                capture_output=True, text=True)
    assert complete("sel", 1).stdout.split() == ["select"]
    assert "--max-tokens" in complete("run --max", 2).stdout.split()
    assert complete("doctor --x", 2).stdout.split() == []
    for r in (complete("", 1), complete("run x", 2)):
        assert r.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_completions_parse(home, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "c").write_text(good(home, "completion", shell))
    assert subprocess.run([shell, "-n", str(tmp_path / "c")]).returncode == 0


def test_man_page(home, tmp_path):
    page = good(home, "completion", "man")
    for word in (".TH NEXUS 1", ".SH ENVIRONMENT", ".SH EXIT STATUS", "\\-\\-cache\\-type", ".SS \"nexus select"):
        assert word in page
    assert not re.search(r"^'", page, re.M)
    if shutil.which("man"):
        (tmp_path / "nexus.1").write_text(page)
        r = subprocess.run(["man", "--warnings", "-l", str(tmp_path / "nexus.1")], capture_output=True,
                           env={**os.environ, "MANWIDTH": "90", "LANG": "C.UTF-8"})
        assert r.returncode == 0 and b"ENVIRONMENT" in r.stdout and r.stderr == b""
