"""Bringing an index of many segments into one, in a copy beside it. A search in one segment takes half as long as in eight (docs/benchmarks.md).

tantivy's Python interface has no call for it: its writer merges by LogMergePolicy alone, eight or more segments of like size at a time. So the
copy is given what that policy waits for. It looks at segments from the one with the most entries to the one with the fewest, and begins a new
level where the *living* entries are much fewer than before: behind a segment that has the most entries and one living, all are of one level.
And it is given as many segments of one entry as are missing. Those living entries are deleted at the end; `read_padding` tells of them.
Should another tantivy decide otherwise, the copy is not one segment, and is thrown away.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import orjson

from qzbrain.retrieval.embedded.schema import CHUNK, DOCUMENT, LENGTH, LEVEL, SEQ, document_type

META, PADDING, _MANAGED = "meta.json", "padding", ".managed.json"
FEWEST = 10_000
"""An index of fewer chunks is quick in any number of segments; and in one of so many, the padding moves no score by a thousandth."""
MOST_IN_ONE = 0.7
"""With this share in one segment it is left as it is: so an index that grows is written anew each time that it has grown by half."""
_LEVEL = 8
"""Segments of one level that tantivy merges."""
_DEAD, _LIVING = "-", "+"
"""Documents of the padding."""


def segments(generation: Path) -> list[dict[str, Any]]:
    """tantivy's own list. Raises OSError, ValueError."""
    found: list[dict[str, Any]] = orjson.loads((generation / META).read_bytes())["segments"]
    return found


def worth_merging(generation: Path) -> bool:
    """Whether searches would gain much. Raises OSError, ValueError."""
    sizes = [int(one["max_doc"]) for one in segments(generation)]
    return len(sizes) > 2 and sum(sizes) >= FEWEST and max(sizes) < MOST_IN_ONE * sum(sizes)


def read_padding(generation: Path) -> dict[str, int]:
    """How many of a segment's deleted entries were never chunks, by the segment's id."""
    try:
        found: dict[str, int] = orjson.loads((generation / PADDING).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def merged_into(source: Path, target: Path, heap_bytes: int) -> bool:
    """Make `target`, an empty folder, hold what `source` holds, in one segment; False where it did not come to that. Raises OSError, ValueError.

    `source` is only read, and may be written meanwhile. Takes some two seconds for 100,000 chunks, most of them outside the interpreter.
    """
    from tantivy import Index

    _copy(source, target)
    before = Index.open(str(target)).searcher().num_docs
    sizes = [int(one["max_doc"]) for one in segments(target)]
    writer = Index.open(str(target)).writer(heap_bytes, 1)
    try:
        _decoy(writer, max(sizes) + 1)
        for _ in range(len(sizes) + 1, _LEVEL):
            writer.add_document(_entry(_LIVING))
            writer.commit()
    finally:
        writer.wait_merging_threads()
    writer = Index.open(str(target)).writer(heap_bytes, 1)
    try:
        writer.delete_documents_by_term(DOCUMENT, _LIVING)
        writer.commit()
        writer.garbage_collect_files()
    finally:
        writer.wait_merging_threads()
    left = segments(target)
    if len(left) != 1 or Index.open(str(target)).searcher().num_docs != before:
        return False
    (target / PADDING).write_bytes(orjson.dumps({left[0]["segment_id"]: max(1, _LEVEL - len(sizes))}))
    return True


def _copy(source: Path, target: Path) -> None:
    """Of one commit: tantivy never changes a file of a segment, so a second name for it is as good as a copy. Raises OSError."""
    meta = (source / META).read_bytes()
    held = {one["segment_id"].replace("-", "") for one in orjson.loads(meta)["segments"]}
    for path in source.iterdir():
        if path.name.split(".")[0] in held:
            _link(path, target / path.name)
        elif path.name not in (META, PADDING) and not path.name.endswith((".lock", ".tmp")):
            shutil.copy2(path, target / path.name)
    (target / META).write_bytes(meta)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # not every file system can
        shutil.copy2(path, target)


def _decoy(writer: Any, entries: int) -> None:
    """Commit a segment of so many entries, and one more, which lives."""
    dead = _entry(_DEAD)
    for _ in range(entries):
        writer.add_document(dead)
    writer.delete_documents_by_term(DOCUMENT, _DEAD)
    writer.add_document(_entry(_LIVING))
    writer.commit()


def _entry(document_id: str) -> Any:
    """With all numbers that a chunk has, or reading them would become slower for all."""
    entry = document_type()()
    entry.add_text(DOCUMENT, document_id)
    for field in (CHUNK, LENGTH, LEVEL, SEQ):
        entry.add_unsigned(field, 0)
    return entry
