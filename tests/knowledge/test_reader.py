"""The reading child among hostile files: only the guilty one fails, in time, with a reason."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from qzbrain.errors import Cancelled, ParseFailed
from qzbrain.knowledge.answers import Reached, ReadDocument, checked_answer
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import Settings

_HOSTILE = (sys.executable, str(Path(__file__).parent / "hostile_child.py"))
Read = Callable[[Mapping[str, str]], dict[str, str]]


def _request(path: Path) -> ReadRequest:
    return ReadRequest(document_id=path.name, kb_id="k", name=path.name, chunk_chars=250, overlap_chars=50, path=path)


@pytest.fixture
def reader(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    made = Reader(make_settings(parse_timeout_s=5, parse_memory_mb=512), _HOSTILE)
    yield made
    made.close()


@pytest.fixture
def read(reader: Reader, tmp_path: Path) -> Read:
    """Read texts as files; by name `ok`, or the code of the failure."""

    def all_of(texts: Mapping[str, str]) -> dict[str, str]:
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        requests = [_request(tmp_path / name) for name in texts]
        found = [(x.document_id, y) for x, y in reader.read(requests, beat=lambda _: None)]
        assert [name for name, _ in found] == list(texts), "answers keep the order of the requests"
        return {name: outcome.code if isinstance(outcome, ParseFailed) else "ok" for name, outcome in found}

    return all_of


_GOOD = {f"good{n}": f"第{n}号文件：采购须经批准。" for n in range(6)}


@pytest.mark.parametrize(
    ("word", "code"), [("CRASH", "crashed"), ("HANG", "timeout"), ("HOG", "too_large"), ("LIE", "crashed"), ("BUG", "broken"), ("WRITE", "broken")]
)
def test_only_the_guilty_fails(read: Read, word: str, code: str) -> None:
    texts = {**dict(list(_GOOD.items())[:3]), "bad": word, **dict(list(_GOOD.items())[3:])}
    assert read(texts) == {**dict.fromkeys(texts, "ok"), "bad": code}


@pytest.fixture
def hasty(reader: Reader, make_settings: Callable[..., Settings]) -> Iterator[Reader]:
    """A reader with shorter times than an installation may set."""
    made = Reader(make_settings().model_copy(update={"parse_timeout_s": 4, "parse_total_timeout_s": 8}), _HOSTILE)
    yield made
    made.close()


@pytest.mark.parametrize(("word", "outcome", "steps"), [("STEPS", "ok", 5), ("FOREVER", "timeout", 5), ("TALK", "timeout", 1), ("LIAR", "timeout", 0)])
def test_steps_forward_give_more_time_and_talk_does_not(hasty: Reader, tmp_path: Path, word: str, outcome: str, steps: int) -> None:
    texts = {"a": "文件一。", "bad": f"{word} 采购须经批准。", "b": "文件二。"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    told: list[int] = []

    def progress(request: ReadRequest, reached: Reached) -> None:
        assert (request.document_id, reached.unit) == ("bad", "pages")
        told.append(reached.done)

    found = list(hasty.read([_request(tmp_path / name) for name in texts], beat=lambda _: None, progress=progress))
    codes = {x.document_id: y.code if isinstance(y, ParseFailed) else "ok" for x, y in found}
    assert codes == {"a": "ok", "bad": outcome, "b": "ok"}
    assert told == sorted(set(told))
    assert (len(told) >= steps) if steps > 1 else (len(told) == steps)


def test_several_guilty_ones_in_a_row(read: Read) -> None:
    texts = {"a": "CRASH", "b": "文件一。", "c": "CRASH", "d": "CRASH", "e": "文件二。"}
    assert read(texts) == {"a": "crashed", "b": "ok", "c": "crashed", "d": "crashed", "e": "ok"}


def test_a_child_that_died_for_another_reason_is_given_a_second_chance(read: Read) -> None:
    assert read({"a": "ONCE 采购须经批准。", "b": "文件。"}) == {"a": "ok", "b": "ok"}


def test_what_the_caller_raises_while_waiting_ends_the_child(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("HANG")
    began = time.monotonic()

    def beat(request: ReadRequest) -> None:
        assert request.document_id == "a"
        raise Cancelled

    with pytest.raises(Cancelled):
        list(reader.read([_request(tmp_path / "a")], beat=beat))
    assert time.monotonic() - began < 3
    (tmp_path / "b").write_text("文件。")
    assert [type(x) for _, x in reader.read([_request(tmp_path / "b")], beat=lambda _: None)] == [ReadDocument]


def test_a_child_that_cannot_start_blames_no_document(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "a").write_text("文件。")
    reader = Reader(make_settings(), (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(RuntimeError):
        list(reader.read([_request(tmp_path / "a")], beat=lambda _: None))


def test_many_texts_and_one_longer_than_the_pipe(reader: Reader) -> None:
    texts = [f"第{n}条 采购须经批准。" for n in range(1500)] + ["采购须经批准。" * 60_000] + ["末尾。"]
    requests = [ReadRequest(str(n), "k", "t", 250, 50, text=text) for n, text in enumerate(texts)]
    found = list(reader.read(requests, beat=lambda _: None))
    assert [x.document_id for x, _ in found] == [str(n) for n in range(len(texts))]
    assert all(isinstance(y, ReadDocument) and y.text == texts[int(x.document_id)] and len(y.tokens) == len(y.chunks) > 0 for x, y in found)


_SOUND = {
    "text": "采购须经批准。",
    "title": "t",
    "mime_type": "text/plain",
    "pages": None,
    "chunks": [[0, 7, None, ["章"], "1"]],
    "tokens": ["采购"],
    "headings": {"t": "t", "章": "章"},
}


def test_a_sound_answer_is_believed() -> None:
    outcome = checked_answer(_SOUND, "d", None, max_text_chars=100)
    assert isinstance(outcome, ReadDocument)
    assert (outcome.chunks[0].text, outcome.chunks[0].heading_path, outcome.chunks[0].reference) == ("采购须经批准。", ("章",), "1")


@pytest.mark.parametrize(
    "change",
    [
        {"text": 5},
        {"text": "长" * 101},
        {"chunks": [[0, 8, None, [], ""]]},
        {"chunks": [[-1, 3, None, [], ""]]},
        {"chunks": [[3, 3, None, [], ""]]},
        {"chunks": [[0, 3, "1", [], ""]]},
        {"chunks": [[0, 3, None, [5], ""]]},
        {"chunks": [[0, 3]]},
        {"chunks": None},
        {"tokens": []},
        {"tokens": [7]},
        {"headings": ["章"]},
        {"headings": {"章": 7}},
        {"pages": "x"},
        {"failed": "x"},
    ],
)
def test_answers_that_do_not_fit_are_not_believed(change: dict[str, object]) -> None:
    assert checked_answer({**_SOUND, **change}, "d", None, max_text_chars=100) is None
    assert checked_answer(["x"], "d", None, max_text_chars=100) is None
