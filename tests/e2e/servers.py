"""A server for the tests, and plain HTTP to it."""
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

NEXUS = os.environ["NEXUS_BIN"]
STORE = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"),
                     "nexus", "models")
MODEL = "SmolLM2-135M-Instruct.Q4_1"
HAS_MODEL = os.path.exists(os.path.join(STORE, MODEL + ".gguf"))
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


class Server:
    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([NEXUS, "serve", "--port", "0", *args], stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})})
        line = self.process.stderr.readline()
        found = re.search(r"serving at (\S+)", line)
        assert found, line + self.process.stderr.read()
        self.url = found.group(1)
        self.port = int(self.url.rsplit(":", 1)[1]) if ":" in self.url[6:] else 0
        self.lines = []  # of its log, which must be read: a full pipe would stop it
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        self.reader.join(10)
        self.log = "".join(self.lines)
        return self.process.returncode


@contextlib.contextmanager
def serving(*args, **kw):
    s = Server(*args, **kw)
    try:
        yield s
    finally:
        s.process.kill() if s.process.poll() is None else None
        s.process.wait()


def ask(server, method, path, body=None, headers=None, raw=None):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    data = raw if raw is not None else json.dumps(body) if body is not None else None
    c.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
    r = c.getresponse()
    text = r.read()
    c.close()
    try:
        return r.status, json.loads(text), r
    except ValueError:
        return r.status, text.decode(errors="replace"), r


def chat(server, **body):
    return ask(server, "POST", "/v1/chat/completions",
               {"messages": FRANCE, "temperature": 0, "max_tokens": 20, **body})


def events(server, path, body):
    """(event, data) pairs of a stream, comments left out."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    c.request("POST", path, json.dumps(body))
    r = c.getresponse()
    assert r.status == 200, r.read()
    out = []
    for block in r.read().decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            out.append((fields.get("event"), fields["data"]))
    c.close()
    return out


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
