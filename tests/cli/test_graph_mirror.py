"""`qzbrain graph mirror …` as users type it, against a real Neo4j; and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.graph.base import Fact, Place
from qzbrain.settings import Settings
from tests.running import ROOT
from tests.servers.neo4j_server import Neo4jServer


def run(data: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    outer = {key: value for key, value in os.environ.items() if not key.startswith(("QZBRAIN_", "NEO4J"))}
    settings = {"QZBRAIN_DATA": str(data), "QZBRAIN_EMBEDDER": "none", "QZBRAIN_LANG": "en", **environment}
    command = [sys.executable, "-m", "qzbrain.cli", "graph", "mirror", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, env={**outer, **settings}, capture_output=True, text=True, timeout=100)
    return done.returncode, json.loads(done.stdout or done.stderr)


def test_without_neo4j_it_says_how_to_have_it(tmp_path: Path) -> None:
    code, said = run(tmp_path / "data", "status")
    assert code == 1 and said["error"]["code"] == "neo4j_not_set" and "NEO4J_URL" in said["error"]["message"]


@pytest.mark.servers
def test_a_copy_is_made_anew_and_told_of(tmp_path: Path, neo4j_server: Neo4jServer) -> None:
    data = tmp_path / "data"
    brain = build(Settings(qzbrain_data=data, qzbrain_embedder="none"))
    kb = brain.knowledge.create(brain.access.local_caller("zh"), name="company").id
    brain.graph.add(kb, [Fact("甲", "与", f"物{n}", Place("import", source="表")) for n in range(30)])
    brain.close()
    code, said = run(data, "status", **neo4j_server.environment)
    graph = next(one for one in said["graphs"] if one["kb"] == "company")
    assert code == 0 and said["server"]["version"].startswith("5.26") and not graph["current"]
    code, said = run(data, "rebuild", "company", **neo4j_server.environment)
    assert code == 0 and said["same"] and said["triples"] == [30, 30] and said["entities"] == [31, 31]
    code, said = run(data, "status", **neo4j_server.environment)
    graph = next(one for one in said["graphs"] if one["kb"] == "company")
    assert graph["current"] and graph["version"] == graph["copied"] == 1
    code, said = run(data, "status", **{**neo4j_server.environment, "NEO4J_PASSWORD": "falsch-geheim"})
    assert code == 1 and said["error"]["code"] == "neo4j_login_refused" and "falsch" not in str(said)
