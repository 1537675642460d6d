"""What an entry contradicts: another entry that answers nearly the same question otherwise, or a passage that states another number for the same thing.

Conservative: it is told, and hinders nothing. A passage counts only where a sentence that shares the question's terms gives a number of the same unit that the
answer gives, and none of the answer's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from qzbrain.domain import Hit
from qzbrain.knowledge.entries.entry import EntryFields
from qzbrain.retrieval.entry_matching import match
from qzbrain.text.normalize import searchable
from qzbrain.text.numerals import chinese_number
from qzbrain.text.sentences import sentences
from qzbrain.text.tokenize import query_terms

ALIKE = 0.85
SHARED = 0.5
MOST = 5
_COMPARED = 3
_QUANTITY = re.compile(
    r"(\d+(?:\.\d+)?|[零〇一二两三四五六七八九十百千万]{1,9})\s*(个工作日|工作日|个月|小时|分钟|万元|亿元|公里|千米|平方米|天|日|年|月|周|元|岁|人|名|次|倍|份|%|％|度|米|克|吨|级|折)"
)


@dataclass(frozen=True, slots=True)
class Conflict:
    """`kind` entry: `entry_id` answers this question otherwise; document: the passage at `start:end` of `document_id` states `quote`."""

    kind: str
    quote: str
    entry_id: str = ""
    question: str = ""
    document_id: str = ""
    document: str = ""
    start: int = 0
    end: int = 0


class OtherEntries:
    """Entries to compare with, found by the terms that their questions share with another: linear in what is asked, not in how many there are."""

    def __init__(self, known: Iterable[tuple[str, EntryFields]] = ()) -> None:
        self._fields: dict[str, EntryFields] = {}
        self._by_term: dict[str, list[tuple[str, str]]] = {}
        for entry_id, fields in known:
            self.add(entry_id, fields)

    def add(self, entry_id: str, fields: EntryFields) -> None:
        """One more, or a new version of one."""
        self._fields[entry_id] = fields
        for question in _asked(fields):
            for term in query_terms(question):
                self._by_term.setdefault(term, []).append((entry_id, question))

    def conflicts(self, entry_id: str, fields: EntryFields) -> list[Conflict]:
        """Other entries that answer nearly the same question with other words."""
        found: dict[str, Conflict] = {}
        for question in _asked(fields):
            terms = sorted(query_terms(question), key=lambda term: len(self._by_term.get(term, ())))
            for other, asked in dict.fromkeys(one for term in terms[:_COMPARED] for one in self._by_term.get(term, ())[:200]):
                there = self._fields[other]
                if other != entry_id and other not in found and there.answer != fields.answer and match(question, asked) >= ALIKE:
                    found[other] = Conflict("entry", there.answer[:300], entry_id=other, question=there.question or asked)
        return list(found.values())[:MOST]


def with_documents(fields: EntryFields, search: Callable[[str], Sequence[Hit]]) -> list[Conflict]:
    """Passages that state another quantity for what the entry answers. `search`: the best hits of documents."""
    given = _quantities(fields.answer)
    if not fields.question or not given:
        return []
    asked = set(query_terms(fields.question))
    found: list[Conflict] = []
    for hit in search(fields.question):
        for start, end in sentences(hit.text):
            sentence = hit.text[start:end]
            said = _quantities(sentence)
            shared = asked & set(query_terms(sentence))
            units = {unit for _, unit in said} & {unit for _, unit in given}
            if asked and len(shared) >= SHARED * len(asked) and units and not said & given:
                found.append(
                    Conflict("document", sentence.strip(), document_id=hit.document_id, document=hit.document, start=hit.start + start, end=hit.start + end)
                )
    return found[:MOST]


def _asked(fields: EntryFields) -> list[str]:
    return [*([fields.question] if fields.question else []), *fields.variants]


def _quantities(text: str) -> set[tuple[str, str]]:
    """(number, unit), Chinese numerals as digits."""
    found = set()
    for number, unit in _QUANTITY.findall(searchable(text)):
        try:
            value = number if number[0].isdigit() else str(chinese_number(number))
        except ValueError:
            continue
        found.add((value, unit.replace("％", "%").replace("个工作日", "工作日")))
    return found
