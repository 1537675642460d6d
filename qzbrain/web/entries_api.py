"""Curated knowledge under /api: entries, their files, corrections of answers, regression questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy import select

from qzbrain.brain import Brain
from qzbrain.domain import LEVELS, Caller, Hit, StoredMessage
from qzbrain.errors import InvalidRequest, Lang, PayloadTooLarge, UnsupportedMedia
from qzbrain.knowledge.entries.conflicts import Conflict, OtherEntries, with_documents
from qzbrain.knowledge.entries.entry import Entry
from qzbrain.knowledge.entries.regressions import Regression, keep_question
from qzbrain.knowledge.entries.transfer import MIME
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.storage.tables import documents
from qzbrain.web import entry_shapes as shapes
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import no_content, reply
from qzbrain.web.uploads import files
from qzbrain.web.validation import validated

_FILE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}},
            }
        },
    }
}
_LOOKED_AT = 3
_PIECE = 1 << 16


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("entries", __name__, url_prefix="/api", abp_tags=[Tag(name="entries")])
    _entries(api, brain)
    _changes(api, brain)
    _files(api, brain)
    _corrections(api, brain)
    return api


def _entries(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/knowledge-bases/<kb>/entries", responses={"200": replies.page_of(shapes.EntryReply)})
    @validated
    def list_entries(path: schemas.KnowledgeBasePath, query: shapes.EntryQuery) -> Response:
        """Curated entries, newest first."""
        who = caller(brain.access)
        found = brain.entries.page(who, path.kb, query=query.q, status=query.status, limit=query.limit, after=query.after)
        return reply(render.page(found, shown))

    @api.post("/knowledge-bases/<kb>/entries", responses={"201": shapes.EntryReply})
    @validated
    def create_entry(path: schemas.KnowledgeBasePath, body: shapes.EntryCreate) -> Response:
        """Put in a question with its answer, or a text. It is in force once it is approved; the reply is sent when it is durable."""
        who = caller(brain.access)
        made = brain.entries.create(who, path.kb, **body.model_dump())
        return reply(shown(made, conflicts(brain, who, made)), 201)

    @api.get("/knowledge-bases/<kb>/entries/<entry_id>", responses={"200": shapes.EntryReply})
    @validated
    def get_entry(path: shapes.EntryPath) -> Response:
        """One entry."""
        return reply(shown(brain.entries.get(caller(brain.access), path.kb, path.entry_id)))

    @api.get("/knowledge-bases/<kb>/entries/<entry_id>/versions", responses={"200": shapes.EntryVersionsReply})
    @validated
    def list_versions(path: shapes.EntryPath) -> Response:
        """All versions of an entry, newest first."""
        return reply({"data": brain.entries.versions(caller(brain.access), path.kb, path.entry_id)})


def _changes(api: APIBlueprint, brain: Brain) -> None:
    @api.patch("/knowledge-bases/<kb>/entries/<entry_id>", responses={"200": shapes.EntryReply})
    @validated
    def update_entry(path: shapes.EntryPath, body: shapes.EntryUpdate) -> Response:
        """Change an entry: a new version, which waits for approval where that is needed; the approved one stays in force meanwhile."""
        who = caller(brain.access)
        given = body.model_dump(exclude_unset=True)
        for name in ("question", "answer", "variants", "negatives", "source", "level"):
            if given.get(name, "") is None:
                raise InvalidRequest(zh=f"{name} 不能为 null。", en=f"{name} cannot be null.", param=name)
        changed = brain.entries.update(who, path.kb, path.entry_id, **given)
        return reply(shown(changed, conflicts(brain, who, changed)))

    @api.post("/knowledge-bases/<kb>/entries/<entry_id>/approve", responses={"200": shapes.EntryReply})
    @validated
    def approve_entry(path: shapes.EntryPath) -> Response:
        """Put an entry's newest version in force."""
        who = caller(brain.access)
        approved = brain.entries.approve(who, path.kb, path.entry_id)
        return reply(shown(approved, conflicts(brain, who, approved)))

    @api.delete("/knowledge-bases/<kb>/entries/<entry_id>", responses={"204": None})
    @validated
    def delete_entry(path: shapes.EntryPath) -> Response:
        """Delete an entry with its versions and regression questions."""
        brain.entries.delete(caller(brain.access), path.kb, path.entry_id)
        return no_content()


def _files(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/knowledge-bases/<kb>/entries/import", responses={"200": shapes.EntriesImported, "413": replies.ErrorReply}, openapi_extensions=_FILE)
    @validated
    def import_entries(path: schemas.KnowledgeBasePath, query: shapes.EntryImportQuery) -> Response:
        """Take in entries from xlsx, xls, csv or jsonl (multipart, field `file`). Bad rows are told, the rest is taken. `dry_run=1` changes nothing."""
        who = caller(brain.access)
        name, data = _one_file(brain)
        dry_run = query.dry_run in shapes.TRUE
        told = brain.entry_files.load(who, path.kb, name, data, dry_run=dry_run, approve=query.approve in shapes.TRUE)
        return reply(
            {
                "created": told.created,
                "updated": told.updated,
                "skipped": told.skipped,
                "errors": error_rows(told.errors, who.lang),
                "conflicts": [{"row": row, **_conflict(one)} for row, one in told.conflicts],
                "dry_run": dry_run,
            }
        )

    @api.get("/knowledge-bases/<kb>/entries/export", responses={"200": {"content": {MIME["xlsx"]: {"schema": {"type": "string", "format": "binary"}}}}})
    @validated
    def export_entries(path: schemas.KnowledgeBasePath, query: shapes.EntryExportQuery) -> Response:
        """All entries as a file, which can be imported again."""
        response = Response(brain.entry_files.dump(caller(brain.access), path.kb, query.format), mimetype=MIME[query.format])
        response.headers["Content-Disposition"] = f'attachment; filename="entries.{query.format}"'
        response.headers["Cache-Control"] = "private, no-cache"
        return response


def _corrections(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/conversations/<conversation_id>/messages/<message_id>/correct", responses={"201": shapes.EntryReply})
    @validated
    def correct_answer(path: shapes.CorrectionPath, body: shapes.Correction) -> Response:
        """Make an entry of what would have been right, kept as a regression question. Approved (by who may), it is in force at once."""
        who = caller(brain.access)
        question, answer = brain.chat.conversations.question_of(who, path.conversation_id, path.message_id)
        kb_id = brain.access.resolve(who, [body.knowledge_base])[0].id if body.knowledge_base else _kb_of(brain, who, path.conversation_id, answer)
        asked = body.question.strip() if body.question and body.question.strip() else question
        origin = {"correction": True, "conversation_id": path.conversation_id, "message_id": path.message_id}
        source = body.source.strip() or ("Correction of an answer" if who.lang == "en" else "回答纠正")
        variants = [question] if question != asked else []
        stands_on = answer.answer.level if answer.answer else 0
        level = LEVELS[max(brain.access.level_given(who, kb_id, None), min(stands_on, brain.access.clearance(who)))]
        approve = body.approve and brain.access.allows(who, "manage", kb_id)
        made = brain.entries.create(
            who, kb_id, question=asked[:2000], answer=body.answer, variants=variants, source=source, level=level, approve=approve, origin=origin
        )
        with brain.db.write(durable=True) as connection:
            keep_question(connection, kb_id, question, made.id, path.message_id)
        brain.chat.conversations.feedback(who, path.message_id, "down", conversation_id=path.conversation_id)
        return reply(shown(made, conflicts(brain, who, made)), 201)

    @api.get("/knowledge-bases/<kb>/regressions", responses={"200": shapes.RegressionsReply})
    @validated
    def list_regressions(path: schemas.KnowledgeBasePath) -> Response:
        """Questions that corrections must go on answering, with their last run."""
        return reply(regressions_shown(brain.regressions.all(caller(brain.access), path.kb)))

    @api.post("/knowledge-bases/<kb>/regressions/run", responses={"200": shapes.RegressionsReply})
    @validated
    def run_regressions(path: schemas.KnowledgeBasePath) -> Response:
        """Ask them all now: each passes when its entry answers it directly, or is the first thing found."""
        who = caller(brain.access)

        def ask(question: str, kb_id: str) -> Any:
            return brain.retriever.search(SearchQuery(question, top_k=10), brain.access.scope(who, [kb_id]))

        return reply(regressions_shown(brain.regressions.run(who, path.kb, ask)))


def conflicts(brain: Brain, who: Caller, entry: Entry) -> list[Conflict]:
    """What an entry contradicts now: other entries near it, and passages near its question."""
    if not entry.fields.question:
        return []
    scope = brain.access.scope(who, [entry.kb_id])

    def search(question: str) -> Sequence[Hit]:
        return brain.retriever.search(SearchQuery(question, top_k=10, mode="lexical"), scope).hits

    hits = search(entry.fields.question)
    near = brain.retriever.entries.in_force([hit.document_id for hit in hits if hit.kind == "entry"])
    others = OtherEntries((one.id, one.fields) for one in brain.entries.some(who, entry.kb_id, [x.id for x in near.values()]) if one.id != entry.id)
    return [
        *others.conflicts(entry.id, entry.fields),
        *with_documents(entry.fields, lambda _: [hit for hit in hits if hit.kind == "file"][:_LOOKED_AT]),
    ]


def _one_file(brain: Brain) -> tuple[str, bytes]:
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMedia(zh="请用 multipart/form-data 上传文件（字段 file）。", en="Send the file as multipart/form-data (field file).")
    longest = brain.settings.max_upload_mb << 20
    for name, stream in files(request.stream, request.mimetype_params.get("boundary", "")):
        data = bytearray()
        while len(data) <= longest and (piece := stream.read(_PIECE)):  # a stream of the wire gives what has come
            data += piece
        if len(data) > longest:
            raise PayloadTooLarge(
                zh=f"文件超过 {brain.settings.max_upload_mb} MB 的上限。", en=f"The file is over {brain.settings.max_upload_mb} MB.", param="file"
            )
        return name, bytes(data)
    raise InvalidRequest("no_file", zh="没有收到文件。请把文件放在字段 file 中。", en="No file came. Put the file into the field file.", param="file")


def _kb_of(brain: Brain, who: Caller, conversation_id: str, answer: StoredMessage) -> str:
    """The knowledge base of the answer's best source, else the conversation's only one, else the only one there is. Raises InvalidRequest."""
    cited = [one.document_id for one in answer.answer.citations] if answer.answer else []
    for document_id in cited:
        rows = brain.db.rows(select(documents.c.kb_id, documents.c.level).where(documents.c.id == document_id))
        if rows and brain.access.sees(who, rows[0].kb_id, rows[0].level) and brain.access.allows(who, "write", rows[0].kb_id):
            return str(rows[0].kb_id)
    bound = brain.chat.conversations.get(who, conversation_id).knowledge_bases or tuple(ref.id for ref in brain.access.resolve(who))
    if len(bound) == 1:
        return bound[0]
    raise InvalidRequest(
        "knowledge_base_needed",
        zh="无法判断条目应放入哪个知识库，请用 knowledge_base 指明。",
        en="It cannot be told into which knowledge base the entry goes: name it in knowledge_base.",
        param="knowledge_base",
    )


def shown(one: Entry, found: Sequence[Conflict] = ()) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "id": one.id,
        **one.fields.content(),
        "status": one.status,
        "in_force": bool(one.document_id),
        "author": one.author,
        "approver": one.approver,
        "version": one.version,
        "approved_version": one.approved_version,
        "document_id": one.document_id or None,
        "origin": dict(one.origin),
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "conflicts": [_conflict(x) for x in found],
    }


def _conflict(one: Conflict) -> dict[str, Any]:
    by_entry = one.kind == "entry"
    return {
        "kind": one.kind,
        "quote": one.quote,
        "entry_id": one.entry_id if by_entry else None,
        "question": one.question if by_entry else None,
        "document_id": None if by_entry else one.document_id,
        "document": None if by_entry else one.document,
        "start": None if by_entry else one.start,
        "end": None if by_entry else one.end,
    }


def regressions_shown(found: Sequence[Regression]) -> dict[str, Any]:
    """Regression questions as the API shows them."""
    rows = [
        {
            "id": one.id, "question": one.question, "entry_id": one.entry_id, "message_id": one.message_id or None, "passed": one.passed,
            "result": one.result, "created_at": one.created_at, "run_at": one.run_at,
        }
        for one in found
    ]  # fmt: skip
    return {"data": rows, "passed": sum(one.passed is True for one in found), "failed": sum(one.passed is False for one in found)}


def error_rows(errors: Sequence[dict[str, Any]], lang: Lang) -> list[dict[str, Any]]:
    """Errors of an import in the reader's language."""
    return [{"row": one["row"], "message": one[lang]} for one in errors]
