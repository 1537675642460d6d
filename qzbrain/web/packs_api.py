"""Knowledge packs under /api: have one written and fetch it, send one in. The work is done by jobs; `GET /api/jobs` shows how far they are."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import InvalidRequest, UnsupportedMedia
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.web import replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import download, reply
from qzbrain.web.uploads import files
from qzbrain.web.validation import validated

_PACK = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
_UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _PACK}}}}
_BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("packs", __name__, url_prefix="/api", abp_tags=[Tag(name="knowledge")])

    @api.post("/knowledge-bases/<kb>/export", responses={"202": replies.JobStarted})
    @validated
    def export_knowledge_base(path: schemas.KnowledgeBasePath, body: schemas.ExportBody) -> Response:
        """Have it written into one portable file; when the job is done it can be fetched for a week."""
        choice = Choice(originals=body.originals, vectors=body.vectors)
        return reply({"job_id": brain.packs.submit_export(caller(brain.access), path.kb, choice)}, 202)

    @api.get("/knowledge-bases/<kb>/export/<job_id>", responses={"200": _BYTES, "409": replies.ErrorReply})
    @validated
    def get_export(path: schemas.ExportPath) -> Response:
        """The file that an export wrote. A broken-off download can be gone on with (Range)."""
        where, name = brain.packs.exported(caller(brain.access), path.kb, path.job_id)
        return download(where, name)

    @api.post("/knowledge-bases/import", responses={"202": replies.JobStarted, "409": replies.ErrorReply}, openapi_extensions=_UPLOAD)
    @validated
    def import_knowledge_base(query: schemas.ImportQuery) -> Response:
        """Take a pack in (multipart, field `file`). It appears when it is whole; sent again, an import goes on where it was."""
        who = caller(brain.access)
        if request.mimetype != "multipart/form-data":
            raise UnsupportedMedia(zh="请用 multipart/form-data 上传知识包（字段 file）。", en="Send the pack as multipart/form-data (field file).")
        request.max_content_length = 1 << 62  # a pack is as large as the knowledge base; the disk is the limit
        for name, stream in files(request.stream, request.mimetype_params.get("boundary", "")):
            path = brain.packs.receive(who, stream)
            job_id = brain.packs.submit_import(who, path, name=query.name, in_place=query.replace, file_name=name, received=True)
            return reply({"job_id": job_id}, 202)
        raise InvalidRequest("no_file", zh="没有收到知识包。请把文件放在字段 file 中。", en="No pack came. Put the file into the field file.", param="file")

    return api
