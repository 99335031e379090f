"""nexus display: X11 under Xvfb, the kernel's folder made up, and window layouts."""
import json
import os
import shutil
import subprocess

import pytest

from test_models import home, run  # noqa: F401
from trees import connector, edid

needs_x = pytest.mark.skipif(not shutil.which("Xvfb"), reason="there is no Xvfb")


@pytest.fixture
def xvfb():
    started = []

    def start(*screens):
        args = [a for i, s in enumerate(screens) for a in ("-screen", str(i), s)]
        read, write = os.pipe()
        p = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-nolisten", "tcp", *args],
                             pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        started.append(p)
        number = os.fdopen(read).readline().strip()
        if not number:
            pytest.skip("Xvfb does not start here")
        return f":{number}"

    yield start
    for p in started:
        p.terminate()
        p.wait()


def seen(home, *args, **env):
    r = run(home, "display", *args, "--json", **{"DISPLAY": "", "NEXUS_DRM": "/nowhere", **env})
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


@needs_x
def test_screens_of_x11(home, xvfb):
    name = xvfb("1280x1024x24", "800x600x24", "1920x1080x24")
    got = seen(home, DISPLAY=name)
    assert got["source"] == "x11"
    assert [(d["screen"], d["width"], d["height"]) for d in got["displays"]] == [
        (0, 1280, 1024), (1, 800, 600), (2, 1920, 1080)]
    assert all(1 <= d["scale"] <= 4 for d in got["displays"])
    text = run(home, "display", DISPLAY=name).stdout.decode()
    assert "1280 x 1024" in text and "suits" in text and "\033" not in text


def test_no_server_where_display_points(home):
    got = seen(home, DISPLAY=":98765")
    assert got["source"] == "none" and got["displays"] == []
    assert b"No display" in run(home, "display", DISPLAY="", NEXUS_DRM="/nowhere").stdout


# ---- the kernel's folder ----

def test_displays_of_the_kernel(home, tmp_path):
    connector(tmp_path, "card0-HDMI-A-1", data=edid(1920, 1080, (531, 299), "Office 24"))
    connector(tmp_path, "card0-eDP-1", data=edid(2880, 1800, (286, 179), "Panel"))
    connector(tmp_path, "card0-DP-1", status="disconnected")
    connector(tmp_path, "card1-DP-9", modes="1024x768\n800x600\n")
    (tmp_path / "version").write_text("drm 1.1.0")
    got = seen(home, NEXUS_DRM=str(tmp_path))
    assert got["source"] == "drm"
    named = {d["name"]: d for d in got["displays"]}
    assert sorted(named) == ["DP-9", "HDMI-A-1", "eDP-1"]
    hdmi = named["HDMI-A-1"]
    assert (hdmi["width"], hdmi["height"], hdmi["model"]) == (1920, 1080, "Office 24")
    assert hdmi["refresh"] == pytest.approx(60, abs=0.1) and hdmi["scale"] == 1
    assert hdmi["width_mm"] == 531 and named["eDP-1"]["scale"] == 2.75
    assert (named["DP-9"]["width"], named["DP-9"]["height"]) == (1024, 768)
    assert got["memory"]["desktop"] > seen(home)["memory"]["desktop"], "pictures take memory"


def test_displays_that_tell_nonsense(home, tmp_path):
    connector(tmp_path, "card0-A-1", data=os.urandom(128))
    connector(tmp_path, "card0-B-1", data=b"\0\xff\xff", modes="nonsense")
    connector(tmp_path, "card0-C-1", data=edid(1920, 1080, (500, 300), "ok")[:-1] + b"x", modes="0x0\n")
    connector(tmp_path, "card0-D-1", data=b"", modes="999999999x1\n")
    got = seen(home, NEXUS_DRM=str(tmp_path))
    assert got["displays"] == []


def test_memory_and_the_size_that_suits(home):
    got = seen(home, NEXUS_MEMORY="16G")
    assert got["memory"]["total"] == 16_000_000_000 and got["memory"]["desktop"] == 2_000_000_000
    assert got["suits"]["memory_bytes"] <= 14_000_000_000
    small = seen(home, NEXUS_MEMORY="4G")["suits"]
    assert 3e9 < small["parameters_at_4_bits"] < 6e9


# ---- layouts ----

def two(tmp_path):
    connector(tmp_path, "card0-A-1", data=edid(1920, 1080, (531, 299), "a"))
    connector(tmp_path, "card0-B-1", data=edid(1283, 719, (531, 299), "b"))
    return {"NEXUS_DRM": str(tmp_path)}


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 16, 41])
def test_layouts_fill_the_displays_and_do_not_overlap(home, tmp_path, n):
    env = two(tmp_path)
    got = seen(home, "-n", str(n), **env)
    screens = [(d["x"], d["y"], d["width"], d["height"]) for d in got["displays"]]
    for name, windows in got["layouts"].items():
        assert len(windows) == n
        area = [0] * len(screens)
        for i, w in enumerate(windows):
            x, y, width, height = screens[w["display"]]
            assert w["width"] > 0 and w["height"] > 0, (name, w)
            assert x <= w["x"] and w["x"] + w["width"] <= x + width, (name, w)
            assert y <= w["y"] and w["y"] + w["height"] <= y + height, (name, w)
            area[w["display"]] += w["width"] * w["height"]
            for v in windows[:i]:
                apart = (v["x"] + v["width"] <= w["x"] or w["x"] + w["width"] <= v["x"]
                         or v["y"] + v["height"] <= w["y"] or w["y"] + w["height"] <= v["y"])
                assert apart, (name, v, w)
        used = {w["display"] for w in windows}
        assert len(used) == min(n, 2)
        counts = [sum(w["display"] == d for w in windows) for d in range(2)]
        assert max(counts) - min(counts) <= 1
        if name != "focus":  # the others leave no pixel free
            for d in used:
                assert area[d] == screens[d][2] * screens[d][3], name


def test_named_windows(home):
    got = seen(home, "mail", "naïve ümlaut", "--layout", "main-and-stack")
    assert list(got["layouts"]) == ["main-and-stack"]
    first, second = got["layouts"]["main-and-stack"]
    assert first == {"window": "mail", "display": 0, "x": 0, "y": 0, "width": 1152, "height": 1080}
    assert second["window"] == "naïve ümlaut" and second["x"] == 1152
    out = run(home, "display", "a", "b", "--layout", "columns", DISPLAY="", NEXUS_DRM="/nowhere").stdout
    assert b"960 x 1080" in out
    assert run(home, "display", "--layout", "spiral").returncode == 2
    assert run(home, "display", "-n", "-1").returncode == 2
    assert run(home, "display", "a", "-n", "3").returncode == 2


def test_ten_thousand_windows_on_sixteen_displays(home, tmp_path):
    """Each has its place, inside its display (bench/catalog.py has the time)."""
    for i in range(16):
        connector(tmp_path, f"card0-DP-{i:02}", data=edid(1920, 1080, (531, 299), f"d{i}"))
    got = seen(home, "-n", "10000", NEXUS_DRM=str(tmp_path))
    displays = got["displays"]
    assert len(displays) == 16
    for name in ("columns", "main-and-stack", "grid", "focus"):
        places = got["layouts"][name]
        assert len(places) == 10000 and {p["display"] for p in places} == set(range(16))
        for p in places:
            d = displays[p["display"]]
            assert d["x"] <= p["x"] and p["x"] + p["width"] <= d["x"] + d["width"]
            assert d["y"] <= p["y"] and p["y"] + p["height"] <= d["y"] + d["height"]
