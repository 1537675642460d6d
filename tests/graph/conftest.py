"""A brain with a scripted language model, a knowledge base with documents, and a worker that does their extraction."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qzbrain.brain import Brain, build
from qzbrain.domain import JobRecord
from qzbrain.settings import ModelSettings, Settings
from qzbrain.worker import Workplace
from tests.engine import Engine
from tests.graph.reading_model import reply

WITHIN_S = 60.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The language model; it reads, unless a test scripts it otherwise."""
    with Engine() as made:
        made.script(answer=reply)
        yield made


class Extracting:
    """A knowledge base `kb`, whose documents are read by the model `scripted`."""

    def __init__(self, brain: Brain) -> None:
        self.brain, self.caller = brain, brain.access.local_caller("en")
        self.kb_id = brain.knowledge.create(self.caller, name="kb").id
        self.place = Workplace(brain)

    def add(self, name: str, text: str) -> str:
        """A document, read and ready; its id."""
        added = self.brain.knowledge.add_file(self.caller, "kb", name, io.BytesIO(text.encode()))
        self.work()
        return str(added.id)

    def work(self, *, more: Callable[[], bool] = lambda: False) -> None:
        """Do all jobs, extractions too."""
        began = time.monotonic()

        def over() -> bool:
            assert time.monotonic() - began < WITHIN_S, "not done in time"
            return not more() and not any(one.status in ("pending", "running") for one in self.brain.jobs.jobs(limit=1000).data)

        self.place.run(over)

    def extract(self, **options: Any) -> JobRecord:
        """Extract, and give the job as it ended."""
        job_id = self.brain.extractions.submit(self.kb_id, **options)
        self.work()
        return self.brain.jobs.get(job_id)

    def content(self) -> set[object]:
        """All that the graph says, ids of rows aside."""
        return {
            (t.head.name, t.head.type, t.head.aliases, t.relation, t.tail.name, t.tail.type, t.tail.aliases,
             tuple(sorted((p.extractor, p.document_id, p.start, p.end, p.quote, p.confidence) for p in t.places)))
            for t in self.brain.graph.every_triple(self.kb_id)
        }  # fmt: skip


@pytest.fixture
def make_extracting(make_settings: Callable[..., Settings], engine: Engine) -> Iterator[Callable[..., Extracting]]:
    """Brains over one data folder, by further settings of the model."""
    made: list[Extracting] = []

    def make(settings: dict[str, object] | None = None, **model: object) -> Extracting:
        of_model = {"engine": "external", "base_url": engine.base_url, "slots": 4, **model}
        one = Extracting(build(make_settings(models={"scripted": ModelSettings(**of_model)}, **(settings or {}))))  # type: ignore[arg-type]
        made.append(one)
        return one

    yield make
    for one in made:
        one.place.close()
        one.brain.close()


@pytest.fixture
def extracting(make_extracting: Callable[..., Extracting]) -> Extracting:
    """One with a model of four slots."""
    return make_extracting()
