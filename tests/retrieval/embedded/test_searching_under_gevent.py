"""In the web process a search runs beside the hub: other requests go on meanwhile, and the hits are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from qzbrain.retrieval.base import IndexedChunk, PutDocument
from qzbrain.retrieval.embedded.lexical import TantivyIndex

QUESTIONS = ["罚款由谁决定", "第三章的标题", "没有这样的词语组合", "采购合同的验收"]
SEARCHING = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys
from pathlib import Path
from qzbrain.retrieval.embedded.lexical import TantivyIndex
index, questions = TantivyIndex(Path(sys.argv[1])), json.loads(sys.argv[2])
index.search("kb", "预热", top_k=1)
order = []
def search(question):
    hits = index.search("kb", question, top_k=3)
    order.append("found")
    return [(hit.chunk_id, hit.score, hit.confidence) for hit in hits]
searching = gevent.spawn(search, questions[0])
gevent.spawn(lambda: order.append("another request"))
searching.join()
print(json.dumps([order, [gevent.spawn(search, one).get() for one in questions]]))
"""


def test_a_search_lets_other_requests_run(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    texts = [f"第{n}条 罚款由主管部门决定，采购合同应当验收，金额为{n}元。" for n in range(300)]
    index.rebuild("kb", [PutDocument("d", [IndexedChunk(n, "d", text, "") for n, text in enumerate(texts)])], watermark=1)
    done = subprocess.run([sys.executable, "-c", SEARCHING, str(tmp_path), json.dumps(QUESTIONS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    order, found = json.loads(done.stdout)
    assert order[:2] == ["another request", "found"]
    assert found == [[[h.chunk_id, h.score, h.confidence] for h in index.search("kb", one, top_k=3)] for one in QUESTIONS]
    assert found[0]
