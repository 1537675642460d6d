"""What a pack is: a zip file whose members are named sections of JSON lines, raw vectors, originals by SHA-256, and the checksums of them all.

`manifest.json` comes first, `checksums` last: one line `SHA-256  name` for each member before it in order, then the SHA-256 of those lines,
which is the checksum of the pack. Rows name each other by ids of the pack; a chunk is named by its row, from 0, in the order of chunk ids.

A newer minor version may bring sections that an older program does not know and skips; a newer major version is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from qzbrain.domain import LEVELS
from qzbrain.knowledge.packs.fields import FLAG, ID, MAYBE_TIME, SHA, TIME, Field, number, one_of, text
from qzbrain.knowledge.packs.graph_format import GRAPH_ROWS, GRAPH_SECTIONS

FORMAT = "qzkb"
MAJOR, MINOR = 1, 1
ENDING = ".qzkb"
MANIFEST, CHECKSUMS, VECTORS, VECTOR_ROWS = "manifest.json", "checksums", "vectors.f16", "vectors.rows"
FILES = "files/"
SECTIONS = ("documents", "texts", "chunks", "edits", "entries", "entry_versions", "regression_questions", *GRAPH_SECTIONS)
"""Each is a member `NAME.jsonl`, in this order. Those of the graph came with version 1.1: a program of 1.0 skips them and says so."""

RETIRED = ("graph",)
"""Sections of version 1.0 that never had rows and are not written any more."""

LONG, MAYBE_LONG = text(), text(absent=True)
_NAMED = re.compile(r".+-.+-\d{1,5}-\d{1,5}")

ROWS: Mapping[str, Mapping[str, Field]] = {
    "documents": {
        "id": ID, "identity": text(300), "external_id": text(255), "name": text(255), "title": text(255),
        "status": one_of("ready", "failed"), "reason_code": text(64, absent=True), "reason_zh": MAYBE_LONG, "reason_en": MAYBE_LONG,
        "pages": number(absent=True), "chunks": number(), "chars": number(), "sha256": SHA, "size_bytes": number(2**53), "mime_type": text(127),
        "stored": FLAG, "created_at": TIME, "ready_at": MAYBE_TIME, "kind": one_of("file", "entry"),
        "level": number(len(LEVELS) - 1, absent=True),
    },
    "texts": {"document_id": ID, "text": LONG},
    "chunks": {
        "document_id": ID, "ordinal": number(), "text": LONG, "start": number(), "end": number(), "page": number(absent=True),
        "heading_path": Field("texts"), "reference": text(32), "disabled": FLAG,
    },
    "edits": {
        "document_id": ID, "number": number(), "kind": one_of("text", "disable", "enable"), "ordinal": number(), "start": number(),
        "end": number(), "before": LONG, "after": LONG, "author": text(255), "note": LONG, "applies": FLAG, "created_at": TIME,
    },
    "entries": {
        "id": ID, "status": one_of("proposed", "approved"), "question": LONG, "question_key": text(64), "answer": LONG,
        "variants": Field("texts"), "negatives": Field("texts"), "source": LONG, "author": text(255), "approver": text(255),
        "valid_from": MAYBE_TIME, "valid_until": MAYBE_TIME,
        "level": one_of("public", "internal", "confidential", "secret", "top_secret"),
        "version": number(), "approved_version": number(), "document_id": text(32), "origin": Field("json"), "created_at": TIME, "updated_at": TIME,
    },
    "entry_versions": {"entry_id": ID, "version": number(), "content": Field("json"), "author": text(255), "created_at": TIME},
    "regression_questions": {
        "id": ID, "question": LONG, "entry_id": ID, "message_id": text(32), "passed": number(1, absent=True),
        "result": Field("json", absent=True), "created_at": TIME, "run_at": MAYBE_TIME,
    },
    **GRAPH_ROWS,
}  # fmt: skip
"""Every field of every row; but for the graph's as it is in the tables, without the id of the knowledge base."""


@dataclass(frozen=True, slots=True)
class VectorsPart:
    """The vectors of a pack: `rows` of `width` little-endian float16 each; `upto`: so many chunks, from the first, have theirs or need none."""

    embedder: str
    width: int
    rows: int
    upto: int
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PackManifest:
    """What a pack says of itself. `counts`: rows of each section, by name. `vectors`: None without any."""

    version: tuple[int, int]
    program: str
    made_at: str
    tokenizer: str
    knowledge_base: dict[str, Any]
    counts: dict[str, int]
    vectors: VectorsPart | None
    originals: bool

    def column(self) -> dict[str, Any]:
        """As JSON."""
        part = self.vectors
        vectors = None
        if part is not None:
            vectors = {"embedder": part.embedder, "width": part.width, "rows": part.rows, "upto": part.upto, "manifest": part.manifest}
        return {
            "format": FORMAT,
            "version": list(self.version),
            "program": self.program,
            "made_at": self.made_at,
            "tokenizer": self.tokenizer,
            "knowledge_base": self.knowledge_base,
            "counts": self.counts,
            "vectors": vectors,
            "originals": self.originals,
        }

    @property
    def file_name(self) -> str:
        """`{embedder}-{kb}-{chunk}-{overlap}.qzkb`, the embedder without what a file name cannot hold; `lexical` without vectors."""
        embedder = re.sub(r"[^\w.]+", "", self.vectors.embedder if self.vectors else "") or "lexical"
        kb = self.knowledge_base
        return f"{embedder}-{kb['name']}-{kb['chunk_chars']}-{kb['overlap_chars']}{ENDING}"


def disagreement(name: str, manifest: PackManifest) -> str | None:
    """The name that a pack should have, where its file's name is of that form and another; else None.

    Only a name that ends in sizes is looked at: who calls a pack `laws.qzkb` says nothing of what is in it.
    """
    stem = PurePath(name).name.removesuffix(ENDING)
    fitting = manifest.file_name
    return fitting if _NAMED.fullmatch(stem) and stem.lower() != fitting.removesuffix(ENDING).lower() else None
