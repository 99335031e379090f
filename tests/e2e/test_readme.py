"""The README's commands do what they say: each line of its sh blocks is run."""
import os
import re
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
NEXUS = os.environ["NEXUS_BIN"]
STORE = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"),
                     "nexus", "models")


def lines():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        blocks = re.findall(r"^```sh\n(.*?)^```", f.read(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_the_two_commands_are_there():
    for line in lines():
        if line.startswith("./"):
            assert os.access(os.path.join(ROOT, line.split()[0]), os.X_OK), line


@pytest.mark.skipif(not os.path.isdir(STORE), reason="no model is stored")
@pytest.mark.parametrize("line", [x for x in lines() if "build/nexus" in x])
def test_line(line):
    r = subprocess.run(line.replace("build/nexus", f'"{NEXUS}"'), shell=True, timeout=300,
                       stdin=subprocess.DEVNULL, capture_output=True)
    assert r.returncode == 0, r.stderr.decode()
    if " chat " not in line:
        assert r.stdout
