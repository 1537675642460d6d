"""The sample that a first start brings: a dozen laws in the knowledge base `laws`. Once only; whoever deletes it does not get it back."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qzbrain.auth.grants import Grant
from qzbrain.auth.standing import EVERYONE
from qzbrain.settings import Settings

NAME = "laws"
TITLE = "常用法律（示例）"
DESCRIPTION = "随程序附带的示例：ImCa0/just-laws 整理的常用法律（MIT 许可）。"
FOLDER = Path(__file__).resolve().parent.parent / "samples" / "laws"


def needed(settings: Settings) -> bool:
    """Whether this data folder's database has never had the whole sample."""
    missing = not settings.mysql_host and not settings.database_path.exists()
    return missing or _state(settings) != "added"


def add(settings: Settings) -> None:
    """Make the knowledge base and queue its documents. An interrupted call is taken up by the next one; files are recognised.

    A knowledge base of that name which the user made before the first start stays as it is; so does a server's database in which
    there are others: it has had its first start, from another host or before it was moved there.
    """
    from qzbrain.brain import build

    brain = build(settings)
    try:
        caller = brain.access.local_caller(settings.qzbrain_lang)
        there = {ref.name for ref in brain.access.resolve(caller)}
        if _state(settings) == "adding" or not (there if settings.mysql_host else there & {NAME}):
            mark(settings).write_text("adding", encoding="utf-8")
            if NAME not in there:
                brain.knowledge.create(caller, name=NAME, title=TITLE, description=DESCRIPTION)
            brain.accounts.grants.put(caller, NAME, grants=[Grant("read", group=EVERYONE)])  # of use where there are accounts
            for path in sorted(FOLDER.glob("*.md")):
                with path.open("rb") as stream:
                    brain.knowledge.add_file(caller, NAME, path.name, stream)
    finally:
        brain.close()
    mark(settings).write_text("added", encoding="utf-8")


def mark(settings: Settings) -> Path:
    """One for each database that this data folder was used with."""
    if not settings.mysql_host:
        return settings.database_path.with_suffix(".sample")
    server = f"{settings.mysql_host}:{settings.mysql_port}/{settings.mysql_database}"
    return settings.data / f"mysql-{hashlib.sha256(server.encode()).hexdigest()[:12]}.sample"


def _state(settings: Settings) -> str:
    try:
        return mark(settings).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
