"""The row of a document when it is new, and what of it starts over when it is read again."""

from __future__ import annotations

from typing import Any

from qzbrain.domain import new_id, utc_now

STARTING_OVER: dict[str, Any] = {
    "status": "pending",
    "stage": "",
    "progress_done": 0,
    "progress_total": 0,
    "progress_unit": "",
    "reason_code": None,
    "reason_zh": None,
    "reason_en": None,
    "pages": None,
    "chunks": 0,
    "chars": 0,
    "mime_type": "",
    "ready_at": None,
}


def new_row(kb_id: str, identity: str, name: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    """All columns of a document that nobody has read yet, whose original is a stored file."""
    return {
        **STARTING_OVER,
        "id": new_id(),
        "kb_id": kb_id,
        "identity": identity,
        "external_id": "",
        "name": name,
        "title": "",
        "sha256": sha256,
        "size_bytes": size_bytes,
        "stored": 1,
        "created_at": utc_now(),
    }
