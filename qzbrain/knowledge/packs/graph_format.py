"""The rows of a graph in a pack. Entities, relations, triples and mentions have numbers of the pack, from 1, in the order of their ids; those that are gone
and are still named by a merge or a suggestion have theirs among them, so that an undone merge puts them back where they stood.
"""

from __future__ import annotations

from collections.abc import Mapping

from qzbrain.graph.merging import MOST_MERGED, MOST_MOVED, MOST_SAID
from qzbrain.knowledge.packs.fields import ID, MAYBE_SHA, MAYBE_TIME, SHA, TIME, Field, number, one_of, text

KINDS = ("entities", "relations", "triples", "mentions")
"""What has numbers, each kind its own."""
LINE_BYTES = 16 << 20
MERGE_BYTES = 64 << 20
"""The longest line of a section of the graph, and of merges, which hold up to MOST_SAID mentions with their quotes."""
MOST_PARTS = 2_000_000
"""Brackets and commas in a line: what JSON makes of it takes some tens of bytes for each."""
_MOST_ALIASES = 100_000

_NUMBER = number(least=1)
_KEY = text(64, least=1, absent=True)
_NAME = text(1 << 16, least=1)
_OF_DOCUMENT = text(32)

_RELATION = {"id": _NUMBER, "name": text(255, least=1), "key": _KEY, "cues": Field("json")}
_ENTITY = {"id": _NUMBER, "name": _NAME, "key": _KEY, "type": text(64)}
_ALIAS = {"entity": _NUMBER, "alias": text(255, least=1), "key": _KEY, "document_id": _OF_DOCUMENT}
_TRIPLE = {"id": _NUMBER, "head": _NUMBER, "relation": _NUMBER, "tail": _NUMBER}
_MENTION = {
    "id": _NUMBER, "triple": _NUMBER, "document_id": _OF_DOCUMENT, "chunk": number(absent=True), "start": number(), "end": number(),
    "quote": text(1 << 20), "source": text(1 << 16), "extractor": text(64, least=1), "confidence": Field("share"),
}  # fmt: skip

GRAPH_ROWS: Mapping[str, Mapping[str, Field]] = {
    "graph_relations": _RELATION,
    "graph_entities": _ENTITY,
    "graph_aliases": _ALIAS,
    "graph_triples": _TRIPLE,
    "graph_mentions": _MENTION,
    "graph_merges": {
        "id": ID, "keep": _NUMBER, "author": text(255), "created_at": TIME, "undone_at": MAYBE_TIME,
        "entities": Field("rows", MOST_MERGED, rows=_ENTITY), "aliases": Field("rows", _MOST_ALIASES, rows=_ALIAS),
        "triples": Field("rows", MOST_MOVED, rows=_TRIPLE), "mentions": Field("rows", MOST_SAID, rows=_MENTION),
        "added": Field("rows", _MOST_ALIASES, rows={"key": text(64, least=1), "document_id": _OF_DOCUMENT}),
    },
    "graph_suggestions": {
        "id": ID, "pair_key": SHA, "keep": _NUMBER, "other": _NUMBER, "alias": text(255), "alias_mark": text(64), "reason": text(32, least=1),
        "score": Field("share"), "status": one_of("open", "accepted", "dismissed"), "merge_id": _OF_DOCUMENT, "author": text(255),
        "created_at": TIME, "decided_at": MAYBE_TIME,
    },
    "graph_extracted": {"document_id": ID, "extractor": text(64, least=1), "signature": MAYBE_SHA, "upto": number()},
    "graph_stated": {"document_id": ID, "rules": number(least=1)},
}  # fmt: skip
"""`key`: by what a name is compared, where it does not follow from the name as it stands here. `chunk`, `upto`: the row of a chunk, and how many rows.
`signature`: of the chunks that the extractor has read; none where these are still there. `rules`: those by which a document's own facts were found."""

GRAPH_SECTIONS = tuple(GRAPH_ROWS)
OF_KIND = {"graph_entities": "entities", "graph_relations": "relations", "graph_triples": "triples", "graph_mentions": "mentions"}
"""The kind that each section's `id` numbers."""


def longest(section: str, most: int) -> int:
    """The bytes of a line of this section at most, where a line of a pack may have `most`."""
    if section not in GRAPH_ROWS:
        return most
    return MERGE_BYTES if section == "graph_merges" else LINE_BYTES
