"""Looks at the rows of a pack's graph as a stranger's: numbers that name each other, nothing twice, merges that can be undone. Holds a byte for each number."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qzbrain.errors import BrainError
from qzbrain.graph.cues import cleaned
from qzbrain.graph.linking import key_of
from qzbrain.knowledge.packs.graph_format import KINDS, OF_KIND
from qzbrain.knowledge.packs.reading import bad_pack, bad_row

_THERE, _CLAIMED = 1, 2
_NAMING = ("graph_merges", "graph_suggestions")
_SMALLEST_ROW, _SMALLEST_NAMING = 20, 5
"""Bytes of a row that brings a number, and of a number where it is named."""


def limits(sizes: Mapping[str, int]) -> dict[str, int]:
    """How high the numbers of each kind can be in a pack with members of these sizes: they are given without gaps, each where it stands in the file."""
    named = sum(sizes.get(f"{section}.jsonl", 0) for section in _NAMING) // _SMALLEST_NAMING
    return {kind: sizes.get(f"{section}.jsonl", 0) // _SMALLEST_ROW + named for section, kind in OF_KIND.items()}


class _Fault(Exception):
    """A row is not as it must be; the field."""


class GraphCheck:
    """Takes the rows of all sections in their order."""

    def __init__(self, documents: Mapping[str, int], chunk_documents: Sequence[int], most: Mapping[str, int]) -> None:
        """`documents`: the number of each, `chunk_documents`: that of each chunk's document; both are complete when the graph's rows come."""
        self._documents, self._chunk_documents, self._most = documents, chunk_documents, most
        self._marks = {kind: bytearray(1) for kind in KINDS}
        self._spans = dict.fromkeys(KINDS, 0)
        self._once: dict[str, array[int]] = {}
        self._merges: set[str] = set()
        self._checks: dict[str, Callable[[dict[str, Any]], None]] = {
            "graph_relations": self._relation,
            "graph_entities": self._entity,
            "graph_aliases": self._alias,
            "graph_triples": self._triple,
            "graph_mentions": self._mention,
            "graph_merges": self._merge,
            "graph_suggestions": self._suggestion,
            "graph_extracted": self._extracted,
            "graph_stated": self._stated,
        }

    def row(self, section: str, row: dict[str, Any], number: int) -> None:
        """A row, whose fields are of the right kind. Raises InvalidRequest (`bad_pack`)."""
        try:
            self._checks[section](row)
        except _Fault as exc:
            raise bad_row(section, number, str(exc)) from exc

    def finish(self) -> dict[str, int]:
        """Nothing is there twice: the highest number of each kind. Raises InvalidRequest."""
        import numpy as np

        for section, hashes in self._once.items():
            found = np.sort(np.frombuffer(hashes, np.int64))
            if (found[1:] == found[:-1]).any():
                raise bad_pack(f"{section} 中有重复的行", f"a row of {section} is there twice")
        return self._spans

    # -- what is asked of a row

    def _require(self, good: bool, field: str) -> None:
        if not good:
            raise _Fault(field)

    def _is_once(self, what: str, *values: Any) -> None:
        self._once.setdefault(what, array("q")).append(hash(values))

    def _is_new(self, kind: str, number: int, mark: int = _THERE, field: str = "id") -> None:
        """A number that nothing has yet."""
        marks = self._marks[kind]
        self._names(kind, number, field)
        if number >= len(marks):
            marks.extend(bytes(number + 1 - len(marks)))
        self._require(not marks[number], field)
        marks[number] = mark

    def _names(self, kind: str, number: int, field: str) -> None:
        """A number that may be, there or gone."""
        self._require(number <= self._most[kind], field)
        self._spans[kind] = max(self._spans[kind], number)

    def _is_there(self, kind: str, number: int, field: str) -> None:
        marks = self._marks[kind]
        self._require(number < len(marks) and marks[number] == _THERE, field)

    def _is_of_pack(self, document_id: str) -> None:
        self._require(not document_id or document_id in self._documents, "document_id")

    @staticmethod
    def key(row: Mapping[str, Any], name: str) -> str:
        """By what the name of a row is compared."""
        return str(row["key"] or key_of(row[name]))

    # -- sections

    def _relation(self, row: dict[str, Any]) -> None:
        self._is_new("relations", row["id"])
        self._require(bool(self.key(row, "name")), "name")
        self._is_once("graph_relations", self.key(row, "name"))
        cues = row["cues"]
        self._require(not cues or (cues.keys() == {"forward", "backward"} and all(_are_texts(some) for some in cues.values())), "cues")
        try:
            for words in cues.values():
                cleaned(words, "cues")
        except BrainError as exc:
            raise _Fault("cues") from exc

    def _entity(self, row: dict[str, Any]) -> None:
        self._is_new("entities", row["id"])
        self._require(bool(self.key(row, "name")), "name")
        self._is_once("graph_entities", self.key(row, "name"), row["type"])

    def _alias(self, row: dict[str, Any]) -> None:
        self._is_there("entities", row["entity"], "entity")
        self._alias_itself(row)
        self._is_once("graph_aliases", row["entity"], self.key(row, "alias"), row["document_id"])

    def _alias_itself(self, row: dict[str, Any]) -> None:
        self._require(bool(self.key(row, "alias")), "alias")
        self._is_of_pack(row["document_id"])

    def _triple(self, row: dict[str, Any]) -> None:
        self._is_new("triples", row["id"])
        self._is_there("entities", row["head"], "head")
        self._is_there("relations", row["relation"], "relation")
        self._is_there("entities", row["tail"], "tail")
        self._is_once("graph_triples", row["head"], row["relation"], row["tail"])

    def _mention(self, row: dict[str, Any]) -> None:
        self._is_new("mentions", row["id"])
        self._is_there("triples", row["triple"], "triple")
        self._place(row)
        self._is_once("graph_mentions", *_said(row))

    def _place(self, row: dict[str, Any]) -> None:
        self._is_of_pack(row["document_id"])
        self._require(row["start"] <= row["end"], "end")
        if row["chunk"] is not None:
            known = row["chunk"] < len(self._chunk_documents)
            self._require(known and self._chunk_documents[row["chunk"]] == self._documents.get(row["document_id"]), "chunk")

    def _merge(self, row: dict[str, Any]) -> None:
        """What is noted of a merge that stands is not in the graph, and can be put back: so undoing it finds what it looks for."""
        self._require(row["id"] not in self._merges, "id")
        self._merges.add(row["id"])
        self._names("entities", row["keep"], "keep")
        stands = row["undone_at"] is None
        merged = {one["id"] for one in row["entities"]}
        self._require(0 < len(merged) == len(row["entities"]) and row["keep"] not in merged, "entities")
        for one in row["entities"]:
            self._noted("entities", one["id"], stands=stands)
            self._require(bool(self.key(one, "name")), "entities.name")
        names = {(self.key(one, "name"), one["type"]) for one in row["entities"]}
        self._require(len(names) == len(merged), "entities.name")
        for one in row["aliases"]:
            self._alias_itself(one)
            self._require(one["entity"] in merged, "aliases.entity")
        self._require(_differ([(one["entity"], self.key(one, "alias"), one["document_id"]) for one in row["aliases"]]), "aliases")
        for one in row["added"]:
            self._is_of_pack(one["document_id"])
        self._moved(row, merged, stands=stands)

    def _moved(self, row: dict[str, Any], merged: set[int], *, stands: bool) -> None:
        """The triples of the merged entities, and where these were said."""
        for one in row["triples"]:
            self._noted("triples", one["id"], stands=stands)
            self._require(one["head"] in merged or one["tail"] in merged, "triples.head")
            self._names("entities", one["head"], "triples.head")
            self._names("entities", one["tail"], "triples.tail")
            self._names("relations", one["relation"], "triples.relation")
        self._require(_differ([(one["head"], one["relation"], one["tail"]) for one in row["triples"]]), "triples")
        triples = {one["id"] for one in row["triples"]}
        self._require(len(triples) == len(row["triples"]), "triples.id")
        for one in row["mentions"]:
            self._names("mentions", one["id"], "mentions.id")
            self._require(one["triple"] in triples, "mentions.triple")
            self._place(one)
        self._require(_differ([one["id"] for one in row["mentions"]]) and _differ([_said(one) for one in row["mentions"]]), "mentions")

    def _noted(self, kind: str, number: int, *, stands: bool) -> None:
        if stands:
            self._is_new(kind, number, _CLAIMED, f"{kind}.id")
        else:
            self._names(kind, number, f"{kind}.id")

    def _suggestion(self, row: dict[str, Any]) -> None:
        self._is_once("graph_suggestions", row["id"])
        self._is_once("graph_suggestions.pair_key", row["pair_key"])
        self._names("entities", row["keep"], "keep")
        self._names("entities", row["other"], "other")
        self._require(row["keep"] != row["other"], "other")
        self._require(not row["merge_id"] or row["merge_id"] in self._merges, "merge_id")

    def _extracted(self, row: dict[str, Any]) -> None:
        self._require(row["document_id"] in self._documents, "document_id")
        self._require(row["upto"] <= len(self._chunk_documents), "upto")
        self._is_once("graph_extracted", row["document_id"], row["extractor"])

    def _stated(self, row: dict[str, Any]) -> None:
        self._require(row["document_id"] in self._documents, "document_id")
        self._is_once("graph_stated", row["document_id"])


def _said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a mention another than the next."""
    return row["triple"], row["extractor"], row["document_id"], row["chunk"], row["start"], row["source"]


def _differ(some: Sequence[Any]) -> bool:
    return len(set(some)) == len(some)


def _are_texts(some: Any) -> bool:
    return isinstance(some, list) and all(isinstance(one, str) for one in some)
