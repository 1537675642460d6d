"""The deployment manual as a test reads it: its fenced blocks, in order, and what must be in their output.

    ```sh run           executed as it stands, in one shell from beginning to end
    ```sh run network   executed with the machine's network, in a shell of its own
    ```sh check         executed likewise; changes nothing, so it may be run again in the other language
    ```text expect      what the block above prints: these texts, in this order, `…` for anything within a line
    ```sh               not executed: needs what a clean root does not have
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.running import ROOT

LANGUAGES = {"en": "docs/deploy.md", "zh": "docs/deploy.zh-CN.md"}
_FENCE = re.compile(r"^```(\w+)(?: ([a-z ]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`tags`: what stands behind the language of the fence; `expected`: lines of the block that follows."""

    step: str
    tags: frozenset[str]
    text: str
    expected: tuple[str, ...]

    @property
    def executed(self) -> bool:
        """Whether the test runs it."""
        return bool(self.tags & {"run", "check"})


def blocks(language: str) -> list[Block]:
    """All commands of the manual in one language."""
    text = (ROOT / LANGUAGES[language]).read_text(encoding="utf-8")
    found: list[Block] = []
    for fence in _FENCE.finditer(text):
        kind, tags, body = fence[1], frozenset((fence[2] or "").split()), fence[3]
        step = re.findall(r"^## (.*)$", text[: fence.start()], re.MULTILINE)[-1]
        if kind == "sh":
            found.append(Block(step, tags, body, ()))
        elif kind == "text" and "expect" in tags:
            last = found[-1]
            assert last.executed and not last.expected, f"nothing that is executed stands above: {body}"
            found[-1] = Block(last.step, last.tags, last.text, tuple(body.splitlines()))
    return found


def missing(expected: tuple[str, ...], output: str) -> str:
    """The first expected text that is not in the output, or not in order; '' when all are."""
    at = 0
    for line in expected:
        found = re.compile(re.escape(line).replace("…", ".*")).search(output, at)
        if found is None:
            return line
        at = found.end()
    return ""
