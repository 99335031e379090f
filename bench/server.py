"""The server beside llama.cpp's (PyPI llama-cpp-python[server]): many clients at once, the same
model, prompts and answer lengths, each server in turn alone on the machine.

Entered through bench/peers.py server. Every client asks, waits for the whole answer as a stream, and
asks again. The prompts begin alike (a system prompt, as an assistant's requests do) and end
differently. Answers are greedy and go on to their full length in both, whatever they say.
"""
import asyncio
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

SYSTEM = "You are a helpful assistant. You answer at length, in whole sentences, and you never stop early."
TOPICS = ("rivers", "bread", "chess", "the moon", "bicycles", "honey bees", "paper", "glass", "tea", "trains",
          "volcanoes", "clocks", "wool", "bridges", "salt", "maps")
NEXT = iter(range(10 ** 9))


def prompt():
    i = next(NEXT)
    return [{"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"Question {i}: tell me the long history of {TOPICS[i % len(TOPICS)]}, "
                                        f"beginning with the year {1000 + i * 7 % 1000}, step by step."}]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server in a process of its own; its processor time and memory are known afterwards."""

    def __init__(self, name, command, port, env=None):
        self.name, self.port = name, port
        self.log = open(os.devnull, "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})})
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as r:
                    self.model = json.load(r)["data"][0]["id"]
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{name} did not start: {' '.join(command)}")
                time.sleep(0.1)

    def processor_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        return int(open(f"/proc/{self.process.pid}/statm").read().split()[1]) * resource.getpagesize()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def nexus(args):
    port = free_port()
    name = re.sub(r"\.gguf$", "", os.path.basename(args.model))
    return Server("nexus", [os.path.join(args.build, "nexus"), "serve", "--port", str(port), "--threads",
                            str(args.threads), "--parallel", str(args.parallel), "--ctx", str(args.ctx), "--models",
                            os.path.dirname(os.path.abspath(args.model)), "--model", name, *args.ours], port)


def llama(args):
    port = free_port()
    return Server("llama.cpp", [sys.executable, "-m", "llama_cpp.server", "--model", args.model, "--port", str(port),
                                "--n_threads", str(args.threads), "--n_threads_batch", str(args.threads),
                                "--n_ctx", str(args.ctx), "--interrupt_requests", "False", "--verbose", "False"],
                  port)


def texts(stream):
    """How many pieces of the answer a stream holds so far."""
    return sum(b'"content"' in line and b'"role"' not in line for line in stream.split(b"\n"))


class Answer(asyncio.Protocol):
    """A streamed answer, taken in as it comes and looked at once: clients share the server's processors."""

    def __init__(self, request):
        self.request, self.first, self.stream = request, None, bytearray()
        self.whole = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.write(self.request)

    def data_received(self, data):
        self.stream += data
        if self.first is None and texts(self.stream):
            self.first = time.perf_counter()

    def connection_lost(self, error):
        if not self.whole.done():
            self.whole.set_result(bytes(self.stream))


async def ask(server, max_tokens, messages=None):
    """One streamed answer: seconds to its first token, and in all; tokens."""
    body = json.dumps({"model": server.model, "messages": messages or prompt(), "max_tokens": max_tokens,
                       "temperature": 0, "stream": True, **({"ignore_eos": True} if server.name == "nexus" else
                                                            {"logit_bias": {"2": -100, "0": -100}})}).encode()
    request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    start = time.perf_counter()
    _, answer = await asyncio.get_running_loop().create_connection(lambda: Answer(request), "127.0.0.1", server.port)
    stream = await answer.whole
    took, tokens = time.perf_counter() - start, texts(stream)
    if b" 200 " not in stream[:20] or b"data: [DONE]" not in stream:
        raise RuntimeError(f"{server.name}: {stream[:80].decode()!r}, {tokens} tokens")
    return (answer.first - start if answer.first else took), took, tokens


async def load(server, clients, seconds, max_tokens):
    """`clients` ask again and again for `seconds`; what begun is finished. A dict of figures."""
    answers, end, failed = [], time.perf_counter() + seconds, []

    async def client():
        while time.perf_counter() < end:
            try:
                answers.append(await ask(server, max_tokens))
            except (OSError, RuntimeError) as e:
                failed.append(str(e))
                await asyncio.sleep(0.1)

    start, cpu, own = time.perf_counter(), server.processor_seconds(), time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    took, cpu, own = (time.perf_counter() - start, server.processor_seconds() - cpu, time.process_time() - own)
    if not answers:
        raise SystemExit(f"{server.name}: no request of {clients} clients was answered: {failed[:1]}")
    firsts, wholes = sorted(a[0] for a in answers), sorted(a[1] for a in answers)
    tokens = sum(a[2] for a in answers)
    return {"requests": len(answers), "failed": len(failed), "rate": len(answers) / took, "tokens": tokens / took,
            "p50": quantile(wholes, 0.5), "p95": quantile(wholes, 0.95), "first": quantile(firsts, 0.5),
            "first95": quantile(firsts, 0.95), "cpu_ms": 1000 * cpu / max(tokens, 1),
            "client_ms": 1000 * own / max(tokens, 1), "resident": server.resident()}


def quantile(sorted_values, q):
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))]


async def beside_prefill(server, ctx):
    """Seconds to the first token of a short request: alone, and while a long prompt is read."""
    def short(i):
        return [{"role": "user", "content": f"{i}: what is the capital of France?"}]

    idle = [(await ask(server, 2, short(i)))[0] for i in range(9)]
    busy = []
    for i in range(5):
        text = f"Text {i}:" + " word" * (ctx - 96)
        long = asyncio.create_task(ask(server, 1, [{"role": "user", "content": text}]))
        await asyncio.sleep(0.4)
        k = 0
        while not long.done():
            busy.append((await ask(server, 2, short(1000 * (i + 1) + k)))[0])
            k += 1
            await asyncio.sleep(0.3)
        await long
    return statistics.median(idle), statistics.median(busy), len(busy)


def alone(args, start, clients):
    server = start(args)
    try:
        asyncio.run(load(server, 1, 1, args.n))  # warm
        return asyncio.run(load(server, clients, args.seconds, args.n))
    finally:
        server.stop()


def line(clients, ours, theirs):
    print(f"{clients:7} {'nexus':10}" + figures(ours))
    if theirs:
        print(f"{clients:7} {'llama.cpp':10}" + figures(theirs))
        print(f"{clients:7} {'ratio':10}{ours['rate'] / theirs['rate']:8.2f}x{theirs['p50'] / ours['p50']:7.2f}x"
              f"{theirs['p95'] / ours['p95']:7.2f}x{ours['tokens'] / theirs['tokens']:8.2f}x"
              f"{theirs['first'] / ours['first']:8.2f}x{theirs['first95'] / ours['first95']:7.2f}x"
              f"{theirs['cpu_ms'] / ours['cpu_ms']:8.2f}x{'':9}{theirs['resident'] / ours['resident']:8.2f}x")


def figures(f):
    return (f"{f['rate']:9.2f}{f['p50']:8.2f}{f['p95']:8.2f}{f['tokens']:9.1f}{f['first']:9.3f}{f['first95']:8.3f}"
            f"{f['cpu_ms']:9.2f}{f['client_ms']:9.2f}{f['resident'] / 1e6:9.0f}{f['failed']:7}")


def main(args):
    print(f"{os.path.basename(args.model)}, {args.threads} threads, answers of {args.n} tokens, {args.seconds:g} s "
          f"a row, load of the machine before {os.getloadavg()[0]:.1f}")
    print(f"clients {'':10}{'req/s':>9}{'p50 s':>8}{'p95 s':>8}{'tok/s':>9}{'first s':>9}{'p95 s':>8}"
          f"{'cpu ms':>9}{'client':>9}{'MB':>9}{'failed':>7}   (first: to the first token; cpu, client: "
          "processor time of server and load generator, a token)")
    ours = {}
    for clients in args.clients:
        ours[clients] = alone(args, nexus, clients)
        line(clients, ours[clients], None if args.alone else alone(args, llama, clients))
    if 1 in ours and len(ours) > 1:
        print("tokens a second beside one client's: " + ", ".join(
            f"{c}: {f['tokens'] / ours[1]['tokens']:.2f}x" for c, f in ours.items() if c != 1))
    server = nexus(args)
    try:
        idle, busy, n = asyncio.run(beside_prefill(server, args.ctx))
    finally:
        server.stop()
    print(f"first token of a short request: {idle * 1000:.0f} ms alone, {busy * 1000:.0f} ms while a prompt of nearly "
          f"{args.ctx} tokens is read: {busy / idle:.2f}x ({n} asked)")
