"""The program's own files: those that git keeps where there is a clone, else those that belong to it by their place. Tests stay behind."""

from __future__ import annotations

import fnmatch
import subprocess
from pathlib import Path

_LEFT_OUT = ("tests", "bench", ".ci", ".github", ".schemathesis")
_FOLDERS = ("qzbrain", "scripts", "docs", "deploy")
_FILES = (
    "*.py", "*.sh", "*.md", "requirements*.txt", "chatglm.sql", "pyproject.toml", "LICENSE", "NOTICE", "Makefile", "Dockerfile*", ".dockerignore",
)  # fmt: skip
_NEVER = ("__pycache__", "*.pyc", "secrets", ".env", "*.key")


def source_files(root: Path) -> list[str]:
    """Paths below `root`, in order."""
    found = _in_git(root) if (root / ".git").exists() else _by_place(root)
    kept = [name for name in found if name.split("/")[0] not in _LEFT_OUT and (root / name).is_file() and not (root / name).is_symlink()]
    return sorted(kept)


def commit(root: Path) -> str:
    """The commit that the clone stands at, with a sign where files differ from it; '' where there is no clone."""
    if not (root / ".git").exists():
        return ""
    head, changed = _git(root, "rev-parse", "HEAD").strip(), _git(root, "status", "--porcelain", "--untracked-files=no").strip()
    return head + ("+" if changed else "")


def _in_git(root: Path) -> list[str]:
    return [name for name in _git(root, "ls-files", "-z").split("\0") if name] or _by_place(root)


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _by_place(root: Path) -> list[str]:
    found = [one.name for one in root.iterdir() if any(fnmatch.fnmatch(one.name, kind) for kind in _FILES)]
    for folder in _FOLDERS:
        for one in (root / folder).rglob("*"):
            name = one.relative_to(root)
            if one.is_file() and not any(fnmatch.fnmatch(part, kind) for part in name.parts for kind in _NEVER):
                found.append(str(name))
    return found
