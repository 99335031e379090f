"""Our Jinja interpreter against jinja2, set up as transformers sets it up for chat templates:
the templates of real models over many conversations, and random expressions and templates.
JINJA_TOOL names the program tests/tools/jinja_tool.c; without it, build/tests/jinja_tool."""
import datetime
import glob
import json
import os
import random
import subprocess

import jinja_cases
import pytest

jinja2 = pytest.importorskip("jinja2")
chat_template_utils = pytest.importorskip("transformers.utils.chat_template_utils")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEMPLATES = os.path.join(ROOT, "..", "shared", "data", "templates")
NOW = 1784205296  # a fixed time for strftime_now
BATCH = 500


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.utcfromtimestamp(NOW)


def tool_path():
    beside = os.path.join(os.path.dirname(os.environ.get("MLXC_LIB", "")), "tests", "jinja_tool")
    for path in (os.environ.get("JINJA_TOOL"), beside,
                 os.path.join(ROOT, "build", "tests", "jinja_tool")):
        if path and os.path.exists(path):
            return path
    pytest.skip("jinja_tool is not built")


def ours(jobs):
    """[(template, context)] to [(text or None, error or None)]."""
    lines = "".join(json.dumps({"template": t, "context": c, "now": NOW}) + "\n" for t, c in jobs)
    run = subprocess.run([tool_path()], input=lines.encode(), capture_output=True, timeout=600,
                         env={**os.environ, "TZ": "UTC"})
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-4000:]
    results = [json.loads(x) for x in run.stdout.decode().splitlines()]
    assert len(results) == len(jobs), run.stderr.decode(errors="replace")[-4000:]
    return [(r.get("text"), r.get("error")) for r in results]


def theirs(template, context):
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        text = compiled.render(**json.loads(json.dumps(context)))
        text.encode()
        if " at 0x" in text.lower():
            return text, "an address in memory"
        return text, None
    except RecursionError:
        raise
    except Exception as e:  # whatever jinja2 raises, Python's own errors too
        return None, f"{type(e).__name__}: {e}"


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", FixedTime)


def first_difference(a, b):
    n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"at {n}: theirs {a[max(0, n - 60):n + 60]!r}, ours {b[max(0, n - 60):n + 60]!r}"


def compare(jobs):
    """Every job's outcome, and the text of those that succeed. Returns how many succeeded."""
    wrong, succeeded = [], 0
    for start in range(0, len(jobs), BATCH):
        part = jobs[start:start + BATCH]
        for (template, context), (text, error) in zip(part, ours(part)):
            want, their_error = theirs(template, context)
            if want is not None and their_error:  # nothing to compare
                continue
            succeeded += want is not None
            head = template if len(template) < 300 else template[:100] + "…"
            if (want is None) != (text is None):
                wrong.append(f"{head!r}\n    with {str(context)[:300]}\n    theirs: {want!r:.200} "
                             f"{their_error}\n    ours:   {text!r:.200} {error}")
            elif want is not None and want != text:
                wrong.append(f"{head!r}\n    with {str(context)[:300]}\n    "
                             + first_difference(want, text))
    assert not wrong, f"{len(wrong)} of {len(jobs)} differ:\n" + "\n".join(wrong[:12])
    return succeeded


def template_files():
    return sorted(glob.glob(os.path.join(TEMPLATES, "*.jinja")))


@pytest.mark.skipif(not template_files(), reason="35 templates of models are not at hand")
@pytest.mark.parametrize("path", template_files(), ids=os.path.basename)
def test_model_template(path):
    with open(path, newline="") as f:
        source = f.read()
    contexts = jinja_cases.contexts()
    compare([(source, c) for c in contexts])


def test_real_templates_do_render():
    """So that the comparison above is not one of failures."""
    if not template_files():
        pytest.skip("35 templates of models are not at hand")
    context = {**jinja_cases.BASE, "messages": jinja_cases.CONVERSATIONS["plain"],
               "add_generation_prompt": True}
    texts = [theirs(open(p, newline="").read(), context)[0] for p in template_files()]
    assert sum(t is not None and "capital of France" in t for t in texts) >= 30


@pytest.mark.parametrize("template", jinja_cases.FIXED)
def test_fixed(template):
    compare([(template, jinja_cases.VALUES)])


@pytest.mark.parametrize("seed", range(int(os.environ.get("JINJA_SEEDS", "3"))))
def test_random_expressions(seed):
    r = random.Random(seed)
    jobs = [("{{ " + jinja_cases.expression(r, 4) + " }}", jinja_cases.VALUES) for _ in range(1000)]
    assert compare(jobs) > 100


@pytest.mark.parametrize("seed", range(int(os.environ.get("JINJA_SEEDS", "3"))))
def test_random_templates(seed):
    r = random.Random(1000 + seed)
    jobs = [(jinja_cases.template(r, 3), jinja_cases.VALUES) for _ in range(500)]
    assert compare(jobs) > 50
