"""People who ask come before extraction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qzbrain.graph.turns import NOT_LATER_THAN_S, Turns
from qzbrain.models.courtesy import Courtesy
from qzbrain.models.registry import RegisteredModel
from qzbrain.settings import ModelSettings
from qzbrain.storage.local_state import LocalState
from tests.engine import Engine, Script
from tests.graph.conftest import Extracting
from tests.graph.reading_model import passages, reply


def turns(tmp_path: Path, slots: int, clock: Callable[[], float] = time.monotonic) -> tuple[Turns, Courtesy]:
    courtesy = Courtesy(tmp_path / "asked")
    model = RegisteredModel("m", ModelSettings(engine="external", base_url="http://127.0.0.1:1/v1", slots=slots))
    return Turns(model, courtesy, LocalState(), clock), courtesy


@pytest.mark.parametrize(("slots", "quiet", "asked", "gives_up"), [(1, 1, 0, True), (2, 1, 0, False), (3, 2, 1, False), (8, 4, 1, False)])
def test_calls_that_may_be_under_way(tmp_path: Path, slots: int, quiet: int, asked: int, gives_up: bool) -> None:
    some, courtesy = turns(tmp_path, slots)
    assert (some.allowed(), some.gives_up()) == (quiet, False)
    courtesy.note()
    assert (some.allowed(), some.gives_up()) == (asked, gives_up)


def test_where_questions_never_cease_the_work_goes_on_slowly(tmp_path: Path) -> None:
    now = 0.0
    some, courtesy = turns(tmp_path, 1, lambda: now)
    courtesy.note()
    assert some.allowed() == 0
    now = NOT_LATER_THAN_S + 1
    assert (some.allowed(), some.gives_up()) == (1, False)
    some.ended()
    assert (some.allowed(), some.gives_up()) == (0, True)


def test_a_call_on_the_only_slot_is_given_up_for_a_question_and_made_again(
    make_extracting: Callable[..., Extracting], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qzbrain.graph.turns.QUIET_S", 0.5)
    extracting = make_extracting(slots=1)
    extracting.add("a.txt", "晨光公司的董事长是李明。")
    courtesy, left = extracting.brain.courtesy, list[float]()

    def answer(body: dict[str, object]) -> Script | list[str]:
        if len(engine.requests) > 1:
            return reply(body)
        threading.Timer(0.2, courtesy.note).start()
        return Script(fault="silence")

    engine.script(answer=answer)
    began = time.monotonic()
    job = extracting.extract()
    left += [at - began for _, at in engine.cancelled]
    assert job.status == "done" and job.result is not None and (job.result["triples"], job.result["calls"], job.result["failed_chunks"]) == (1, 1, 0)
    assert len(engine.requests) == 2 and len(passages(engine.requests[0].body)) == 1
    assert left and left[0] < 5
    assert engine.requests[1].at - engine.requests[0].at >= 0.6  # not before it is quiet again


def test_an_upload_is_not_held_up_by_an_extraction(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", "晨光公司的董事长是李明。")
    release = threading.Event()
    engine.script(answer=lambda body: Script(texts=reply(body), hold=release))
    job_id = extracting.brain.extractions.submit(extracting.kb_id, model="scripted")
    began, ready = time.monotonic(), list[float]()
    import io

    def over() -> bool:
        if engine.active and not ready:
            added = extracting.brain.knowledge.add_file(extracting.caller, "kb", "b.txt", io.BytesIO("另一份文件。".encode()))
            if added.status == "ready":
                ready.append(time.monotonic() - began)
                release.set()
        return extracting.brain.jobs.get(job_id).status not in ("pending", "running")

    extracting.place.run(over)
    assert ready and extracting.brain.jobs.get(job_id).status == "done"
