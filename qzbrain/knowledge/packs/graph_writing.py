"""The graph of a knowledge base as rows of a pack, all from one moment of the database.

What only documents say that are left out is left out with them. Held in memory are the ids of the rows, eight bytes each; rows go by in pages.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, exists, func, or_, select

from qzbrain.graph.extraction_rows import read_document
from qzbrain.graph.filling import fetched, parts
from qzbrain.graph.linking import key_of
from qzbrain.knowledge.packs.graph_format import GRAPH_SECTIONS, KINDS
from qzbrain.knowledge.packs.paging import PAGE, paged
from qzbrain.storage.tables import (
    documents,
    graph_aliases,
    graph_entities,
    graph_extracted,
    graph_mentions,
    graph_merges,
    graph_relations,
    graph_suggestions,
    graph_triples,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

Page = list[dict[str, Any]]
_SAID = ("document_id", "start", "end", "quote", "source", "extractor", "confidence")
_mention = select(graph_mentions.c.id, graph_mentions.c.triple_id, graph_mentions.c.chunk_id, *(graph_mentions.c[name] for name in _SAID))


class GraphRows:
    """Rows of one graph. `counts`: how many of each section."""

    def __init__(
        self, connection: Connection, kb_id: str, finished: ColumnElement[bool], chunk_ids: Callable[[], Ids], seen: Callable[[int, int], None]
    ) -> None:
        """`finished`: which documents go into the pack; `chunk_ids`: of its chunks, in order. `seen`: told how many of how many triples were looked at."""
        self._connection, self._kb_id, self._finished = connection, kb_id, finished
        self._chunk_ids = chunk_ids
        self._known: Ids | None = None
        self._gather(seen)
        counted = {
            **{f"graph_{kind}": len(self._live[kind]) for kind in KINDS},
            "graph_aliases": self._count(self._named().with_only_columns(graph_aliases.c.entity_id)),
            "graph_merges": self._count(select(graph_merges.c.id).where(graph_merges.c.kb_id == kb_id)),
            "graph_suggestions": self._count(select(graph_suggestions.c.id).where(graph_suggestions.c.kb_id == kb_id)),
            "graph_extracted": self._count(self._of_documents(graph_extracted.c.document_id)),
            "graph_stated": self._count(self._stated()),
        }
        self.counts = {name: counted[name] for name in GRAPH_SECTIONS}

    def pages(self, section: str) -> Iterator[Page]:
        """The rows of a section of the graph."""
        made: dict[str, Callable[[], Iterator[Page]]] = {
            "graph_relations": self._relations,
            "graph_entities": self._entities,
            "graph_aliases": self._aliases,
            "graph_triples": self._triples,
            "graph_mentions": self._mentions,
            "graph_merges": self._merges,
            "graph_suggestions": self._suggestions,
            "graph_extracted": self._extracted,
            "graph_stated": self._rules,
        }
        return made[section]()

    # -- which rows there are, and their numbers

    def _gather(self, seen: Callable[[int, int], None]) -> None:
        """The ids of what goes into the pack, and beside them of what is gone and is still named."""
        import numpy as np

        found = {name: array("q") for name in ("triples", "heads", "relations", "tails", "mentions", "named")}
        relations = set[int]()
        with_words = select(graph_relations.c.id, graph_relations.c.cues).where(graph_relations.c.kb_id == self._kb_id)
        for kinds in paged(self._connection, with_words, (graph_relations.c.id,)):
            relations.update(row.id for row in kinds)
            found["relations"].extend(row.id for row in kinds if row.cues)
        mine = select(graph_triples).where(graph_triples.c.kb_id == self._kb_id)
        done, total = 0, self._count(mine)
        for some_triples in paged(self._connection, mine, (graph_triples.c.id,)):
            done += len(some_triples)
            seen(done, max(done, total))
            page = self._whole(some_triples, relations)
            said = select(graph_mentions.c.triple_id, graph_mentions.c.id).where(graph_mentions.c.triple_id.in_([row.id for row in page]))
            some = fetched(self._connection, said.where(self._kept(graph_mentions.c.document_id)))
            found["mentions"].extend(mention for _, mention in some)
            there = {triple for triple, _ in some}
            for row in page:
                if row.id in there:
                    for name, value in (("triples", row.id), ("heads", row.head_id), ("relations", row.relation_id), ("tails", row.tail_id)):
                        found[name].append(value)
        for alias in self._paged_aliases():
            found["named"].extend(row.entity_id for row in alias)
        ids = {name: np.unique(np.frombuffer(some, np.int64)) if some else np.empty(0, np.int64) for name, some in found.items()}
        entities = np.unique(np.concatenate([ids["heads"], ids["tails"], ids["named"]]))
        self._live = {"entities": entities, "relations": ids["relations"], "triples": ids["triples"], "mentions": ids["mentions"]}
        gone = self._still_named()
        self._every = {kind: np.unique(np.concatenate([self._live[kind], np.frombuffer(gone[kind], np.int64)])) for kind in KINDS}

    def _whole(self, rows: Sequence[Row[Any]], relations: Collection[int]) -> list[Row[Any]]:
        """Those whose ends are there: undoing merges in any order could leave others, which nobody sees."""
        ends = {end for row in rows for end in (row.head_id, row.tail_id)}
        there = {one for (one,) in fetched(self._connection, select(graph_entities.c.id).where(graph_entities.c.id.in_(ends)))}
        return [row for row in rows if row.head_id in there and row.tail_id in there and row.relation_id in relations]

    def _still_named(self) -> dict[str, Any]:
        """Ids that merges and suggestions name, there or gone."""
        ids = {kind: array("q") for kind in KINDS}
        for row, content in self._merge_rows():
            ids["entities"].append(row.keep_id)
            ids["entities"].extend(one["id"] for one in content["entities"])
            ids["entities"].extend(one["entity_id"] for one in content["aliases"])
            for one in content["triples"]:
                ids["entities"].extend((one["head_id"], one["tail_id"]))
                ids["relations"].append(one["relation_id"])
                ids["triples"].append(one["id"])
            ids["triples"].extend(one["triple_id"] for one in content["mentions"])
            ids["mentions"].extend(one["id"] for one in content["mentions"])
        for page in self._paged_suggestions():
            ids["entities"].extend(one for row in page for one in (row.keep_id, row.other_id))
        return {kind: some if some else b"" for kind, some in ids.items()}

    def _number(self, kind: str, ids: Sequence[int]) -> list[int]:
        """The pack's numbers of these, which are known."""
        import numpy as np

        found: list[int] = (np.searchsorted(self._every[kind], np.asarray(ids, np.int64)) + 1).tolist()
        return found

    def _chunk_rows(self, ids: Sequence[int]) -> list[int | None]:
        """The rows of these chunks; None for 0, or one that is not in the pack."""
        import numpy as np

        known = self._chunks()
        if not len(known):
            return [None] * len(ids)
        asked = np.asarray(ids, np.int64)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return [row if there else None for row, there in zip(at.tolist(), (known[at] == asked).tolist(), strict=True)]

    def _chunks(self) -> Ids:
        if self._known is None:
            self._known = self._chunk_ids()
        return self._known

    def _kept(self, document_id: Column[Any]) -> ColumnElement[bool]:
        """What no document says, or one that goes into the pack."""
        return or_(document_id == "", exists().where(documents.c.id == document_id, self._finished))

    def _count(self, query: Any) -> int:
        return int(self._connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())

    # -- sections

    def _relations(self) -> Iterator[Page]:
        for rows in self._by_id(graph_relations, self._live["relations"]):
            numbers = self._number("relations", [row.id for row in rows])
            yield [{"id": n, "name": row.name, "key": _key(row.name, row.name_key), "cues": row.cues} for n, row in zip(numbers, rows, strict=True)]

    def _entities(self) -> Iterator[Page]:
        for rows in self._by_id(graph_entities, self._live["entities"]):
            numbers = self._number("entities", [row.id for row in rows])
            yield [{"id": n, "name": row.name, "key": _key(row.name, row.name_key), "type": row.type} for n, row in zip(numbers, rows, strict=True)]

    def _named(self) -> Select[Any]:
        mine = select(graph_aliases).join(graph_entities, graph_entities.c.id == graph_aliases.c.entity_id)
        return mine.where(graph_aliases.c.kb_id == self._kb_id, self._kept(graph_aliases.c.document_id))

    def _paged_aliases(self) -> Iterator[Sequence[Any]]:
        """By their entities, of which there is a page at a time."""
        mine = self._named().with_only_columns(graph_aliases.c.entity_id).distinct()
        for page in paged(self._connection, mine, (graph_aliases.c.entity_id,), size=20 * PAGE):
            for some in parts([row.entity_id for row in page]):
                query = select(graph_aliases).where(graph_aliases.c.entity_id.in_(some), self._kept(graph_aliases.c.document_id))
                order = graph_aliases.c.entity_id, graph_aliases.c.alias_key, graph_aliases.c.document_id
                yield self._connection.execute(query.order_by(*order)).all()

    def _aliases(self) -> Iterator[Page]:
        for rows in self._paged_aliases():
            yield self._alias_rows([row._mapping for row in rows])

    def _alias_rows(self, rows: Sequence[Any]) -> Page:
        numbers = self._number("entities", [row["entity_id"] for row in rows])
        return [
            {"entity": n, "alias": row["alias"], "key": _key(row["alias"], row["alias_key"]), "document_id": row["document_id"]}
            for n, row in zip(numbers, rows, strict=True)
        ]

    def _triples(self) -> Iterator[Page]:
        for rows in self._by_id(graph_triples, self._live["triples"]):
            yield self._triple_rows([row._mapping for row in rows])

    def _triple_rows(self, rows: Sequence[Any]) -> Page:
        numbers = self._number("triples", [row["id"] for row in rows])
        relations = self._number("relations", [row["relation_id"] for row in rows])
        heads, tails = (self._number("entities", [row[end] for row in rows]) for end in ("head_id", "tail_id"))
        return [{"id": n, "head": h, "relation": r, "tail": t} for n, h, r, t in zip(numbers, heads, relations, tails, strict=True)]

    def _mentions(self) -> Iterator[Page]:
        for some in parts(self._live["triples"].tolist()):
            query = _mention.where(graph_mentions.c.triple_id.in_(some), self._kept(graph_mentions.c.document_id))
            rows = self._connection.execute(query.order_by(graph_mentions.c.triple_id, graph_mentions.c.id)).all()
            for part in parts(rows):
                yield self._mention_rows([row._mapping for row in part])

    def _mention_rows(self, rows: Sequence[Any]) -> Page:
        numbers = self._number("mentions", [row["id"] for row in rows])
        triples = self._number("triples", [row["triple_id"] for row in rows])
        chunks = self._chunk_rows([row["chunk_id"] for row in rows])
        return [
            {"id": n, "triple": t, "chunk": c, **{name: row[name] for name in _SAID}} for n, t, c, row in zip(numbers, triples, chunks, rows, strict=True)
        ]

    def _merge_rows(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Merges one at a time, with what was noted but for what is forgotten: what documents and chunks say that do not go into the pack."""
        for page in paged(self._connection, select(graph_merges).where(graph_merges.c.kb_id == self._kb_id), (graph_merges.c.id,), size=1):
            content = page[0].content
            named = {one["document_id"] for name in ("aliases", "mentions") for one in content[name]} | {one for _, one in content["added"]}
            kept = {"", *self._in_pack(named)}
            fitting = {name: [one for one in content[name] if one["document_id"] in kept] for name in ("aliases", "mentions")}
            rows = self._chunk_rows([one["chunk_id"] for one in fitting["mentions"]])
            said = [one for one, row in zip(fitting["mentions"], rows, strict=True) if row is not None or not one["chunk_id"]]
            yield page[0], {**content, **fitting, "mentions": said, "added": [one for one in content["added"] if one[1] in kept]}

    def _in_pack(self, document_ids: Iterable[str]) -> Iterator[str]:
        for some in parts(sorted(document_ids)):
            yield from self._connection.execute(select(documents.c.id).where(documents.c.id.in_(some), self._finished)).scalars()

    def _merges(self) -> Iterator[Page]:
        for row, content in self._merge_rows():
            entities = self._number("entities", [row.keep_id, *(one["id"] for one in content["entities"])])
            yield [
                {
                    "id": row.id, "keep": entities[0], "author": row.author, "created_at": row.created_at, "undone_at": row.undone_at,
                    "entities": [
                        {"id": n, "name": one["name"], "key": _key(one["name"], one["name_key"]), "type": one["type"]}
                        for n, one in zip(entities[1:], content["entities"], strict=True)
                    ],
                    "aliases": self._alias_rows(content["aliases"]),
                    "triples": self._triple_rows(content["triples"]),
                    "mentions": self._mention_rows(content["mentions"]),
                    "added": [{"key": key, "document_id": document_id} for key, document_id in content["added"]],
                }
            ]  # fmt: skip

    def _paged_suggestions(self) -> Iterator[Sequence[Any]]:
        return paged(self._connection, select(graph_suggestions).where(graph_suggestions.c.kb_id == self._kb_id), (graph_suggestions.c.id,))

    def _suggestions(self) -> Iterator[Page]:
        same = ("id", "pair_key", "alias", "alias_mark", "reason", "score", "status", "merge_id", "author", "created_at", "decided_at")
        for rows in self._paged_suggestions():
            keep, other = (self._number("entities", [getattr(row, end) for row in rows]) for end in ("keep_id", "other_id"))
            yield [{**{name: getattr(row, name) for name in same}, "keep": k, "other": o} for k, o, row in zip(keep, other, rows, strict=True)]

    def _of_documents(self, document_id: Column[Any]) -> Any:
        return select(graph_extracted).where(graph_extracted.c.kb_id == self._kb_id, exists().where(documents.c.id == document_id, self._finished))

    def _extracted(self) -> Iterator[Page]:
        """What extractors have read; whether they have read what is there now can be told here alone, since it is told by ids of chunks."""
        import numpy as np

        keys = graph_extracted.c.document_id, graph_extracted.c.extractor
        for rows in paged(self._connection, self._of_documents(graph_extracted.c.document_id), keys):
            made = []
            for row in rows:
                document = read_document(self._connection, row.document_id)
                current = document is not None and document.signature == row.signature
                upto = int(np.searchsorted(self._chunks(), row.upto, side="right"))
                made.append({"document_id": row.document_id, "extractor": row.extractor, "signature": None if current else row.signature, "upto": upto})
            yield made

    def _stated(self) -> Any:
        return select(documents.c.id, documents.c.graph_rules).where(self._finished, documents.c.graph_rules > 0)

    def _rules(self) -> Iterator[Page]:
        for rows in paged(self._connection, self._stated(), (documents.c.id,)):
            yield [{"document_id": row.id, "rules": row.graph_rules} for row in rows]

    def _by_id(self, table: Any, ids: Ids) -> Iterator[Sequence[Any]]:
        for some in parts(ids.tolist()):
            yield self._connection.execute(select(table).where(table.c.id.in_(some)).order_by(table.c.id)).all()


def _key(name: str, key: str) -> str | None:
    """By what a name is compared, where that does not follow from it."""
    return None if key_of(name) == key else key
