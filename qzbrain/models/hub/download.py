"""One large file from a hub to the disk: resumed where it broke off, checked by its hash, put in its place as a whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from qzbrain.errors import Conflict, Unavailable
from qzbrain.models.hub.hubs import Source, refused, unreachable

Tell = Callable[[int, int], None]
"""Bytes there, bytes in all (0 when not known)."""

_CHUNK = 1 << 20
_SPARE = 1.05
_TRIES = 6
"""In a row without a byte of progress."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_OVER_LATER = (408, 425, 429, 500, 502, 503, 504)


def download(
    source: Source, target: Path, *, sha256: str, size_bytes: int, tell: Tell, http: urllib3.PoolManager, pause: Callable[[float], None] = time.sleep
) -> str:
    """Fetch `source` to `target`; the file's sha256. A part of it that is there from before is gone on with.

    `sha256`, `size_bytes`: as they must be, '' and 0 when nobody knows. Raises Unavailable (the hub), Conflict (`hash_differs`: nothing is kept;
    `disk_full`; `download_runs`: somebody else fetches this file).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        part = target.with_name(target.name + ".part")
        require_room(target.parent, max(0, size_bytes - _size(part)))
        _fetch(source, part, size_bytes, tell, http, pause)
        found = file_hash(part)
        if sha256 and found != sha256:
            part.unlink()
            raise Conflict(
                "hash_differs",
                zh=f"下载的 {target.name} 的 SHA-256 是 {found}，应为 {sha256}，已删除。文件在传输中损坏，或该来源提供的是另一个文件；"
                "请重试，或换一个来源（--hub）。",
                en=f"The SHA-256 of {target.name} is {found} and should be {sha256}; it was removed. It broke on the way, or that source has another file: "
                "try again, or take another source (--hub).",
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        return found


def file_hash(path: Path, tell: Tell = lambda _done, _total: None) -> str:
    """SHA-256 of a file, in hex."""
    made, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            made.update(chunk)
            done += len(chunk)
            tell(done, total)
    return made.hexdigest()


def require_room(folder: Path, size_bytes: int) -> None:
    """Raises Conflict (`disk_full`) unless so many bytes, and a little more, are free."""
    if shutil.disk_usage(folder).free < size_bytes * _SPARE:
        raise _full(folder, size_bytes)


def _fetch(source: Source, part: Path, size_bytes: int, tell: Tell, http: urllib3.PoolManager, pause: Callable[[float], None]) -> None:
    """Until the part is whole. Raises Unavailable when several tries in a row bring nothing."""
    failed, total = 0, size_bytes
    while True:
        before = _size(part)
        if total and before == total:
            return
        wait_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2**failed)
        try:
            whole, total = _one_try(source, part, total, tell, http)
            if whole:
                return
            why = "the connection ended early"
        except _TryLater as later:
            why, wait_s = str(later), later.wait_s or wait_s
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            if isinstance(exc, OSError) and exc.errno is not None and exc.errno in (28, 122):  # ENOSPC, EDQUOT
                raise _full(part.parent, 0) from exc
            why = str(getattr(exc, "reason", exc))[:200]
        failed = 0 if _size(part) > before else failed + 1
        if failed >= _TRIES:
            raise unreachable(urllib3.util.parse_url(source.url).host or source.hub, why)
        pause(wait_s)


def _one_try(source: Source, part: Path, total: int, tell: Tell, http: urllib3.PoolManager) -> tuple[bool, int]:
    """One request, from where the part ends; whether the file is whole now, and its size as far as known. A server that knows no ranges begins anew."""
    start = _size(part)
    if total and start > total:
        part.unlink()
        start = 0
    headers = {**source.headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    retries = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=8)  # drops Authorization on the way to another host
    with http.request("GET", source.url, headers=headers, preload_content=False, retries=retries) as reply:
        if reply.status == 416:
            part.unlink(missing_ok=True)
            raise _TryLater("HTTP 416")
        if reply.status in _OVER_LATER:
            raise _TryLater(f"HTTP {reply.status}", _retry_after(reply))
        if reply.status not in (200, 206):
            raise refused(urllib3.util.parse_url(source.url).host or source.hub, reply.status)
        goes_on = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not goes_on:
            start = 0
        length = reply.headers.get("Content-Length", "")
        expected = start + int(length) if length.isdecimal() else total
        if total and expected and expected != total:
            raise Unavailable(
                "hub_other_file",
                zh=f"{source.hub} 上的文件有 {expected:,} 字节，应为 {total:,}：不是同一个文件。请换一个来源（--hub）。",
                en=f"The file at {source.hub} has {expected:,} bytes and should have {total:,}: it is another one. Take another source (--hub).",
            )
        with part.open("ab" if start else "wb") as file:
            done = start
            while chunk := reply.read1(_CHUNK):  # what has come: `stream` would lose up to a chunk of it when the connection breaks
                file.write(chunk)
                done += len(chunk)
                tell(done, expected)
    return done == expected if expected else True, expected


class _TryLater(Exception):
    """A reply that may be another one in a while."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def _retry_after(reply: urllib3.BaseHTTPResponse) -> float:
    told = reply.headers.get("Retry-After", "")
    return min(_LONGEST_PAUSE_S, float(told)) if told.isdecimal() else 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _full(folder: Path, size_bytes: int) -> Conflict:
    need = f"{size_bytes / 1e9:.1f} GB" if size_bytes else ""
    return Conflict(
        "disk_full",
        zh=f"{folder} 所在的磁盘空间不足{f'，还需要 {need}' if need else ''}。已下载的部分保留，清理后重试会接着下载。",
        en=f"The disk of {folder} has too little room{f', {need} are needed' if need else ''}. What is there is kept: free some space and try again.",
    )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    with target.with_name(target.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise Conflict(
                "download_runs",
                zh=f"另一个命令正在下载 {target.name}。请等它结束。",
                en=f"Another command is fetching {target.name}. Wait for its end.",
            ) from exc
        yield
