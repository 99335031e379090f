"""The page in a browser: chat, stop, edit, reload, models, live figures, dark, phone width, offline.

With NEXUS_SCREENSHOTS=FOLDER the pictures of README and docs are written there."""
import os
import shutil
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import trees  # noqa: E402
from hub import Hub  # noqa: E402
from servers import MODEL, STORE, Server  # noqa: E402

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
              pytest.mark.skipif(not os.path.exists(os.path.join(STORE, MODEL + ".gguf")),
                                 reason="the small model is not stored")]
SHOTS = os.environ.get("NEXUS_SCREENSHOTS")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    models = data / "nexus" / "models"
    models.mkdir(parents=True)
    (models / (MODEL + ".gguf")).symlink_to(os.path.join(STORE, MODEL + ".gguf"))
    trees.gguf(data / "m.gguf", trees.Shape(layers=2, hidden=256, heads=4, ff=512, vocab=4000), kind="Q4_0")
    hub = Hub()
    hub.repos["org/small-GGUF"] = {"small-Q4_K_M.gguf": (data / "m.gguf").read_bytes()}
    (data / "m.gguf").unlink()
    s = Server("--model", MODEL, env={"XDG_DATA_HOME": str(data), "HF_ENDPOINT": hub.url, "HF_TOKEN": ""})
    s.hub = hub
    yield s
    assert s.stop() == 0
    hub.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield b
        b.close()


@pytest.fixture()
def page(server, browser):
    context = browser.new_context(viewport={"width": 1200, "height": 760})
    p = context.new_page()
    p.faults, p.outside = [], []
    p.on("pageerror", lambda e: p.faults.append(str(e)))
    p.on("console", lambda m: p.faults.append(m.text) if m.type == "error" else None)
    p.on("request", lambda r: p.outside.append(r.url) if not r.url.startswith((server.url, "blob:", "data:")) else None)
    p.goto(server.url)
    wait(p, "document.querySelector('#model').options.length > 0")
    p.fill("#temperature", "0") if p.is_visible("#temperature") else None
    yield p
    assert p.faults == []
    assert p.outside == []
    context.close()


def wait(page, js, seconds=30):
    """The page's policy forbids eval, by which a browser would wait itself."""
    end = time.monotonic() + seconds
    while not page.evaluate(js):
        assert time.monotonic() < end, js
        time.sleep(0.05)


def settle(page):
    page.wait_for_selector("#send:visible", timeout=60000)


def settings(page, **values):
    if not page.is_visible("#settings"):
        page.click("#settings-open")
    for k, v in values.items():
        page.fill("#" + k, str(v))
    page.click("#settings-open")


def ask(page, text):
    page.fill("#input", text)
    # The page itself looks: an answer of few tokens can begin and end between two looks from here.
    page.evaluate("""() => {
        window.began = false
        new MutationObserver((_, self) => {
            window.began ||= document.querySelector("#stop").offsetParent !== null
            if (window.began) self.disconnect()
        }).observe(document, {subtree: true, childList: true, attributes: true})
    }""")
    page.keyboard.press("Enter")
    wait(page, "window.began", 10)
    settle(page)


def shot(page, name):
    if SHOTS:
        page.screenshot(path=os.path.join(SHOTS, name + ".png"))


def test_chat(page):
    shot(page, "empty")
    settings(page, temperature=0, max_tokens=60)
    ask(page, "What is the capital of France?")
    answer = page.locator(".message.assistant .text")
    assert answer.inner_text() == "The capital of France is Paris."
    assert "tokens" in page.locator(".figures").inner_text()
    assert page.locator("#conversations li").count() == 1
    shot(page, "chat")


def test_edit_makes_a_branch_and_again_another(page):
    settings(page, temperature=0, max_tokens=30)
    ask(page, "What is the capital of Italy?")
    first = page.locator(".message.assistant .text").inner_text()
    page.click(".message.user >> text=Edit")
    page.fill("#input", "What is the capital of France?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stop:visible")
    settle(page)
    assert "Paris" in page.locator(".message.assistant .text").inner_text()
    page.click("[aria-label='Earlier version']")
    playwright.expect(page.locator(".message.assistant .text")).to_have_text(first)
    page.click("text=Again")
    page.wait_for_selector("#stop:visible")
    settle(page)
    assert page.locator(".message.assistant >> text=2/2").count() == 1


def test_stop_and_reload(page):
    settings(page, temperature=0, max_tokens=2000)
    page.fill("#input", "Write a long story about a lighthouse.")
    page.keyboard.press("Enter")
    wait(page, "document.querySelector('.message.assistant .text')?.innerText.length > 40")
    page.keyboard.press("Escape")
    settle(page)
    page.wait_for_selector("#conversations li.here")
    text = page.locator(".message.assistant .text").inner_text()
    assert len(text) > 40
    page.reload()
    page.click("#conversations >> text=Write a long story")
    page.wait_for_selector(".message.assistant .text")
    assert page.locator(".message.assistant .text").inner_text() == text


def test_markdown_is_safe_and_code_is_coloured(page):
    html = page.evaluate("""async () => {
        const text = '# T\\n\\n<script>alert(1)</script>\\n\\n![x](http://outside.example/x.png) [l](javascript:alert(1))'
            + '\\n\\n```c\\nint main(void) { return 0; }\\n```\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |';
        const m = add('assistant', text, null);
        await draw();
        return document.querySelector('.message .text').innerHTML;
    }""")
    assert "<script" not in html and "javascript:" not in html and "<table" in html
    assert "hljs" in html or page.evaluate("!window.hljs")
    assert page.locator("pre .copy").count() == 1
    page.outside.clear()  # the policy refused the picture before it left: see the console
    page.faults = [f for f in page.faults if "outside.example" not in f]
    shot(page, "code")


def test_models_and_live(page):
    page.click("nav >> text=Models")
    row = page.locator("#models tbody tr").first
    assert MODEL in row.inner_text()
    page.wait_for_selector(f"[aria-label='Unload {MODEL}']")
    shot(page, "models")
    page.click(f"[aria-label='Unload {MODEL}']")
    page.wait_for_selector(f"[aria-label='Load {MODEL}']")
    page.click(f"[aria-label='Load {MODEL}']")
    page.wait_for_selector(f"[aria-label='Unload {MODEL}']")
    page.click("nav >> text=Live")
    page.wait_for_selector("#plot-tokens path", state="attached")  # flat, where nothing was asked yet
    assert "tokens a second" in page.locator("#figures").inner_text()
    shot(page, "live")


def test_fetch_a_model(page, server):
    page.click("nav >> text=Models")
    page.fill("#pull-name", "org/none")
    page.click("#pull button")
    playwright.expect(page.locator("#pull-status")).to_contain_text("org/none", timeout=10000)
    page.faults.clear()  # the browser tells of the refusal
    server.hub.rate = 60000
    page.fill("#pull-name", "org/small-GGUF:Q4_K_M")
    page.keyboard.press("Enter")
    wait(page, "document.querySelector('#pulls progress')?.value > 0.2")
    assert "left" in page.locator("#pulls .hint").inner_text()
    shot(page, "fetch")
    page.click("[aria-label='Cancel org/small-GGUF:Q4_K_M']")
    page.wait_for_selector("[aria-label='Go on with org/small-GGUF:Q4_K_M']")
    assert page.locator("#models tbody tr").count() == 1
    server.hub.rate = None
    page.click("[aria-label='Go on with org/small-GGUF:Q4_K_M']")
    playwright.expect(page.locator("#pulls li").first).to_contain_text("fetched", timeout=15000)
    playwright.expect(page.locator("#models tbody tr")).to_have_count(2)


def test_dark_and_phone(page):
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.click("#theme")
    assert page.evaluate(back) != light
    shot(page, "dark")
    page.set_viewport_size({"width": 390, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.is_visible("#input") and not page.is_visible("#side")
    page.click("#menu")
    assert page.is_visible("#side")
    page.click("#menu")
    shot(page, "phone")
    page.click("nav >> text=Models")
    button = page.locator("#models tbody button").first
    button.wait_for()
    box = button.bounding_box()  # reached without scrolling aside
    assert box["x"] + box["width"] <= 390


def test_attach_and_export(page, tmp_path):
    f = tmp_path / "note.txt"
    f.write_text("The code word is heron.")
    page.set_input_files("#attach", str(f))
    page.wait_for_selector("#files >> text=note.txt")
    settings(page, temperature=0, max_tokens=20)
    ask(page, "What is the code word?")
    assert "heron" in page.locator(".message.user .text").inner_text()
    page.click("#export summary")
    with page.expect_download() as d:
        page.click("#export-md")
    assert "heron" in open(d.value.path(), encoding="utf-8").read()


def test_keyboard_and_labels(page):
    unlabelled = page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea')]
        .filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)""")
    assert unlabelled == []
    page.click("h1")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "input"


def test_settings_stay_and_an_answer_that_is_cut_says_so(page):
    settings(page, temperature=0, max_tokens=3)
    ask(page, "Tell me a long story.")
    assert "Most tokens" in page.locator(".message.assistant .hint").inner_text()
    page.reload()
    assert page.input_value("#max_tokens") == "3" and page.input_value("#seed") == ""


def test_menus_close_and_attaching_needs_no_mouse(page):
    asked = []
    page.on("filechooser", lambda chooser: asked.append(chooser))  # so early that the browser knows of it when the key comes
    bar = page.locator("#bar").bounding_box()
    page.click("#export summary")
    assert page.is_visible("#export-md") and page.locator("#bar").bounding_box() == bar  # nothing is pushed aside
    page.keyboard.press("Escape")
    assert not page.is_visible("#export-md") and page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.focus("label:has(#attach)")
    page.keyboard.press("Enter")
    end = time.monotonic() + 30
    while not asked:
        assert time.monotonic() < end, page.evaluate("document.activeElement.outerHTML")
        page.wait_for_timeout(50)
    page.set_viewport_size({"width": 390, "height": 780})
    page.click("#menu")
    page.keyboard.press("Escape")
    assert not page.is_visible("#side") and page.get_attribute("#menu", "aria-expanded") == "false"


def test_no_model(browser, tmp_path):
    s = Server(env={"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)})
    p = browser.new_page()
    p.goto(s.url)
    p.wait_for_selector("text=There is no model here yet")
    p.fill("#input", "Hello")
    p.keyboard.press("Enter")
    p.wait_for_selector("#status.fault")
    assert p.input_value("#input") == "Hello", "what was written is kept"
    p.click("text=Fetch a model")
    assert p.evaluate("document.activeElement.id") == "pull-name" and not p.is_visible("#models")
    p.close()
    assert s.stop() == 0


def test_the_server_goes_away(browser, tmp_path):
    models = tmp_path / "nexus" / "models"
    models.mkdir(parents=True)
    (models / (MODEL + ".gguf")).symlink_to(os.path.join(STORE, MODEL + ".gguf"))
    s = Server("--model", MODEL, env={"XDG_DATA_HOME": str(tmp_path)})
    p = browser.new_page()
    broken = []
    p.on("pageerror", lambda e: broken.append(str(e)))
    p.goto(s.url)
    wait(p, "document.querySelector('#model').options.length > 0")
    settings(p, temperature=0, max_tokens=12)
    ask(p, "What is the capital of France?")
    assert s.stop() == 0
    p.fill("#input", "And of Italy?")
    p.keyboard.press("Enter")
    p.wait_for_selector(".message .fault >> text=The server does not answer")
    assert "And of Italy?" in p.locator("#messages").inner_text() and "Paris" in p.locator("#messages").inner_text()
    assert "Not stored" in p.locator("#status").inner_text() and p.is_visible("#send")
    p.click("nav >> text=Live")
    p.wait_for_selector("#live-status >> text=does not answer")
    assert broken == []
    p.close()
