"""What the machine to be installed on must be: kind, C library, Python, room on the disk. Standard library only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.layout import Manifest

_SPARE = 1.1
_SPARE_FILES = 20_000


def require_machine(manifest: Manifest) -> None:
    """Raises Conflict (`wrong_platform`, `old_glibc`, `wrong_python`) when what is in the bundle cannot run here."""
    here = f"{sys.platform}-{platform.machine()}"
    if here != manifest.platform:
        raise Conflict(
            "wrong_platform",
            zh=f"离线包用于 {manifest.platform}，而本机是 {here}。请在联网的机器上用 qzbrain bundle --platform {here} 重新制作。",
            en=f"The bundle is for {manifest.platform}, and this machine is {here}. Make one with: qzbrain bundle --platform {here}",
        )
    found = glibc()
    if _numbers(found) < _numbers(manifest.glibc):
        raise Conflict(
            "old_glibc",
            zh=f"离线包需要 glibc {manifest.glibc} 或更新，本机是 {found or '其他 C 库'}。请升级系统，或用 --docker 以容器方式安装，"
            f"或用 qzbrain bundle --glibc {found or '2.28'} 重新制作。",
            en=f"The bundle needs glibc {manifest.glibc} or later, and this machine has {found or 'another C library'}. Take a newer system, install it in "
            f"containers (--docker), or try to make one with: qzbrain bundle --glibc {found or '2.28'}",
        )
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running not in manifest.pythons:
        wanted = "、".join(manifest.pythons)
        raise Conflict(
            "wrong_python",
            zh=f"离线包用于 Python {wanted}，本机找到的是 {running}（{sys.executable}）。请安装 Python {wanted}，"
            f"或用 qzbrain bundle --python-version {running} 重新制作。",
            en=f"The bundle is for Python {', '.join(manifest.pythons)}, and what was found here is {running} ({sys.executable}). Install a fitting Python, "
            f"or make one with: qzbrain bundle --python-version {running}",
        )
    lacking = [name for name in ("ctypes", "sqlite3", "ssl", "zlib") if find_spec(f"_{name}" if name != "zlib" else name) is None]
    if lacking:
        raise Conflict(
            "wrong_python",
            zh=f"{sys.executable} 缺少标准库模块 {', '.join(lacking)}。请安装完整的 Python。",
            en=f"{sys.executable} lacks {', '.join(lacking)} of the standard library. Install a whole Python.",
        )


def glibc() -> str:
    """The version of the C library, '2.36'; '' when it is not glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def require_room(folder: Path, size_bytes: int) -> None:
    """Raises Conflict (`disk_full`) unless so much, and a little more, is free where `folder` is or will be."""
    there = folder
    while not there.exists():
        there = there.parent
    state = os.statvfs(there)
    files_left = state.f_favail if state.f_files else _SPARE_FILES
    if shutil.disk_usage(there).free < size_bytes * _SPARE or files_left < _SPARE_FILES:
        raise full(folder, size_bytes)


def full(folder: Path, size_bytes: int = 0) -> Conflict:
    """The error for a disk without room."""
    need_zh, need_en = (f"，需要 {size_bytes * _SPARE / 1e6:,.0f} MB", f", {size_bytes * _SPARE / 1e6:,.0f} MB are needed") if size_bytes else ("", "")
    return Conflict(
        "disk_full",
        zh=f"{folder} 所在的磁盘空间不足{need_zh}。未安装任何内容；请清理，或用 --to 换一个目录。",
        en=f"The disk of {folder} has too little room{need_en}. Nothing was installed: free some, or take another folder with --to.",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in version.split(".") if one.isdecimal())
