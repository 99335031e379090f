"""How the benchmarks measure: peers alternate in one process; the median of each is taken."""
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def settle(run):
    """Threads of the peer before spin for some time (OpenBLAS's for 2^26 cycles), and a virtual machine
    wakes a peer's own on one processor and spreads them only then: neither is to be measured."""
    time.sleep(0.05)
    until = time.perf_counter() + 0.04
    while time.perf_counter() < until:
        run()


def alternate(peers, threads, budget, rounds):
    """peers: {name: function without arguments}. Seconds a call, the median of up to `rounds` rounds
    or what `budget` seconds a peer allow. One thread is measured in processor time, which other
    programs on the machine disturb little; several by the clock."""
    clock = time.process_time if threads == 1 else time.perf_counter
    taken = {name: [] for name in peers}
    spent = dict.fromkeys(peers, 0.0)
    repeat = {}
    for name, run in peers.items():
        run()  # memory is there, code is warm
        t = clock()
        run()
        repeat[name] = max(1, min(50, int(0.004 / max(clock() - t, 1e-7))))
    for i in range(rounds):
        names = list(peers)
        for name in names[i % len(names):] + names[:i % len(names)]:
            if spent[name] > budget:
                continue
            if threads > 1:
                settle(peers[name])
            t = clock()
            for _ in range(repeat[name]):
                peers[name]()
            t = clock() - t
            spent[name] += t
            taken[name].append(t / repeat[name])
    return {name: statistics.median(v) for name, v in taken.items()}


def geometric_mean(values):
    values = list(values)
    return statistics.geometric_mean(values) if values else float("nan")


def ceilings(build, threads):
    """What the machine can do: read bandwidth (GB/s), multiply-add peak (GFLOP/s), and what a
    parallel region costs (us), by build/bench/bench_ceilings; None where it was not built."""
    binary = os.path.join(build, "bench", "bench_ceilings")
    if not os.path.exists(binary):
        return None
    env = dict(os.environ, NEXUS_THREADS=str(threads))
    out = subprocess.run([binary], capture_output=True, check=True, env=env, text=True).stdout
    return json.loads(out)


def machine(build, threads):
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            model = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    print(f"{model}, {threads} of {len(os.sched_getaffinity(0))} processors, "
          f"load {os.getloadavg()[0]:.1f}")
    c = ceilings(build, threads)
    if c:
        print(f"read {c['read_gbps']:.1f} GB/s, copy {c['copy_gbps']:.1f} GB/s, multiply-add "
              f"{c['fma_gflops']:.0f} GFLOP/s ({c['fma_level']}), bfloat16 dot products "
              f"{c['bf16_dot_gflops']:.0f} GFLOP/s, a parallel region "
              f"{c['region_us']:.2f} us")
    else:
        print("build bench_ceilings for the machine's own limits", file=sys.stderr)
