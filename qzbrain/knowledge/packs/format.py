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

FORMAT = "qzkb"
MAJOR, MINOR = 1, 0
ENDING = ".qzkb"
MANIFEST, CHECKSUMS, VECTORS, VECTOR_ROWS = "manifest.json", "checksums", "vectors.f16", "vectors.rows"
FILES = "files/"
SECTIONS = ("documents", "texts", "chunks", "edits", "entries", "entry_versions", "regression_questions", "graph")
"""Each is a member `NAME.jsonl`, in this order. `graph` is kept for facts and has no rows in this version."""

_INT = 2**31 - 1
_NAMED = re.compile(r".+-.+-\d{1,5}-\d{1,5}")


@dataclass(frozen=True, slots=True)
class Field:
    """What a value of a row must be. `kind`: text, int, id, sha, texts (a list of texts), json (an object), any.

    `most`: characters of a text, or the highest number.
    """

    kind: str
    most: int = 0
    absent: bool = False
    of: tuple[str, ...] = ()


def _text(most: int, *, absent: bool = False) -> Field:
    return Field("text", most, absent)


def _int(*, absent: bool = False, most: int = _INT) -> Field:
    return Field("int", most, absent)


_ID, _SHA, _TIME, _LONG, _FLAG = Field("id"), Field("sha"), _text(32), _text(_INT), _int(most=1)
_MAYBE_TIME, _MAYBE_LONG = _text(32, absent=True), _text(_INT, absent=True)

ROWS: Mapping[str, Mapping[str, Field]] = {
    "documents": {
        "id": _ID, "identity": _text(300), "external_id": _text(255), "name": _text(255), "title": _text(255),
        "status": Field("text", 16, of=("ready", "failed")), "reason_code": _text(64, absent=True), "reason_zh": _MAYBE_LONG, "reason_en": _MAYBE_LONG,
        "pages": _int(absent=True), "chunks": _int(), "chars": _int(), "sha256": _SHA, "size_bytes": _int(most=2**53), "mime_type": _text(127),
        "stored": _FLAG, "created_at": _TIME, "ready_at": _MAYBE_TIME, "kind": Field("text", 16, of=("file", "entry")),
        "level": _int(absent=True, most=len(LEVELS) - 1),
    },
    "texts": {"document_id": _ID, "text": _LONG},
    "chunks": {
        "document_id": _ID, "ordinal": _int(), "text": _LONG, "start": _int(), "end": _int(), "page": _int(absent=True),
        "heading_path": Field("texts"), "reference": _text(32), "disabled": _FLAG,
    },
    "edits": {
        "document_id": _ID, "number": _int(), "kind": Field("text", 16, of=("text", "disable", "enable")), "ordinal": _int(), "start": _int(),
        "end": _int(), "before": _LONG, "after": _LONG, "author": _text(255), "note": _LONG, "applies": _FLAG, "created_at": _TIME,
    },
    "entries": {
        "id": _ID, "status": Field("text", 16, of=("proposed", "approved")), "question": _LONG, "question_key": _text(64), "answer": _LONG,
        "variants": Field("texts"), "negatives": Field("texts"), "source": _LONG, "author": _text(255), "approver": _text(255),
        "valid_from": _MAYBE_TIME, "valid_until": _MAYBE_TIME,
        "level": Field("text", 16, of=("public", "internal", "confidential", "secret", "top_secret")),
        "version": _int(), "approved_version": _int(), "document_id": Field("text", 32), "origin": Field("json"), "created_at": _TIME, "updated_at": _TIME,
    },
    "entry_versions": {"entry_id": _ID, "version": _int(), "content": Field("json"), "author": _text(255), "created_at": _TIME},
    "regression_questions": {
        "id": _ID, "question": _LONG, "entry_id": _ID, "message_id": Field("text", 32), "passed": _int(absent=True, most=1),
        "result": Field("json", absent=True), "created_at": _TIME, "run_at": _MAYBE_TIME,
    },
    "graph": {},
}  # fmt: skip
"""Every field of every row, as it is in the tables but for the id of the knowledge base."""


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
