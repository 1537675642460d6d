"""What tests of the command line share: a command, run, and what it left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qzbrain.cli.app import main


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command over a data folder of the test's own; no brain is running there."""
    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("QZBRAIN_EMBEDDER", "none")

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["qzbrain", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, out, err)

    return command
