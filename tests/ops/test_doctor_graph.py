"""The doctor and the graph service: does it answer, is it the right one, does it read the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from qzbrain.brain import Brain
from qzbrain.graph.base import Fact, Place
from qzbrain.ops.doctor import Check, examine
from qzbrain.settings import Settings
from tests.graph.faulty_service import FaultyService


@pytest.fixture
def faulty() -> Iterator[FaultyService]:
    made = FaultyService()
    yield made
    made.behave = "good"
    made.stop()


@pytest.fixture
def look(brain: Brain, make_settings: Callable[..., Settings], faulty: FaultyService) -> Callable[[], dict[str, Check]]:
    """The checks of step 3 with GRAPH_URL at the faulty service, over a database with one graph."""
    kb_id = brain.knowledge.create(brain.access.local_caller("en"), name="kb").id
    brain.graph.add(kb_id, [Fact("甲", "乙", "丙", Place("import"))])
    faulty.routes["GET", f"/api/graph/{kb_id}/stats"] = 200, {"version": brain.graph.version(kb_id)}
    settings = make_settings(graph_url=faulty.url, graph_timeout_s=1.0)
    return lambda: {one.id: one for one in examine(settings, "en", step=3) if one.id.startswith("graph")}


def test_without_one_web_answers(make_settings: Callable[..., Settings]) -> None:
    found = {one.id: one.status for one in examine(make_settings(), "en", step=3) if one.id.startswith("graph")}
    assert found == {"graph_service": "skip"}


def test_one_of_our_own_that_does_not_run_is_no_fault(make_settings: Callable[..., Settings]) -> None:
    assert {one.status for one in examine(make_settings(qzbrain_graph_service="on"), "en", step=3)} == {"skip"}


def test_a_good_one_passes(look: Callable[[], dict[str, Check]], faulty: FaultyService) -> None:
    found = look()
    assert {name: one.status for name, one in found.items()} == {"graph_service": "ok", "graph_data": "ok"}
    assert f"127.0.0.1:{faulty.port}" in found["graph_service"].evidence


@pytest.mark.parametrize("how", ["hang", "status-500", "status-401", "not-json", "redirect"])
def test_one_that_does_not_work_fails_with_what_to_do(look: Callable[[], dict[str, Check]], faulty: FaultyService, how: str) -> None:
    faulty.behave = how
    found = look()
    assert (found["graph_service"].status, found["graph_data"].status) == ("fail", "skip")
    assert "healthz" in found["graph_service"].next


def test_one_that_reads_another_database_is_found(look: Callable[[], dict[str, Check]], faulty: FaultyService) -> None:
    path = next(one for one in faulty.routes if one[1].endswith("/stats"))
    faulty.routes[path] = 404, {"error": {"code": "knowledge_base_not_found", "message": "no"}}
    assert look()["graph_data"].status == "fail" and "QZBRAIN_DATA" in look()["graph_data"].next
    faulty.routes[path] = 200, {"version": 99}
    assert look()["graph_data"].status == "warn"


def test_one_of_another_make_is_told_as_such(look: Callable[[], dict[str, Check]], faulty: FaultyService) -> None:
    faulty.routes.pop(next(one for one in faulty.routes if one[1].endswith("/stats")))
    found = look()["graph_data"]
    assert found.status == "ok" and "chat-process-txt alone" in found.evidence
