"""Chunks are edited, undone and cut anew on a real MariaDB as on the built-in database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.worker import Workplace

TEXT = "\n".join(f"第{number}台设备每{number}个月保养一次，由值班人员登记。" for number in range(1, 31))


def test_edit_undo_and_rechunk(mysql: dict[str, object], make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings(**mysql))
    caller = brain.access.local_caller("zh")

    def work() -> None:
        end, deadline = threading.Event(), time.monotonic() + 60
        Workplace(brain).run(lambda: end.is_set() or time.monotonic() > deadline, idle=lambda _: end.set())

    def literal() -> None:
        text = brain.knowledge.content(caller, document)
        assert all(x.text == text[x.start : x.end] for x in brain.knowledge.chunks(caller, document, limit=500).data)

    brain.knowledge.create(caller, name="kb")
    document = brain.knowledge.add_text(caller, "kb", "a", TEXT).id or ""
    work()
    one = brain.knowledge.chunks(caller, document).data[1]
    brain.knowledge.edit_chunk(caller, document, one.id, text=one.text.replace("保养", "全面大修"))
    literal()
    last = brain.knowledge.chunks(caller, document).data[-1]
    brain.knowledge.edit_chunk(caller, document, last.id, enabled=False)
    brain.knowledge.rechunk(caller, "kb", chunk_chars=100, overlap_chars=20)
    work()
    literal()
    shown = brain.knowledge.document(caller, document)
    assert (shown.edits.applied, shown.edits.lost) == (2, 0)
    assert not brain.knowledge.chunks(caller, document, limit=500).data[-1].enabled
    brain.knowledge.undo_edit(caller, document, 1)
    literal()
    assert brain.knowledge.content(caller, document) == TEXT
    brain.close()
