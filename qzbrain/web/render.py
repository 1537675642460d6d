"""Domain values to what the API shows. Pure; language decides between the two texts of a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from qzbrain.domain import (
    LEVELS,
    AddedDocument,
    Answer,
    Chunk,
    ChunkEdit,
    ChunkPreview,
    Citation,
    CutPreview,
    Degraded,
    Document,
    Hit,
    JobRecord,
    KnowledgeBase,
    Page,
    SearchResult,
    WatchedFolder,
)
from qzbrain.errors import Lang
from qzbrain.knowledge.edits import compared
from qzbrain.models.registry import ModelState

T = TypeVar("T")
Json = dict[str, Any]


def page(found: Page[T], show: Callable[[T], Json]) -> Json:
    """A piece of a list."""
    return {"data": [show(item) for item in found.data], "has_more": found.has_more, "next": found.next}


def knowledge_base(kb: KnowledgeBase, lang: Lang) -> Json:
    """A knowledge base with its counts, and how far its search by meaning is."""
    counts = kb.documents
    manifest: Json = dict(kb.manifest)
    if reason := manifest.get("reason"):
        manifest["reason"] = {"code": reason["code"], "message": reason[lang]}
    return {
        "id": kb.id,
        "name": kb.name,
        "title": kb.title,
        "description": kb.description,
        "chunk_chars": kb.chunk_chars,
        "overlap_chars": kb.overlap_chars,
        "without_evidence": kb.without_evidence,
        "documents": {"total": counts.total, "ready": counts.ready, "failed": counts.failed, "pending": counts.pending},
        "chunks": kb.chunks,
        "level": LEVELS[kb.level],
        "manifest": manifest,
        "created_at": kb.created_at,
    }


def added(one: AddedDocument) -> Json:
    """What an upload took in."""
    return {
        "id": one.id,
        "name": one.name,
        "status": one.status,
        "sha256": one.sha256,
        "size_bytes": one.size_bytes,
        "duplicate": one.duplicate,
        "job_id": one.job_id,
        "level": LEVELS[one.level],
    }


def document(doc: Document, lang: Lang) -> Json:
    """A document's row."""
    return {
        "id": doc.id,
        "external_id": doc.external_id,
        "knowledge_base": doc.knowledge_base,
        "name": doc.name,
        "title": doc.title,
        "status": doc.status,
        "stage": doc.stage,
        "progress": _progress(doc),
        "waiting_for": _waiting_for(doc, lang),
        "reason": _reason(doc, lang),
        "pages": doc.pages,
        "chunks": doc.chunks,
        "chars": doc.chars,
        "sha256": doc.sha256,
        "size_bytes": doc.size_bytes,
        "mime_type": doc.mime_type,
        "created_at": doc.created_at,
        "ready_at": doc.ready_at,
        "edits": {"applied": doc.edits.applied, "lost": doc.edits.lost},
        "entry_id": doc.entry_id,
        "level": LEVELS[doc.level],
    }


def chunk(one: Chunk) -> Json:
    """A chunk of a document."""
    return {
        "id": one.id,
        "ordinal": one.ordinal,
        "text": one.text,
        "start": one.start,
        "end": one.end,
        "page": one.page,
        "heading_path": one.heading_path,
        "enabled": one.enabled,
    }


def chunk_preview(found: ChunkPreview) -> Json:
    """A document's chunks now and then."""
    return {"now": _cut(found.now), "then": _cut(found.then)}


def _cut(one: CutPreview) -> Json:
    return {"count": one.count, "mean_chars": one.mean_chars, "chunks": [{"start": a, "end": b, "text": text} for a, b, text in one.chunks]}


def chunk_edit(one: ChunkEdit) -> Json:
    """An edit of a document, with what it changed word by word."""
    return {
        "number": one.number,
        "kind": one.kind,
        "ordinal": one.ordinal,
        "start": one.start,
        "end": one.end,
        "before": one.before,
        "after": one.after,
        "diff": [{"op": change.op, "text": change.text} for change in compared(one.before, one.after)] if one.kind == "text" else [],
        "author": one.author,
        "note": one.note,
        "applies": one.applies,
        "created_at": one.created_at,
    }


def search_result(found: SearchResult) -> Json:
    """Hits, best first."""
    return {
        "hits": [_hit(rank, hit) for rank, hit in enumerate(found.hits, 1)],
        "confidence": found.confidence,
        "answerable": found.answerable,
        "degraded": [_degraded(part) for part in found.degraded],
        "took_ms": round(found.took_ms, 2),
    }


def answer(given: Answer) -> Json:
    """The answer object."""
    return {
        "message_id": given.message_id,
        "conversation_id": given.conversation_id,
        "model": given.model,
        "answer": given.answer,
        "finish_reason": given.finish_reason,
        "stopped": given.stopped,
        "usage": usage(given),
        **answer_fields(given),
    }


def answer_fields(given: Answer) -> Json:
    """What an answer says about itself, beside OpenAI's own fields."""
    return {
        "citations": [citation(one) for one in given.citations],
        "level": LEVELS[given.level],
        "withheld": given.withheld,
        "rung": given.rung,
        "rung_reason": given.rung_reason,
        "confidence": given.confidence,
        "degraded": [_degraded(part) for part in given.degraded],
        "timings": given.timings,
    }


def usage(given: Answer) -> Json:
    """Tokens of an answer."""
    counted = given.usage
    return {"prompt_tokens": counted.prompt_tokens, "completion_tokens": counted.completion_tokens, "total_tokens": counted.total_tokens}


def citation(one: Citation) -> Json:
    """A source of an answer."""
    return {
        "index": one.index,
        "document_id": one.document_id,
        "external_id": one.external_id,
        "document": one.document,
        "title": one.title,
        "heading_path": one.heading_path,
        "page": one.page,
        "start": one.start,
        "end": one.end,
        "quote": one.quote,
        "url": one.url,
        "cited": one.cited,
        "supported": one.supported,
        "facts": one.facts,
        "level": None if one.hidden else LEVELS[one.level],
        "hidden": one.hidden,
    }


def url_citations(given: Answer) -> list[Json]:
    """OpenAI's `url_citation` for each mark `[n]` in the answer that stands for a citation, in the order of the text."""
    found: list[tuple[int, Json]] = []
    for one in given.citations:
        if one.hidden:
            continue
        mark = f"[{one.index}]"
        place = given.answer.find(mark)
        while place >= 0:
            where = {"url": one.url, "title": one.title, "start_index": place, "end_index": place + len(mark)}
            found.append((place, {"type": "url_citation", "url_citation": where}))
            place = given.answer.find(mark, place + len(mark))
    return [note for _, note in sorted(found, key=lambda item: item[0])]


def job(one: JobRecord, lang: Lang) -> Json:
    """A job's row."""
    return {
        "id": one.id,
        "kind": one.kind,
        "subject": one.subject,
        "status": one.status,
        "stage": one.stage,
        "progress": _progress(one),
        "waiting_for": _waiting_for(one, lang),
        "attempts": one.attempts,
        "reason": _reason(one, lang),
        "result": one.result,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
    }


def model(state: ModelState, in_use: int, queued: int, lang: Lang) -> Json:
    """A model, with its answers under way and the questions waiting for it."""
    return {
        "name": state.name,
        "engine": state.engine,
        "kind": state.kind,
        "status": state.status,
        "reason": state.reason_zh if lang == "zh" else state.reason_en,
        "devices": state.devices,
        "context": state.context,
        "local": state.local,
        "on_demand": state.on_demand,
        "asleep": state.asleep,
        "answered_by": state.answered_by or None,
        "expected_s": state.expected_s,
        "restarts": state.restarts,
        "slots": state.slots,
        "in_use": in_use,
        "queued": queued,
    }


def _hit(rank: int, hit: Hit) -> Json:
    return {
        "rank": rank,
        "chunk_id": hit.chunk_id,
        "document_id": hit.document_id,
        "external_id": hit.external_id,
        "document": hit.document,
        "title": hit.title,
        "kind": hit.kind,
        "level": LEVELS[hit.level],
        "knowledge_base": hit.knowledge_base,
        "heading_path": hit.heading_path,
        "text": hit.text,
        "start": hit.start,
        "end": hit.end,
        "page": hit.page,
        "score": hit.score,
        "confidence": hit.confidence,
        "sources": {name: {"rank": source.rank, "score": source.score} for name, source in hit.sources.items()},
    }


def _degraded(part: Degraded) -> Json:
    return {"part": part.part, "reason": part.reason}


def folder(one: WatchedFolder, lang: Lang) -> Json:
    """A watched folder with what its last scan found."""
    result = one.result
    if result is not None:
        counts = ("added", "changed", "removed", "unchanged", "skipped", "waiting", "away", "error_count")
        result = {name: result[name] for name in counts} | {"errors": [{"path": x["path"], "message": x[lang]} for x in result["errors"]]}
    return {
        "id": one.id,
        "path": one.path,
        "active": one.active,
        "every_s": one.every_s,
        "recursive": one.recursive,
        "exclude": list(one.exclude),
        "last_scan_at": one.last_scan_at,
        "result": result,
        "created_at": one.created_at,
        "level": None if one.level is None else LEVELS[one.level],
    }


def _progress(one: Document | JobRecord) -> Json:
    left, rate = one.progress_total - one.progress_done, one.progress_rate
    return {
        "done": one.progress_done,
        "total": one.progress_total,
        "unit": one.progress_unit,
        "rate": round(rate, 2),
        "eta_s": math.ceil(left / rate) if one.status == "running" and rate > 0 and left >= 0 else None,
    }


def _waiting_for(one: Document | JobRecord, lang: Lang) -> Json | None:
    waits = one.waiting
    return None if waits is None else {"code": waits.code, "message": waits.zh if lang == "zh" else waits.en, "position": waits.place}


def _reason(failed: Document | JobRecord, lang: Lang) -> Json | None:
    if failed.reason_code is None:
        return None
    return {"code": failed.reason_code, "message": (failed.reason_zh if lang == "zh" else failed.reason_en) or failed.reason_code}
