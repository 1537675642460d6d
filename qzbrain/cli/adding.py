"""Files into a knowledge base from the command line: find, hand over in batches, follow their jobs, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from qzbrain.cli.session import work_until
from qzbrain.cli.terminal import WrongUsage, note, progress, result, t
from qzbrain.domain import AddedDocument, Caller, JobRecord
from qzbrain.errors import BrainError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from qzbrain.brain import Brain

_BATCH = 64


@dataclass(frozen=True, slots=True)
class File:
    """A file and the name under which it is added: relative to the folder that was given."""

    path: Path
    name: str


@dataclass(slots=True)
class Report:
    """What became of the files. `documents` counts each line of a corpus; `failed`: `{"name","code","message"}`."""

    documents: int = 0
    ready: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    chunks: int = 0
    seconds: float = 0.0


def files_of(paths: Sequence[Path], *, recursive: bool) -> list[File]:
    """The files meant, in order; hidden ones inside folders are left out. Raises WrongUsage when a path is missing or nothing is found."""
    found: list[File] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*") if recursive else path.glob("*"))
            relative = [(x, x.relative_to(path)) for x in inside if x.is_file()]
            found += [File(x, name.as_posix()) for x, name in relative if not any(part.startswith(".") for part in name.parts)]
        elif path.is_file():
            found.append(File(path, path.name))
        else:
            raise WrongUsage("path_not_found", zh=f"没有这个文件或目录：{path}", en=f"There is no such file or folder: {path}", param="paths")
    if not found:
        raise WrongUsage(
            "no_files",
            zh="给出的目录中没有文件；子目录需要加 --recursive。",
            en="The folders given hold no files; for sub-folders add --recursive.",
            param="paths",
        )
    return found


def add(brain: Brain, caller: Caller, kb: str, files: Sequence[File], *, create: bool, wait: bool, level: int | None = None) -> Report:
    """Hand all files over, follow them to their end when `wait`. `level`: place in LEVELS; None: the knowledge base's.

    Raises NotFound when the knowledge base is missing and `create` is not set.
    """
    started = time.monotonic()
    if create and kb not in {ref.name for ref in brain.access.resolve(caller)}:
        brain.knowledge.create(caller, name=kb)
    chunks_before = brain.knowledge.knowledge_base(caller, kb).chunks
    report, added = Report(), list[AddedDocument]()
    with progress(t("上传", "adding")) as bar:
        for batch in _batches(files):
            added += _hand_over(brain, caller, kb, batch, report, level)
            bar.update(len(added) + len(report.failed), len(files))
    if wait:
        jobs = _follow(brain, caller, [x.job_id for x in added if x.job_id])
        if any(job.kind == "archive" for job in jobs.values()):
            _follow_all(brain, caller, kb)
        _count(brain, caller, kb, added, jobs, report)
    else:
        report.documents = len([x for x in added if x.id]) + len(report.failed)
        report.ready = sum(x.status == "ready" for x in added)
    if any(x.id is None for x in added):
        report.chunks += brain.knowledge.knowledge_base(caller, kb).chunks - chunks_before - report.chunks
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _batches(files: Sequence[File]) -> Iterator[list[File]]:
    rest = iter(files)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _hand_over(brain: Brain, caller: Caller, kb: str, batch: Sequence[File], report: Report, level: int | None) -> list[AddedDocument]:
    """Take a batch in one transaction; a batch that is refused is taken file by file, so that one bad file keeps none out."""
    try:
        with ExitStack() as opened:
            return brain.knowledge.add_files(caller, kb, [(x.name, opened.enter_context(x.path.open("rb"))) for x in batch], level=level)
    except (InvalidRequest, OSError) as exc:
        if len(batch) > 1:
            return [one for x in batch for one in _hand_over(brain, caller, kb, [x], report, level)]
        report.failed.append(_failure(batch[0].name, exc))
        return []


def _failure(name: str, exc: BrainError | OSError) -> dict[str, str]:
    if isinstance(exc, BrainError):
        return {"name": name, "code": exc.code, "message": t(exc.zh, exc.en)}
    return {"name": name, "code": "unreadable", "message": t(f"无法读取文件：{exc.strerror}", f"The file cannot be read: {exc.strerror}")}


def _follow(brain: Brain, caller: Caller, job_ids: Sequence[str]) -> dict[str, JobRecord]:
    """Wait for the jobs; their last state by id. A job whose row has gone (its document was deleted meanwhile) is left out.

    What the jobs themselves wait for (a search server that is away) is said once.
    """
    waiting, ended, said = set(job_ids), dict[str, JobRecord](), set[str]()
    with progress(t("处理", "reading")) as bar:

        def look() -> bool:
            unfinished = brain.knowledge.unfinished_jobs(caller, waiting)
            waiting.intersection_update(unfinished)
            bar.update(len(job_ids) - len(waiting), len(job_ids))
            if waiting:
                _say_what_for(brain, caller, next(iter(waiting)), said)
            return not waiting

        work_until(brain, _at_most_every(0.1, look))
    for job_id in job_ids:
        with suppress(NotFound):
            ended[job_id] = brain.knowledge.job(caller, job_id)
    return ended


def _follow_all(brain: Brain, caller: Caller, kb: str) -> None:
    """Wait until nothing of a knowledge base is left to be read: what came out of an archive is read by jobs of its own."""
    with progress(t("处理", "reading")) as bar:

        def look() -> bool:
            counts = brain.knowledge.knowledge_base(caller, kb).documents
            bar.update(counts.total - counts.pending, counts.total)
            return counts.pending == 0

        work_until(brain, _at_most_every(0.1, look))


def _say_what_for(brain: Brain, caller: Caller, job_id: str, said: set[str]) -> None:
    """Why a job waits, when it is not only its turn; each reason once."""
    with suppress(NotFound):
        job = brain.knowledge.job(caller, job_id)
        if job.reason_code and job.reason_code not in said:
            said.add(job.reason_code)
            note(t(f"等待中：{job.reason_zh}", f"waiting: {job.reason_en}"))


def _at_most_every(seconds: float, look: Callable[[], bool]) -> Callable[[], bool]:
    """`look`, asked again only after a while; the last reply in between."""
    last, said = 0.0, False

    def ask() -> bool:
        nonlocal last, said
        if time.monotonic() - last >= seconds:
            said = look()
            last = time.monotonic()
        return said

    return ask


def _count(brain: Brain, caller: Caller, kb: str, added: Sequence[AddedDocument], jobs: dict[str, JobRecord], report: Report) -> None:
    for one in added:
        job = jobs.get(one.job_id or "")
        if one.id is None:
            _count_inside(brain, caller, kb, one, job, report)
            continue
        try:
            document = brain.knowledge.document(caller, one.id)
        except NotFound:
            continue
        report.chunks += document.chunks
        report.ready += document.status == "ready"
        if document.status == "failed":
            message = t(document.reason_zh or "", document.reason_en or "")
            report.failed.append({"name": one.name, "code": document.reason_code or "failed", "message": message})
    report.documents = report.ready + len(report.failed)


def _count_inside(brain: Brain, caller: Caller, kb: str, one: AddedDocument, job: JobRecord | None, report: Report) -> None:
    """A corpus counts by its lines, an archive by its files: `result` is `{"documents", "errors": [{"row", "message"}]}`."""
    outcome = (job.result if job else None) or {}
    failed = _failed_members(brain, caller, kb, one.name) if job is not None and job.kind == "archive" else []
    code = "bad_member" if job is not None and job.kind == "archive" else "bad_line"
    report.ready += int(outcome.get("documents", 0)) - len(failed)
    report.failed += failed
    report.failed += [{"name": f"{one.name}:{x['row']}", "code": code, "message": str(x["message"])} for x in outcome.get("errors", ())]
    if job is not None and job.status != "done":
        report.failed.append({"name": one.name, "code": job.reason_code or job.status, "message": t(job.reason_zh or "", job.reason_en or "")})


def _failed_members(brain: Brain, caller: Caller, kb: str, archive: str) -> list[dict[str, str]]:
    found, after = list[dict[str, str]](), None
    while True:
        page = brain.knowledge.documents(caller, kb, status="failed", limit=1000, after=after)
        for one in page.data:
            if one.name.startswith(f"{archive}/"):
                found.append({"name": one.name, "code": one.reason_code or "failed", "message": t(one.reason_zh or "", one.reason_en or "")})
        if not page.has_more:
            return found
        after = page.next


def show(report: Report, *, waited: bool) -> None:
    """The report for people."""
    if waited:
        result(
            t(
                f"{report.ready} 个文档就绪，{len(report.failed)} 个失败，共 {report.chunks} 段，用时 {report.seconds:.1f} 秒。",
                f"{report.ready} documents ready, {len(report.failed)} failed, {report.chunks} chunks, {report.seconds:.1f} s.",
            )
        )
    else:
        result(t(f"已提交 {report.documents} 个文件，正在后台处理。", f"{report.documents} files queued; they are read in the background."))
    for one in report.failed:
        result(f"  {one['name']}: {one['message']}")
