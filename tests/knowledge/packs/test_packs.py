"""A knowledge base goes out as one file and comes in elsewhere as it was; what is wrong with a file is found before anything is taken in."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import func, insert, select, update

from qzbrain.brain import Brain, build
from qzbrain.domain import new_id, utc_now
from qzbrain.errors import BrainError, Conflict, InvalidRequest, NotFound
from qzbrain.knowledge.packs import importing, writing
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.ops import doctor_data
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, documents, entries, entry_versions, knowledge_bases, regression_questions, vector_spaces, vectors
from qzbrain.worker import Workplace
from tests.servers.search_server import SearchServer

SUBJECTS = ("采购", "请假", "保密", "差旅", "培训", "档案", "车辆", "印章")
WIDTH = 8


def text(subject: str) -> str:
    return "\n\n".join(f"第{number}条 {subject}事项第{number}款须经{subject}部门负责人批准，并在{number}日内登记备案。" for number in range(1, 13))


def work(brain: Brain) -> None:
    """Do all jobs that are due."""
    end, deadline = threading.Event(), time.monotonic() + 60
    Workplace(brain).run(lambda: end.is_set() or time.monotonic() > deadline, idle=lambda _: end.set())
    assert end.is_set()


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brain]:
    """A brain with the knowledge base `rules`: files, a failed one, an entry, vectors of an embedder that is not there. Nobody changes it."""
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("origin"), qzbrain_embedder="none"))
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="rules", title="规章", description="内部规章")
    for subject in SUBJECTS:
        brain.knowledge.add_file(caller, "rules", f"{subject}.md", io.BytesIO(f"# {subject}办法\n\n{text(subject)}".encode()))
    brain.knowledge.add_text(caller, "rules", "外部", "第一条 外部文件须归档。", external_id="ext-1")
    brain.knowledge.add_file(caller, "rules", "bad.pdf", io.BytesIO(b"%PDF-1.4 broken"))
    work(brain)
    kb_id = brain.access.resolve(caller, ["rules"])[0].id
    _give_vectors(brain, kb_id)
    _give_entry(brain, kb_id)
    yield brain
    brain.close()


@pytest.fixture(scope="module")
def pack(origin: Brain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of `rules`."""
    return export(origin, tmp_path_factory.mktemp("pack") / "x.qzkb")


@pytest.fixture
def source(brain: Brain, pack: Path) -> Brain:
    """A brain with the same knowledge base, for changes."""
    assert take_in(brain, pack).status == "done"
    return brain


def _give_vectors(brain: Brain, kb_id: str) -> None:
    rows = brain.db.rows(select(chunks.c.id, chunks.c.document_id).where(chunks.c.kb_id == kb_id).order_by(chunks.c.id))
    made = np.random.default_rng(3).standard_normal((len(rows), WIDTH))
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype("<f2")
    space = {"id": new_id(), "kb_id": kb_id, "status": "active", "embedder": "tiny", "width": WIDTH, "embedded_upto": rows[-1].id, "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(vector_spaces).values(**space, manifest={"fingerprint": "x", "weight": 0.5, "cosine_span": 0.4}))
        some = [{"space_id": space["id"], "chunk_id": r.id, "document_id": r.document_id, "vector": v.tobytes()} for r, v in zip(rows, made, strict=True)]
        connection.execute(insert(vectors), [one for at, one in enumerate(some) if at != 3])  # one chunk has no vector


def _give_entry(brain: Brain, kb_id: str) -> None:
    now = utc_now()
    entry = {
        "id": new_id(), "kb_id": kb_id, "status": "approved", "question": "谁批准采购？", "question_key": "k", "answer": "部门负责人。",
        "variants": ["采购谁批"], "negatives": [], "origin": {}, "created_at": now, "updated_at": now,
    }  # fmt: skip
    with brain.db.write() as connection:
        connection.execute(insert(entries).values(**entry))
        connection.execute(insert(entry_versions).values(entry_id=entry["id"], version=1, content={"answer": "部门负责人。"}, created_at=now))
        question = {"id": new_id(), "kb_id": kb_id, "question": "采购由谁批准？", "entry_id": entry["id"], "created_at": now}
        connection.execute(insert(regression_questions).values(**question))


@pytest.fixture
def elsewhere(tmp_path: Path, make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """Another brain, empty."""
    made = build(make_settings(qzbrain_data=tmp_path / "elsewhere"))
    yield made
    made.close()


def export(brain: Brain, path: Path, kb: str = "rules", **choice: bool) -> Path:
    brain.packs.write(brain.access.local_caller("zh"), kb, path, Choice(**choice), lambda *_: None)
    return path


def take_in(brain: Brain, path: Path, **options: Any) -> Any:
    """Import; the job when it has ended."""
    caller = brain.access.local_caller("zh")
    job_id = brain.packs.submit_import(caller, path, **options)
    work(brain)
    return brain.knowledge.job(caller, job_id)


def found(brain: Brain, kb: str, mode: str = "lexical") -> list[Any]:
    """What 200 questions find, all but the ids of chunks."""
    caller = brain.access.local_caller("zh")
    ids = [x.id for x in brain.access.resolve(caller, [kb])]
    every = []
    for number in range(200):
        question = f"{SUBJECTS[number % 8]}事项第{number % 12 + 1}款{'由谁批准' if number % 2 else '几日内登记'}{'' if number < 100 else number}"
        result = brain.retriever.search(SearchQuery(question, top_k=10, mode=mode), brain.access.scope(caller, ids))  # type: ignore[arg-type]
        every.append([(hit.document_id, hit.text, hit.start, hit.end, hit.score, hit.confidence) for hit in result.hits])
    return every


def plain(brain: Brain, kb: str) -> dict[str, Any]:
    """All rows of a knowledge base, as a pack holds them."""
    caller = brain.access.local_caller("zh")
    path = brain.settings.data / "again.qzkb"
    brain.packs.write(caller, kb, path, Choice(), lambda *_: None)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name not in ("manifest.json", "checksums")}


def test_elsewhere_the_same_is_found_in_the_same_order_with_the_same_scores(origin: Brain, elsewhere: Brain, pack: Path) -> None:
    job = take_in(elsewhere, pack)
    assert job.status == "done", job
    origin.knowledge.reindex(origin.access.local_caller("zh"), "rules")
    work(origin)
    before = found(origin, "rules")
    assert sum(map(len, before)) > 1000
    assert found(elsewhere, "rules") == before


def test_everything_comes_back_as_it_was(origin: Brain, elsewhere: Brain, pack: Path) -> None:
    assert take_in(elsewhere, pack).status == "done"
    assert plain(elsewhere, "rules").keys() == plain(origin, "rules").keys()
    here, there = plain(origin, "rules"), plain(elsewhere, "rules")
    different = [name for name in here if here[name] != there[name]]
    assert different == ["regression_questions.jsonl"]  # their ids, which nothing names, are new
    caller = elsewhere.access.local_caller("zh")
    assert elsewhere.knowledge.knowledge_base(caller, "rules").title == "规章"
    for row in origin.db.rows(select(documents.c.id, documents.c.name).where(documents.c.status == "ready")):
        assert elsewhere.knowledge.content(caller, row.id) == origin.knowledge.content(origin.access.local_caller("zh"), row.id)


def test_ids_that_are_taken_are_given_anew_and_still_fit(source: Brain, pack: Path) -> None:
    job = take_in(source, pack, name="copy")
    assert job.status == "done", job
    caller = source.access.local_caller("zh")
    originals = {x.name: x for x in source.knowledge.documents(caller, "rules", limit=100).data}
    copies = {x.name: x for x in source.knowledge.documents(caller, "copy", limit=100).data}
    assert copies.keys() == originals.keys()
    assert not {x.id for x in copies.values()} & {x.id for x in originals.values()}
    assert [[hit[1:] for hit in one] for one in found(source, "copy")] == [[hit[1:] for hit in one] for one in found(source, "rules")]
    kb_id = source.access.resolve(caller, ["copy"])[0].id
    mine = {row.id for row in source.db.rows(select(entries.c.id).where(entries.c.kb_id == kb_id))}
    asked = {row.entry_id for row in source.db.rows(select(regression_questions.c.entry_id).where(regression_questions.c.kb_id == kb_id))}
    assert mine == asked != set()


def test_a_taken_name_is_refused_and_can_be_replaced(source: Brain, pack: Path) -> None:
    caller = source.access.local_caller("zh")
    with pytest.raises(Conflict) as refused:
        source.packs.submit_import(caller, pack)
    assert refused.value.code == "name_taken"
    assert "--replace" in refused.value.en
    assert "--replace" in refused.value.zh
    before = source.access.resolve(caller, ["rules"])[0].id
    assert take_in(source, pack, in_place=True).status == "done"
    assert source.access.resolve(caller, ["rules"])[0].id != before
    assert [x.name for x in source.access.resolve(caller)] == ["rules"]
    assert source.db.rows(select(func.count()).select_from(knowledge_bases))[0][0] == 1


def test_an_import_that_was_broken_off_goes_on_unseen_until_it_is_whole(origin: Brain, elsewhere: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 7)
    caller = elsewhere.access.local_caller("zh")
    job_id = elsewhere.packs.submit_import(caller, pack)
    advance, left = importing.Importer._advance, 0
    every = 100

    def killed(self: Any, connection: Any, **state: Any) -> None:
        nonlocal left
        advance(self, connection, **state)
        left -= 1
        if left <= 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(importing.Importer, "_advance", killed)
    for allowed in range(2, every):
        left = allowed
        try:
            work(elsewhere)
        except KeyboardInterrupt:
            assert elsewhere.access.resolve(caller) == []
            assert elsewhere.packs.submit_import(caller, pack) == job_id
            continue
        break
    assert elsewhere.knowledge.job(caller, job_id).status == "done"
    here, there = plain(origin, "rules"), plain(elsewhere, "rules")
    assert [name for name in here if here[name] != there[name]] == ["regression_questions.jsonl"]


def test_a_half_import_can_be_dropped(elsewhere: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = elsewhere.access.local_caller("zh")

    def killed(_self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing.Importer, "_take_files", killed)
    elsewhere.packs.submit_import(caller, pack)
    with pytest.raises(KeyboardInterrupt):
        work(elsewhere)
    assert elsewhere.db.rows(select(documents.c.id))
    assert elsewhere.packs.drop(caller, pack)
    assert not elsewhere.db.rows(select(documents.c.id))
    assert not elsewhere.packs.drop(caller, pack)


def test_without_originals_the_texts_stay(source: Brain, elsewhere: Brain, tmp_path: Path) -> None:
    path = export(source, tmp_path / "small.qzkb", originals=False, vectors=False)
    with zipfile.ZipFile(path) as archive:
        assert not [x for x in archive.namelist() if x.startswith(("files/", "vectors"))]
    assert take_in(elsewhere, path).status == "done"
    caller = elsewhere.access.local_caller("zh")
    one = next(x for x in elsewhere.knowledge.documents(caller, "rules").data if x.name == "采购.md")
    where, _, _ = elsewhere.knowledge.file(caller, one.id)
    assert isinstance(where, bytes)
    assert not elsewhere.db.rows(select(vectors.c.chunk_id))


def test_documents_that_are_still_read_are_left_out(source: Brain, tmp_path: Path) -> None:
    with source.db.write() as connection:
        connection.execute(update(documents).where(documents.c.name == "采购.md").values(status="running"))
    made = source.packs.write(source.access.local_caller("zh"), "rules", tmp_path / "y.qzkb", Choice(), lambda *_: None)
    assert made.left_out == 1
    assert made.counts["documents"] == len(SUBJECTS) + 1


def test_the_default_name_says_what_is_in_it_and_one_that_disagrees_is_refused(source: Brain, elsewhere: Brain, tmp_path: Path) -> None:
    caller = source.access.local_caller("zh")
    made = source.packs.write(caller, "rules", tmp_path, Choice(), lambda *_: None)
    assert made.path.name == "tiny-rules-250-50.qzkb"
    assert source.packs.write(caller, "rules", tmp_path, Choice(vectors=False), lambda *_: None).path.name == "lexical-rules-250-50.qzkb"
    wrong = made.path.rename(tmp_path / "tiny-rules-500-50.qzkb")
    with pytest.raises(Conflict) as refused:
        elsewhere.packs.submit_import(elsewhere.access.local_caller("zh"), wrong)
    assert refused.value.code == "name_disagrees"
    assert "tiny-rules-250-50.qzkb" in refused.value.en
    assert "tiny-rules-500-50.qzkb" in refused.value.en


def test_there_is_no_half_pack(source: Brain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_write_files", full)
    with pytest.raises(BrainError) as refused:
        export(source, tmp_path / "full.qzkb")
    assert refused.value.code == "storage_full"
    assert not list(tmp_path.glob("full*"))
    with pytest.raises(Conflict) as refused_place:
        export(source, tmp_path / "nowhere" / "x.qzkb")
    assert refused_place.value.code == "cannot_write"


# -- hostile packs


def rewrite(pack: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A pack with other members, and checksums that fit them."""
    with zipfile.ZipFile(pack) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "checksums"}
    change(members)
    path = pack.with_name("hostile.qzkb")
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in members.items()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("checksums", listed + hashlib.sha256(listed).hexdigest().encode() + b"\n")
    return path


def row(section: str, number: int = 0, **values: Any) -> Callable[[dict[str, bytes]], None]:
    """Change fields of one row."""

    def change(members: dict[str, bytes]) -> None:
        lines = members[f"{section}.jsonl"].splitlines()
        lines[number] = orjson.dumps({**orjson.loads(lines[number]), **values})
        members[f"{section}.jsonl"] = b"\n".join(lines) + b"\n"

    return change


def manifest(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = orjson.dumps({**orjson.loads(members["manifest.json"]), **values})

    return change


def member(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({name: data})


def swap_original(members: dict[str, bytes]) -> None:
    name = next(x for x in members if x.startswith("files/"))
    members[name] = b"something else"


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "id is a path": row("documents", id="../../etc/passwd"),
    "id twice": row("documents", 1, id="e1"),
    "status unknown": row("documents", status="running"),
    "number as text": row("documents", chars="1"),
    "negative number": row("documents", size_bytes=-1),
    "truth as number": row("chunks", disabled=True),
    "huge number": row("documents", size_bytes=2**60),
    "name too long": row("documents", name="x" * 256),
    "identity of another": row("documents", external_id="other"),
    "sha is none": row("documents", sha256="z" * 64),
    "text of nobody": row("texts", document_id="nobody"),
    "text is a list": row("texts", text=["a"]),
    "chunk of nobody": row("chunks", document_id="nobody"),
    "end beyond the text": row("chunks", end=10**6),
    "start after end": row("chunks", start=50, end=10),
    "headings are no texts": row("chunks", heading_path=[1]),
    "a list as a field": row("chunks", text=[]),
    "missing field": row("chunks", text=None),
    "entry of a document that is not there": row("entries", document_id="nobody"),
    "level unknown": row("entries", level="root"),
    "version of nobody": row("entry_versions", entry_id="nobody"),
    "question of nobody": row("regression_questions", entry_id="nobody"),
    "original of nobody": member("files/" + "0" * 64, b"x"),
    "original is another": swap_original,
    "no JSON": member("documents.jsonl", b"{\n"),
    "line without end": member("texts.jsonl", b'{"document_id": "a"'),
    "a list as a row": member("graph.jsonl", b"[]\n"),
    "rows fewer than said": member("chunks.jsonl", b""),
    "section missing": lambda members: members.__delitem__("texts.jsonl"),
    "path out of the pack": member("../../x", b"x"),
    "absolute path": member("/etc/cron", b"x"),
    "vectors too short": member("vectors.f16", b"xx"),
    "vectors of no length": lambda members: members.update({"vectors.f16": bytes(len(members["vectors.f16"]))}),
    "vectors of no number": lambda members: members.update({"vectors.f16": b"\xff" * len(members["vectors.f16"])}),
    "rows of vectors backwards": lambda members: members.update({"vectors.rows": members["vectors.rows"][::-1]}),
    "vectors undeclared": manifest(vectors=None),
    "vectors wide": manifest(vectors={"embedder": "x", "width": 2**40, "rows": 1, "upto": 1, "manifest": {}}),
    "manifest is a list": member("manifest.json", b"[]"),
    "manifest without counts": manifest(counts=None),
    "counts as text": manifest(counts={"documents": "1"}),
    "knowledge base of no sizes": manifest(knowledge_base={"name": "x"}),
    "another format": manifest(format="zip"),
    "version as text": manifest(version=["1", "0"]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pack_is_refused_before_anything_is_taken_in(elsewhere: Brain, pack: Path, what: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        HOSTILE[what](members)
        if what == "id twice":
            lines = members["documents.jsonl"].splitlines()
            lines[0] = orjson.dumps({**orjson.loads(lines[0]), "id": "e1"})
            members["documents.jsonl"] = b"\n".join(lines) + b"\n"

    path = rewrite(pack, change)
    _refused(elsewhere, path, "bad_pack")


def _refused(brain: Brain, path: Path, code: str) -> None:
    try:
        job = take_in(brain, path)
    except InvalidRequest as exc:
        assert exc.code == code
        assert exc.zh
    else:
        assert (job.status, job.reason_code) == ("failed", code)
        assert job.reason_zh
    assert not brain.db.rows(select(knowledge_bases.c.id))
    assert not brain.db.rows(select(documents.c.id))
    assert not list(brain.files.contents())


def test_a_bomb_is_refused(elsewhere: Brain, pack: Path) -> None:
    _refused(elsewhere, rewrite(pack, member("graph.jsonl", b" " * (64 << 20) + b"\n")), "bad_pack")


def test_damaged_bytes_are_found(elsewhere: Brain, pack: Path) -> None:
    whole = pack.read_bytes()
    random = np.random.default_rng(1)
    for at in [*random.integers(0, len(whole), 25).tolist(), len(whole) - 5]:
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path = pack.with_name("damaged.qzkb")
        path.write_bytes(damaged)
        try:
            job = take_in(elsewhere, path)
        except BrainError as exc:
            assert exc.status < 500, at
        else:
            assert job.status == "failed" or found(elsewhere, "rules"), at  # a byte of the zip file's own that nobody reads
            if job.status == "done":
                elsewhere.knowledge.delete(elsewhere.access.local_caller("zh"), "rules")
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path = pack.with_name("short.qzkb")
        path.write_bytes(whole[:size])
        _refused_short(elsewhere, path)


def _refused_short(brain: Brain, path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        brain.packs.submit_import(brain.access.local_caller("zh"), path)
    assert refused.value.code == "bad_pack"


def test_sections_of_a_newer_minor_version_are_skipped_with_a_notice(elsewhere: Brain, pack: Path) -> None:
    def newer(members: dict[str, bytes]) -> None:
        manifest(version=[1, 7])(members)
        row("documents", shape="new")(members)
        members["pictures.jsonl"] = b"{}\n"

    job = take_in(elsewhere, rewrite(pack, newer))
    assert job.status == "done", job
    assert job.result["skipped"] == ["pictures.jsonl"]


def test_a_newer_major_version_is_refused_with_what_to_do(elsewhere: Brain, pack: Path) -> None:
    path = rewrite(pack, manifest(version=[2, 0]))
    with pytest.raises(InvalidRequest) as refused:
        elsewhere.packs.submit_import(elsewhere.access.local_caller("zh"), path)
    assert refused.value.code == "newer_pack"
    assert "Upgrade" in refused.value.en
    assert "升级" in refused.value.zh


def test_a_full_disk_is_seen_before(elsewhere: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    _refused(elsewhere, pack, "not_enough_space")


GOLDEN = {
    "documents": [
        {
            "id": "0005c0ffee000000000001", "identity": "ext:one", "external_id": "one", "name": "一", "title": "办法", "status": "ready", "reason_code": None,
            "reason_zh": None, "reason_en": None, "pages": None, "chunks": 2, "chars": 23, "sha256": "a" * 64, "size_bytes": 60, "mime_type": "text/plain",
            "stored": 0, "created_at": "2026-11-28T00:00:00.000000Z", "ready_at": "2026-11-28T00:00:01.000000Z", "kind": "file",
        }
    ],
    "texts": [{"document_id": "0005c0ffee000000000001", "text": "第一条 采购须经批准。\n第二条 请假须经批准。"}],
    "chunks": [
        {
            "document_id": "0005c0ffee000000000001", "ordinal": number, "text": words, "start": start, "end": start + len(words), "page": None,
            "heading_path": ["总则"], "reference": str(number + 1), "disabled": 0,
        }
        for number, (start, words) in enumerate([(0, "第一条 采购须经批准。"), (12, "第二条 请假须经批准。")])
    ],
    "edits": [
        {
            "document_id": "0005c0ffee000000000001", "number": 1, "kind": "text", "ordinal": 0, "start": 0, "end": 3, "before": "第1条", "after": "第一条",
            "author": "local", "note": "", "applies": 1, "created_at": "2026-11-28T00:00:02.000000Z",
        }
    ],
    "entries": [
        {
            "id": "0005c0ffee000000000002", "status": "approved", "question": "谁批准？", "question_key": "k", "answer": "经理",
            "variants": [], "negatives": [], "source": "", "author": "", "approver": "", "valid_from": None, "valid_until": None,
            "level": "internal", "version": 1, "approved_version": 1, "document_id": "",
            "origin": {}, "created_at": "2026-11-28T00:00:02.000000Z", "updated_at": "2026-11-28T00:00:02.000000Z",
        }
    ],
    "entry_versions": [
        {"entry_id": "0005c0ffee000000000002", "version": 1, "content": {"answer": "经理"}, "author": "", "created_at": "2026-11-28T00:00:02.000000Z"}
    ],
    "regression_questions": [
        {
            "id": "0005c0ffee000000000003", "question": "由谁批准？", "entry_id": "0005c0ffee000000000002", "message_id": "", "passed": None, "result": None,
            "created_at": "2026-11-28T00:00:02.000000Z", "run_at": None,
        }
    ],
    "graph": [],
}  # fmt: skip
"""A pack of version 1.0 as the first program wrote it. Never changed: what it says must be understood by every later version."""


def golden(path: Path) -> Path:
    """The file of it."""
    about = {
        "format": "qzkb", "version": [1, 0], "program": "0.1.0", "made_at": "2026-11-28T00:00:03.000000Z", "tokenizer": "1", "originals": True,
        "knowledge_base": {
            "name": "old", "title": "旧", "description": "", "chunk_chars": 250, "overlap_chars": 50, "without_evidence": "refuse",
            "created_at": "2026-11-28T00:00:00.000000Z", "manifest": {"chunk_chars": 250, "overlap_chars": 50, "embedder": None},
        },
        "counts": {name: len(some) for name, some in GOLDEN.items()},
        "vectors": {"embedder": "tiny", "width": 2, "rows": 2, "upto": 2, "manifest": {"fingerprint": "f", "weight": 0.5}},
    }  # fmt: skip
    members = {"manifest.json": orjson.dumps(about)}
    members |= {f"{name}.jsonl": b"".join(orjson.dumps(one) + b"\n" for one in some) for name, some in GOLDEN.items()}
    members["vectors.f16"] = np.asarray([[1, 0], [0, 1]], "<f2").tobytes()
    members["vectors.rows"] = np.asarray([0, 1], "<u4").tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checksums", b"")
        for name, data in members.items():
            archive.writestr(name, data)
    return rewrite(path, lambda _: None)


def test_a_pack_of_the_first_version_is_understood_and_written_alike(elsewhere: Brain, tmp_path: Path) -> None:
    assert take_in(elsewhere, golden(tmp_path / "old.qzkb")).status == "done"
    again = plain(elsewhere, "old")
    for section, some in GOLDEN.items():
        if section not in ("regression_questions", "graph"):
            there_is = {"level": 1} if section == "documents" else {}  # levels came later: what was there before is internal
            assert [orjson.loads(line) for line in again[f"{section}.jsonl"].splitlines()] == [{**one, **there_is} for one in some], section
    assert np.frombuffer(again["vectors.f16"], "<f2").tolist() == [1, 0, 0, 1]
    assert np.frombuffer(again["vectors.rows"], "<u4").tolist() == [0, 1]


def test_nobody_sees_a_document_of_an_import_that_is_not_whole(elsewhere: Brain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = elsewhere.access.local_caller("zh")

    def killed(_self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing.Importer, "_take_files", killed)
    elsewhere.packs.submit_import(caller, golden(tmp_path / "old.qzkb"))
    with pytest.raises(KeyboardInterrupt):
        work(elsewhere)
    assert elsewhere.db.rows(select(documents.c.id))
    with pytest.raises(NotFound):
        elsewhere.knowledge.document(caller, "0005c0ffee000000000001")


# -- to and from real servers


@pytest.mark.servers
def test_from_sqlite_to_mysql_and_back(origin: Brain, pack: Path, tmp_path: Path, mysql: dict[str, Any], elsewhere: Brain) -> None:
    there = build(Settings(qzbrain_data=tmp_path / "mysql", qzbrain_embedder="none", **mysql))
    try:
        assert (job := take_in(there, pack)).status == "done", job
        assert found(there, "rules") == found(origin, "rules")
        back = export(there, tmp_path / "back.qzkb")
    finally:
        there.close()
    assert take_in(elsewhere, back).status == "done"
    assert found(elsewhere, "rules") == found(origin, "rules")


@pytest.mark.servers
@pytest.mark.parametrize("engine", ["elasticsearch", "opensearch"])
def test_from_the_embedded_index_to_a_search_server(origin: Brain, pack: Path, tmp_path: Path, request: pytest.FixtureRequest, engine: str) -> None:
    server: SearchServer = request.getfixturevalue(f"{engine}_server")
    there = build(Settings(qzbrain_data=tmp_path / engine, qzbrain_embedder="none", **server.settings, qizhibrain_index=f"packs{new_id()}"))
    try:
        assert (job := take_in(there, pack)).status == "done", job
        here, seen = found(origin, "rules"), found(there, "rules")
        assert [[hit[:4] for hit in one] for one in seen] == [[hit[:4] for hit in one] for one in here]
        assert [hit[5] for one in seen for hit in one] == pytest.approx([hit[5] for one in here for hit in one], abs=1e-4)
        there.knowledge.delete(there.access.local_caller("zh"), "rules")
        work(there)
    finally:
        there.close()


@pytest.mark.parametrize("name", ["x", "x.qzkb"])
def test_embedding_index_is_taken_in_at_the_start_once(
    make_settings: Callable[..., Settings], tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "x.qzkb").write_bytes(pack.read_bytes())
    settings = make_settings(qzbrain_data=tmp_path / "elsewhere", embedding_index=str(tmp_path / name))
    made = build(settings)
    try:
        assert [one.status for one in doctor_data.given_index(settings)] == ["warn"]
        place = Workplace(made)
        place.prepare(lambda: False)
        place.prepare(lambda: False)
        place.close()
        assert len(made.jobs.jobs(None, 50, None).data) == 1, "a second start asks for nothing"
        work(made)
        assert [ref.name for ref in made.access.resolve(made.access.local_caller("zh"))] == ["rules"]
        assert [one.status for one in doctor_data.given_index(settings)] == ["ok"]
    finally:
        made.close()


def test_an_embedding_index_that_is_none_hinders_nothing(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "broken.qzkb").write_bytes(b"PK nonsense")
    for given in ("none", "broken.qzkb"):
        settings = make_settings(qzbrain_data=tmp_path / "elsewhere", embedding_index=str(tmp_path / given))
        made = build(settings)
        place = Workplace(made)
        place.prepare(lambda: False)
        place.close()
        assert made.jobs.jobs(None, 50, None).data == ()
        assert [one.status for one in doctor_data.given_index(settings)] == ["fail"]
        made.close()
