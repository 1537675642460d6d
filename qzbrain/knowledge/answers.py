"""What the reading child says, checked: shapes, offsets and lengths are believed only when they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qzbrain import logs
from qzbrain.domain import ChunkDraft
from qzbrain.errors import ParseFailed

log = logs.get(__name__)
_LONGEST_TITLE = 255
_LONGEST_REFERENCE = 32
_MOST_UNITS = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document as it will be stored; `tokens[i]` are those of `chunks[i]`, `headings` those of title and headings by their text."""

    text: str
    title: str
    mime_type: str
    pages: int | None
    chunks: list[ChunkDraft]
    tokens: list[str]
    headings: dict[str, str]
    ocr_pages: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the reading of a document is: `done` of `total` pages, rows or chunks."""

    done: int
    total: int
    unit: str


def checked_progress(told: Any) -> Reached | None:
    """What a child's progress frame says; None when it makes no sense, which changes nothing."""
    match told:
        case {"progress": [int(done), int(total), "pages" | "rows" | "chunks" as unit]} if 0 <= done <= total <= _MOST_UNITS:
            return Reached(int(done), int(total), unit)
    return None


def checked_answer(answer: Any, document_id: str, given_text: str | None, *, max_text_chars: int) -> ReadDocument | ParseFailed | None:
    """The document, or why it cannot be read; None for an answer that no sound child gives. `given_text`: the text, if it was ours."""
    if not isinstance(answer, dict):
        return None
    if answer.get("out_of_memory") is True:
        return _out_of_memory()
    if "bug" in answer:
        log.error("parser_bug", document_id=document_id, traceback=str(answer["bug"])[:4000])
        return _bug()
    try:
        if "failed" in answer:
            failed = answer["failed"]
            return ParseFailed(str(failed["code"])[:64], zh=str(failed["zh"])[:2000], en=str(failed["en"])[:2000])
        return _document(answer, given_text, max_text_chars)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        log.warning("reading_child_nonsense", document_id=document_id, error=repr(exc)[:200])
        return None


def _document(answer: dict[str, Any], given_text: str | None, max_text_chars: int) -> ReadDocument:
    text = _text(answer["text"]) if given_text is None else given_text
    pages, by_ocr = answer["pages"], answer.get("ocr_pages", 0)
    drafts = [_draft(ordinal, one, text) for ordinal, one in enumerate(answer["chunks"])]
    tokens = [_text(x) for x in answer["tokens"]]
    headings = {_text(heading): _text(x) for heading, x in answer["headings"].items()}
    if len(text) > max_text_chars or len(tokens) != len(drafts) or not (pages is None or isinstance(pages, int)) or type(by_ocr) is not int or by_ocr < 0:
        raise ValueError("lengths do not fit")
    return ReadDocument(text, _text(answer["title"])[:_LONGEST_TITLE], _text(answer["mime_type"])[:127], pages, drafts, tokens, headings, by_ocr)


def _draft(ordinal: int, one: Any, text: str) -> ChunkDraft:
    start, end, page, path, reference = one
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)) or not (page is None or isinstance(page, int)):
        raise ValueError("offsets do not fit")
    if not all(type(x) is str for x in path):
        raise TypeError("no text")
    return ChunkDraft(ordinal, start, end, text[start:end], page, tuple(path), _text(reference)[:_LONGEST_REFERENCE])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _out_of_memory() -> ParseFailed:
    return ParseFailed(
        "too_large",
        zh="读取该文件所需内存超过上限。请拆分文件，或调高 PARSE_MEMORY_MB。",
        en="Reading this file takes more memory than allowed. Split the file, or raise PARSE_MEMORY_MB.",
    )


def _bug() -> ParseFailed:
    return ParseFailed(
        "broken",
        zh="读取该文件时程序出错，文件可能已损坏。请另存为其他格式后重试；详情见日志。",
        en="The reader failed on this file; it may be damaged. Save it in another format and try again; the log has the details.",
    )
