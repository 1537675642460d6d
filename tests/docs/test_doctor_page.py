"""docs/doctor.md and the doctor: every check is told, every check told is there, and every row of the manual has one."""

from __future__ import annotations

import re

from qzbrain.ops.doctor import CAUSES, PROBES, STEPS, kind
from tests.running import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w:*]+)` \| (\d) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
MANUAL = [row for row in re.findall(r"^\| ([^|`]+?) \| (`[^|]+`) \|$", PAGE, re.MULTILINE) if row[0] != "---"]


def test_every_check_is_told_once_and_every_one_told_is_there() -> None:
    told = [id for id, *_ in ROWS]
    assert len(told) == len(set(told))
    assert set(told) == set(CAUSES)


def test_every_look_is_a_check_of_its_step() -> None:
    steps = {id: int(step) for id, step, *_ in ROWS}
    assert {kind(probe.id): probe.step for probe in PROBES} == {kind(probe.id): steps[kind(probe.id)] for probe in PROBES}
    assert set(steps.values()) == set(STEPS)


def test_causes_are_checks() -> None:
    assert {name for causes in CAUSES.values() for name in causes} <= set(CAUSES)
    assert {name for probe in PROBES for name in probe.after} <= set(CAUSES)


def test_every_row_of_the_manual_has_a_check_that_is_there() -> None:
    assert len(MANUAL) >= 25
    for row, ids in MANUAL:
        assert set(re.findall(r"`([\w:*]+)`", ids)) <= set(CAUSES), row
    steps = {int(number) for row, _ in MANUAL for number in re.findall(r"^step (\d)", row)}
    assert steps == set(STEPS)
