"""What relaying a language model's stream costs: python bench/relay.py [--streams 50 200 500 1000] [--mode sse socket] [--rounds 2]

Starts a scripted OpenAI-protocol engine and a brain on free ports, both with data of their own, asks the bare model over SSE or
Socket.IO from many clients at once, and prints one JSON line a run: tokens per core-second of all the brain's processes, time to
the first token that the brain added, tokens lost or out of order. With two cores the brain has the first, engine and clients the
second. Exit code 1 when a target of docs/benchmarks.md is missed.

The engine writes into each token its number, when it left, and how long the engine had the question by then (`<12:81234567:650000000>`,
nanoseconds), and keeps its own schedule whoever reads; the client subtracts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(rb"<(\d+):(\d+):(\d+)>")
TOKENS = 100
RATE = 20.0
THINK_S = 0.05
TARGETS = {("sse", 50): 9000, ("sse", 200): 12000, ("socket", 50): 7500, ("socket", 200): 11000}
FIRST_TOKEN_MS = {200: 50.0, 500: 100.0}


# -- the scripted engine (its own process: python bench/relay.py --engine PORT)


class Engine(asyncio.Protocol):
    """Answers every POST with TOKENS tokens at RATE tokens a second, the first after THINK_S."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self.transport = transport
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Collect one request; its body says nothing that matters but its length."""
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: *(\d+)", head)
        if not found or len(body) < int(size.group(1) if size else 0):
            return
        self.buffer, self.asked_ns = b"", time.monotonic_ns()
        if head.startswith(b"GET"):
            models = b'{"object":"list","data":[{"id":"scripted","object":"model"}]}'
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(models), models))
            return
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        loop = asyncio.get_running_loop()
        self.timer = loop.call_at(loop.time() + THINK_S, self.token, 0, loop.time() + THINK_S)

    def token(self, number: int, due: float) -> None:
        """Write one token and plan the next on the fixed schedule."""
        now = time.monotonic_ns()
        self.event(b'"choices":[{"index":0,"delta":{"content":"token <%d:%d:%d>"},"finish_reason":null}]' % (number, now, now - self.asked_ns))
        loop = asyncio.get_running_loop()
        if number + 1 < TOKENS:
            self.timer = loop.call_at(due + 1 / RATE, self.token, number + 1, due + 1 / RATE)
        else:
            usage = b'"usage":{"prompt_tokens":8,"completion_tokens":%d,"total_tokens":%d}' % (TOKENS, TOKENS + 8)
            self.event(b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],' + usage)
            done = b"data: [DONE]\n\n"
            self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))

    def event(self, rest: bytes) -> None:
        """One server-sent event as one chunk."""
        data = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"scripted",%b}\n\n' % rest
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The brain left."""
        if self.timer:
            self.timer.cancel()


async def run_engine(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


# -- the clients


@dataclass
class Run:
    """What one run saw."""

    first_ms: list[float] = field(default_factory=list)
    tokens: int = 0
    disorder: int = 0
    failed: list[str] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One stream: counts marks, notes the first, ends at `end`."""

    end = b""

    def __init__(self, run: Run) -> None:
        """`run` takes the figures."""
        self.run, self.tail, self.next, self.asked_ns = run, b"", 0, 0
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Count what is whole; keep what may be half a mark."""
        data, now, last = self.tail + data, time.monotonic_ns(), 0
        for mark in MARK.finditer(data):
            number = int(mark.group(1))
            self.run.disorder += number != self.next
            if self.next == 0:
                self.run.first_ms.append((now - self.asked_ns) / 1e6 - int(mark.group(3)) / 1e6)
            self.next, last = self.next + 1, mark.end()
            self.run.tokens += 1
        if self.end in data[max(0, last - len(self.end)) :]:
            self.finish("" if self.next == TOKENS else f"{self.next} tokens")
        self.tail = data[last:][-256:]

    def connection_lost(self, exc: Exception | None) -> None:
        """The brain closed."""
        self.finish("closed early")

    def finish(self, why: str) -> None:
        """Say how it went, once."""
        for future in (self.open, self.over):
            if not future.done():
                future.set_result(None)
                if future is self.over and why:
                    self.run.failed.append(why)
        self.transport.close()


class SseClient(Client):
    """POST /v1/chat/completions with stream."""

    end = b"data: [DONE]"

    def ask(self) -> None:
        """Send the request."""
        body = b'{"model":"scripted@none","stream":true,"messages":[{"role":"user","content":"hello"}]}'
        self.asked_ns = time.monotonic_ns()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


class SocketClient(Client):
    """Socket.IO's `chat` over a websocket, masked with zeros so that payloads stay readable."""

    end = b'42["chat:done"'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands at once."""
        super().connection_made(transport)
        transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.greeted = False

    def send(self, payload: bytes) -> None:
        """One text frame."""
        size = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2, "big")
        self.transport.write(size + bytes(4) + payload)

    def ask(self) -> None:
        """Send the question."""
        self.asked_ns = time.monotonic_ns()
        self.send(b'420["chat",{"message":"hello","model":"scripted@none"}]')

    def data_received(self, data: bytes) -> None:
        """Until the namespace is joined, look for that; then count."""
        if self.open.done():
            if data == b"\x81\x012":
                self.send(b"3")
                return
            cut = data.find(self.end)
            super().data_received(data[: cut + len(self.end)] if cut >= 0 else data)  # the last event repeats the answer
            return
        if not self.greeted and b'0{"sid"' in data:
            self.greeted = True
            self.send(b"40")
        if b'40{"sid"' in data:
            self.open.set_result(None)


async def load(port: int, kind: type[Client], streams: int) -> Run:
    """Start `streams` within one second and wait for all."""
    run, loop = Run(), asyncio.get_running_loop()
    early = []
    if kind is SocketClient:
        for number in range(streams):
            early.append((await loop.create_connection(lambda: kind(run), "127.0.0.1", port))[1])
            if number % 50 == 49:
                await asyncio.sleep(0.02)
        await asyncio.wait([client.open for client in early], timeout=30)
    started = loop.time()

    async def one(number: int) -> Client:
        await asyncio.sleep(max(0.0, started + number / streams - loop.time()))
        client = early[number] if early else (await loop.create_connection(lambda: kind(run), "127.0.0.1", port))[1]
        client.ask()
        return client

    clients = await asyncio.gather(*(one(number) for number in range(streams)))
    await asyncio.wait([client.over for client in clients], timeout=90)
    run.failed.extend("timeout" for client in clients if not client.over.done())
    return run


# -- the brain, and the sums


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all below it, so far."""
    ticks = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin(pid: int, core: int) -> None:
    """Keep a process, its threads and all below it on one core."""
    for member in family(pid):
        for thread in Path(f"/proc/{member}/task").glob("*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), {core})


@contextlib.contextmanager
def brain(folder: Path, engine_port: int, *, web_only: bool) -> Iterator[tuple[int, int]]:
    """A brain that knows the scripted engine: (port, process id), ready."""
    port, config = free_port(), folder / "config.toml"
    config.write_text(f'[models.scripted]\nengine = "external"\nbase_url = "http://127.0.0.1:{engine_port}/v1"\nslots = 2000\nqueue = 2000\n')
    env = {**os.environ, "QZBRAIN_DATA": str(folder / "data"), "QZBRAIN_PORT": str(port), "QZBRAIN_CONFIG": str(config)}
    command = ["-m", "gunicorn", "-c", "qzbrain/web/gunicorn_conf.py", "qzbrain.wsgi:app"] if web_only else ["main.py"]
    with (folder / "brain.log").open("wb") as out:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/{'healthz' if web_only else 'readyz'}", timeout=2).status == 200:
                    break
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def figures(mode: str, streams: int, run: Run, cpu: float) -> dict[str, object]:
    """One run as a line, with what it missed."""
    first = sorted(run.first_ms)
    p99 = round(first[int(len(first) * 0.99)], 1) if first else None
    per_core = round(run.tokens / cpu) if cpu else 0
    missed = []
    if run.tokens != streams * TOKENS or run.disorder or run.failed:
        missed.append("tokens lost or out of order")
    if per_core < TARGETS.get((mode, streams), 0):
        missed.append("tokens per core-second")
    if p99 is None or p99 > FIRST_TOKEN_MS.get(streams, float("inf")):
        missed.append("first token")
    return {
        "mode": mode,
        "streams": streams,
        "tokens_per_core_s": per_core,
        "cpu_s": round(cpu, 2),
        "first_token_ms": {"p50": round(first[len(first) // 2], 1) if first else None, "p99": p99},
        "lost": streams * TOKENS - run.tokens,
        "disorder": run.disorder,
        "failed": sorted(set(run.failed)),
        "missed": missed,
    }


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[50, 200, 500, 1000])
    parser.add_argument("--mode", nargs="+", choices=["sse", "socket"], default=["sse", "socket"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--web-only", action="store_true", help="the web process alone, without supervisor and worker")
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if arguments.engine:
        asyncio.run(run_engine(arguments.engine))
    cores = sorted(os.sched_getaffinity(0))
    engine_port, missed = free_port(), False
    engine = subprocess.Popen([sys.executable, __file__, "--engine", str(engine_port)])
    try:
        with tempfile.TemporaryDirectory() as folder, brain(Path(folder), engine_port, web_only=arguments.web_only) as (port, pid):
            if len(cores) > 1:
                pin(pid, cores[0])
                pin(engine.pid, cores[1])
                os.sched_setaffinity(0, {cores[1]})
            for mode in arguments.mode:
                for streams in arguments.streams:
                    for _ in range(arguments.rounds):
                        before = cpu_s(pid)
                        run = asyncio.run(load(port, SseClient if mode == "sse" else SocketClient, streams))
                        line = figures(mode, streams, run, cpu_s(pid) - before)
                        missed = missed or bool(line["missed"])
                        print(json.dumps(line), flush=True)
    finally:
        engine.terminate()
        engine.wait()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
