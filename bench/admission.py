"""Who waits for whom: python bench/admission.py [--seconds 60] [--clients 60] [--slots 4] [--leavers 200] [--redis]

A brain and a scripted engine of their own. Clients of three users, half over HTTP (/v1, streamed), half over Socket.IO, ask one question after
the other of a model with few slots. Looks at each user's share of the answers, at the places and the waits that were told, at questions that got
no end or two. Then clients leave at random moments, and no slot may be missing afterwards. `--redis`: two web processes that share their state
in a Redis of their own. One JSON object on standard output, a table on standard error; exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import socketio

from tests.engine import Engine
from tests.running import RunningBrain, wait_for
from tests.servers.redis_server import RedisServer

USERS = ("甲", "乙", "丙")
DELTAS, DELTA_S = 10, 0.03
SHARE_WITHIN, TRUTHFUL = 0.10, 0.95
OPENING_S = 2.0
"""While the crowd arrives, users who had nobody waiting get their turn between the others, and places do grow."""
GRACE_S = 45.0
"""A client that leaves Socket.IO has 30 s to come back before its answer is given up."""


@dataclass
class Asked:
    """One question as its client saw it; times of time.monotonic()."""

    number: int
    user: str
    way: str
    begun: float
    told: list[tuple[float, int, float | None]] = field(default_factory=list)
    ends: int = 0
    error: str = ""


class Crowd:
    """All clients, and what they saw."""

    def __init__(self, brain: RunningBrain, clients: int) -> None:
        self.brain, self.clients = brain, clients
        self.asked: list[Asked] = []
        self.began = 0.0
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """Everybody asks until the time is over, and hears the end of his last question."""
        self.began = time.monotonic()
        end = self.began + seconds
        threads = [threading.Thread(target=(self.over_http, self.over_socket)[n % 2], args=(USERS[n // 2 % 3], end)) for n in range(self.clients)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    def over_http(self, user: str, end: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.brain.port, timeout=120)
        while time.monotonic() < end:
            asked = self.question(user, "http")
            try:
                connection.request("POST", "/v1/chat/completions", body(asked), {"Content-Type": "application/json"})
                reply = connection.getresponse()
                text = reply.read()
                asked.ends = text.count(b"data: [DONE]") if reply.status == 200 else 0
                asked.error = "" if reply.status == 200 else f"HTTP {reply.status}"
            except (OSError, http.client.HTTPException) as exc:
                asked.error = repr(exc)
                return

    def ask_once(self, user: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.brain.port, timeout=120)
        connection.request("POST", "/v1/chat/completions", body(self.question(user, "http")), {"Content-Type": "application/json"})
        connection.getresponse().read()

    def over_socket(self, user: str, end: float) -> None:
        with socketio.SimpleClient() as client:
            client.connect(f"http://127.0.0.1:{self.brain.port}", transports=["websocket"])
            while time.monotonic() < end:
                asked = self.question(user, "socket")
                reply = client.call("chat", {"message": f"第 {asked.number} 问", "model": "m@none", "options": {"user": user}}, timeout=60)
                if "error" in reply:
                    asked.error = str(reply["error"])
                    continue
                self.follow(client, reply["message_id"], asked)

    @staticmethod
    def follow(client: socketio.SimpleClient, message_id: str, asked: Asked) -> None:
        while not asked.ends and not asked.error:
            name, payload = client.receive(timeout=120)
            if payload["message_id"] != message_id:
                asked.error = "an event of another message"
            elif name == "chat:queued":
                asked.told.append((time.monotonic(), payload["position"], payload["eta_s"]))
            elif name == "chat:error":
                asked.error = payload["code"]
            elif name == "chat:done":
                asked.ends += 1

    def question(self, user: str, way: str) -> Asked:
        asked = Asked(next(self._numbers), user, way, time.monotonic())
        with self._lock:
            self.asked.append(asked)
        return asked


def body(asked: Asked) -> bytes:
    """A streamed question to the bare model."""
    given = {"model": "m@none", "stream": True, "user": asked.user, "messages": [{"role": "user", "content": f"第 {asked.number} 问"}]}
    return json.dumps(given).encode()


def started(engine: Engine) -> list[tuple[float, int]]:
    """When the engine got each question, and its number, in order."""
    return sorted((one.at, int(one.body["messages"][-1]["content"].split()[1])) for one in engine.requests if "messages" in one.body)


def places(crowd: Crowd, engine: Engine) -> dict[str, Any]:
    """Of each place that was told: how many of those who waited then were served before, against how many should have been (who came later and whose
    turn is before ours by the round of users could not be known); and the wait against the wait that was told."""
    order = started(engine)
    at = {number: moment for moment, number in order}
    begun = {asked.number: asked.begun for asked in crowd.asked}
    off, errors, grew = [], [], 0
    for asked in crowd.asked:
        told = [one for one in asked.told if one[0] > crowd.began + OPENING_S]
        if asked.number not in at or not told:
            continue
        grew += any(later[1] > earlier[1] for earlier, later in itertools.pairwise(told))
        for when, position, eta in told:
            before = sum(1 for moment, number in order if when < moment < at[asked.number] and begun.get(number, when) < when)
            off.append(abs(before - (position - 1)))
            if eta:
                errors.append(abs((at[asked.number] - when) - eta) / max(at[asked.number] - when, 0.05))
    return {
        "places_told": len(off), "places_within_one": round(sum(one <= 1 for one in off) / max(1, len(off)), 4), "places_that_grew": grew,
        "wait_error_median": round(statistics.median(errors), 3) if errors else None,
    }  # fmt: skip


def leave(brain: RunningBrain, number: int) -> None:
    """Ask, and go away after a random time: while waiting, before the first word, or in mid answer."""
    patience = random.uniform(0.0, 1.2)
    asked = Asked(1_000_000 + number, random.choice(USERS), "", 0.0)
    with contextlib.suppress(OSError, http.client.HTTPException, socketio.exceptions.SocketIOError):
        if number % 2:
            connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=10)
            connection.request("POST", "/v1/chat/completions", body(asked), {"Content-Type": "application/json"})
            time.sleep(patience)
            connection.sock.close()
            connection.close()
        else:
            client = socketio.SimpleClient()
            client.connect(f"http://127.0.0.1:{brain.port}", transports=["websocket"])
            client.emit("chat", {"message": f"第 {asked.number} 问", "model": "m@none", "options": {"user": asked.user}})
            time.sleep(patience)
            client.disconnect()


def load(brain: RunningBrain) -> tuple[int, int]:
    """Answers under way and questions that wait."""
    row = next(one for one in brain.call("GET", "/api/models")[1]["data"] if one["name"] == "m")
    return row["in_use"], row["queued"]


def slots_left(brain: RunningBrain, engine: Engine, slots: int, leavers: int) -> dict[str, Any]:
    """Let clients leave; how long until nothing is held, and whether all slots work at once afterwards."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: leave(brain, n), range(leavers)))
    gone = time.monotonic()
    with contextlib.suppress(AssertionError):
        wait_for(lambda: load(brain) == (0, 0) and engine.active == 0, "nothing held", GRACE_S)
    settled_s, held = time.monotonic() - gone, load(brain)
    hold = threading.Event()
    engine.script(["好"], hold=hold)
    crowd = Crowd(brain, slots)
    threads = [threading.Thread(target=crowd.ask_once, args=(USERS[n % 3],)) for n in range(slots)]
    for one in threads:
        one.start()
    with contextlib.suppress(AssertionError):
        wait_for(lambda: engine.active == slots, "all slots at work", 10)
    at_once = engine.active
    hold.set()
    for one in threads:
        one.join()
    return {"leavers": leavers, "settled_s": round(settled_s, 1), "held_afterwards": sum(held), "slots_at_work_afterwards": at_once}


@contextlib.contextmanager
def house(engine: Engine, slots: int, *, redis: bool) -> Iterator[RunningBrain]:
    """A running brain with the model m."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        config = f'[models.m]\nengine = "external"\nbase_url = "{engine.base_url}"\nslots = {slots}\nqueue = 64\n'
        if redis:
            server = RedisServer(Path(folder) / "redis").start()
            stack.callback(server.stop)
            config = "web_workers = 2\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in server.settings.items()) + config
        brain = RunningBrain(Path(folder) / "data", config).start()
        stack.callback(brain.stop)
        yield brain


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--leavers", type=int, default=200)
    parser.add_argument("--redis", action="store_true")
    args = parser.parse_args()
    with Engine() as engine, house(engine, args.slots, redis=args.redis) as brain:
        engine.script(["字"] * DELTAS, delay_s=DELTA_S)
        crowd = Crowd(brain, args.clients)
        crowd.run(args.seconds)
        shares = Counter(one.user for one in crowd.asked if one.ends == 1)
        figures: dict[str, Any] = {
            "answers": sum(shares.values()), "shares": {user: round(shares[user] / max(1, sum(shares.values())), 4) for user in USERS},
            "without_an_end": sum(one.ends != 1 for one in crowd.asked), "errors": Counter(one.error for one in crowd.asked if one.error),
            **places(crowd, engine), **slots_left(brain, engine, args.slots, args.leavers),
        }  # fmt: skip
    missed = [
        name
        for name, holds in {
            "shares": all(abs(share * len(USERS) - 1) <= SHARE_WITHIN for share in figures["shares"].values()),
            "without_an_end": figures["without_an_end"] == 0,
            "places_within_one": figures["places_within_one"] >= TRUTHFUL,
            "places_that_grew": figures["places_that_grew"] == 0,
            "held_afterwards": figures["held_afterwards"] == 0,
            "slots_at_work_afterwards": figures["slots_at_work_afterwards"] == args.slots,
        }.items()
        if not holds
    ]
    for name, value in figures.items():
        print(f"{name:26} {value}{'   MISSED' if name in missed else ''}", file=sys.stderr)
    print(json.dumps({"figures": figures, "missed": missed}, ensure_ascii=False))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
