"""A brain that knows two laws, and an engine for it; each test asks in its own conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qzbrain
from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.chat.service import Turn
from qzbrain.domain import Answer, Caller, Done, StreamEvent
from qzbrain.settings import ModelSettings, Settings
from qzbrain.worker import work_inline
from tests.engine import Engine

SAMPLES = Path(qzbrain.__file__).parent / "samples/laws"
LAWS = ("中华人民共和国行政处罚法.md", "中华人民共和国劳动合同法.md")
ENGLISH = """# The Old Bridge

The Old Bridge was built in 1742 by the engineer Anna Holm. It crosses the river Vell near the market.
In 1893 a flood destroyed its southern arch. The arch was rebuilt in iron two years later.
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Brain]:
    """Knowledge bases `laws` (refuses without evidence) and `open` (the model may answer); models m, away, small and crowded."""

    def external(**more: object) -> ModelSettings:
        return ModelSettings(**{"engine": "external", "base_url": engine.base_url, "first_token_timeout_s": 2, "idle_timeout_s": 2, **more})

    models = {
        "m": external(slots=50),
        "away": external(base_url="http://127.0.0.1:9/v1"),
        "small": external(context=1000),
        "crowded": external(slots=1, queue=1, queue_timeout_s=5),
    }
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("knowing"), models=models))
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="laws")
    brain.knowledge.create(caller, name="open", without_evidence="model")
    for name in LAWS:
        with (SAMPLES / name).open("rb") as stream:
            brain.knowledge.add_file(caller, "laws", name, stream)
    brain.knowledge.add_text(caller, "open", "bridge.md", ENGLISH)
    work_inline(brain, lambda: all(kb.documents.pending == 0 for kb in brain.knowledge.knowledge_bases(caller).data))
    yield brain
    brain.close()


@pytest.fixture
def me(knowing: Brain) -> Caller:
    return knowing.access.local_caller("zh")


Asking = Callable[..., list[StreamEvent]]


@pytest.fixture
def asking(knowing: Brain, me: Caller, engine: Engine) -> Asking:
    """Ask and collect all events; the engine's script is the default one at the start of each test."""
    engine.script()

    def ask(question: str, model: str = "extractive@laws", *, caller: Caller = me, **fields: object) -> list[StreamEvent]:
        turn: Turn = knowing.chat.begin(caller, Ask(question, model=model, **fields))
        return list(knowing.chat.answer(turn))

    return ask


def answer_of(events: list[StreamEvent]) -> Answer:
    """The answer object of a turn that ended well."""
    last = events[-1]
    assert isinstance(last, Done), last
    return last.answer
