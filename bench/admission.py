"""Slots, turns and places under load: python bench/admission.py [--redis] [--users 3] [--clients 20] [--seconds 60] [--disconnects 200] [--json]

Starts a brain (with --redis: two web processes and a Redis) and a scripted engine behind a model of four slots. Users with as many clients each ask
without a pause over HTTP and Socket.IO: every user must get an equal share, every place told must be true, every question must end exactly once. Then
clients leave at random stages, after which no slot may be missing. Prints a table, or with --json one object; exit code 1 when a promise was broken.
The engine only stands in for the words: who is served when is read from the order in which questions reach it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.asking import VIAS, Asker, Question, number_of  # noqa: E402
from tests.engine import Engine  # noqa: E402
from tests.running import RunningBrain, wait_for  # noqa: E402
from tests.servers.redis_server import RedisServer  # noqa: E402

MODEL, SLOTS, QUEUE = "four", 4, 100
TEXTS, TOKEN_S, THINK_S = ("字",) * 10, 0.04, 0.1
SHARE_WITHIN = 0.1
LAG_S = {False: 0.1, True: 2.2}
"""How old a place may be when it is told, by whether processes share the queue: it is fetched once a second there, and told once a second."""
MOMENTS = 20
"""At so many moments within the lag the place is worked out."""
CLOSE_S = 0.8
"""Longest way from admission to the engine that a busy machine explains (0.2 s was seen to be too short once in six runs, at a load of 5 on two cores).
A word of admission that was missed costs a second, and is seen."""

Call = Callable[[str, str], tuple[int, Any]]


def configuration(engine: Engine) -> str:
    """The model's table in config.toml."""
    return f'[models.{MODEL}]\nengine = "external"\nbase_url = "{engine.base_url}"\nslots = {SLOTS}\nqueue = {QUEUE}\n'


# -- the load


def ask_for(port: int, *, users: int, clients: int, seconds: float) -> tuple[list[Question], float]:
    """Every client asks one question after another until the time is over, and hears the last one out. Gives them and the end of the time."""
    numbers, asked, lock = count(1), list[Question](), threading.Lock()
    until = time.monotonic() + seconds

    def client(number: int) -> int:
        asker = Asker(port, VIAS[number // users % len(VIAS)], f"{MODEL}@none")
        try:
            while time.monotonic() < until:
                with lock:
                    question = Question(next(numbers), f"user{number % users}", VIAS[number // users % len(VIAS)])
                    asked.append(question)
                asker.ask(question)
        finally:
            asker.close()
        return asker.strays

    with ThreadPoolExecutor(users * clients) as pool:
        strays = sum(pool.map(client, range(users * clients)))
    assert strays == 0, f"{strays} questions ended twice"
    return asked, until


def leave(port: int, *, number: int, clients: int, seed: int = 1) -> list[Question]:
    """So many questions, by so many clients at once, each of which leaves at a random stage."""
    chance = random.Random(seed)
    ways = [(via, stage) for via in VIAS for stage in ("queued", "soon", "delta", *(("stop",) if via == "socket" else ()))]
    questions = [Question(1_000_000 + n, f"user{n % 3}", *ways[n % len(ways)], leave_after_s=chance.uniform(0.0, 2.0)) for n in range(number)]
    chance.shuffle(questions)

    def one(question: Question) -> Question:
        asker = Asker(port, question.via, f"{MODEL}@none")
        try:
            return asker.ask(question)
        finally:
            asker.close()

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, questions))


# -- the sums


@dataclass
class Truth:
    """What was told of places against what was. `wrong`: places that were not true at any moment within the lag, beyond what runs at once."""

    notices: int
    wrong: int
    grown: int
    worst: int
    overtaken: int
    eta_error: float | None


def served_at(engine: Engine, since: float) -> dict[int, float]:
    """When each question reached the engine."""
    return {number_of(one.body): one.at for one in engine.requests if one.at >= since}


def truth(questions: Sequence[Question], served: dict[int, float], *, lag_s: float) -> Truth:
    """`overtaken`: questions that were told a place, and after which the same user's next one was asked, and served first."""
    found, errors = Truth(0, 0, 0, 0, 0, None), []
    by_number = {one.number: one for one in questions}
    order = sorted((at, by_number[number]) for number, at in served.items() if number in by_number) if served else []
    for one in questions:
        if one.number not in served:
            continue
        mine = served[one.number]
        found.overtaken += any(at < mine - CLOSE_S and other.user == one.user and other.asked > told.at for told in one.notices[:1] for at, other in order)
        found.grown += sum(later.position > before.position for before, later in zip(one.notices, one.notices[1:], strict=False))
        for notice in one.notices:
            found.notices += 1
            moments = (notice.at - lag_s * step / MOMENTS for step in range(MOMENTS + 1))
            off = min(_off(notice.position, one, mine, order, moment) for moment in moments)
            found.worst = max(found.worst, off)
            found.wrong += off > SLOTS
            if notice.eta_s and mine - notice.at > 0.5:
                errors.append(abs(notice.eta_s - (mine - notice.at)) / (mine - notice.at))
    found.eta_error = round(statistics.median(errors), 3) if errors else None
    return found


def _off(position: int, one: Question, mine: float, order: Sequence[tuple[float, Question]], moment: float) -> int:
    """How far a place is from any that a question served at `mine` can have had at a moment.

    Before it were those that were there and yet served first. Who had been told a place was there; who had only asked may have been.
    """
    before = [other for at, other in order if moment < at < mine and other.asked < moment and other is not one]
    surely = sum(bool(other.notices) and other.notices[0].at <= moment for other in before)
    return max(1 + surely - position, position - 1 - len(before), 0)


def shares(questions: Sequence[Question], until: float) -> dict[str, float]:
    """Each user's part of the answers that ended in time."""
    answers = Counter(one.user for one in questions if one.ended <= until and one.ends == ["done"])
    return {user: round(number / answers.total(), 4) for user, number in sorted(answers.items())}


def broken(questions: Sequence[Question]) -> list[str]:
    """Questions of clients that stayed and did not get exactly one whole answer."""
    return [f"{one.number} {one.via} {one.ends} {len(one.text)}" for one in questions if not one.left and (one.ends != ["done"] or one.text != "".join(TEXTS))]


def load_of(call: Call) -> tuple[int, int]:
    """In use and waiting, as GET /api/models shows it."""
    shown = next(one for one in call("GET", "/api/models")[1]["data"] if one["name"] == MODEL)
    return shown["in_use"], shown["queued"]


def full_load_runs(port: int, engine: Engine, call: Call) -> bool:
    """Whether as many answers as there are slots run at once, and end."""
    hold = threading.Event()
    engine.script(TEXTS, hold=hold)
    questions = [Question(2_000_000 + n, f"user{n % 3}", VIAS[n % len(VIAS)]) for n in range(SLOTS)]
    with ThreadPoolExecutor(SLOTS) as pool:
        running = [pool.submit(Asker(port, one.via, f"{MODEL}@none").ask, one) for one in questions]
        try:
            wait_for(lambda: engine.active == SLOTS and load_of(call) == (SLOTS, 0), "all slots at work", 15)
        finally:
            hold.set()
        return broken([one.result() for one in running]) == []


# -- the run


def measure(port: int, engine: Engine, call: Call, *, redis: bool, users: int, clients: int, seconds: float, disconnects: int) -> dict[str, Any]:
    """Both halves; every figure of the table."""
    engine.script(TEXTS, delay_s=TOKEN_S, first_delay_s=THINK_S)
    began = time.monotonic()
    questions, until = ask_for(port, users=users, clients=clients, seconds=seconds)
    told = truth(questions, served_at(engine, began), lag_s=LAG_S[redis])
    left = leave(port, number=disconnects, clients=min(20, max(8, disconnects)))
    wait_for(lambda: load_of(call) == (0, 0) and engine.active == 0, f"all slots free: {load_of(call)}, {engine.active} at the engine", 60)
    return {
        "redis": redis,
        "answers": sum(one.ended <= until for one in questions),
        "shares": shares(questions, until),
        "places_told": told.notices,
        "places_wrong": told.wrong,
        "places_off_at_most": told.worst,
        "places_grown": told.grown,
        "overtaken": told.overtaken,
        "eta_error_median": told.eta_error,
        "broken": broken(questions),
        "disconnects": sum(one.left for one in left),
        "broken_while_leaving": broken(left),
        "full_load_runs_after": full_load_runs(port, engine, call),
    }


def kept(figures: dict[str, Any]) -> bool:
    """Whether every promise held."""
    parts = figures["shares"].values()
    fair = all(abs(part * len(parts) - 1) <= SHARE_WITHIN for part in parts)
    nothing = ("places_wrong", "places_grown", "overtaken", "broken", "broken_while_leaving")
    return fair and bool(figures["full_load_runs_after"]) and not any(figures[name] for name in nothing)


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20, help="of each user")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qzbrain-admission-") as folder, Engine() as engine:
        server = RedisServer(Path(folder) / "redis").start() if given.redis else None
        brain = RunningBrain(Path(folder) / "data", configuration(engine))
        if server is not None:
            brain.environment |= {**server.environment, "WEB_WORKERS": "2"}
        try:
            brain.start()
            load = {"users": given.users, "clients": given.clients, "seconds": given.seconds, "disconnects": given.disconnects}
            figures = measure(brain.port, engine, brain.call, redis=given.redis, **load)
        finally:
            if brain.process is not None:
                brain.stop()
            if server is not None:
                server.stop()
    print(json.dumps(figures) if given.json else "\n".join(f"{name:24}{value}" for name, value in figures.items()))
    return int(not kept(figures))


if __name__ == "__main__":
    sys.exit(main())
