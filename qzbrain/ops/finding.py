"""What one of the doctor's checks has found, in both languages (Chinese first)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Text = tuple[str, str]
_NOTHING: Text = ("", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """`evidence`: what was seen; `next`: what to do, empty when nothing is to be done."""

    id: str
    step: int
    title: Text
    status: Literal["ok", "warn", "fail", "skip"]
    evidence: Text
    next: Text = _NOTHING

    @classmethod
    def ok(cls, id: str, step: int, title: Text, evidence: Text) -> Finding:
        """All is well."""
        return cls(id, step, title, "ok", evidence)

    @classmethod
    def warn(cls, id: str, step: int, title: Text, evidence: Text, next: Text) -> Finding:
        """It works, and something should be done."""
        return cls(id, step, title, "warn", evidence, next)

    @classmethod
    def fail(cls, id: str, step: int, title: Text, evidence: Text, next: Text) -> Finding:
        """It does not work."""
        return cls(id, step, title, "fail", evidence, next)

    @classmethod
    def skip(cls, id: str, step: int, title: Text, evidence: Text, next: Text) -> Finding:
        """Could not be looked at, or does not apply."""
        return cls(id, step, title, "skip", evidence, next)
