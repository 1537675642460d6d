"""Why an engine's reply cannot be used, in both languages, before it becomes an `EngineUnavailable` that names the model."""

from __future__ import annotations

LONGEST_QUOTE = 300


class EngineFault(Exception):
    """The engine cannot be reached, or its reply is not an answer. `zh` and `en` are clauses without a full stop, bounded in length.

    `lost`: there was no connection, or it ended before the reply did, as it does when an engine dies.
    """

    def __init__(self, zh: str, en: str, *, status: int = 0, retry_after_s: int | None = None, lost: bool = False) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en
        self.status, self.retry_after_s, self.lost = status, retry_after_s, lost


def shortened(text: str) -> str:
    """One line of at most 300 characters, to quote what an engine sent."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def quoted(data: bytes) -> str:
    """The beginning of some bytes, readable."""
    return repr(shortened(data[:80].decode("utf-8", "replace")))
