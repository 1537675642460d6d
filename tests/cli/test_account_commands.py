"""`qzbrain user|group|key` and `kb rights`, as scripts use them."""

from __future__ import annotations

import io
import json

import pytest

from tests.cli.conftest import Outcome, Run

GOOD = "vier graue Kraniche"


def lines(outcome: Outcome) -> list[dict[str, object]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_user_from_beginning_to_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run("user", "add", "Ann", "--role", "editor", "--display-name", "安", "--json")
    assert made.code == 0, made.err
    assert (made.json["username"], made.json["role"], made.json["clearance"], made.json["password"]) == ("ann", "editor", "internal", False)
    assert "/password?token=" in made.json["link"]
    typed(monkeypatch, GOOD + "\n")
    root = run("user", "add", "root", "--role", "administrator", "--clearance", "top_secret", "--password-stdin", "--json").json
    assert (root["password"], root["link"]) == (True, None)
    assert [one["username"] for one in lines(run("user", "list", "--json"))] == ["ann", "root"]
    assert "ann" in run("user", "list").out
    changed = run("user", "set", "ann", "--clearance", "secret", "--disable", "--json").json
    assert (changed["clearance"], changed["disabled"]) == ("secret", True)
    assert run("user", "set", "ann", "--enable", "--rename", "anna", "--json").json["username"] == "anna"
    link = run("user", "link", "anna")
    assert link.out.startswith("http://127.0.0.1:9025/password?token=")
    assert run("user", "sign-out", "anna", "--json").json == {"ended": 0}
    assert run("user", "rm", "anna", "--json").json == {"removed": "anna"}
    last = run("user", "rm", "root", "--json")
    assert (last.code, last.json["error"]["code"]) == (1, "last_administrator")


def test_what_is_wrong_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("user", "set", "ann").code == 2
    assert run("user", "add", "ann", "--role", "king").code == 2
    unknown = run("user", "link", "nobody", "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (1, "user_not_found")
    typed(monkeypatch, "1234567890\n")
    weak = run("user", "add", "ann", "--password-stdin", "--json")
    assert (weak.code, weak.json["error"]["code"]) == (1, "password_refused")
    assert run("user", "list").out == ""


def test_the_set_up_link_is_there_until_there_is_a_user(run: Run) -> None:
    first, second = (run("user", "setup-link", "--json").json for _ in range(2))
    assert first["url"].startswith("http://127.0.0.1:9025/setup?token=")
    assert first["url"] != second["url"]
    run("user", "add", "root", "--role", "administrator")
    over = run("user", "setup-link", "--json")
    assert (over.code, over.json["error"]["code"]) == (1, "set_up")


def test_groups_and_rights(run: Run) -> None:
    for name in ("ann", "bob"):
        run("user", "add", name)
    assert run("group", "add", "law", "--member", "ann", "--json").json["members"][0]["name"] == "ann"
    changed = run("group", "set", "law", "--add", "bob", "--remove", "ann", "--description", "法务", "--json").json
    assert ([one["name"] for one in changed["members"]], changed["description"]) == (["bob"], "法务")
    assert "law" in run("group", "list").out
    run("kb", "create", "k")
    given = run("kb", "rights", "k", "--grant", "group:law=write", "--grant", "ann=manage", "--grant", "everyone=read", "--level", "secret", "--json").json
    assert given["level"] == "secret"
    assert [(one["user"] or one["group"], one["right"]) for one in given["grants"]] == [("everyone", "read"), ("law", "write"), ("ann", "manage")]
    left = run("kb", "rights", "k", "--revoke", "everyone", "--revoke", "group:law", "--grant", "ann=read", "--json").json
    assert [(one["user"], one["right"]) for one in left["grants"]] == [("ann", "read")]
    assert left["level"] == "secret"
    assert "ann" in run("kb", "rights", "k").out
    assert run("kb", "rights", "k", "--grant", "ann").code == 2
    assert run("kb", "rights", "k", "--grant", "nobody=read", "--json").json["error"]["code"] == "user_not_found"
    assert run("group", "rm", "law", "--json").json == {"removed": "law"}


def test_keys(run: Run) -> None:
    run("user", "add", "ann")
    run("kb", "create", "k")
    made = run("key", "create", "ann", "script", "--right", "read", "--kb", "k", "--expires", "2999-01-01", "--json").json
    assert made["key"].startswith(made["shown"])
    assert (made["right"], len(made["knowledge_bases"]), made["username"]) == ("read", 1, "ann")
    (listed,) = lines(run("key", "list", "--json"))
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in run("key", "list").out
    assert run("key", "rm", made["id"], "--json").json == {"removed": made["id"]}
    again = run("key", "rm", made["id"], "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "key_not_found")
    plain = run("key", "create", "ann", "other")
    assert plain.out.startswith("qzb_")
    assert run("key", "list", "--user", "ann").code == 0
