"""Which chunks of some documents an index on the server holds: asked by writers before they change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qzbrain.retrieval.elastic.connection import WRITE_TIMEOUT_S, Server
from qzbrain.retrieval.elastic.mapping import CHUNK, DOCUMENT, LEVEL

PAGE = 10_000
_PARAMS = {"filter_path": "hits.hits.sort,hits.hits.fields", "allow_partial_search_results": "false"}


def chunks_of(server: Server, name: str, document_ids: Sequence[str]) -> dict[str, dict[int, int]]:
    """These documents' chunks, by document: ids and the level of each, as of the last refresh. At most 65,536 documents. Raises IndexUnavailable."""
    held: dict[str, dict[int, int]] = {one: {} for one in document_ids}
    body: dict[str, Any] = {
        "size": PAGE,
        "query": {"terms": {DOCUMENT: list(document_ids)}},
        "sort": [{CHUNK: "asc"}],
        "stored_fields": "_none_",
        "docvalue_fields": [DOCUMENT, LEVEL],
        "track_total_hits": False,
    }
    while document_ids:
        found = server.request("POST", f"/{name}/_search", body, params=_PARAMS, timeout_s=WRITE_TIMEOUT_S).body
        hits = found.get("hits", {}).get("hits", [])
        for hit in hits:
            held[hit["fields"][DOCUMENT][0]][hit["sort"][0]] = hit["fields"][LEVEL][0]
        if len(hits) < PAGE:
            break
        body["search_after"] = hits[-1]["sort"]
    return held
