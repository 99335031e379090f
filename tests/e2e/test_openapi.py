"""The description at /openapi.json against the server, by schemathesis: the edges of each field; with
NEXUS_E2E=full random requests too."""
import os
import shutil
import subprocess
import sys

import pytest

from servers import ask, serving

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "faults"))
tiny = pytest.importorskip("tiny")
SCHEMATHESIS = shutil.which("schemathesis") or os.path.join(os.path.dirname(sys.executable), "schemathesis")
FULL = os.environ.get("NEXUS_E2E") == "full"
CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
          "response_schema_conformance,unsupported_method,allow_header_conformance")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A random model, so that answers are quick; nothing can be fetched, and nothing of ours be lost."""
    d = tmp_path_factory.mktemp("api")
    models = d / "data" / "nexus" / "models"
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(tiny.gguf_bytes())
    env = {"XDG_DATA_HOME": str(d / "data"), "XDG_CONFIG_HOME": str(d / "config"), "HOME": str(d),
           "XDG_CACHE_HOME": str(d / "cache")}
    with serving("--model", "tiny", "--ctx", "128", "--offline", env=env) as s:
        yield s
        assert s.stop() == 0


def test_the_description_is_whole(server):
    paths = ask(server, "GET", "/openapi.json")[1]["paths"]
    body = paths["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["messages"] and body["properties"]["temperature"] == {"type": "number"}
    assert "text/event-stream" in paths["/v1/responses"]["post"]["responses"]["200"]["content"]
    assert "application/x-ndjson" in paths["/api/pull"]["post"]["responses"]["200"]["content"]


@pytest.mark.skipif(not os.path.exists(SCHEMATHESIS), reason="schemathesis is not installed")
def test_schemathesis(server, tmp_path):
    r = subprocess.run([SCHEMATHESIS, "run", server.url + "/openapi.json", "--checks", CHECKS,
                        "--phases", "coverage,fuzzing" if FULL else "coverage", "--exclude-path", "/nexus/stop",
                        "--max-examples", "40" if FULL else "1", "--seed", "7", "--request-timeout", "60",
                        "--suppress-health-check", "all", "--continue-on-failure", "--no-color", "--warnings", "off"],
                       capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert r.returncode == 0, r.stdout[-6000:] + r.stderr[-2000:]
    assert ask(server, "GET", "/health")[0] == 200
