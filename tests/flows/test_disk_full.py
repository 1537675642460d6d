"""The disk of the data folder runs full under a running brain: refusals that say so, nothing half done, and work again once there is room.

The data folder is a file system of its own in memory, small enough to be filled.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for

SIZE_MB = 24
MET_S = 8.0
"""So long the worker has to meet the full disk. It may find no room to say so: its log and its jobs lie on that disk."""
QUESTION = "哪些情形应当从轻或者减轻行政处罚？"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of SIZE_MB. Needs the right to mount; where there is none the test is skipped, in CI it fails."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "qzbrain-test", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        reason = f"cannot mount a small file system ({mounted.stderr.strip()}): run as root, or with the right to mount"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def brain(disk: Path) -> Iterator[RunningBrain]:
    """A brain whose data folder is that disk; what it prints goes elsewhere."""
    running = RunningBrain(disk / "data")
    running.log = disk.parent / "brain.log"
    try:
        running.start()
        wait_for(lambda: not unfinished(running), "the sample read")
        yield running
    finally:
        running.stop()


def unfinished(brain: RunningBrain) -> list[Any]:
    return [job for status in ("pending", "running") for job in brain.call("GET", f"/api/jobs?status={status}")[1]["data"]]


def met_the_full_disk(brain: RunningBrain) -> bool:
    """A job says so, the worker's log does, or there was room for all."""
    left = unfinished(brain)
    told = any((job["reason"] or {}).get("code") == "storage_full" for job in left)
    return told or not left or "storage" in (brain.data / "logs" / "worker.log").read_text(errors="replace")


class Ballast:
    """A file that takes all room."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"
        self.fill()

    def fill(self) -> None:
        """Take whatever has become free."""
        with self._path.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as exc:
                    assert exc.errno == errno.ENOSPC

    def drop(self) -> None:
        """Free it."""
        self._path.unlink()


def upload(brain: RunningBrain, name: str, content: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, reply and headers of a multipart upload into `laws`."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=40)
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", "/api/knowledge-bases/laws/documents", head + content + b"\r\n--b--\r\n", headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read()), {key.lower(): value for key, value in reply.getheaders()}
    finally:
        connection.close()


def ask(brain: RunningBrain, **more: Any) -> tuple[int, Any]:
    return brain.call("POST", "/v1/chat/completions", {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], **more})


def streamed_error(brain: RunningBrain) -> dict[str, Any]:
    """The error with which a stream ends; it had begun before anything was to be stored."""
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=40)
    try:
        question = {"model": "extractive", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(question), {"Content-Type": "application/json"})
        events = [line[6:] for line in connection.getresponse().read().decode().splitlines() if line.startswith("data: ")]
    finally:
        connection.close()
    assert events[-1] == "[DONE]"
    return dict(json.loads(events[-2])["error"])


def refuses_questions(brain: RunningBrain, ballast: Ballast) -> bool:
    ballast.fill()
    return ask(brain)[0] == 503


def refuses_knowledge_bases(brain: RunningBrain, ballast: Ballast) -> bool:
    """Each one made takes of the room that the database's files had left."""
    ballast.fill()
    status, reply = brain.call("POST", "/api/knowledge-bases", {"name": f"another-{time.monotonic_ns()}"})
    if status == 201:
        return False
    refused(status, reply)
    return True


def refused(status: int, reply: Any) -> None:
    """503 storage_full in the shape of all errors."""
    assert status == 503, reply
    assert set(reply["error"]) == {"message", "type", "code", "param"}
    assert (reply["error"]["type"], reply["error"]["code"]) == ("unavailable_error", "storage_full")
    assert "磁盘已满" in reply["error"]["message"]


def test_a_full_disk_is_told_harms_nothing_and_is_over_when_there_is_room(brain: RunningBrain, disk: Path) -> None:
    before = brain.call("GET", "/api/knowledge-bases/laws")[1]
    assert ask(brain)[0] == 200
    files = {path for path in (brain.data / "files").rglob("*") if path.is_file()}
    ballast = Ballast(disk)

    status, reply, headers = upload(brain, "新规.txt", "本规定自公布之日起施行。".encode() * 40_000)
    refused(status, reply)
    assert int(headers["retry-after"]) > 0
    assert {path for path in (brain.data / "files").rglob("*") if path.is_file()} == files, "nothing half written is left"
    wait_for(lambda: refuses_questions(brain, ballast), "no room left in the files of the database either")
    refused(*ask(brain))
    assert streamed_error(brain)["code"] == "storage_full"
    wait_for(lambda: refuses_knowledge_bases(brain, ballast), "no room for a knowledge base either")
    assert brain.call("POST", "/api/search", {"query": QUESTION})[1]["hits"], "reading goes on"
    assert brain.status("/healthz") == 200
    assert brain.call("GET", "/api/knowledge-bases/laws")[1]["documents"] == before["documents"]

    ballast.drop()
    assert ask(brain)[1]["rung"] == "extractive"
    status, reply, _ = upload(brain, "新规.txt", "青龙饲养须经麒麟署批准。".encode())
    assert status == 202
    added = reply["data"][0]["id"]
    wait_for(lambda: brain.call("GET", f"/api/documents/{added}")[1]["status"] == "ready", "the new document read")
    assert brain.call("POST", "/api/search", {"query": "青龙饲养须经谁批准？"})[1]["hits"][0]["document_id"] == added
    assert brain.call("GET", "/api/knowledge-bases/laws")[1]["documents"]["ready"] == before["documents"]["ready"] + 1
    whole(brain)


def test_what_was_taken_in_before_is_read_when_there_is_room(brain: RunningBrain, disk: Path) -> None:
    texts = {f"规定{n}.txt": f"第一条 编号{n}的青龙饲养须经麒麟署批准。" + "本条另有细则。" * 3000 for n in range(6)}
    taken = []
    for name, text in texts.items():
        status, reply, _ = upload(brain, name, text.encode())
        assert status == 202
        taken.append(reply["data"][0]["id"])
    ballast = Ballast(disk)
    wait_for(lambda: refuses_questions(brain, ballast), "no room left")
    began = time.monotonic()
    while not met_the_full_disk(brain) and time.monotonic() - began < MET_S:
        time.sleep(0.1)
    for name in ("gunicorn", "qzbrain.worker"):
        for pid, command in brain.processes().items():
            if name in command:
                os.kill(pid, signal.SIGKILL)

    ballast.drop()
    wait_for(lambda: brain.status("/readyz") == 200, "back")
    wait_for(lambda: all(brain.call("GET", f"/api/documents/{one}")[1]["status"] == "ready" for one in taken), "all read", 60)
    found = brain.call("POST", "/api/search", {"query": "编号3的青龙饲养须经谁批准？", "top_k": 50})[1]["hits"]
    assert set(taken) <= {hit["document_id"] for hit in found}
    whole(brain)


def whole(brain: RunningBrain) -> None:
    """Ends the brain and looks into its database."""
    assert brain.stop() == 0
    with sqlite3.connect(f"file:{brain.data}/brain.sqlite?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
