"""`qzbrain doctor --fix`: what is safe to put right, told before it is done. Touches nothing that could not be made again: rights, folders, what killed runs
left, indexes (from SQL), and the schema while nothing runs."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from qzbrain.brain import Brain, build
from qzbrain.domain import Outcome
from qzbrain.errors import BrainError, Conflict
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops import doctor_data, doctor_place, doctor_settings, leftovers
from qzbrain.ops.serving import serving
from qzbrain.ops.start import prepare_folders, running_brain
from qzbrain.ops.supervision import log_folder, run_folder
from qzbrain.settings import Settings
from qzbrain.storage.migrate import HEAD, revision_of


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, told in both languages. `kind`: a word for the audit log; `do` raises BrainError or OSError."""

    kind: str
    zh: str
    en: str
    do: Callable[[], object]


Work = Callable[[Brain, Callable[[], bool]], None]
"""Returns when the condition holds; does the worker's part meanwhile where no worker runs."""


def plan(settings: Settings, work: Work) -> list[Action]:
    """What can be put right now, in the order in which it should be. Raises Conflict on a data folder of another user: what is made would be ours, not his."""
    if settings.data.exists() and (owner := settings.data.stat().st_uid) != os.geteuid():
        raise Conflict(
            "data_of_another_user",
            zh=f"数据目录 {settings.data} 属于用户 {owner}。请以其身份运行：sudo -u '#{owner}' qzbrain doctor --fix；若它应归您，见 qzbrain doctor --step 5。",
            en=f"The data folder {settings.data} belongs to user {owner}. Run it as that user: sudo -u '#{owner}' qzbrain doctor --fix. "
            "Should it be yours: qzbrain doctor --step 5",
        )
    return [*_folders(settings), *_rights(settings), *_left(settings), *_schema(settings), *_indexes(settings, work)]


def write_down(settings: Settings, done: Sequence[Action], failed: Sequence[Action]) -> None:
    """What was put right and what could not be, by kinds: see `record`."""
    details = {"done": Counter(one.kind for one in done), "failed": Counter(one.kind for one in failed)}
    record(settings, "command.doctor", outcome="failed" if failed else "done", details=details)


def record(settings: Settings, action: str, *, outcome: Outcome, details: dict[str, Any]) -> None:
    """An event of a command that works without a brain, in the audit log where one is kept. A database of another schema is left as it is.

    Raises BrainError, SQLAlchemyError.
    """
    if not settings.audited or not (settings.mysql_host or settings.database_path.exists()):
        return
    with doctor_data.opened(settings) as connection:
        if revision_of(connection) != HEAD:
            return
    with closing(build(settings)) as brain:
        brain.audit.record(None, brain.access.local_caller(), action, outcome=outcome, details={"uid": os.getuid(), **details})
        brain.audit.flush()


def _folders(settings: Settings) -> Iterator[Action]:
    missing = [path for path in (run_folder(settings), log_folder(settings)) if not path.is_dir()]
    if settings.data.is_dir() and missing:
        names = ", ".join(str(path) for path in missing)
        yield Action("folders", f"建立目录 {names}", f"make the folders {names}", lambda: prepare_folders(settings))


def _rights(settings: Settings) -> Iterator[Action]:
    paths = doctor_place.open_to_others(settings)
    config = doctor_place.config_open_to_others()
    if config is not None and doctor_settings.holds_secret(config):
        paths = [*paths, config]
    for path in dict.fromkeys(paths):
        yield Action("rights", f"收回其他用户对 {path} 的权限", f"take others' rights on {path} away", partial(_close, path))


def _close(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IRWXG | stat.S_IRWXO))


def _left(settings: Settings) -> Iterator[Action]:
    for one in leftovers.found(settings):
        verb = ("结束", "end") if one.engine else ("删除", "remove")
        yield Action("leftovers", f"{verb[0]}{one.zh}", f"{verb[1]} {one.en}", one.remove)


def _schema(settings: Settings) -> Iterator[Action]:
    """Only while nothing runs on this data folder: a running process expects the schema that it started with."""
    if running_brain(settings) or serving(settings) or worker_is_alive(settings.data):
        return
    with suppress(SQLAlchemyError, BrainError, OSError):
        if not settings.mysql_host and not settings.database_path.exists():
            return
        with doctor_data.opened(settings) as connection:
            row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        if row and row[0] < HEAD:
            yield Action(
                "schema", f"升级数据库 {row[0]} → {HEAD}（qzbrain db upgrade）", f"bring the database from {row[0]} to {HEAD} (qzbrain db upgrade)",
                lambda: build(settings).close(),
            )  # fmt: skip


def _indexes(settings: Settings, work: Work) -> Iterator[Action]:
    """From SQL, beside the index in use."""
    with suppress(SQLAlchemyError, BrainError, OSError):
        if not settings.mysql_host and not settings.database_path.exists():
            return
        with doctor_data.opened(settings) as connection:
            if doctor_data.at_work(connection):
                return
            _, wrong = doctor_data.differing(settings, connection)
        for name in wrong:
            yield Action("index", f"重建知识库 {name} 的索引", f"build the index of the knowledge base {name} anew", partial(_reindex, settings, name, work))


def _reindex(settings: Settings, name: str, work: Work) -> None:
    brain = build(settings)
    try:
        caller = brain.access.local_caller("zh")
        job = brain.knowledge.reindex(caller, name)
        work(brain, lambda: brain.knowledge.job(caller, job).status not in ("pending", "running"))
        done = brain.knowledge.job(caller, job)
    finally:
        brain.close()
    if done.status != "done":
        raise BrainError(done.reason_code, zh=done.reason_zh or "?", en=done.reason_en or "?")
