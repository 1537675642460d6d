"""The brain inside a command: the same services as the web's, on the same data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qzbrain import logs
from qzbrain.cli.terminal import LANG, note, t
from qzbrain.domain import Caller
from qzbrain.errors import BrainError
from qzbrain.settings import load_settings, secrets_of

if TYPE_CHECKING:
    from qzbrain.brain import Brain

_GROUPS = frozenset({"audit", "backup", "config", "db", "graph", "group", "kb", "key", "model", "user"})
"""Commands whose second word is a command as well, and nothing of its user's."""


@contextmanager
def open_brain() -> Iterator[tuple[Brain, Caller]]:
    """A brain and the local caller for the length of a command. Raises SettingsInvalid, Conflict, StorageFull."""
    from qzbrain.brain import build
    from qzbrain.ops.start import prepare_folders

    settings = load_settings()
    os.umask(0o077)
    logs.configure("error", "cli")
    logs.hide(secrets_of(settings))
    prepare_folders(settings)
    brain = build(settings)
    done = False
    try:
        yield brain, brain.access.local_caller(LANG)
        done = True
    finally:
        _write_down(brain, done=done)
        brain.close()


def _write_down(brain: Brain, *, done: bool) -> None:
    """The command in the audit log, by its words without their values; verifying the log alone leaves none."""
    words = sys.argv[1:3] if sys.argv[1:2] and sys.argv[1] in _GROUPS else sys.argv[1:2]
    if not brain.audit.active or words == ["audit", "verify"]:
        return
    uid = os.getuid()
    who = brain.access.local_caller(LANG)
    try:
        brain.audit.record(None, who, ".".join(("command", *words)), outcome="done" if done else "failed", details={"uid": uid})
        brain.audit.flush()
    except BrainError as exc:  # what the command did is done; the log's own state is the doctor's part
        note(exc.message(LANG))


@contextmanager
def saying_what_is_not_logged() -> Iterator[None]:
    """Around the writing of an event without a brain: what the command did is done, so a log that cannot be written is only told."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (BrainError, SQLAlchemyError) as exc:
        reason = exc.message(LANG) if isinstance(exc, BrainError) else str(exc)
        note(t(f"未能写入审计日志：{reason}", f"This could not be written into the audit log: {reason}"))


def work_until(brain: Brain, done: Callable[[], bool]) -> None:
    """Wait until `done()`; where no worker runs on this data folder, do its part here meanwhile."""
    from qzbrain.worker import work_inline

    work_inline(brain, done)
