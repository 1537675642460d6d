"""The audit log: rows in a chain that shows every change, across threads and processes; the file that keeps its head; what verifying and the doctor say."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from qzbrain.auth.audit import AuditLog
from qzbrain.auth.audit_head import HeadFile
from qzbrain.auth.audit_trail import Fault, Verified, Wanted
from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.errors import InvalidRequest
from qzbrain.ops.doctor import examine
from qzbrain.settings import Settings
from qzbrain.storage.tables import audit_log, documents, knowledge_bases

LI = Caller("u1", "li", key_id="k1", address="10.0.0.7")
OPEN = ("DROP TRIGGER IF EXISTS audit_log_no_update", "DROP TRIGGER IF EXISTS audit_log_no_delete")


@pytest.fixture
def brain(make_settings: Callable[..., Settings]) -> Brain:
    return build(make_settings(qzbrain_audit="on"))


def filled(brain: Brain, number: int = 8) -> Brain:
    for i in range(number):
        brain.audit.record(None, LI, "document.read", f"d{i}", details={"n": i})
    return brain


def tampered(brain: Brain, *statements: str) -> Verified:
    """What verifying finds after somebody who can write the database went round the triggers."""
    with brain.db.write() as connection:
        for statement in (*OPEN, *statements):
            connection.execute(text(statement))
    return brain.verify_audit()


def test_rows_are_numbered_and_chained_and_hold_who_did_what(brain: Brain) -> None:
    brain.audit.record(None, LI, "user.create", "u2", details={"role": "reader", "b": 1})
    with brain.db.write() as connection:
        brain.audit.record(connection, LI, "group.create", "g1", outcome="done")
        brain.audit.record(connection, LI, "group.delete", "g1")
    rows = brain.db.rows(select(audit_log).order_by(audit_log.c.number))
    assert [(row.number, row.action, row.subject) for row in rows] == [(1, "user.create", "u2"), (2, "group.create", "g1"), (3, "group.delete", "g1")]
    first = rows[0]
    assert (first.actor_id, first.actor, first.key_id, first.address, first.outcome) == ("u1", "li", "k1", "10.0.0.7", "done")
    assert first.details == '{"b":1,"role":"reader"}'
    found = brain.verify_audit()
    assert (found.rows, found.faults) == (3, ())
    assert brain.audit.head.read() == found.last


def test_an_event_goes_with_the_transaction_of_its_change(brain: Brain) -> None:
    with pytest.raises(ValueError, match="no"), brain.db.write() as connection:
        brain.audit.record(connection, LI, "user.create", "u2")
        raise ValueError("no")
    assert brain.verify_audit() == Verified(0, None, ())
    brain.audit.record(None, LI, "user.create", "u3")
    assert brain.verify_audit().rows == 1


def test_without_accounts_nothing_is_written(make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings())
    assert brain.audit.record(None, LI, "user.create", "u2").wait()
    with brain.db.write() as connection:
        brain.audit.record(connection, LI, "user.create", "u2")
    assert brain.verify_audit().rows == 0
    assert not HeadFile.of(brain.settings).read()


def test_the_level_is_the_highest_of_what_was_shown(brain: Brain) -> None:
    base = {"id": "k", "name": "kb", "chunk_chars": 250, "overlap_chars": 50, "manifest": {}, "created_at": "2026"}
    row = {"kb_id": "k", "name": "a", "status": "ready", "sha256": "", "size_bytes": 1, "created_at": "2026"}
    with brain.db.write() as connection:
        connection.execute(insert(knowledge_bases).values(base))
        for i, level in enumerate((0, 3, 2)):
            connection.execute(insert(documents).values({**row, "id": f"d{i}", "identity": f"d{i}", "level": level}))
    brain.audit.record(None, LI, "search", documents=["d0", "d2"])
    brain.audit.record(None, LI, "search", documents=["d0", "d1", "gone"], level=1)
    rows = brain.db.rows(select(audit_log.c.level, audit_log.c.details).order_by(audit_log.c.number))
    assert [row.level for row in rows] == [2, 3]
    assert orjson.loads(rows[1].details) == {"documents": ["d0", "d1", "gone"]}


def test_the_database_itself_refuses_to_change_or_delete(brain: Brain) -> None:
    filled(brain, 2)
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log WHERE number = 1"):
        with pytest.raises(DBAPIError, match="only added to"), brain.db.write() as connection:
            connection.execute(text(statement))
    assert brain.verify_audit().rows == 2


SWAP = ("UPDATE audit_log SET number = 999 WHERE number = {0}", "UPDATE audit_log SET number = {0} WHERE number = {1}",
        "UPDATE audit_log SET number = {1} WHERE number = 999")  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        (["UPDATE audit_log SET actor = 'wang' WHERE number = 3"], [Fault("changed", 3)]),
        (["UPDATE audit_log SET details = '' WHERE number = 8"], [Fault("changed", 8)]),
        ([f"UPDATE audit_log SET hash = '{'0' * 64}' WHERE number = 8"], [Fault("changed", 8)]),
        (["DELETE FROM audit_log WHERE number = 5"], [Fault("missing", 5, upto=5)]),
        (["DELETE FROM audit_log WHERE number < 3"], [Fault("missing", 1, upto=2)]),
        (["DELETE FROM audit_log WHERE number BETWEEN 4 AND 6"], [Fault("missing", 4, upto=6)]),
        (["DELETE FROM audit_log WHERE number = 8"], [Fault("cut_off", 8)]),
        (["DELETE FROM audit_log"], [Fault("cut_off", 8)]),
        ([x.format(2, 6) for x in SWAP], [Fault("moved", 2, was=6), Fault("moved", 6, was=2)]),
        ([x.format(4, 5) for x in SWAP], [Fault("moved", 4, was=5), Fault("moved", 5, was=4)]),
        (["DELETE FROM audit_log WHERE number = 5", "UPDATE audit_log SET number = number - 1 WHERE number > 5"],
         [Fault("changed", 5), Fault("moved", 6, was=7), Fault("moved", 7, was=8), Fault("cut_off", 8)]),
    ],
)  # fmt: skip
def test_whatever_is_done_to_the_rows_is_found(brain: Brain, statements: list[str], faults: list[Fault]) -> None:
    found = tampered(filled(brain), *statements)
    kinds = [(x.kind, x.number, x.was) for x in found.faults]
    wanted = [(x.kind, x.number, x.was) for x in faults]
    assert kinds == wanted or (faults[0].kind == "changed" and kinds[-1] == wanted[-1] and len(kinds) >= 2 and len(wanted) > 2), found.faults
    (check,) = [one for one in examine(brain.settings, "en") if one.id == "audit"]
    assert check.status == "fail"
    assert f"row{'s' if faults[0].upto > faults[0].number else ''} {faults[0].number}" in check.evidence


def test_the_doctor_is_content_with_a_whole_log_and_warns_without_its_head(brain: Brain) -> None:
    (check,) = [one for one in examine(brain.settings, "zh") if one.id == "audit"]
    assert check.status == "skip"
    filled(brain, 3)
    (check,) = [one for one in examine(brain.settings, "zh") if one.id == "audit"]
    assert (check.status, check.evidence) == ("ok", "3 条，校验链完整")
    path = brain.settings.data / "audit.head"
    path.write_bytes(b"nonsense")
    (check,) = [one for one in examine(brain.settings, "zh") if one.id == "audit"]
    assert check.status == "fail"
    path.unlink()
    (check,) = [one for one in examine(brain.settings, "zh") if one.id == "audit"]
    assert check.status == "warn"


def test_new_events_do_not_cover_up_that_the_end_was_cut_off(brain: Brain) -> None:
    filled(brain, 6)
    tampered(brain, "DELETE FROM audit_log WHERE number > 3")
    filled(brain, 6)
    again = AuditLog(brain.db, HeadFile.of(brain.settings), active=True)  # another process, which knows nothing
    again.record(None, LI, "document.read", "x")
    assert brain.verify_audit().faults == (Fault("cut_off", 6),)
    last = brain.verify_audit().last
    assert last is not None
    brain.audit.head.accept(last.number, last.hash)
    assert brain.verify_audit().faults == ()


def test_processes_that_write_at_once_make_one_chain(brain: Brain) -> None:
    code = """
        import sys
        from pathlib import Path
        from qzbrain.brain import build
        from qzbrain.domain import Caller
        from qzbrain.settings import Settings
        brain = build(Settings(qzbrain_data=Path(sys.argv[1]), qzbrain_audit="on"))
        for i in range(60):
            if i % 2:
                brain.audit.record(None, Caller(sys.argv[2], "x"), "document.read", str(i))
            else:
                with brain.db.write() as connection:
                    brain.audit.record(connection, Caller(sys.argv[2], "x"), "user.update", str(i))
        brain.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(brain.settings.data)]
    running = [subprocess.Popen([*command, f"p{i}"]) for i in range(4)]
    assert [one.wait(100) for one in running] == [0, 0, 0, 0]
    found = brain.verify_audit()
    assert (found.rows, found.faults) == (240, ())
    for i in range(4):
        mine = [row.subject for row in brain.db.rows(select(audit_log.c.subject).where(audit_log.c.actor_id == f"p{i}").order_by(audit_log.c.number))]
        assert mine == [str(n) for n in range(60)]


def test_pages_filters_and_exports(brain: Brain, tmp_path: Path) -> None:
    who = brain.access.local_caller()
    filled(brain, 5)
    brain.audit.record(None, Caller("u2", "=cmd()"), "session.create", outcome="refused")
    trail = brain.audit_trail
    first = trail.page(who, Wanted(), limit=4)
    assert [x.number for x in first.data] == [6, 5, 4, 3]
    assert first.next == "3"
    assert [x.number for x in trail.page(who, Wanted(), limit=4, after=first.next).data] == [2, 1]
    assert [x.number for x in trail.page(who, Wanted(actor="u2")).data] == [6]
    assert len(trail.page(who, Wanted(action="document", actor="li")).data) == 5
    assert len(trail.page(who, Wanted(action="doc")).data) == 0
    day = first.data[0].at[:10]
    assert len(trail.page(who, Wanted(since=day, until=day)).data) == 6
    assert len(trail.page(who, Wanted(until="2020")).data) == 0
    with pytest.raises(InvalidRequest):
        trail.page(who, Wanted(), after="x")
    lines = b"".join(trail.export(who, Wanted(), "jsonl")).splitlines()
    assert [orjson.loads(line)["number"] for line in lines] == [1, 2, 3, 4, 5, 6]
    sheet = b"".join(trail.export(who, Wanted(action="session"), "csv")).decode()
    assert sheet.startswith("\ufeffnumber,at,actor_id,actor")
    assert ",'=cmd()," in sheet  # no formula in a spreadsheet
