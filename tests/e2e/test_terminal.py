"""What a person sees in a terminal: the program and its completions inside tmux."""
import os
import re
import shutil
import subprocess
import time
import unicodedata
import uuid

import pytest

import trees
from hub import Hub
from test_models import NEXUS, SMOL, environment, home  # noqa: F401

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Terminal:
    def __init__(self, home, columns, command):
        self.socket = "nexus-" + uuid.uuid4().hex[:8]
        env = environment(home, PATH=os.path.dirname(os.path.abspath(NEXUS)) + ":" + os.environ["PATH"])
        env.pop("TMUX", None)
        self.env = env
        self.do("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", "40", *command)

    def do(self, *args):
        return subprocess.run(["tmux", "-L", self.socket, *args], env=self.env, capture_output=True,
                              text=True, check=True).stdout

    def type(self, *keys):
        self.do("send-keys", *keys)

    def shows(self, pattern, seconds=20):
        """The screen, once the pattern is on it."""
        end = time.time() + seconds
        while time.time() < end:
            screen = self.do("capture-pane", "-p")
            if re.search(pattern, screen):
                return screen
            time.sleep(0.05)
        raise AssertionError(f"never shown: {pattern}\n{screen}")

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.env, capture_output=True)


@pytest.fixture
def terminal(home):  # noqa: F811
    opened = []

    def open_one(columns, *command):
        opened.append(Terminal(home, columns, command or ("sh",)))
        return opened[-1]
    yield open_one
    for t in opened:
        t.close()


def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_the_table_fits_the_window(terminal, home, tmp_path):  # noqa: F811
    trees.gguf(tmp_path / "m" / ("a-very-long-name-" * 9 + ".gguf"))
    trees.mlx(tmp_path / "m" / "small")
    t = terminal(80)
    t.type(f"nexus models {tmp_path}/m; echo end''ed", "Enter")
    screen = t.shows("ended")
    rows = [line for line in screen.splitlines() if line.startswith(("NAME", "small", "a-very"))]
    assert len(rows) == 3, screen  # none was broken into two
    assert all(width(r) <= 80 for r in rows) and "…" in screen
    assert "fits" in screen and "MLX models: 1" in screen


def test_pull_shows_rate_and_time_left(terminal, home, tmp_path):  # noqa: F811
    hub = Hub()
    try:
        hub.repos["org/m"] = {"m-Q4_0.gguf": b"GGUF" + bytes(6 << 20)}
        hub.rate = 2 << 20
        t = terminal(80)
        t.type(f"HF_ENDPOINT={hub.url} nexus pull org/m:Q4_0; echo end''ed", "Enter")
        line = next(x for x in t.shows(r"\d+%.*MB/s").splitlines() if "MB/s" in x)
        assert width(line) <= 80 and re.search(r"\d+ ?s\b|left", line), line
        t.shows("ended")
    finally:
        hub.close()


def test_chat_answers_and_leaves(terminal, home, tmp_path):  # noqa: F811
    if not os.path.exists(SMOL):
        pytest.skip("the small model is not stored")
    t = terminal(80)
    t.type(f"nexus chat {SMOL} --temp 0 --max-tokens 24; echo end''ed", "Enter")
    t.shows(r"\] >")
    t.type("Say hello.", "Enter")
    t.shows(r"(?s)Say hello\..*[A-Za-z]{3,}.*\n\[\d+/\d+\] >", 60)
    t.type("C-d")
    t.shows("ended")


def test_zsh_completes_verbs_options_and_models(terminal, home, tmp_path):  # noqa: F811
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "_nexus").write_bytes(subprocess.run([NEXUS, "completion", "zsh"], capture_output=True,
                                                   check=True).stdout)
    trees.mlx(home / ".local/share/nexus/models/a-stored-one")
    t = terminal(100, "zsh", "-f")
    t.type(f"PS1='> '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; clear; echo rea''dy",
           "Enter")
    t.shows("ready")
    t.type("nexus sel", "Tab")
    t.shows(r"> nexus select")
    t.type("C-u")
    t.type("nexus run --max-t", "Tab")
    t.shows(r"> nexus run --max-tokens")
    t.type("C-u")
    t.type("nexus info a-st", "Tab")
    t.shows(r"> nexus info a-stored-one")


def test_fish_completes_verbs_options_and_models(home, tmp_path):  # noqa: F811
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    (tmp_path / "nexus.fish").write_bytes(subprocess.run([NEXUS, "completion", "fish"],
                                                         capture_output=True, check=True).stdout)
    trees.mlx(home / ".local/share/nexus/models/a-stored-one")
    env = environment(home, PATH=os.path.dirname(os.path.abspath(NEXUS)) + ":" + os.environ["PATH"])

    def complete(line):
        r = subprocess.run(["fish", "--no-config", "-c", f"source {tmp_path}/nexus.fish; complete -C '{line}'"],
                           env=env, capture_output=True, text=True, cwd=tmp_path)
        assert r.returncode == 0 and r.stderr == "", r.stderr
        return [x.split("\t")[0] for x in r.stdout.splitlines()]
    assert complete("nexus sel") == ["select"]
    assert "--max-tokens" in complete("nexus run --max")
    assert "a-stored-one" in complete("nexus info a-st")
