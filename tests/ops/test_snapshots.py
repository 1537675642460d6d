"""Snapshots of a knowledge base, and going back to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, select

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.storage.tables import api_keys, kb_grants, knowledge_bases
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)
from tests.ops.backed_up import caller_of

KEY = {"id": "key", "user_id": "u", "name": "k", "token": "t", "shown": "qz", "at_most": "read", "created_at": "2026"}


def test_back_to_a_snapshot_and_back_again(run: Run, make_settings: Callable[..., Settings], tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "旧.txt").write_text("第一条 采购金额超过五十万元的，须经董事会批准。", encoding="utf-8")
    (tmp_path / "新.txt").write_text("第一条 采购金额超过九十万元的，须经股东会批准。", encoding="utf-8")
    assert run("kb", "add", "rules", tmp_path / "旧.txt", "--create").code == 0
    assert run("kb", "create", "other").code == 0
    brain = build(make_settings())
    kb_id = brain.knowledge.knowledge_base(caller_of(brain), "rules").id
    with brain.db.write() as connection:
        connection.execute(insert(kb_grants).values(kb_id=kb_id, user_id="u", group_id="", granted="read"))
        connection.execute(insert(api_keys).values(**KEY, knowledge_bases=["x", kb_id]))
        connection.execute(knowledge_bases.update().where(knowledge_bases.c.id == kb_id).values(level=2))
    brain.close()
    made = run("snapshot", "rules", "--name", "good", "--json")
    assert made.code == 0, made.err
    assert made.json["snapshot"]["name"] == "good"
    taken = run("snapshot", "rules", "--name", "good", "--json")
    assert (taken.code, taken.json["error"]["code"]) == (1, "snapshot_exists")
    brain = build(make_settings())
    (document,) = brain.knowledge.documents(caller_of(brain), "rules").data
    brain.close()
    assert run("kb", "rm", "rules", document.id).code == 0
    assert run("kb", "add", "rules", tmp_path / "新.txt").code == 0
    assert "股东会" in run("ask", "采购由谁批准？", "--kb", "rules").out

    back = run("rollback", "rules", "good", "--json")
    assert (back.code, back.json["status"]) == (0, "done"), back.err
    said = run("ask", "采购由谁批准？", "--kb", "rules").out
    assert "董事会" in said and "股东会" not in said
    brain = build(make_settings())
    (row,) = brain.db.rows(select(knowledge_bases.c.id, knowledge_bases.c.level).where(knowledge_bases.c.name == "rules"))
    assert row.level == 2
    assert [x.kb_id for x in brain.db.rows(select(kb_grants.c.kb_id).where(kb_grants.c.user_id == "u"))] == [row.id]
    assert brain.db.rows(select(api_keys.c.knowledge_bases))[0][0] == ["x", row.id]
    brain.close()
    listed = run("snapshot", "list", "rules", "--json").json["snapshots"]
    assert {one["name"] for one in listed} == {"good", back.json["before"]}

    assert run("rollback", "rules", back.json["before"]).code == 0
    assert "股东会" in run("ask", "采购由谁批准？", "--kb", "rules").out
    assert run("snapshot", "remove", "rules", "good").code == 0
    gone = run("rollback", "rules", "good", "--json")
    assert (gone.code, gone.json["error"]["code"]) == (1, "snapshot_not_found")
    assert run("snapshot", "a", "b", "c").code == 2
    assert run("snapshot", "none").code == 1
