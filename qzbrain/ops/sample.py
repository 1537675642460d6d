"""The sample that a first start brings: a dozen laws in the knowledge base `laws`. Once only; whoever deletes it does not get it back."""

from __future__ import annotations

from pathlib import Path

from qzbrain.settings import Settings

NAME = "laws"
TITLE = "常用法律（示例）"
DESCRIPTION = "随程序附带的示例：ImCa0/just-laws 整理的常用法律（MIT 许可）。"
FOLDER = Path(__file__).resolve().parent.parent / "samples" / "laws"


def needed(settings: Settings) -> bool:
    """Whether this data folder's database has never had the whole sample."""
    return not settings.database_path.exists() or _state(settings) != "added"


def add(settings: Settings) -> None:
    """Make the knowledge base and queue its documents. An interrupted call is taken up by the next one; files are recognised.

    A knowledge base of that name which the user made before the first start stays as it is.
    """
    from qzbrain.brain import build

    brain = build(settings)
    try:
        caller = brain.access.local_caller(settings.qzbrain_lang)
        exists = NAME in {ref.name for ref in brain.access.resolve(caller)}
        if not exists or _state(settings) == "adding":
            _mark(settings).write_text("adding", encoding="utf-8")
            if not exists:
                brain.knowledge.create(caller, name=NAME, title=TITLE, description=DESCRIPTION)
            for path in sorted(FOLDER.glob("*.md")):
                with path.open("rb") as stream:
                    brain.knowledge.add_file(caller, NAME, path.name, stream)
    finally:
        brain.close()
    _mark(settings).write_text("added", encoding="utf-8")


def _mark(settings: Settings) -> Path:
    return settings.database_path.with_suffix(".sample")


def _state(settings: Settings) -> str:
    try:
        return _mark(settings).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
