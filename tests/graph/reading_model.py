"""A language model for tests that does extract: `甲的董事长是乙。` becomes a triple with its sentence as the quote. Also what it gets wrong on request."""

from __future__ import annotations

import json
import re
from typing import Any

_PASSAGE = re.compile(r"^\[(\d+)\] (.*?)(?=\n\n\[|\n\n（|\Z)", re.MULTILINE | re.DOTALL)
_FACT = re.compile(r"([^\s。，（）]+?)(?:（简称([^）]+)）)?的(董事长|所在地|成立时间|主管部门)是([^\s。，]+)。")
_TYPES = {"董事长": "人物", "所在地": "地点", "成立时间": "时间", "主管部门": "组织"}


def read(body: dict[str, Any]) -> dict[str, Any]:
    """What stands in the request's passages."""
    entities: dict[str, dict[str, Any]] = {}
    triples: list[dict[str, Any]] = []
    for number, text in _PASSAGE.findall(body["messages"][-1]["content"]):
        for found in _FACT.finditer(text):
            head, short, relation, tail = found.groups()
            named = entities.setdefault(head, {"name": head, "type": "组织", "aliases": []})
            if short and short not in named["aliases"]:
                named["aliases"].append(short)
            entities.setdefault(tail, {"name": tail, "type": _TYPES[relation], "aliases": []})
            triples.append({"s": head, "p": relation, "o": tail, "chunk": int(number), "quote": found[0]})
    return {"entities": list(entities.values()), "triples": triples}


def reply(body: dict[str, Any]) -> list[str]:
    """The reply as an engine streams it."""
    text = json.dumps(read(body), ensure_ascii=False)
    return [text[at : at + 40] for at in range(0, len(text), 40)]


def passages(body: dict[str, Any]) -> list[str]:
    """The passages of a request."""
    return [text for _, text in _PASSAGE.findall(body["messages"][-1]["content"])]
