"""What a graph service may reply, checked field by field, as the graph's own values. What is missing or of another kind is a GraphFault, never a guess.

`POST /chat-process-txt` is also spoken by services of others: there only `triples` is demanded, and of a triple its three names.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from qzbrain.graph.answered import Answered, AnswerStep
from qzbrain.graph.base import Cues, Entity, Place, Triple
from qzbrain.graph.breaker import GraphFault
from qzbrain.graph.service import CuedRelation

_Name = Annotated[str, Field(max_length=100_000)]
_Number = Annotated[str, Field(pattern=r"^\d{1,18}$")]
_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_Score = Annotated[float, Field(allow_inf_nan=False)]
_STRICT = ConfigDict(strict=True, extra="ignore", frozen=True)
_Shape = TypeVar("_Shape")


class SourceShape(BaseModel):
    """Where a triple is said."""

    model_config = _STRICT

    document_id: _Name | None = None
    start: _Count | None = None
    end: _Count | None = None
    quote: _Name = ""
    source: _Name = ""
    extractor: _Name = ""
    confidence: _Score = 1.0

    def place(self) -> Place:
        """As the graph has it; without the chunk, which is nobody's business outside."""
        return Place(self.extractor, self.document_id or "", 0, self.start or 0, self.end or 0, self.quote, self.source, self.confidence)


class EntityShape(BaseModel):
    """An entity of one of our own services."""

    model_config = _STRICT

    id: _Number
    name: _Name
    type: _Name
    aliases: list[_Name] = []
    degree: _Count = 0

    def entity(self) -> Entity:
        """As the graph has it."""
        return Entity(int(self.id), self.name, self.type, tuple(self.aliases), self.degree)


class TripleShape(BaseModel):
    """A triple of one of our own services."""

    model_config = _STRICT

    id: _Number
    head: EntityShape
    relation: _Name
    tail: EntityShape
    sources: list[SourceShape] = []

    def triple(self) -> Triple:
        """As the graph has it."""
        return Triple(int(self.id), self.head.entity(), self.relation, self.tail.entity(), tuple(one.place() for one in self.sources))


class EntitiesShape(BaseModel):
    """`search`."""

    model_config = _STRICT
    data: list[EntityShape]


class TriplesShape(BaseModel):
    """`neighbors`."""

    model_config = _STRICT
    data: list[TripleShape]


class WayShape(BaseModel):
    """`path`."""

    model_config = _STRICT
    found: bool
    data: list[TripleShape]


class RelationShape(BaseModel):
    """A relation of an entity; of an overview without `direction`."""

    model_config = _STRICT
    relation: _Name
    triples: _Count
    direction: str = Field("out", pattern="^(out|in)$")


class DetailShape(EntityShape):
    """`entities/{id}`."""

    relations: list[RelationShape]


class TypeShape(BaseModel):
    """A type of an overview."""

    model_config = _STRICT
    type: _Name
    entities: _Count


class OverviewShape(BaseModel):
    """`overview`."""

    model_config = _STRICT
    types: list[TypeShape]
    relations: list[RelationShape]
    entities: list[EntityShape]


class StatsShape(BaseModel):
    """`stats`."""

    model_config = _STRICT
    version: _Count


class NearShape(BaseModel):
    """A passage and how near it is."""

    model_config = _STRICT
    chunk_id: Annotated[int, Field(gt=0, lt=1 << 62)]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class PassagesShape(BaseModel):
    """`passages`."""

    model_config = _STRICT
    data: Annotated[list[NearShape], Field(max_length=1000)]


class StepShape(BaseModel):
    """A triple of an answer."""

    model_config = _STRICT
    triple: TripleShape
    forward: bool


class AnsweredShape(BaseModel):
    """`answer`."""

    model_config = _STRICT
    kb_id: _Name
    kind: _Name
    relation: _Name
    values: list[_Name]
    steps: Annotated[list[StepShape], Field(max_length=1000)]
    left_out: _Count
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    truth: bool | None

    def answered(self) -> Answered:
        """As the graph has it."""
        steps = tuple(AnswerStep(one.triple.triple(), one.forward) for one in self.steps)
        return Answered(self.kb_id, self.kind, self.relation, tuple(self.values), steps, self.left_out, self.confidence, self.truth)


class CuedRelationShape(BaseModel):
    """A relation of `relations`."""

    model_config = _STRICT
    relation: _Name
    triples: _Count
    forward_cues: list[_Name] = []
    backward_cues: list[_Name] = []

    def cued(self) -> CuedRelation:
        """As the graph has it."""
        return CuedRelation(self.relation, self.triples, Cues(tuple(self.forward_cues), tuple(self.backward_cues)))


class CuedRelationsShape(BaseModel):
    """`relations`."""

    model_config = _STRICT
    data: list[CuedRelationShape]


class NamedShape(BaseModel):
    """An entity that a text names. `id` is whatever the service calls it by."""

    model_config = _STRICT
    name: _Name
    id: str | int | None = None
    type: _Name | None = None
    mention: _Name | None = None
    start: _Count | None = None
    end: _Count | None = None


class ScoredShape(BaseModel):
    """A triple that speaks to a text."""

    model_config = _STRICT
    head: _Name
    relation: _Name
    tail: _Name
    score: _Score = 0.0
    source: SourceShape | str | None = None


class ProcessedShape(BaseModel):
    """`POST /chat-process-txt`; 0 and 200 are the codes of success."""

    model_config = _STRICT
    triples: Annotated[list[ScoredShape], Field(max_length=10_000)]
    code: int = 0
    entities: Annotated[list[NamedShape], Field(max_length=10_000)] = []
    context: _Name | None = None
    version: _Count | None = None


def read(shape: type[_Shape], body: bytes) -> _Shape:
    """A reply's body. Raises GraphFault."""
    try:
        return TypeAdapter(shape).validate_json(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(one) for one in first["loc"]) or "JSON"
        told = f"{where}: {first['msg']}"[:200]
        raise GraphFault(f"回复不符合约定（{told}）", f"its reply is not what was agreed ({told})") from exc


def error_code(body: bytes) -> tuple[str, str]:
    """Code and message of an error in our own shape; ('', '') for any other."""
    try:
        found: Any = TypeAdapter(dict[str, Any]).validate_json(body).get("error")
    except ValidationError:
        return "", ""
    if not isinstance(found, dict) or not isinstance(found.get("code"), str):
        return "", ""
    return found["code"], str(found.get("message") or "")[:300]
