"""Where a Neo4j that tests start comes from: its makers' artifacts on Maven Central, fetched once (96 MB), and a launcher compiled here.

`python -m tests.servers.neo4j_distribution` fetches it, so that no test has to wait for it. Its usage reporting is left out of the artifacts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.running import ROOT
from tests.servers.programs import missing, need
from tests.servers.search_distribution import java_home

SOURCES = Path(__file__).resolve().parent / "neo4j"
FETCHED = ROOT / ".tools" / "neo4j"
READY = ".ready"
"""Stands in a folder that is whole, and holds a mark of what it was made from."""


def distribution() -> Path:
    """The folder with `lib` and `classes`; fetched when it is not there yet. Processes that ask at once wait for one of them."""
    if _made_from() == _sources():
        return FETCHED
    maven, jdk = need("mvn", "maven"), java_home()
    FETCHED.parent.mkdir(parents=True, exist_ok=True)
    with (FETCHED.parent / "neo4j.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _made_from() != _sources():
            _fetch(maven, jdk)
    return FETCHED


def _sources() -> str:
    return hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in ("pom.xml", "Neo4jLauncher.java"))).hexdigest()


def _made_from() -> str:
    mark = FETCHED / READY
    return mark.read_text(encoding="utf-8") if mark.exists() else ""


def _fetch(maven: str, jdk: Path) -> None:
    part = FETCHED.with_name("neo4j.part")
    for old in (part, FETCHED):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir()
    command = [maven, "-q", "-B", "-f", str(SOURCES / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part / 'lib'}"]
    done = subprocess.run(command, env={**os.environ, "JAVA_HOME": str(jdk)}, capture_output=True, text=True, timeout=600)
    if done.returncode:
        missing(f"Maven could not fetch Neo4j: {done.stdout[-500:]}")
    compiler = [jdk / "bin/javac", "--release", "17", "-cp", f"{part / 'lib'}/*", "-d", part / "classes", SOURCES / "Neo4jLauncher.java"]
    subprocess.run(compiler, check=True, capture_output=True)
    (part / READY).write_text(_sources(), encoding="utf-8")
    part.rename(FETCHED)


if __name__ == "__main__":
    distribution()
