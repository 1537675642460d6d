"""Equations of Word (OMML) as a line of text: fractions, powers, roots, sums. Pure."""

from __future__ import annotations

from typing import Any

from qzbrain.knowledge.parsers.ooxml import local

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_DEEPEST = 40


def equation(element: Any, depth: int = 0) -> str:
    """`(a+b)/c`, `x^2`, `a_i`, `√(x)`, `∑_(i=1)^n x`; what is not known gives its letters in order."""
    if depth > _DEEPEST:
        return ""
    name = local(element)
    if name == "t":
        return element.text or ""
    if name.endswith("Pr"):
        return ""

    def part(child: str) -> str:
        found = element.find(f"{M}{child}")
        return "" if found is None else equation(found, depth + 1)

    if name == "f":
        return f"{_grouped(part('num'))}/{_grouped(part('den'))}"
    if name in ("sSup", "sSub", "sSubSup", "nary"):
        sign = _sign(element) if name == "nary" else part("e")
        below, above = part("sub"), part("sup")
        return sign + (f"_{_grouped(below)}" if below else "") + (f"^{_grouped(above)}" if above else "") + (f" {part('e')}" if name == "nary" else "")
    if name == "rad":
        return f"{part('deg')}√({part('e')})"
    if name == "d":
        inner = ", ".join(equation(x, depth + 1) for x in element.iterchildren(f"{M}e"))
        return f"({inner})"
    return "".join(equation(child, depth + 1) for child in element)


def _sign(element: Any) -> str:
    sign = element.find(f"{M}naryPr/{M}chr")
    return "∫" if sign is None else sign.get(f"{M}val") or ""


def _grouped(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() else f"({text})"
