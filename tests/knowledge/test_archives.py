"""Archives: each file in them a document of its own; what is hostile in one fails alone, with its reason."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.knowledge import archives
from qzbrain.knowledge.documents import Documents
from qzbrain.storage.tables import jobs as jobs_table
from tests.knowledge.conftest import texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]
Shown = Callable[[], dict[str, Document]]


def zipped(*members: tuple[str | zipfile.ZipInfo, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def in_gbk(name: str, data: bytes) -> bytes:
    """A zip of one member whose name is in GBK and says nothing of it, as Windows makes them in China."""
    raw = name.encode("gbk")
    placeholder = "x" * len(raw)
    return zipped((placeholder, data)).replace(placeholder.encode(), raw)


def tarred(*members: tuple[str, bytes], kind: str = "w:gz", link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return out.getvalue()


@pytest.fixture
def outcome(brain: Brain, caller: Caller, add: Add, work: Work) -> Callable[..., dict[str, Any]]:
    """Upload, work, and the job's result."""

    def run(data: bytes, name: str = "资料.zip") -> dict[str, Any]:
        added = add(data, name)
        assert (added.id, added.status) == (None, "pending")
        work()
        job = brain.knowledge.job(caller, str(added.job_id))
        assert (job.kind, job.status) == ("archive", "done"), job
        assert not brain.files.path(added.sha256).exists(), "the archive itself is no document"
        return dict(job.result or {})

    return run


def test_each_file_is_a_document(brain: Brain, caller: Caller, outcome: Callable[..., Any], documents: Shown) -> None:
    inner = zipped(("深/乙.md", "# 乙\n\n乙须登记。"))
    result = outcome(zipped(
        ("甲.txt", "甲须经批准。"), ("空/", ""), ("内.zip", inner), ("__MACOSX/._甲.txt", "x"), (".DS_Store", "x"), ("坏.pdf", b"%PDF-1.7 nothing"),
        ("同.txt", "甲须经批准。"),
    ))
    shown = documents()
    assert {name: x.status for name, x in shown.items()} == {"资料.zip/甲.txt": "ready", "资料.zip/内.zip/深/乙.md": "ready", "资料.zip/坏.pdf": "failed"}
    assert result == {"documents": 3, "names": ["资料.zip/甲.txt", "资料.zip/内.zip/深/乙.md", "资料.zip/坏.pdf"], "errors": [], "error_count": 0}
    assert shown["资料.zip/坏.pdf"].reason_code == "broken"
    assert texts_found(brain, caller, "乙登记")
    path, name, _ = brain.knowledge.file(caller, shown["资料.zip/内.zip/深/乙.md"].id)
    assert (name, getattr(path, "read_bytes", bytes)()) == ("乙.md", "# 乙\n\n乙须登记。".encode())
    assert len(list(brain.files.contents())) == 3


def test_names_as_their_makers_meant_them(outcome: Callable[..., Any], documents: Shown) -> None:
    outcome(in_gbk("制度/保密规定.txt", "规定正文。".encode()))
    assert list(documents()) == ["资料.zip/制度/保密规定.txt"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_hostile_fails_alone(outcome: Callable[..., Any], documents: Shown) -> None:
    link = zipfile.ZipInfo("链接")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    broken = bytearray(zipped(("坏.txt", "这段文字会坏掉"), method=zipfile.ZIP_STORED))
    broken[broken.index("文字".encode())] ^= 0xFF
    result = outcome(zipped(
        ("../逃.txt", "逃"), ("/根.txt", "根"), ("C:\\盘.txt", "盘"), (link, "/etc/passwd"), ("好.txt", "好文件。"), ("好.txt", "同名的另一个。"),
        ("坏.zip", bytes(broken)), ("空.txt", ""),
    ))
    assert {name: x.status for name, x in documents().items()} == {"资料.zip/好.txt": "ready", "资料.zip/好 (2).txt": "ready", "资料.zip/空.txt": "failed"}
    assert result["error_count"] == len(result["errors"]) == 5
    assert all(x["row"] and x["name"] in x["message"] for x in result["errors"])


def test_archives_in_archives_end_somewhere(outcome: Callable[..., Any], documents: Shown) -> None:
    data = zipped(("底.txt", "底。"))
    for depth in range(4):
        data = zipped((f"{depth}.zip", data), (f"{depth}.txt", f"第{depth}层。"))
    result = outcome(data)
    assert sorted(documents()) == ["资料.zip/3.txt", "资料.zip/3.zip/2.txt", "资料.zip/3.zip/2.zip/1.txt"]
    assert result["error_count"] == 1


@pytest.mark.parametrize(("data", "name", "code"), [
    (zipped(("a.txt", b"\0" * 60_000_000)), "炸弹.zip", "bomb"),
    (zipped(("a.txt", "甲"))[:-30], "断.zip", "broken"),
    (zipped(("a.txt", "甲")).replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"), "密.zip", "encrypted"),
    (b"7z\xbc\xaf\x27\x1c" + b"\0" * 50, "a.7z", "unsupported"),
    (b"Rar!\x1a\x07" + b"\0" * 50, "a.rar", "unsupported"),
], ids=["bomb", "broken", "encrypted", "7z", "rar"])
def test_a_whole_archive_is_refused_as_a_document(add: Add, work: Work, documents: Shown, data: bytes, name: str, code: str) -> None:
    assert add(data, name).id
    work()
    assert documents()[name].reason_code == code


@pytest.mark.parametrize("data", [
    gzip.compress(b"x" * 50_000)[:-20], b"\x1f\x8b\x08" + b"\xff" * 400, tarred(("甲.txt", b"x" * 5000))[:-60], zipped((".x", "y")),
], ids=["cut off", "noise", "tar cut off", "nothing"])
def test_one_from_which_nothing_comes_fails(brain: Brain, caller: Caller, add: Add, work: Work, data: bytes) -> None:
    added = add(data, "坏的.gz")
    work()
    job = brain.knowledge.job(caller, str(added.job_id))
    assert job.reason_code in ("broken", "empty") if job.status == "failed" else job.result and job.result["error_count"]


@pytest.mark.parametrize(("data", "name", "expected"), [
    (tarred(("制度/甲.txt", "甲正文。".encode()), ("../x", b"x"), link="l"), "a.tar.gz", ["a.tar.gz/制度/甲.txt"]),
    (tarred(("甲.txt", "甲正文。".encode()), kind="w"), "a.tar", ["a.tar/甲.txt"]),
    (tarred(("甲.txt", "甲正文。".encode()), kind="w:xz"), "b", ["b/甲.txt"]),
    (gzip.compress("甲正文。".encode()), "甲.txt.gz", ["甲.txt.gz/甲.txt"]),
    (bz2.compress("甲正文。".encode()), "甲.txt.bz2", ["甲.txt.bz2/甲.txt"]),
    (lzma.compress("甲正文。".encode()), "甲.xz", ["甲.xz/甲"]),
], ids=["tar.gz", "tar", "tar.xz", "gz", "bz2", "xz"])
def test_tar_and_packed_files(outcome: Callable[..., Any], documents: Shown, data: bytes, name: str, expected: list[str]) -> None:
    outcome(data, name)
    assert {x: y.status for x, y in documents().items()} == dict.fromkeys(expected, "ready")


def test_a_tar_whose_heads_never_end_is_cut_off(brain: Brain, caller: Caller, add: Add, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_TAR_HEAD_BYTES", 1 << 20)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    head = info.tobuf(tarfile.USTAR_FORMAT)
    added = add(gzip.compress(head + b"0" * (3 << 20)), "a.tgz")
    work()
    assert brain.knowledge.job(caller, str(added.job_id)).reason_code == "bomb"


def test_a_member_over_the_limit_of_uploads_fails_alone(brain: Brain, outcome: Callable[..., Any], documents: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    real = brain.files.put

    def put(stream: Any, *, limit_bytes: int) -> Any:
        return real(stream, limit_bytes=min(limit_bytes, 5000))

    monkeypatch.setattr(brain.files, "put", put)
    result = outcome(zipped(("大.txt", "大" * 5000), ("小.txt", "小。")))
    assert list(documents()) == ["资料.zip/小.txt"] and "MAX_UPLOAD_MB" in result["errors"][0]["message"]


def test_a_corpus_inside_is_a_corpus(outcome: Callable[..., Any], documents: Shown, work: Work) -> None:
    outcome(zipped(("c.jsonl", '{"id":"a","text":"甲须经批准。"}\n{"id":"b","text":"乙。"}\n')))
    assert {name: x.status for name, x in documents().items()} == {"a": "ready", "b": "ready"}


def test_broken_off_it_goes_on(brain: Brain, caller: Caller, add: Add, work: Work, documents: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(*((f"{n}.txt", f"第{n}个文件。") for n in range(120)))
    real, calls = Documents.keep, []

    def keep(self: Documents, name: str, stream: Any) -> Any:
        calls.append(name)
        if len(calls) == 80:
            raise OSError("the first try breaks")
        return real(self, name, stream)

    added = add(data, "多.zip")
    assert add(data, "多.zip").job_id == added.job_id, "the same archive again is the same job"
    monkeypatch.setattr(Documents, "keep", keep)
    work()
    with brain.db.write() as connection:
        connection.execute(jobs_table.update().values(run_after=0.0))
    work()
    result = brain.knowledge.job(caller, str(added.job_id)).result
    assert len(calls) == 200, "a first try of 80 and a whole second one"
    assert result is not None and result["documents"] == 120
    assert {x.status for x in documents().values()} == {"ready"} and len(documents()) == 120


def test_office_files_and_books_are_documents(add: Add) -> None:
    for name, members in (("a.docx", ("word/document.xml",)), ("b", ("[Content_Types].xml", "xl/workbook.xml")), ("c.zip", ("META-INF/container.xml",))):
        assert add(zipped(*((member, f"<x n='{name}'/>") for member in members)), name).id


def test_a_directory_that_lies_is_no_error(brain: Brain, caller: Caller, add: Add, work: Work) -> None:
    data = bytearray(zipped(*((f"{n}.txt", f"第{n}个。") for n in range(5))))
    at = data.rindex(b"PK\x05\x06")
    struct.pack_into("<L", data, at + 12, 0xFFFFFFF0)
    add(bytes(data), "a.zip")
    work()
    assert all(x.status in ("ready", "failed") for x in brain.knowledge.documents(caller, "办法").data)
