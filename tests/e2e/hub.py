"""A hub on loopback for the tests: real files, and every fault a network has."""
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """repos: name -> {path: bytes}. Faults are set on the instance before a pull."""

    def __init__(self):
        self.repos, self.gated = {}, set()
        self.token = None
        self.requests = []         # (path, range, authorization) in order
        self.lock = threading.Lock()
        self.reset()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                try:
                    hub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self):
        self.drop_after = None     # bytes after which a connection is cut
        self.drops = 0             # how many are still to be cut
        self.wrong_range = 0       # answers still to be given with other bytes
        self.ignore_ranges = False
        self.corrupt = 0           # answers still to be given with a changed byte
        self.errors = []           # statuses still to be given: (status, retry_after or None)
        self.list_errors = []
        self.redirect = False      # files are on another address
        self.rate = None           # bytes a second
        self.lie = {}              # path -> size the listing claims
        self.overlong = 0          # answers still to be given with bytes more than promised
        self.hide_sha = False
        self.requests.clear()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ---- answers ----

    def take(self, name):
        with self.lock:
            n = getattr(self, name)
            setattr(self, name, max(0, n - 1))
            return n > 0

    def reply(self, h, status, body=b"", **headers):
        h.send_response(status)
        for k, v in headers.items():
            h.send_header(k.replace("_", "-"), v)
        h.send_header("Content-Length", str(len(body)))
        h.end_headers()
        h.wfile.write(body)

    def pass_error(self, h, errors):
        with self.lock:
            if not errors:
                return False
            status, after = errors.pop(0)
        more = {"Retry_After": str(after)} if after is not None else {}
        self.reply(h, status, b"<html>not now</html>", **more)
        return True

    def answer(self, h):
        with self.lock:
            self.requests.append((h.path, h.headers.get("Range"), h.headers.get("Authorization")))
        m = re.fullmatch(r"/api/models/([^?]+)/revision/([^?]+)\?blobs=true", h.path)
        if m:
            return self.list(h, m[1], m[2])
        m = re.fullmatch(r"/(elsewhere/)?(.+?)/resolve/([^/]+)/(.+)", h.path)
        if m:
            return self.file(h, m[1] is not None, m[2], m[4])
        self.reply(h, 404, b"no such page")

    def may(self, h, repo):
        if repo not in self.repos:
            self.reply(h, 401, b"", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return False
        if repo in self.gated and h.headers.get("Authorization") != f"Bearer {self.token}":
            self.reply(h, 403, b"", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            return False
        return True

    def list(self, h, repo, revision):
        if self.pass_error(h, self.list_errors) or not self.may(h, repo):
            return
        if revision not in ("main", "abc123"):
            self.reply(h, 404, b"", X_Error_Code="RevisionNotFound")
            return
        files = []
        for path, data in self.repos[repo].items():
            size = self.lie.get(path, len(data))
            item = {"rfilename": path, "size": size}
            if path.endswith((".gguf", ".safetensors")) and not self.hide_sha:
                item["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size}
            files.append(item)
        self.reply(h, 200, json.dumps({"sha": "abc123", "siblings": files}).encode(),
                   Content_Type="application/json")

    def file(self, h, elsewhere, repo, path):
        if self.redirect and not elsewhere:
            port = self.server.server_port
            self.reply(h, 302, b"", Location=f"http://localhost:{port}/elsewhere{h.path}")
            return
        if self.pass_error(h, self.errors) or (not elsewhere and not self.may(h, repo)):
            return
        data = self.repos[repo].get(path.replace("%20", " "))
        if data is None:
            self.reply(h, 404, b"", X_Error_Code="EntryNotFound")
            return
        begin, end, status = 0, len(data) - 1, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", h.headers.get("Range") or "")
        if asked and not self.ignore_ranges:
            begin, end, status = int(asked[1]), min(int(asked[2]), len(data) - 1), 206
            if begin > end:
                self.reply(h, 416)
                return
            if self.take("wrong_range"):
                begin, end = 0, end - begin
        body = data[begin:end + 1]
        if self.take("corrupt"):
            body = body[:len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1:]
        self.send(h, status, body, f"bytes {begin}-{end}/{len(data)}")

    def send(self, h, status, body, content_range):
        h.send_response(status)
        if status == 206:
            h.send_header("Content-Range", content_range)
        more = b"x" * 100 if self.take("overlong") else b""
        h.send_header("Content-Length", str(len(body) + len(more)))
        h.end_headers()
        limit = self.drop_after if self.drop_after is not None and self.take("drops") else None
        sent, piece = 0, 65536
        if self.rate:
            piece = max(1, int(self.rate * 0.02))
        body += more
        while sent < len(body):
            if limit is not None and sent + piece >= limit:
                h.wfile.write(body[sent:limit])
                h.wfile.flush()
                h.connection.close()
                h.close_connection = True
                return
            sent += h.wfile.write(body[sent:sent + piece])
            if self.rate:
                time.sleep(0.02)
