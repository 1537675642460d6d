"""What every graph store promises. One contract test class runs unchanged on each of them.

A graph belongs to a knowledge base. Names are compared by `linking.name_key`; an entity is a name and a type. A triple is there as long as one mention
says it, an entity as long as a triple or an alias needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from qzbrain.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qzbrain.graph.answered import Answered
    from qzbrain.graph.overview import Overview
    from qzbrain.graph.service import CuedRelation, Processed, RelationCount
    from qzbrain.graph.view import GraphView

NO_CEILINGS: Mapping[str, int] = MappingProxyType({})
EXTRACT_JOB = "graph-extract"
"""The kind of the jobs in which a language model reads documents (`extracting`)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a triple is said: `quote` stands literally at `start:end` of the document's text. For an import `source` alone."""

    extractor: str
    document_id: str = ""
    chunk_id: int = 0
    start: int = 0
    end: int = 0
    quote: str = ""
    source: str = ""
    confidence: float = 1.0


class Fact(NamedTuple):
    """A triple as it is brought in; `aliases` are other names of its head, `tail_aliases` of its tail. A tuple, which is made in a third of the time."""

    head: str
    relation: str
    tail: str
    place: Place
    head_type: str = ""
    tail_type: str = ""
    aliases: tuple[str, ...] = ()
    tail_aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity with its other names and the number of its triples."""

    id: int
    name: str
    type: str
    aliases: tuple[str, ...] = ()
    degree: int = 0


@dataclass(frozen=True, slots=True)
class Triple:
    """A triple with where it is said, best confidence first."""

    id: int
    head: Entity
    relation: str
    tail: Entity
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Cues:
    """Words set for a relation: `forward` ask for its tail (谁写了 for 作者), `backward` for its head (写了什么)."""

    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one knowledge base's graph; `version` grows with every change."""

    entities: int = 0
    relations: int = 0
    triples: int = 0
    mentions: int = 0
    version: int = 0


def relation_not_found(relation: str) -> NotFound:
    """For a label that a graph has not."""
    return NotFound("relation_not_found", zh=f"图谱中没有关系“{relation[:80]}”。", en=f'The graph has no relation "{relation[:80]}".')


class GraphStore(Protocol):
    """Graphs of many knowledge bases. Writers are serialised; readers see whole transactions."""

    def add(self, kb_id: str, facts: Iterable[Fact]) -> Stats:
        """Bring facts in, all of them in one transaction. The same fact again changes nothing. Gives what was new."""

    def forget_document(self, kb_id: str, document_id: str, *, extractor: str = "") -> None:
        """Forget what only this document says; with `extractor` what only this one found in it.

        Other names of an entity go with the last thing that the document says of it.
        """

    def forget_alias(self, kb_id: str, entity_id: int, alias: str) -> None:
        """Take another name off an entity, whoever gave it; one that it has not is no error."""

    def drop(self, kb_id: str) -> None:
        """Forget the whole graph of a knowledge base."""

    def version(self, kb_id: str) -> int:
        """Grows with every change; 0 for a graph that never had any."""

    def view(self, kb_id: str) -> GraphView:
        """All of it, for answering."""

    def stats(self, kb_id: str) -> Stats:
        """Counts."""

    def entity(self, kb_id: str, entity_id: int) -> Entity | None:
        """One entity."""

    def search(self, kb_id: str, text: str, *, limit: int) -> list[Entity]:
        """Entities whose name or alias is, begins with, or holds `text`, in this order, then by degree and id."""

    def triples(self, kb_id: str, triple_ids: Sequence[int]) -> list[Triple]:
        """These triples with their places, in the order asked; unknown ids are left out. Degrees of their ends are not counted: 0."""

    def every_triple(self, kb_id: str, *, ceiling: int | None = None) -> Iterator[Triple]:
        """All triples in the order of their ids, for an export; of one moment. `ceiling`: as for `view_below`."""

    def view_below(self, kb_id: str, ceiling: int) -> GraphView:
        """As `view`, without the documents above this level (place in LEVELS): see `ceilings`."""

    def triples_seen(self, kb_id: str, triple_ids: Sequence[int], ceiling: int) -> list[Triple]:
        """As `triples`, without places and aliases that come from documents above this level; triples of which no place is left are left out."""

    def mentions_seen(self, kb_id: str, ceiling: int) -> int:
        """Mentions in documents that are not above this level."""

    def set_cues(self, kb_id: str, relation: str, forward: Sequence[str], backward: Sequence[str]) -> None:
        """Set the words by which people ask for a relation, in the place of those that were set.

        A relation with such words stays when nothing says it any more. Raises NotFound, InvalidRequest (see `cues.cleaned`).
        """

    def cues(self, kb_id: str) -> Mapping[str, Cues]:
        """The words that are set, by relation; of those for which there are any."""

    def merge(self, kb_id: str, keep: int, merged: Sequence[int], *, author: str) -> str:
        """Make several entities one; the others' names become aliases. Gives the merge's id. Raises NotFound, InvalidRequest."""

    def undo_merge(self, kb_id: str, merge_id: str) -> None:
        """Undo a merge: the graph is as before it, plus what came since. Raises NotFound, Conflict."""

    def merged_into(self, kb_id: str, merge_id: str) -> int | None:
        """The entity that a merge kept; None for an unknown merge."""

    def levels_changed(self, connection: Connection, kb_id: str) -> None:
        """Levels of documents change in this transaction: who holds the graph as somebody may see it reads it anew."""


class GraphAnswers(Protocol):
    """What is asked of graphs, wherever they are read: in this process, or by a service, which may be away: then each method raises GraphUnavailable.

    `ceiling`, `ceilings`: the highest level (place in LEVELS) of documents that the asker may read, where a knowledge base holds something above it. The graph
    is then as if those documents were not there; it is always read in this process.
    """

    def process(
        self, text: str, kb_ids: Sequence[str], *, top_k: int = 10, hops: int = 2, mode: str = "auto", ceilings: Mapping[str, int] = NO_CEILINGS
    ) -> Processed:
        """What the graphs of these knowledge bases know about what a text names, best first. `hops`, `mode`: see `Answerer.ranked`."""

    def answer(
        self,
        text: str,
        kb_ids: Sequence[str],
        *,
        before: Sequence[str] = (),
        nearness: Mapping[str, float] | None = None,
        ceilings: Mapping[str, int] = NO_CEILINGS,
    ) -> Answered:
        """The answer of the graph that is surest of its own; an empty one where none has any.

        `before`: questions asked earlier, the last one last, for what the text leaves unsaid. `nearness`: of relations' names to the text in meaning.
        """

    def labels(self, kb_id: str) -> Sequence[str]:
        """Names of a graph's relations, those of most triples first; () where there is no graph."""

    def relations(self, kb_id: str, *, ceiling: int | None = None) -> list[CuedRelation]:
        """All relations with the number of their triples, most first, and the words set for them."""

    def relation(self, kb_id: str, relation: str, *, ceiling: int | None = None) -> CuedRelation:
        """One of them, by its label. Raises NotFound."""

    def neighbors(self, kb_id: str, entity_id: int, *, depth: int, relation: str | None, limit: int, ceiling: int | None = None) -> list[Triple]:
        """Triples around an entity, nearest first. Raises NotFound."""

    def path(self, kb_id: str, start: int, goal: int, *, max_hops: int, ceiling: int | None = None) -> list[Triple] | None:
        """The triples of a shortest way between two entities; None when there is none. Raises NotFound."""

    def entity(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> Entity:
        """One entity; for one without a type the typed one that it must be. Raises NotFound."""

    def relations_of(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> list[RelationCount]:
        """How many triples an entity has of each relation and direction, most first. Raises NotFound."""

    def search(self, kb_id: str, text: str, *, limit: int, ceiling: int | None = None) -> list[Entity]:
        """As `GraphStore.search`, each thing once."""

    def overview(self, kb_id: str, *, limit: int, ceiling: int | None = None) -> Overview:
        """Types and relations with their counts, most first, and the entities that most triples name."""
