"""nexus chat: over a pipe, and at a pseudo-terminal as a person uses it."""
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import fcntl

import pytest

NEXUS = os.environ["NEXUS_BIN"]
STORE = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"),
                     "nexus", "models")
MODEL = os.path.join(STORE, "SmolLM2-135M-Instruct.Q4_1.gguf")
CAPITAL = "What is the capital of France?"
PARIS = "The capital of France is Paris."

needs_model = pytest.mark.skipif(not os.path.exists(MODEL), reason="the small model is not stored")


@pytest.fixture
def home(tmp_path):
    """A data folder of the test's own: nobody's history or conversations are touched."""
    (tmp_path / "nexus").mkdir()
    return tmp_path


def env_of(home, **more):
    env = {**os.environ, "XDG_DATA_HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm", "HOME": str(home)}
    env.pop("LC_ALL", None)
    env.pop("NO_COLOR", None)
    return {**env, **more}


def piped(home, text, *args):
    if isinstance(text, str):
        text = text.encode()
    return subprocess.run([NEXUS, "chat", MODEL, "--temp", "0", *args], input=text,
                          capture_output=True, timeout=120, env=env_of(home))


class Terminal:
    """nexus chat at a pseudo-terminal; what it shows is kept in self.seen."""

    def __init__(self, home, *args, columns=80, **env):
        try:
            self.pid, self.fd = pty.fork()
        except OSError as e:  # a container without /dev/pts
            pytest.skip(f"no pseudo-terminal is to be had here: {e}")
        if self.pid == 0:
            os.execve(NEXUS, [NEXUS, "chat", MODEL, "--temp", "0", *args], env_of(home, **env))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.seen = ""
        self.at = 0
        self.code = None

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def until(self, pattern, seconds=60):
        """Waits for a pattern in what came after the last one found."""
        end = time.time() + seconds
        while True:
            found = re.search(pattern, self.seen[self.at:], re.S)
            if found:
                self.at += found.end()
                return found
            assert time.time() < end, f"no {pattern!r} in {self.seen[self.at:]!r}"
            self.read(0.1)

    def prompt(self):
        """Waits for the prompt; the tokens it tells."""
        return int(self.until(r"\[(\d+)/\d+\] >\S* ").group(1))

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        self.type(text + "\r")

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        self.code = -signal.SIGKILL

    def wait(self, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0.05):
                    pass
                os.close(self.fd)
                self.code = os.waitstatus_to_exitcode(status)
                return self.code
        self.kill()
        raise AssertionError(f"did not end: {self.seen!r}")


@pytest.fixture
def terminal(home):
    started = []

    def start(*args, **kw):
        started.append(Terminal(home, *args, **kw))
        return started[-1]

    yield start
    for t in started:
        if t.code is None:
            t.kill()


# ---- a pipe ----

@needs_model
def test_pipe_answers_each_line(home):
    r = piped(home, f"{CAPITAL}\n\nAnd of Italy?")
    assert r.returncode == 0
    assert r.stdout.decode() == f"{PARIS}\nThe capital of Italy is Rome.\n"
    assert r.stderr == b""
    assert not (home / "nexus" / "history").exists()


@needs_model
def test_pipe_without_lines(home):
    r = piped(home, b"")
    assert (r.returncode, r.stdout, r.stderr) == (0, b"", b"")


@needs_model
def test_pipe_commands_and_blocks(home):
    r = piped(home, '/system Be brief.\n"""\nWhat is the capital\nof France?\n"""\n/save talk\n')
    assert r.returncode == 0, r.stderr
    saved = json.loads((home / "nexus" / "conversations" / "talk.json").read_text())
    assert saved["model"] == "SmolLM2-135M-Instruct.Q4_1"
    assert [m["role"] for m in saved["messages"]] == ["system", "user", "assistant"]
    assert saved["messages"][0]["content"] == "Be brief."
    assert saved["messages"][1]["content"] == "What is the capital\nof France?"
    assert saved["messages"][2]["content"] + "\n" == r.stdout.decode()


@needs_model
@pytest.mark.parametrize("line, words", [
    ("/frobnicate", "no command /frobnicate"),
    ("/", "no command /"),
    ("/clear all", "takes nothing"),
    ("/regen", "no answer yet"),
    ("/save", "say which"),
    ("/load", "say which"),
    ("/load nowhere", "no such file"),
    ("/save /nowhere/at/all.json", "/nowhere/at/all.json"),
    ("/read", "say which file"),
    ("/read /nowhere.txt", "/nowhere.txt"),
    ("/read /", "no file"),
    ('"""\nunfinished', "was not ended"),
])
def test_refusals(home, line, words):
    """One sentence, exit code 1, and the conversation goes on."""
    r = piped(home, line + "\n")
    assert r.returncode == 1
    assert r.stdout == b""
    text = r.stderr.decode()
    assert text.startswith("nexus: ") and words in text and text.count("\n") == 1
    if '"""' not in line:
        r = piped(home, f"{line}\n{CAPITAL}\n")
        assert r.stdout.decode() == PARIS + "\n"


@needs_model
def test_invalid_utf8_and_nul(home):
    r = piped(home, b"caf\xff\xfe \x00 hello\r\n/save bytes\n", "--max-tokens", "3")
    assert r.returncode == 0, r.stderr
    saved = json.loads((home / "nexus" / "conversations" / "bytes.json").read_text())
    assert saved["messages"][0]["content"] == "caf\ufffd\ufffd \ufffd hello"


@needs_model
def test_slash_message(home):
    r = piped(home, "//etc is a folder\n/save s\n", "--max-tokens", "3")
    assert r.returncode == 0
    saved = json.loads((home / "nexus" / "conversations" / "s.json").read_text())
    assert saved["messages"][0]["content"] == "/etc is a folder"
    assert b"--max-tokens 3" in r.stderr


@needs_model
def test_save_load_goes_on(home):
    piped(home, f"{CAPITAL}\n/save talk\n")
    r = piped(home, "/load talk\nAnd of Italy?\n/save\n/save other.json\n")
    assert r.returncode == 0
    assert r.stdout.decode() == "The capital of Italy is Rome.\n"
    assert b"which was replaced" in r.stderr
    folder = home / "nexus" / "conversations"
    assert (folder / "talk.json").read_text() == (folder / "other.json").read_text()
    assert len(json.loads((folder / "talk.json").read_text())["messages"]) == 4
    assert sorted(p.name for p in folder.iterdir()) == ["other.json", "talk.json"]


@needs_model
@pytest.mark.parametrize("content, words", [
    ("", "talk.json"),
    ("{", "talk.json"),
    ("[]", '"messages"'),
    ('{"messages": 3}', '"messages"'),
    ('{"messages": ["hi"]}', "message 1"),
    ('{"messages": [{"role": "user"}]}', "message 1"),
    ('{"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}', "'tool'"),
])
def test_broken_conversations(home, content, words):
    """The conversation that was there stays."""
    path = home / "talk.json"
    path.write_text(content)
    r = piped(home, f"{CAPITAL}\n/load {path}\n/save kept\n")
    assert r.returncode == 1
    assert words in r.stderr.decode()
    saved = json.loads((home / "nexus" / "conversations" / "kept.json").read_text())
    assert [m["content"] for m in saved["messages"]] == [CAPITAL, PARIS]


@needs_model
def test_read_file(home):
    path = home / "fruit.txt"
    path.write_text("The secret fruit is the mango.")
    r = piped(home, f"/read ~/fruit.txt\nWhat is the secret fruit?\n/save s\n")
    assert r.returncode == 0, r.stderr
    assert "mango" in r.stdout.decode()
    saved = json.loads((home / "nexus" / "conversations" / "s.json").read_text())
    assert saved["messages"][0]["content"] == (
        "fruit.txt:\n```\nThe secret fruit is the mango.\n```\n\nWhat is the secret fruit?")
    path.write_bytes(b"a\0b")
    assert b"no text" in piped(home, f"/read {path}\n").stderr
    path.write_text("word " * 600)
    r = piped(home, f"/read {path}\n{CAPITAL}\n", "--ctx", "256")
    assert b"does not fit the context of 256" in r.stderr
    assert r.stdout.decode() == PARIS + "\n"  # it was not kept for the message


@needs_model
def test_regen_and_seed(home):
    ask = "Tell me a story\n/regen\n"
    run = lambda: subprocess.run([NEXUS, "chat", MODEL, "--temp", "1", "--seed", "5", "-n", "12"],
                                 input=ask.encode(), capture_output=True, timeout=60,
                                 env=env_of(home)).stdout
    one = run()
    assert one == run()
    again = subprocess.run([NEXUS, "chat", MODEL, "--temp", "1", "--seed", "5", "-n", "12"],
                           input=b"Tell me a story\n", capture_output=True, timeout=60,
                           env=env_of(home)).stdout
    assert one.startswith(again)
    assert one[len(again):] not in (b"", again)


@needs_model
def test_clear_and_system(home):
    r = piped(home, "/system Speak like a pirate.\nhi\n/clear\n/system\n/save a\n/system \"\"\n"
                    "/system\n/save b\n", "--max-tokens", "2")
    assert r.returncode == 0, r.stderr
    text = r.stderr.decode()
    assert "the system message is: Speak like a pirate." in text and "there is no system" in text
    folder = home / "nexus" / "conversations"
    assert json.loads((folder / "a.json").read_text())["messages"] == [
        {"role": "system", "content": "Speak like a pirate."}]
    assert json.loads((folder / "b.json").read_text())["messages"] == []


@needs_model
def test_stats_and_help(home):
    out = piped(home, f"/help\n{CAPITAL}\n/stats\n/exit\nnever read\n").stdout.decode()
    for name in "help clear system regen save load read stats exit".split():
        assert f"/{name}" in out
    assert re.search(r"context +\d+ of 4096 tokens", out)
    assert re.search(r"answer +\d+ tokens, [\d.]+ tokens/s", out)
    assert "all       1 answer," in out and out.count("Paris") == 1


@needs_model
def test_full_context_leaves_out_the_oldest(home):
    lines = "".join(f"Tell me a fact about the number {n}.\n" for n in range(1, 7))
    r = piped(home, "/system Answer in one sentence.\n" + lines + "/save all\n/stats\n",
              "--ctx", "192", "--max-tokens", "30")
    text = r.stderr.decode()
    assert r.returncode == 0, text
    assert re.search(r"context of 192 tokens is full: the oldest [1-9] exchanges? (is|are) left out", text)
    assert "the system message stays" in text
    assert re.search(r"[1-9]\d* messages left out", r.stdout.decode())
    saved = json.loads((home / "nexus" / "conversations" / "all.json").read_text())
    assert len(saved["messages"]) == 13  # nothing is lost from the conversation itself


@needs_model
def test_answer_that_fills_the_context(home):
    r = piped(home, "Count from one to a thousand in words.\n", "--ctx", "64")
    assert r.returncode == 0
    assert b"context of 64 tokens is full: the answer ends here" in r.stderr


@needs_model
def test_message_longer_than_the_context(home):
    r = piped(home, "word " * 100 + f"\n{CAPITAL}\n", "--ctx", "90")
    assert r.returncode == 1
    assert b"does not fit a context of 90" in r.stderr
    assert r.stdout.decode() == PARIS + "\n"


@needs_model
def test_closed_output(home):
    with open("/dev/full", "wb") as full:
        r = subprocess.run([NEXUS, "chat", MODEL], input=b"Hello\nHello again\n", stdout=full,
                           stderr=subprocess.PIPE, timeout=60, env=env_of(home))
    assert r.returncode == 1 and r.stderr.count(b"could not be written") == 1


@needs_model
def test_ctrl_c_in_a_pipe(home):
    p = subprocess.Popen([NEXUS, "chat", MODEL, "--temp", "1"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env_of(home))
    p.stdin.write(b"Write a very long story\n")
    p.stdin.flush()
    assert p.stdout.read(1)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=20)
    assert p.returncode == 130


def test_usage(home):
    def fails(*args):
        r = subprocess.run([NEXUS, "chat", *args], input=b"", capture_output=True, timeout=20)
        assert r.returncode == 2 and r.stdout == b"" and r.stderr.startswith(b"nexus: ")
    fails()
    fails("x", "y")
    fails("x", "--nonsense")
    fails("x", "--ctx", "-1")
    r = subprocess.run([NEXUS, "chat", "/nowhere.gguf"], input=b"", capture_output=True, timeout=20)
    assert r.returncode == 1 and b"/nowhere.gguf" in r.stderr
    r = subprocess.run([NEXUS, "chat", "--help"], capture_output=True, timeout=20)
    assert r.returncode == 0 and b"usage: nexus chat" in r.stdout


# ---- a terminal ----

@needs_model
def test_terminal_conversation(terminal, home):
    t = terminal()
    assert t.prompt() == 0
    t.line(CAPITAL)
    t.until(re.escape(PARIS))
    assert t.prompt() > 20
    t.type("\x04")
    assert t.wait() == 0
    assert "\x1b[1;36m" in t.seen  # the prompt stands out
    assert (home / "nexus" / "history").read_text() == CAPITAL + "\n"
    assert (home / "nexus" / "history").stat().st_mode & 0o77 == 0


@needs_model
def test_no_color(terminal):
    t = terminal(NO_COLOR="1")
    t.prompt()
    t.line("/help")
    t.until("/regen")
    t.prompt()
    t.line("/exit")
    assert t.wait() == 0
    assert not re.search(r"\x1b\[[0-9;]+m", t.seen)


@needs_model
def test_ctrl_c_stops_the_answer(terminal):
    t = terminal("--max-tokens", "2000")
    t.prompt()
    t.line("Write a very long story about a dragon.")
    t.until("Once upon ")
    t.type("\x03")
    t.until(r"\(stopped\)", 20)
    assert t.prompt() > 20
    t.line(CAPITAL)  # the program and the session go on
    t.until("Paris")
    t.prompt()
    t.type("\x04")
    assert t.wait() == 0


@needs_model
def test_ctrl_c_at_the_prompt(terminal):
    t = terminal()
    t.prompt()
    t.type("half a line")
    t.until("half a line")
    t.type("\x03")  # drops the line
    t.prompt()
    assert "once more" not in t.seen
    t.type("\x03")
    t.until("Ctrl-C once more")
    t.prompt()
    t.line("/nope")  # anything between: it counts from the beginning
    t.until("no command /nope")
    t.prompt()
    t.type("\x03")
    t.until("Ctrl-C once more")
    t.prompt()
    t.type("\x03")
    assert t.wait() == 130


@needs_model
def test_ctrl_c_leaves_a_block(terminal):
    t = terminal()
    t.prompt()
    t.line('"""')
    t.until(r"\.\.\.")
    t.type("\x03")
    t.prompt()
    t.line('"""one')
    t.until(r"\.\.\.")
    t.line('What is the capital of France?"""')
    t.until("Paris")
    t.prompt()
    t.line("/exit")
    assert t.wait() == 0


@needs_model
def test_history_is_kept(terminal, home):
    t = terminal()
    t.prompt()
    t.line("/system Ünïcode 日本")
    t.until("is set")
    t.prompt()
    t.line("/exit")
    assert t.wait() == 0
    t = terminal()
    t.prompt()
    t.type("\x10\x10")  # Ctrl-P, twice: before /exit
    t.until("Ünïcode 日本")
    t.type("語\r")
    t.until("is set")
    t.prompt()
    t.line("/system")
    t.until("message is: Ünïcode 日本語")
    t.prompt()
    t.type("\x04")
    assert t.wait() == 0
    assert (home / "nexus" / "history").read_text().splitlines() == [
        "/system Ünïcode 日本", "/exit", "/system Ünïcode 日本語", "/system"]


@needs_model
def test_long_history_is_cut(terminal, home):
    path = home / "nexus" / "history"
    path.write_text("".join(f"line {n}\n" for n in range(2500)))
    t = terminal()
    t.prompt()
    t.type("\x10")
    t.until("line 2499")
    t.type("\x03")
    t.prompt()
    t.type("\x04")
    assert t.wait() == 0
    lines = path.read_text().splitlines()
    assert lines == [f"line {n}" for n in range(1500, 2500)]


@needs_model
def test_editing(terminal):
    """Wide characters are one step of the cursor; words and ends have their keys."""
    t = terminal()
    t.prompt()
    t.line("/system 日本x語\x1b[D\x7f!\x1b[H\x1b[F.")
    t.until("is set")
    t.prompt()
    t.line("/system")
    t.until("message is: 日本!語\\.")
    t.prompt()
    t.type("\x04")
    assert t.wait() == 0


@needs_model
def test_combining_marks_are_composed(terminal, home):
    """A mark joins its letter, so the cursor steps over both at once."""
    t = terminal()
    t.prompt()
    t.line("/system cafe\u0301 x\x1b[D\x1b[D\x7fe q\u0301")
    t.until("is set")
    t.prompt()
    t.type("\x04")
    assert t.wait() == 0
    assert (home / "nexus" / "history").read_text() == "/system cafe q\u0301 x\n"


@needs_model
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_give_the_terminal_back(terminal, number):
    t = terminal()
    before = termios.tcgetattr(t.fd)[3]
    t.prompt()
    time.sleep(0.1)
    assert not termios.tcgetattr(t.fd)[3] & termios.ICANON
    os.kill(t.pid, number)
    end = time.time() + 20
    while not termios.tcgetattr(t.fd)[3] & termios.ICANON and time.time() < end:
        t.read(0.05)
    assert termios.tcgetattr(t.fd)[3] == before
    assert t.wait() == 128 + number


@needs_model
def test_typed_while_answering_is_kept(terminal):
    t = terminal("--max-tokens", "60")
    t.prompt()
    t.line("Write a very long story about a dragon.")
    t.until("Once upon ")
    t.type("/frob\r\x04")
    t.until("no command /frob")
    assert t.wait() == 0


if __name__ == "__main__":
    raise SystemExit(pytest.main(["-q", __file__]))
