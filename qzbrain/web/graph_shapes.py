"""Shapes of the graph's requests and replies. The rest is in `schemas.py` and `replies.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qzbrain.web.schemas import KnowledgeBasePath, Names, Strict

Text = Annotated[str, Field(max_length=20_000)]


class ProcessBody(BaseModel):
    """A text for the graph service, under one of four names; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: Text | None = None
    query: Text | None = None
    question: Text | None = None
    prompt: Text | None = None
    kb_ids: Names | None = Field(None, description="Ids or names; all that the caller may read by default.")
    top_k: int = Field(10, ge=1, le=100)
    hops: int = Field(2, ge=1, le=3, description="How many relations a question may go over; 1: triples of the named entities alone.")
    mode: str | None = Field(
        None,
        max_length=32,
        description="`auto`: the answer first; `answer`: only what answers the question; `around`: what the named entities have, whatever is asked. Others, "
        "as clients of other graph services send, count as `auto`.",
    )

    @model_validator(mode="after")
    def _asked(self) -> ProcessBody:
        if not self.asked.strip():
            raise ValueError("text, query, question or prompt is needed")
        return self

    @property
    def asked(self) -> str:
        """The text, whatever it was called."""
        return self.text or self.query or self.question or self.prompt or ""


class ImportQuery(Strict):
    """Whether an import only looks."""

    dry_run: Literal["0", "1", "true", "false"] = "0"


class ExportQuery(Strict):
    """In which form a graph is written."""

    format: Literal["csv", "jsonl", "graphml", "cypher-csv"] = "csv"


class GraphSearchQuery(Strict):
    """A name to look for."""

    q: str = Field(min_length=1, max_length=200)
    limit: int = Field(20, ge=1, le=200)


class OverviewQuery(Strict):
    """How many entities an overview names."""

    limit: int = Field(20, ge=1, le=200)


class EntityPath(KnowledgeBasePath):
    """`{kb}` and `{entity_id}`."""

    entity_id: str


class MergePath(KnowledgeBasePath):
    """`{kb}` and `{merge_id}`."""

    merge_id: str


class NeighborsQuery(Strict):
    """What lies around an entity."""

    id: str = Field(description="The entity's id.")
    depth: int = Field(1, ge=1, le=3)
    relation: str | None = Field(None, max_length=255)
    limit: int = Field(100, ge=1, le=2000)


class WayQuery(Strict):
    """From one entity to another; `from` and `to` are ids."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str = Field(alias="from")
    goal: str = Field(alias="to")
    max_hops: int = Field(4, ge=1, le=6)


class MergeBody(Strict):
    """Entities that are one: the others' names become aliases of the kept one."""

    keep: str
    merge: list[str] = Field(min_length=1, max_length=50)


Cue = Annotated[str, Field(max_length=200)]


class RelationPath(KnowledgeBasePath):
    """`{kb}` and `{relation}`, its label."""

    relation: str = Field(max_length=255)


class CuesBody(Strict):
    """Words by which people ask for a relation; they take the place of those that were set."""

    forward_cues: list[Cue] = Field(default_factory=list, max_length=200, description="They ask for the tail: 谁写了, who wrote.")
    backward_cues: list[Cue] = Field(default_factory=list, max_length=200, description="They ask for the head: 写了什么, what did … write.")


class CuedRelationReply(BaseModel):
    """A relation with the words set for it."""

    relation: str
    triples: int
    forward_cues: list[str]
    backward_cues: list[str]


class CuedRelationsReply(BaseModel):
    """All relations of a graph, most triples first."""

    data: list[CuedRelationReply]


class EntityReply(BaseModel):
    """An entity."""

    id: str
    name: str
    type: str
    aliases: list[str]
    degree: int


class EntityRelation(BaseModel):
    """How many triples an entity has of a relation; `out`: as their head."""

    relation: str
    direction: Literal["out", "in"]
    triples: int


class EntityDetailReply(EntityReply):
    """An entity with its relations, most triples first."""

    relations: list[EntityRelation]


class TypeCount(BaseModel):
    """A type; `""` are entities without one."""

    type: str
    entities: int


class RelationTriples(BaseModel):
    """A relation."""

    relation: str
    triples: int


class OverviewReply(BaseModel):
    """What a graph is about, each list most first."""

    types: list[TypeCount]
    relations: list[RelationTriples]
    entities: list[EntityReply]


class SourceReply(BaseModel):
    """Where a triple is said."""

    document_id: str | None
    start: int | None
    end: int | None
    quote: str
    source: str
    extractor: str
    confidence: float


class TripleReply(BaseModel):
    """A triple with where it is said."""

    id: str
    head: EntityReply
    relation: str
    tail: EntityReply
    sources: list[SourceReply]


class TriplesReply(BaseModel):
    """Triples."""

    data: list[TripleReply]


class WayReply(BaseModel):
    """A way through the graph; `found` false: there is none within so many hops."""

    found: bool
    data: list[TripleReply]


class EntitiesReply(BaseModel):
    """Entities, best first."""

    data: list[EntityReply]


class StatsReply(BaseModel):
    """Counts of a graph."""

    entities: int
    relations: int
    triples: int
    mentions: int
    version: int


class MergedReply(BaseModel):
    """A merge, and the entity that is left."""

    merge_id: str
    entity: EntityReply


class ProcessedReply(BaseModel):
    """What the graph service answers."""

    code: int
    entities: list[dict[str, Any]]
    triples: list[dict[str, Any]]
    context: str
    took_ms: float
    version: int
