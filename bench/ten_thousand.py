"""What a question feels while ten thousand files are taken in, and how fast they are. Over HTTP, on a brain of its own.

    python bench/ten_thousand.py [--files 10000] [--chars 40000000]

A knowledge base of made regulations is asked at a steady pace, alone at first, then while small files of several formats are uploaded to another
one and read. After that large texts of so many characters in all: chunks a second. Prints one JSON object; the p95 while it happens should be
at most twice the p95 before. The pages that the console asks for are timed too, when all is uploaded.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.running import RunningBrain

_TOGETHER = 50
_PACE_S = 0.05
_IDLE_S = 15.0
_WORDS = ("采购", "合同", "审批", "预算", "仓库", "车辆", "出差", "保密", "培训", "档案", "消防", "值班", "印章", "会议", "验收", "维修", "报销", "考勤")
_QUESTIONS = [f"{word}由谁批准？" for word in _WORDS]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--chars", type=int, default=40_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        brain = RunningBrain(Path(folder) / "data").start()
        try:
            print(json.dumps(_measured(brain, given.files, given.chars), ensure_ascii=False, indent=1))
        finally:
            brain.stop()


def _measured(brain: RunningBrain, files: int, chars: int) -> dict[str, Any]:
    for name in ("asked", "many", "large"):
        brain.call("POST", "/api/knowledge-bases", {"name": name})
    chance = random.Random(1)
    _upload(brain, "asked", [(f"{n}.md", _text(chance, 40_000).encode()) for n in range(25)])
    _until_done(brain, "asked")
    asked = brain.call("GET", "/api/knowledge-bases/asked")[1]["chunks"]
    end = time.monotonic() + _IDLE_S
    idle = _p95(_ask(brain, lambda: time.monotonic() < end))
    finished = threading.Event()
    during: list[float] = []
    asker = threading.Thread(target=lambda: during.extend(_ask(brain, lambda: not finished.is_set())))
    asker.start()
    began = time.monotonic()
    for some in _batches(_small_files(chance, files)):
        _upload(brain, "many", some)
    uploaded = time.monotonic() - began
    pages = {path: _took_ms(brain, path) for path in ("/api/knowledge-bases", "/api/knowledge-bases/many/documents?limit=100", "/api/jobs?status=pending")}
    _until_done(brain, "many")
    took = time.monotonic() - began
    finished.set()
    asker.join()
    counts = brain.call("GET", "/api/knowledge-bases/many")[1]["documents"]
    return {
        "asked_chunks": asked,
        "search_p95_ms": {"idle": idle, "during": _p95(during), "ratio": round(_p95(during) / idle, 2), "searches": len(during)},
        "files": {**counts, "uploaded_a_second": round(files / uploaded), "ready_a_second": round(files / took, 1), "seconds": round(took, 1)},
        "console_ms": pages,
        "large": _large(brain, chance, chars),
    }


def _large(brain: RunningBrain, chance: random.Random, chars: int) -> dict[str, Any]:
    texts = [_text(chance, 2_000_000).encode() for _ in range(max(1, chars // 2_000_000))]
    began = time.monotonic()
    for number, text in enumerate(texts):
        _upload(brain, "large", [(f"{number}.md", text)])
    _until_done(brain, "large")
    took = time.monotonic() - began
    chunks = brain.call("GET", "/api/knowledge-bases/large")[1]["chunks"]
    failed = brain.call("GET", "/api/knowledge-bases/large/documents?status=failed")[1]["data"]
    return {"chunks": chunks, "seconds": round(took, 1), "chunks_a_second": round(chunks / took), "failed": [x["reason"] for x in failed]}


def _ask(brain: RunningBrain, go_on: Callable[[], bool]) -> list[float]:
    """Milliseconds of searches, one after the other, at most twenty a second."""
    took: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=60)
    while go_on():
        body = json.dumps({"query": _QUESTIONS[len(took) % len(_QUESTIONS)], "knowledge_bases": ["asked"]}).encode()
        begun = time.perf_counter()
        connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200, reply.status
        took.append((time.perf_counter() - begun) * 1e3)
        time.sleep(_PACE_S)
    connection.close()
    return took


def _p95(took: list[float]) -> float:
    return round(sorted(took)[int(len(took) * 0.95)], 1)


def _took_ms(brain: RunningBrain, path: str) -> float:
    begun = time.perf_counter()
    assert brain.call("GET", path)[0] == 200
    return round((time.perf_counter() - begun) * 1e3, 1)


def _until_done(brain: RunningBrain, kb: str) -> None:
    while brain.call("GET", f"/api/knowledge-bases/{kb}")[1]["documents"]["pending"]:
        time.sleep(0.3)


def _upload(brain: RunningBrain, kb: str, files: list[tuple[str, bytes]]) -> None:
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
    body = b"".join(head.format(name).encode() + data + b"\r\n" for name, data in files) + b"--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=120)
    connection.request("POST", f"/api/knowledge-bases/{kb}/documents", body, {"Content-Type": "multipart/form-data; boundary=b"})
    reply = connection.getresponse()
    assert reply.status == 202, reply.read()
    reply.read()
    connection.close()


def _text(chance: random.Random, chars: int) -> str:
    lines, length = ["# 管理办法"], 0
    while length < chars:
        line = f"第{len(lines)}条 {chance.choice(_WORDS)}与{chance.choice(_WORDS)}金额超过{chance.randrange(1000)}万元的，由第{chance.randrange(99)}局批准。"
        lines.append(line)
        length += len(line)
    return "\n\n".join(lines)


def _small_files(chance: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        text = f"第{number}号文件。\n\n" + _text(chance, chance.randrange(200, 2000))
        kind = ("txt", "md", "html", "csv", "docx")[number % 5]
        yield f"{number}.{kind}", _as(kind, text)


def _as(kind: str, text: str) -> bytes:
    lines = [line for line in text.split("\n") if line]
    if kind == "html":
        return f"<!doctype html><html><body><p>{'</p><p>'.join(lines)}</p></body></html>".encode()
    if kind == "csv":
        return "\n".join(["序号,条款", *(f"{n},{line}" for n, line in enumerate(lines))]).encode("gb18030")
    if kind == "docx":
        packed = BytesIO()
        space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        body = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in lines)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>')
            archive.writestr("word/document.xml", f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>')
        return packed.getvalue()
    return text.encode()


def _batches(files: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    for one in files:
        batch.append(one)
        if len(batch) == _TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


if __name__ == "__main__":
    main()
