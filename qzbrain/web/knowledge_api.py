"""Knowledge bases, documents and search under /api."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain import metrics
from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument
from qzbrain.errors import InvalidRequest, UnsupportedMedia
from qzbrain.knowledge.names import checked_level
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import download, no_content, reply
from qzbrain.web.uploads import files
from qzbrain.web.validation import read_json, validated

_LEVEL = {"type": "string", "description": "Level of the files; by default the knowledge base's. Not above your clearance."}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Repeatable."}, "level": _LEVEL},
                }
            },
            "application/json": {"schema": schemas.TextDocument.model_json_schema()},
        },
    }
}


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("knowledge", __name__, url_prefix="/api", abp_tags=[Tag(name="knowledge")])
    _knowledge_bases(api, brain)
    _uploads(api, brain)
    _documents(api, brain)
    _folders(api, brain)
    _search(api, brain)
    return api


def _knowledge_bases(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/knowledge-bases", responses={"201": replies.KnowledgeBaseReply, "409": replies.ErrorReply})
    @validated
    def create_knowledge_base(body: schemas.KnowledgeBaseCreate) -> Response:
        """Make a knowledge base."""
        who = caller(brain.access)
        made = brain.knowledge.create(who, **{**body.model_dump(), "level": level_of(body.level)})
        return reply(render.knowledge_base(made, who.lang), 201)

    @api.get("/knowledge-bases", responses={"200": replies.page_of(replies.KnowledgeBaseReply)})
    @validated
    def list_knowledge_bases(query: schemas.ListQuery) -> Response:
        """Knowledge bases, by name."""
        who = caller(brain.access)
        found = brain.knowledge.knowledge_bases(who, query.limit, query.after)
        return reply(render.page(found, lambda one: render.knowledge_base(one, who.lang)))

    @api.get("/knowledge-bases/<kb>", responses={"200": replies.KnowledgeBaseReply})
    @validated
    def get_knowledge_base(path: schemas.KnowledgeBasePath) -> Response:
        """One knowledge base with its counts."""
        who = caller(brain.access)
        return reply(render.knowledge_base(brain.knowledge.knowledge_base(who, path.kb), who.lang))

    @api.patch("/knowledge-bases/<kb>", responses={"200": replies.KnowledgeBaseChanged, "409": replies.ErrorReply})
    @validated
    def update_knowledge_base(path: schemas.KnowledgeBasePath, body: schemas.KnowledgeBaseUpdate) -> Response:
        """Change name, title, description, what happens without evidence, or the size of chunks: then its documents are cut anew, as `job_id`."""
        changes = body.model_dump(exclude_none=True)
        sizes = {name: changes.pop(name) for name in ("chunk_chars", "overlap_chars") if name in changes}
        who = caller(brain.access)
        job_id = brain.knowledge.rechunk(who, path.kb, **sizes) if sizes else None
        return reply({**render.knowledge_base(brain.knowledge.update(who, path.kb, **changes), who.lang), "job_id": job_id})

    @api.post("/knowledge-bases/<kb>/reembed", responses={"202": replies.JobStarted, "409": replies.ErrorReply})
    @validated
    def reembed(path: schemas.KnowledgeBasePath, body: schemas.ReembedBody) -> Response:
        """Make its vectors anew beside those in use; they take their place when they find no less, or with `force`."""
        job_id = brain.knowledge.reembed(caller(brain.access), path.kb, embedder=body.embedder, force=body.force)
        return reply({"job_id": job_id}, 202)

    @api.post("/knowledge-bases/<kb>/rollback", responses={"200": replies.KnowledgeBaseReply, "409": replies.ErrorReply})
    @validated
    def roll_back(path: schemas.KnowledgeBasePath) -> Response:
        """Go back to the vectors before the last embedding anew."""
        who = caller(brain.access)
        return reply(render.knowledge_base(brain.knowledge.roll_back(who, path.kb), who.lang))

    @api.delete("/knowledge-bases/<kb>", responses={"204": None})
    @validated
    def delete_knowledge_base(path: schemas.KnowledgeBasePath) -> Response:
        """Delete a knowledge base with everything in it."""
        brain.knowledge.delete(caller(brain.access), path.kb)
        return no_content()


def _uploads(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/knowledge-bases/<kb>/documents", responses={"202": replies.AddedList, "413": replies.ErrorReply}, openapi_extensions=_UPLOAD)
    @validated
    def add_documents(path: schemas.KnowledgeBasePath) -> Response:
        """Add files (multipart, field `file`, repeatable; `level` for all of them) or one text (JSON). The reply is sent when they are durable."""
        kind = request.mimetype
        brain.storage_shares.require(caller(brain.access), request.content_length or 0)
        if kind == "multipart/form-data":
            fields: dict[str, str] = {}
            added = brain.knowledge.add_files(caller(brain.access), path.kb, _files(fields), level=lambda: level_of(fields.get("level")))
        elif kind == "application/json":
            added = [_add_text(brain, path.kb)]
        else:
            raise UnsupportedMedia(
                zh="请用 multipart/form-data 上传文件（字段 file），或用 application/json 提交一段文本。",
                en="Send files as multipart/form-data (field file), or one text as application/json.",
            )
        brain.storage_shares.take(caller(brain.access), added)
        for one in added:
            metrics.UPLOADS.labels(str(one.duplicate).lower()).inc()
        return reply({"data": [render.added(one) for one in added]}, 202)


def level_of(name: str | None) -> int | None:
    """Place in LEVELS of a level that may be left out. Raises InvalidRequest."""
    return None if name is None else checked_level(name)


def _files(fields: dict[str, str]) -> Iterator[tuple[str, BinaryIO]]:
    """The files of the request; `fields` takes what else it says. Raises InvalidRequest when there is none."""
    found = False
    for found_name, stream in files(request.stream, request.mimetype_params.get("boundary", ""), fields=fields):
        found = True
        yield found_name, stream
    if not found:
        raise InvalidRequest("no_file", zh="没有收到文件。请把文件放在字段 file 中。", en="No file came. Put files into the field file.", param="file")


def _add_text(brain: Brain, kb: str) -> AddedDocument:
    body = read_json(schemas.TextDocument, limit_bytes=brain.settings.max_upload_mb << 20)
    level = level_of(body.level)
    return brain.knowledge.add_text(caller(brain.access), kb, body.name, body.text, title=body.title, external_id=body.external_id, level=level)


def _documents(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/knowledge-bases/<kb>/documents", responses={"200": replies.page_of(replies.DocumentReply)})
    @validated
    def list_documents(path: schemas.KnowledgeBasePath, query: schemas.StatusQuery) -> Response:
        """Documents of a knowledge base, in the order of their making."""
        who = caller(brain.access)
        found = brain.knowledge.documents(who, path.kb, query.status, query.limit, query.after)
        return reply(render.page(found, lambda one: render.document(one, who.lang)))

    @api.post("/knowledge-bases/<kb>/documents/retry", responses={"202": replies.RetriedReply})
    @validated
    def retry_documents(path: schemas.KnowledgeBasePath, body: schemas.RetryBody) -> Response:
        """Read all failed documents again, or those that failed with a code."""
        return reply({"retried": brain.knowledge.retry_documents(caller(brain.access), path.kb, body.code)}, 202)

    @api.get("/documents/<document_id>", responses={"200": replies.DocumentReply})
    @validated
    def get_document(path: schemas.DocumentPath) -> Response:
        """One document."""
        who = caller(brain.access)
        return reply(render.document(brain.knowledge.document(who, path.document_id), who.lang))

    @api.patch("/documents/<document_id>", responses={"200": replies.DocumentReply, "403": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def update_document(path: schemas.DocumentPath, body: schemas.DocumentUpdate) -> Response:
        """Give a document another level; to lower it takes the right to manage. It holds at once."""
        who = caller(brain.access)
        return reply(render.document(brain.knowledge.change_level(who, path.document_id, checked_level(body.level)), who.lang))

    @api.delete("/documents/<document_id>", responses={"204": None})
    @validated
    def delete_document(path: schemas.DocumentPath) -> Response:
        """Delete a document with all its traces."""
        brain.knowledge.delete_document(caller(brain.access), path.document_id)
        return no_content()

    @api.get("/documents/<document_id>/content", responses={"200": replies.ContentReply})
    @validated
    def get_content(path: schemas.DocumentPath) -> Response:
        """The stored text; offsets of chunks and citations count its characters (code points)."""
        return reply({"text": brain.knowledge.content(caller(brain.access), path.document_id)})

    @api.get("/documents/<document_id>/chunks", responses={"200": replies.page_of(replies.ChunkReply)})
    @validated
    def list_chunks(path: schemas.DocumentPath, query: schemas.ListQuery) -> Response:
        """A document's chunks, in order."""
        return reply(render.page(brain.knowledge.chunks(caller(brain.access), path.document_id, query.limit, query.after), render.chunk))

    @api.get("/documents/<document_id>/file", responses={"200": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
    @validated
    def get_file(path: schemas.DocumentPath) -> Response:
        """The original bytes, as a download."""
        where, name, _mime = brain.knowledge.file(caller(brain.access), path.document_id)
        return download(where, name)


def _folders(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/knowledge-bases/<kb>/folders", responses={"201": replies.FolderReply, "403": replies.ErrorReply})
    @validated
    def watch_folder(path: schemas.KnowledgeBasePath, body: schemas.WatchBody) -> Response:
        """Watch a folder of the server: what is added, changed or removed there is so here."""
        who = caller(brain.access)
        return reply(render.folder(brain.folders.watch(who, path.kb, **{**body.model_dump(), "level": level_of(body.level)}), who.lang), 201)

    @api.get("/knowledge-bases/<kb>/folders", responses={"200": replies.FolderList})
    @validated
    def list_folders(path: schemas.KnowledgeBasePath) -> Response:
        """Watched folders with the result of their last scan."""
        who = caller(brain.access)
        return reply({"data": [render.folder(one, who.lang) for one in brain.folders.watched(who, path.kb)]})

    @api.delete("/knowledge-bases/<kb>/folders/<folder_id>", responses={"204": None})
    @validated
    def unwatch_folder(path: schemas.FolderPath) -> Response:
        """No longer watch a folder; its documents stay."""
        brain.folders.unwatch(caller(brain.access), path.kb, path.folder_id)
        return no_content()


def _search(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/search", responses={"200": replies.SearchReply})
    @validated
    def search(body: schemas.SearchBody) -> Response:
        """Passages for a query, best first."""
        who = caller(brain.access)
        kb_ids: list[str] | None = None
        if body.knowledge_bases is not None:
            kb_ids = [ref.id for ref in brain.access.resolve(who, body.knowledge_bases)]
        query = SearchQuery(text=body.query, top_k=body.top_k, mode=body.mode, min_confidence=body.min_confidence)
        found = brain.retriever.search(query, brain.access.scope(who, kb_ids, body.document_ids))
        return reply(render.search_result(found))
