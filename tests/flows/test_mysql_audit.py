"""The audit log on a real MariaDB: one chain over threads and processes, found out when it was changed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from qzbrain.auth.audit_trail import Fault
from qzbrain.brain import build
from qzbrain.ops.doctor import examine
from qzbrain.settings import Settings

pytestmark = pytest.mark.servers

WRITER = """
    import json, sys
    from qzbrain.brain import build
    from qzbrain.domain import Caller
    from qzbrain.settings import Settings
    brain = build(Settings(qzbrain_audit="on", **json.loads(sys.argv[1])))
    for i in range(40):
        if i % 2:
            brain.audit.record(None, Caller(sys.argv[2], "李🍣"), "document.read", str(i))
        else:
            with brain.db.write() as connection:
                brain.audit.record(connection, Caller(sys.argv[2], "李🍣"), "user.update", str(i))
    brain.close()
"""


def test_processes_make_one_chain_and_changes_are_found(mysql: dict[str, Any], make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(qzbrain_audit="on", **mysql)
    brain = build(settings)
    given = json.dumps({**mysql, "qzbrain_data": str(settings.data)}, default=str)
    running = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), given, f"p{i}"]) for i in range(3)]
    assert [one.wait(100) for one in running] == [0, 0, 0]
    found = brain.verify_audit()
    assert (found.rows, found.faults) == (120, ())
    assert brain.audit.head.read() == found.last
    with brain.db.write() as connection:
        for change in ("UPDATE", "DELETE"):
            connection.execute(text(f"DROP TRIGGER IF EXISTS audit_log_no_{change.lower()}"))
        connection.execute(text("UPDATE audit_log SET actor_id = 'x' WHERE number = 60"))
    assert brain.verify_audit().faults == (Fault("changed", 60),)
    (check,) = [one for one in examine(settings, "en") if one.id == "audit"]
    assert (check.status, "row 60" in check.evidence) == ("fail", True)
    brain.close()
