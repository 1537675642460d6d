"""The knowledge graph under /api/graph, and the graph service's own route `POST /chat-process-txt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import InvalidRequest, UnsupportedMedia
from qzbrain.graph.base import Entity, Place, Triple
from qzbrain.graph.importing import submit
from qzbrain.graph.merging import entity_not_found
from qzbrain.graph.service import CuedRelation, NamedEntity, ScoredTriple, entity_number
from qzbrain.graph.transfer import write
from qzbrain.knowledge.names import display_name
from qzbrain.web import graph_shapes as shapes
from qzbrain.web import replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import no_content, reply
from qzbrain.web.uploads import files
from qzbrain.web.validation import validated

_MIME = {"csv": "text/csv", "cypher-csv": "text/csv", "jsonl": "application/x-ndjson", "graphml": "application/xml"}
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


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("graph", __name__, abp_tags=[Tag(name="graph")])
    _transfer(api, brain)
    _looking(api, brain)
    _relations(api, brain)
    _cues(api, brain)
    _merging(api, brain)
    _service(api, brain)
    return api


def asking_routes(brain: Brain) -> APIBlueprint:
    """Those that only ask, of a graph service that runs alone."""
    api = APIBlueprint("graph", __name__, abp_tags=[Tag(name="graph")])
    _looking(api, brain)
    _relations(api, brain)
    _service(api, brain)
    return api


def readable(brain: Brain, kb: str) -> tuple[str, int | None]:
    """The id of a knowledge base that the caller may read, and up to which level: None where nothing in it is above his clearance."""
    who = caller(brain.access)
    kb_id = brain.access.resolve(who, [kb])[0].id
    return kb_id, brain.access.ceiling(who, kb_id)


def writable(brain: Brain, kb: str) -> tuple[str, int | None]:
    """The same, of one whose graph he may change."""
    kb_id, ceiling = readable(brain, kb)
    brain.access.require(caller(brain.access), "write", kb_id)
    return kb_id, ceiling


def require_seen(brain: Brain, kb_id: str, ceiling: int | None, *entity_ids: int) -> None:
    """Return when the caller may know of these entities. Raises NotFound."""
    if ceiling is not None:
        for one in entity_ids:
            brain.graph_service.entity(kb_id, one, ceiling=ceiling)


def _transfer(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/api/graph/<kb>/import", responses={"202": replies.JobStarted, "413": replies.ErrorReply}, openapi_extensions=_FILE)
    @validated
    def import_triples(path: schemas.KnowledgeBasePath, query: shapes.ImportQuery) -> Response:
        """Bring in triples from CSV, JSON or GraphML (multipart, field `file`); the job's result tells counts and bad rows. `dry_run=1` only looks."""
        who, (kb_id, _) = caller(brain.access), writable(brain, path.kb)
        if request.mimetype != "multipart/form-data":
            raise UnsupportedMedia(zh="请用 multipart/form-data 上传文件（字段 file）。", en="Send the file as multipart/form-data (field file).")
        for name, stream in files(request.stream, request.mimetype_params.get("boundary", "")):
            payload = {"name": display_name(name, default="triples.csv"), "lang": who.lang, "dry_run": query.dry_run in ("1", "true")}
            most = brain.settings.max_upload_mb << 20
            job_id = submit(brain.db, brain.jobs, brain.files, stream, kb_id=kb_id, payload=payload, limit_bytes=most)
            return reply({"job_id": job_id}, 202)
        raise InvalidRequest("no_file", zh="没有收到文件。请把文件放在字段 file 中。", en="No file came. Put the file into the field file.", param="file")

    @api.get("/api/graph/<kb>/export", responses={"200": {"content": {"text/csv": {"schema": {"type": "string"}}}}})
    @validated
    def export_triples(path: schemas.KnowledgeBasePath, query: shapes.ExportQuery) -> Response:
        """All triples as a file."""
        kb_id, ceiling = readable(brain, path.kb)
        ending = "csv" if query.format == "cypher-csv" else query.format

        def pieces() -> Iterator[bytes]:
            for piece in write(brain.graph.every_triple(kb_id, ceiling=ceiling), query.format):
                yield piece.encode("utf-8", "replace")

        response = Response(pieces(), mimetype=_MIME[query.format])
        response.headers["Content-Disposition"] = f'attachment; filename="graph.{ending}"'
        return response


def _looking(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/api/graph/<kb>/search", responses={"200": shapes.EntitiesReply})
    @validated
    def search_entities(path: schemas.KnowledgeBasePath, query: shapes.GraphSearchQuery) -> Response:
        """Entities whose name or alias is, begins with, or holds `q`."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph_service.search(kb_id, query.q, limit=query.limit, ceiling=ceiling)
        return reply({"data": [_entity(one) for one in found]})

    @api.get("/api/graph/<kb>/entities/<entity_id>", responses={"200": shapes.EntityDetailReply})
    @validated
    def get_entity(path: shapes.EntityPath) -> Response:
        """One entity, with the number of its triples by relation and direction."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph_service.entity(kb_id, entity_number(path.entity_id), ceiling=ceiling)
        counted = brain.graph_service.relations_of(kb_id, found.id, ceiling=ceiling)
        relations = [{"relation": one.relation, "direction": "out" if one.forward else "in", "triples": one.triples} for one in counted]
        return reply(_entity(found) | {"relations": relations})

    @api.get("/api/graph/<kb>/overview", responses={"200": shapes.OverviewReply})
    @validated
    def get_overview(path: schemas.KnowledgeBasePath, query: shapes.OverviewQuery) -> Response:
        """Types and relations with their counts, and the entities that most triples name."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph_service.overview(kb_id, limit=query.limit, ceiling=ceiling)
        return reply(
            {
                "types": [{"type": kind, "entities": count} for kind, count in found.types],
                "relations": [{"relation": name, "triples": count} for name, count in found.relations],
                "entities": [{"id": str(one.id), "name": one.name, "type": one.type, "aliases": [], "degree": one.degree} for one in found.hubs],
            }
        )

    @api.get("/api/graph/<kb>/neighbors", responses={"200": shapes.TriplesReply})
    @validated
    def get_neighbors(path: schemas.KnowledgeBasePath, query: shapes.NeighborsQuery) -> Response:
        """Triples around an entity, nearest first; hubs are shown and not walked through."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph_service.neighbors(
            kb_id, entity_number(query.id), depth=query.depth, relation=query.relation, limit=query.limit, ceiling=ceiling
        )
        return reply({"data": [triple(one) for one in found]})

    @api.get("/api/graph/<kb>/path", responses={"200": shapes.WayReply})
    @validated
    def get_path(path: schemas.KnowledgeBasePath, query: shapes.WayQuery) -> Response:
        """A shortest way between two entities (ids `from` and `to`)."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph_service.path(kb_id, entity_number(query.start), entity_number(query.goal), max_hops=query.max_hops, ceiling=ceiling)
        return reply({"found": found is not None, "data": [triple(one) for one in found or ()]})

    @api.get("/api/graph/<kb>/stats", responses={"200": shapes.StatsReply})
    @validated
    def get_stats(path: schemas.KnowledgeBasePath) -> Response:
        """How much the graph holds."""
        kb_id, ceiling = readable(brain, path.kb)
        found = brain.graph.stats(kb_id) if ceiling is None else brain.local_graph.stats(kb_id, ceiling=ceiling)
        return reply({name: getattr(found, name) for name in ("entities", "relations", "triples", "mentions", "version")})


def _relations(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/api/graph/<kb>/relations", responses={"200": shapes.CuedRelationsReply})
    @validated
    def list_relations(path: schemas.KnowledgeBasePath) -> Response:
        """All relations, most triples first, with the words that are set for asking them."""
        kb_id, ceiling = readable(brain, path.kb)
        return reply({"data": [_cued(one) for one in brain.graph_service.relations(kb_id, ceiling=ceiling)]})


def _cues(api: APIBlueprint, brain: Brain) -> None:
    @api.put("/api/graph/<kb>/relations/<path:relation>", responses={"200": shapes.CuedRelationReply})
    @validated
    def set_cues(path: shapes.RelationPath, body: shapes.CuesBody) -> Response:
        """Set the words by which people ask for a relation, beside those that are known for common ones."""
        kb_id, ceiling = writable(brain, path.kb)
        if ceiling is not None:
            brain.graph_service.relation(kb_id, path.relation, ceiling=ceiling)
        brain.graph.set_cues(kb_id, path.relation, body.forward_cues, body.backward_cues)
        return reply(_cued(brain.graph_service.relation(kb_id, path.relation, ceiling=ceiling)))


def _merging(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/api/graph/<kb>/merge", responses={"200": shapes.MergedReply})
    @validated
    def merge_entities(path: schemas.KnowledgeBasePath, body: shapes.MergeBody) -> Response:
        """Make several entities one; it can be undone."""
        who, (kb_id, ceiling) = caller(brain.access), writable(brain, path.kb)
        keep, merged = entity_number(body.keep), [entity_number(one) for one in body.merge]
        require_seen(brain, kb_id, ceiling, keep, *merged)
        merge_id = brain.graph.merge(kb_id, keep, merged, author=who.name)
        return reply({"merge_id": merge_id, "entity": _entity(_there(brain, kb_id, keep, ceiling))})

    @api.post("/api/graph/<kb>/merge/<merge_id>/undo", responses={"204": None, "409": replies.ErrorReply})
    @validated
    def undo_merge(path: shapes.MergePath) -> Response:
        """Undo a merge: the graph is as before it, plus what came since."""
        kb_id, ceiling = writable(brain, path.kb)
        if ceiling is not None:
            kept = brain.graph.merged_into(kb_id, path.merge_id)
            require_seen(brain, kb_id, ceiling, *([] if kept is None else [kept]))
        brain.graph.undo_merge(kb_id, path.merge_id)
        brain.suggestions.undone(kb_id, path.merge_id)
        return no_content()


def _service(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/chat-process-txt", responses={"200": shapes.ProcessedReply})
    @validated
    def process_text(body: shapes.ProcessBody) -> Response:
        """The graph service: which entities a text names, and the triples that speak to it, best first."""
        who = caller(brain.access)
        scope = brain.access.scope(who, [ref.id for ref in brain.access.resolve(who, body.kb_ids)])
        found = brain.graph_service.process(
            body.asked, scope.kb_ids, top_k=body.top_k, hops=body.hops, mode=body.mode or "auto", ceilings=dict(scope.max_levels)
        )
        return reply(
            {
                "code": 0,
                "entities": [_named(one) for one in found.entities],
                "triples": [_scored(one) for one in found.triples],
                "context": found.context,
                "took_ms": round(found.took_ms, 3),
                "version": found.version,
            }
        )


def _there(brain: Brain, kb_id: str, entity_id: int, ceiling: int | None) -> Entity:
    if ceiling is not None:
        return brain.graph_service.entity(kb_id, entity_id, ceiling=ceiling)
    found = brain.graph.entity(kb_id, entity_id)
    if found is None:
        raise entity_not_found(entity_id)
    return found


def _entity(one: Entity) -> dict[str, Any]:
    return {"id": str(one.id), "name": one.name, "type": one.type, "aliases": list(one.aliases), "degree": one.degree}


def _source(one: Place) -> dict[str, Any]:
    placed = bool(one.document_id)
    return {
        "document_id": one.document_id or None,
        "start": one.start if placed else None,
        "end": one.end if placed else None,
        "quote": one.quote,
        "source": one.source,
        "extractor": one.extractor,
        "confidence": one.confidence,
    }


def triple(one: Triple) -> dict[str, Any]:
    """As the routes of the graph show it."""
    return {"id": str(one.id), "head": _entity(one.head), "relation": one.relation, "tail": _entity(one.tail), "sources": [_source(x) for x in one.places]}


def _cued(one: CuedRelation) -> dict[str, Any]:
    return {"relation": one.relation, "triples": one.triples, "forward_cues": list(one.cues.forward), "backward_cues": list(one.cues.backward)}


def _named(one: NamedEntity) -> dict[str, Any]:
    return {"id": str(one.entity.id), "name": one.entity.name, "type": one.entity.type, "mention": one.mention, "start": one.start, "end": one.end}


def _scored(one: ScoredTriple) -> dict[str, Any]:
    place = next((x for x in one.triple.places if x.document_id), None)
    source = {"document_id": place.document_id, "quote": place.quote} if place else None
    return {"head": one.triple.head.name, "relation": one.triple.relation, "tail": one.triple.tail.name, "score": one.score, "source": source}
