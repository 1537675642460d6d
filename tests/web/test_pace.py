"""With many answers running the hub collects what arrives; with few nothing is held up."""

from __future__ import annotations

import subprocess
import sys
import textwrap

CODE = """
    from gevent import monkey; monkey.patch_all()
    import gevent, socket, sys, time
    from qzbrain.web.pace import FROM_STREAMS, INTERVAL_S, Pace
    pace = Pace()
    left, right = socket.socketpair()
    def echo():
        while data := right.recv(1):
            right.send(data)
    gevent.spawn(echo)
    def trips(seconds):
        done, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            left.send(b"x"); left.recv(1); done += 1
        return done
    few = FROM_STREAMS - 1
    for _ in range(few): pace.enter()
    free = trips(0.2)
    pace.enter()
    paced = trips(0.3)
    busy = time.perf_counter() + 0.05
    gevent.spawn(lambda: [None for _ in iter(lambda: time.perf_counter() < busy, False)]).join()
    for _ in range(few + 1): pace.leave()
    after = trips(0.2)
    print(free, paced, after, 0.3 / INTERVAL_S)
"""


def test_the_hub_looks_for_events_at_intervals_only_while_many_answers_run() -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CODE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-1500:]
    free, paced, after, most = map(float, done.stdout.split())
    assert 5 < paced <= most + 2, "the hub looked more often than the pace allows"
    assert free > 2 * most and after > 2 * most, "few streams must not be held up"


def test_without_gevent_there_is_no_pace() -> None:
    code = "from qzbrain.web.pace import Pace, FROM_STREAMS\np = Pace()\nfor _ in range(2 * FROM_STREAMS): p.enter()\nassert p._watcher is None"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
