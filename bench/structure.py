"""What regulations state about themselves, found in 301 laws: which of their articles, which judged references, in which time.

    python bench/structure.py --data DIR      DIR holds B_regulations/raw_md and B_regulations/corpus.jsonl.gz

Prints one JSON object; exit code 1 when articles are missed (fewer than .99), a judged reference is not found (fewer than .98 of
tests/graph/reference_edges.jsonl), or it takes longer than 3 s. Reading and cutting the files is not counted: they are read anyway.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

from qzbrain.graph.statements import StatedChunk, statements
from qzbrain.graph.structure import ARTICLE, CONTAINS, REFERS, article_name, short_title
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import parse
from qzbrain.knowledge.parsers.base import ParseLimits

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Read, state, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "B_regulations"
    read = []
    for path in sorted((folder / "raw_md").glob("*.md")):
        parsed = parse(path, name=path.name, limits=ParseLimits())
        drafts = chunk(parsed, chunk_chars=250, overlap_chars=50)
        read.append((path.name, parsed, [StatedChunk(x.ordinal + 1, x.start, x.end, x.heading_path, x.reference) for x in drafts]))
    began = time.perf_counter()
    facts = {name: statements(name, parsed.title, parsed.text, chunks) for name, parsed, chunks in read}
    seconds = time.perf_counter() - began
    titles = {name: short_title(parsed.title) for name, parsed, _ in read}
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        wanted = {(Path(row["path"]).name, row["article_no"]) for row in map(json.loads, lines)}
    articles = {(name, fact.tail) for name, some in facts.items() for fact in some if fact.relation == CONTAINS and fact.tail_type == ARTICLE}
    share = sum((name, article_name(titles[name], number)) in articles for name, number in wanted) / len(wanted)
    judged = [json.loads(line) for line in (ROOT / "tests/graph/reference_edges.jsonl").read_text(encoding="utf-8").splitlines()]
    edges = {(fact.head, fact.tail) for some in facts.values() for fact in some if fact.relation == REFERS}
    right = sum((one["article"], one["target"]) in edges for one in judged) / len(judged)
    counts = {kind: sum(fact.relation == kind for some in facts.values() for fact in some) for kind in ("包含", "引用", "是指")}
    figures = {"laws": len(read), "seconds": round(seconds, 2), "articles_found": round(share, 4), "judged_references_found": right, "facts": counts}
    print(json.dumps(figures, ensure_ascii=False, indent=1))
    sys.exit(not (share >= 0.99 and right >= 0.98 and seconds <= 3))


if __name__ == "__main__":
    main()
