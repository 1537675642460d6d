"""Chunks as people edit them, under /api: corrected, switched off, their history, undone."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("chunks", __name__, url_prefix="/api/documents/<document_id>", abp_tags=[Tag(name="chunks")])

    @api.patch("/chunks/<chunk_id>", responses={"200": replies.ChunkReply, "409": replies.ErrorReply})
    @validated
    def edit_chunk(path: schemas.ChunkPath, body: schemas.ChunkUpdate) -> Response:
        """Correct the document's text at a chunk's place, or switch a chunk off or on. The reply is the chunk as it is then, with its new id."""
        who = caller(brain.access)
        return reply(render.chunk(brain.knowledge.edit_chunk(who, path.document_id, path.chunk_id, **body.model_dump())))

    @api.get("/chunks/<chunk_id>/history", responses={"200": replies.EditList})
    @validated
    def chunk_history(path: schemas.ChunkPath) -> Response:
        """The edits that made what stands in a chunk now, the newest first."""
        found = brain.knowledge.chunk_history(caller(brain.access), path.document_id, path.chunk_id)
        return reply({"data": [render.chunk_edit(one) for one in found]})

    @api.post("/chunk-preview", responses={"200": replies.ChunkPreviewReply, "409": replies.ErrorReply, "422": replies.ErrorReply})
    @validated
    def preview_chunks(path: schemas.DocumentPath, body: schemas.ChunkPreviewBody) -> Response:
        """How the document would be cut with other sizes, beside how it is cut now. Nothing is stored."""
        found = brain.previews.preview(caller(brain.access), path.document_id, chunk_chars=body.chunk_chars, overlap_chars=body.overlap_chars)
        return reply(render.chunk_preview(found))

    @api.get("/edits", responses={"200": replies.EditList})
    @validated
    def list_edits(path: schemas.DocumentPath) -> Response:
        """All edits of a document, the newest first."""
        return reply({"data": [render.chunk_edit(one) for one in brain.knowledge.document_edits(caller(brain.access), path.document_id)]})

    @api.post("/edits/<number>/undo", responses={"200": replies.EditReply, "409": replies.ErrorReply})
    @validated
    def undo_edit(path: schemas.EditPath) -> Response:
        """Take one edit back, as an edit of its own, which is the reply. Refused where what it made no longer stands."""
        return reply(render.chunk_edit(brain.knowledge.undo_edit(caller(brain.access), path.document_id, path.number)))

    return api
