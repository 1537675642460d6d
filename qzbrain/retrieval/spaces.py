"""Vector spaces as the rest of the program sees them: which embedder a knowledge base's vectors come from, and how they count in a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from qzbrain.storage.database import Database
from qzbrain.storage.tables import vector_spaces

KNOWN: Mapping[str, Mapping[str, float]] = {
    "multilingual-e5-small": {"weight": 0.5, "reference_weight": 0.1, "cosine_floor": 0.78, "cosine_span": 0.15},
}
"""How the vectors of known models count, by what their name contains in lower case. Of others the cosines are estimated from their vectors."""

_ACTIVE = select(
    vector_spaces.c.id,
    vector_spaces.c.kb_id,
    vector_spaces.c.embedder,
    vector_spaces.c.width,
    vector_spaces.c.manifest,
    vector_spaces.c.embedded_upto,
    vector_spaces.c.reason_code,
).where(vector_spaces.c.kb_id == bindparam("kb"), vector_spaces.c.status == "active")


@dataclass(frozen=True, slots=True)
class Manifest:
    """How texts became the vectors of a space, and how the vectors count in a search.

    `fingerprint`: of the embedder's vectors for fixed texts: another model under the same name is recognised. `weight`: share of the
    semantic side in the fused score, 0..1; `reference_weight`: the same for questions that name an article by number.
    `cosine_floor`, `cosine_span`: the cosine that means nothing, and how much above it means certainty: what of the cosine counts as
    confidence is clip((cosine - floor) / span, 0, 1). `titles`: whether a document's title went before texts that are written with blanks.
    """

    pooling: str = ""
    query_prefix: str = ""
    passage_prefix: str = ""
    tokens: int = 512
    fingerprint: str = ""
    weight: float = 0.5
    reference_weight: float = 0.1
    cosine_floor: float = 0.5
    cosine_span: float = 0.4
    titles: bool = False

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Manifest:
        """From the column; keys of another version are left out."""
        return cls(**{key: value[key] for key in cls.__dataclass_fields__ if key in value})

    def column(self) -> dict[str, Any]:
        """For the column."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Space:
    """One embedder's view of one knowledge base. `embedded_upto`: chunks with higher ids have no vector yet.

    `refused`: the embedder that is there now is not the one that made these vectors; it must not be searched with.
    """

    id: str
    kb_id: str
    embedder: str
    width: int
    manifest: Manifest
    embedded_upto: int
    refused: bool = False


class Spaces:
    """Reads the spaces that searches use. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._active = database.prepared(_ACTIVE)

    def active(self, kb_id: str) -> Space | None:
        """The space in use, None while there is none (words only)."""
        rows = self._active(kb=kb_id)
        if not rows:
            return None
        space_id, kb, embedder, width, manifest, upto, reason = rows[0]
        column = orjson.loads(manifest) if isinstance(manifest, str | bytes) else manifest
        return Space(space_id, kb, embedder, width, Manifest.of(column), upto, reason is not None)


def known_weights(name: str) -> Mapping[str, float] | None:
    """How the vectors of a known model count; None of an unknown one."""
    plain = name.lower().replace("_", "-")
    return next((values for part, values in KNOWN.items() if part in plain), None)
