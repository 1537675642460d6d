"""The text of a Word paragraph or cell as it reads: runs, breaks, symbols, equations; and what hangs on it, notes and text boxes.

Left out: deleted and moved text, comments, hidden text, field codes, phonetic guides, the second copy that drawings keep for old programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from qzbrain.knowledge.parsers.equations import M, equation
from qzbrain.knowledge.parsers.numbering import W, value

_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_SKIPPED = frozenset((f"{W}del", f"{W}moveFrom", f"{W}pPr", f"{W}rPr", f"{W}tblPr", f"{W}trPr", f"{W}tcPr", f"{W}sdtPr", f"{W}rt", _FALLBACK))
_SYMBOLS = {"F0FE": "☑", "F052": "☑", "F0A8": "☐", "F06F": "☐", "F0FC": "✓", "F0FB": "✗", "F0B0": "°", "F0B1": "±", "F0B4": "×", "F0B8": "÷"}
_NOTES = {f"{W}footnoteReference": "footnote", f"{W}endnoteReference": "endnote"}


@dataclass(slots=True)
class Inline:
    """Text in reading order; `notes` (kind, id) and `boxes` (w:txbxContent) met on the way."""

    notes: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[Any] = field(default_factory=list)

    def text(self, element: Any) -> str:
        """Paragraphs inside `element` on lines of their own."""
        parts: list[str] = []
        stack = [iter((element,))]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            tag = node.tag
            if tag == f"{W}t":
                parts.append(node.text or "")
            elif tag in _NOTES:
                self.notes.append((_NOTES[tag], node.get(f"{W}id") or ""))
            elif tag == f"{W}txbxContent":
                self.boxes.append(node)
            elif tag in (f"{M}oMath", f"{M}oMathPara"):
                parts.append(equation(node))
            elif tag not in _SKIPPED and not (tag == f"{W}r" and _hidden(node)):
                parts.append(_mark(node, tag))
                if tag == f"{W}p" and parts:
                    parts.append("\n")
                elif tag == f"{W}tc":
                    parts.append(" ")
                stack.append(node.iterchildren())
        return "".join(parts).strip("\n")


def _mark(node: Any, tag: str) -> str:
    """The character that an element without text stands for."""
    if tag == f"{W}tab":
        return "\t"
    if tag in (f"{W}br", f"{W}cr"):
        return "\n"
    if tag == f"{W}noBreakHyphen":
        return "-"
    if tag == f"{W}sym":
        return _SYMBOLS.get((node.get(f"{W}char") or "").upper(), "")
    return ""


def _hidden(run: Any) -> bool:
    vanish = run.find(f"{W}rPr/{W}vanish")
    return vanish is not None and value(vanish) not in ("0", "false")


def flowed(container: Any, wrappers: frozenset[str], wanted: frozenset[str]) -> Iterator[Any]:
    """Children of the `wanted` tags in order, also those inside content controls and the like."""
    stack = [container.iterchildren()]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.tag in wanted:
            yield node
        elif node.tag in wrappers and len(stack) < 40:
            stack.append(node.iterchildren())
