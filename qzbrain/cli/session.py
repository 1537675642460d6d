"""The brain inside a command: the same services as the web's, on the same data folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qzbrain import logs
from qzbrain.cli.terminal import LANG
from qzbrain.domain import Caller
from qzbrain.settings import load_settings, secrets_of

if TYPE_CHECKING:
    from qzbrain.brain import Brain


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
    try:
        yield brain, brain.access.local_caller(LANG)
    finally:
        brain.close()


def work_until(brain: Brain, done: Callable[[], bool]) -> None:
    """Wait until `done()`; where no worker runs on this data folder, do its part here meanwhile."""
    from qzbrain.worker import work_inline

    work_inline(brain, done)
