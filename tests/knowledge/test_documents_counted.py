"""What metrics say of documents that were read: kinds of files and reasons are few, whatever a file or a reading child says."""

from __future__ import annotations

import pytest

from qzbrain import metrics
from qzbrain.errors import ParseFailed
from qzbrain.knowledge import pipeline
from qzbrain.knowledge.answers import ReadDocument, checked_answer


def read(mime_type: str, pages: int | None = None, ocr_pages: int = 0) -> ReadDocument:
    return ReadDocument("", "", mime_type, pages, [], [], {}, ocr_pages)


def test_kinds_are_told_by_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(kind: str) -> float:
        return float(metrics.DOCUMENTS_READ.labels(kind, "read")._value.get())

    kinds = {
        "application/pdf": "pdf", "text/markdown": "text", "text/csv": "sheet", "image/*": "image", "application/epub+zip": "book", "x/y": "other",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "word",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": "slides",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "sheet",
    }  # fmt: skip
    for mime_type, kind in kinds.items():
        before = value(kind)
        pipeline._count(read(mime_type))
        assert value(kind) == before + 1, mime_type


def test_pages_by_ocr_are_counted_beside_all_pages() -> None:
    pages, by_ocr = metrics.PAGES_READ._value.get(), metrics.OCR_PAGES._value.get()
    pipeline._count(read("application/pdf", 5, 2))
    pipeline._count(read("text/plain"))
    assert (metrics.PAGES_READ._value.get() - pages, metrics.OCR_PAGES._value.get() - by_ocr) == (5, 2)


def test_a_child_that_makes_reasons_up_does_not_fill_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_codes", set())
    before = {labels for labels in metrics.DOCUMENTS_READ._metrics if labels[0] == "unknown"}
    for n in range(500):
        pipeline._count(ParseFailed(f"made-up-{n}", zh="", en=""))
    after = {labels for labels in metrics.DOCUMENTS_READ._metrics if labels[0] == "unknown"}
    assert len(after - before) <= pipeline._MOST_CODES + 1
    assert ("unknown", "other") in after


@pytest.mark.parametrize("told", [-1, "3", 2.5, None, True])
def test_a_child_that_counts_nonsense_is_not_believed(told: object) -> None:
    answer = {"text": None, "title": "", "mime_type": "text/plain", "pages": None, "chunks": [], "tokens": [], "headings": {}}
    assert isinstance(checked_answer({**answer, "ocr_pages": 3}, "d", "", max_text_chars=10), ReadDocument)
    assert checked_answer({**answer, "ocr_pages": told}, "d", "", max_text_chars=10) is None
