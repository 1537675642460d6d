"""A Python to take along, for machines that have none: uv's standalone build, or one from the disk. It must run from wherever it is put."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from qzbrain.errors import Conflict, InvalidRequest, Unavailable

_LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "include", "share", "pkgconfig")
_FETCH_S = 900
_TIMES = {"UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "1"}


def fetched(uv: Path, version: str, platform: str, cache: Path) -> Path:
    """The folder of uv's build of this version for this platform. Raises Unavailable when it cannot be reached."""
    folder = cache / "python" / platform
    key = f"cpython-{version}-{platform}-gnu"
    there = sorted(folder.glob(f"cpython-{version}.*"))
    if there:
        return there[-1]
    command = [str(uv), "python", "install", "--no-config", "--no-bin", "--install-dir", str(folder), key]
    done = subprocess.run(command, env={**os.environ, **_TIMES}, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    there = sorted(folder.glob(f"cpython-{version}.*"))
    if done.returncode or not there:
        why = " ".join(done.stderr.split())[-200:]
        raise Unavailable(
            "python_unreachable",
            zh=f"无法取得 Python {version} 的独立安装（{why}）。可用 UV_PYTHON_INSTALL_MIRROR 指定镜像，或用 --python system 要求目标机器自带 Python。",
            en=f"The standalone build of Python {version} cannot be fetched ({why}). Name a mirror with UV_PYTHON_INSTALL_MIRROR, or take --python system: "
            "then the machine must have a Python.",
        )
    return there[-1]


def version_of(folder: Path) -> str:
    """'3.12' for a folder with bin/python3.12. Raises InvalidRequest when there is no Python of a version that is supported."""
    found = [one.name for one in (folder / "bin").glob("python3.*") if re.fullmatch(r"python3\.(11|12|13)", one.name) and one.is_file()]
    if len(found) != 1 or not (folder / "lib" / found[0]).is_dir():
        raise InvalidRequest(
            "no_python",
            zh=f"{folder} 不是 Python 3.11–3.13 的独立安装（应有 bin/python3.N 与 lib/python3.N）。",
            en=f"{folder} is no standalone Python 3.11 to 3.13 (there should be bin/python3.N and lib/python3.N).",
            param="python",
        )
    return found[0].removeprefix("python")


def files_of(folder: Path, version: str) -> list[tuple[str, Path]]:
    """Names in the bundle's python/ and files: what a program needs to run. Links are left out. Raises Conflict when nothing of it can run."""
    program = folder / "bin" / f"python{version}"
    found = [(f"bin/python{version}", program.resolve())]
    for one in sorted((folder / "lib").rglob("*")):
        name = one.relative_to(folder)
        if one.is_file() and not one.is_symlink() and not any(part in _LEFT_OUT for part in name.parts) and one.suffix not in (".a", ".pyc"):
            found.append((str(name), one))
    if len(found) < 100:
        raise Conflict("no_python", zh=f"{folder} 中没有标准库。", en=f"There is no standard library in {folder}.")
    return found
