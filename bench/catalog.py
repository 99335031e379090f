#!/usr/bin/env python3
"""The manager's own times: a scan of 2,000 models, cold and warm, and a layout of 10,000 windows.

    bench/catalog.py NEXUS

Processor time of the whole process, which other work on the machine lengthens little, and time by
the clock; the least of several runs.
"""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
import trees  # noqa: E402


def timed(command, env):
    """Seconds of the processor and by the clock."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - start)


def scan(nexus, scratch):
    trees.two_thousand(scratch / "m")
    env = {**os.environ, "HOME": str(scratch), "XDG_CACHE_HOME": str(scratch / "cache")}
    command = [nexus, "models", str(scratch / "m"), "--json"]
    cold = timed(command, env)
    warm = [timed(command, env) for _ in range(10)]
    print(f"2,000 models, cold: {cold[0]:.2f} s of processor, {cold[1]:.2f} s")
    print(f"2,000 models, warm: {min(w[0] for w in warm):.3f} s of processor, {min(w[1] for w in warm):.3f} s")


def layout(nexus, scratch):
    """What the program itself says of its one evaluation, with sixteen displays made up."""
    for i in range(16):
        trees.connector(scratch / "drm", f"card0-DP-{i:02}", data=trees.edid(1920, 1080, (531, 299), f"d{i}"))
    env = {**os.environ, "DISPLAY": "", "NEXUS_DRM": str(scratch / "drm")}
    runs = []
    for _ in range(20):
        out = subprocess.run([nexus, "display", "-n", "10000", "--json"], env=env, check=True,
                             stdout=subprocess.PIPE).stdout
        runs.append(json.loads(out)["layout_seconds"])
    print(f"10,000 windows on 16 displays: {1000 * min(runs):.2f} ms")


def main():
    nexus = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        scan(nexus, pathlib.Path(scratch))
        layout(nexus, pathlib.Path(scratch))


main()
