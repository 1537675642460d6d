"""Makes one version of the program out of an unpacked bundle, in a folder of its own. Standard library only; no network, no root.

The folder counts only when its mark is written, last of all: a version without the mark is what an interrupted installation left, and goes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.checking import Checked
from qzbrain.ops.bundle.layout import CORE, EMBEDDER, FOLDERS, LOCAL, LOCKED, OCR
from qzbrain.ops.bundle.machine import full
from qzbrain.ops.bundle.saying import say

MARK = ".installed"
_TOLD_LINES = 15
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def version_name(checked: Checked) -> str:
    """The folder of this bundle under versions/: two bundles of one version number are two versions."""
    return f"{checked.manifest.version}-{checked.identity[:8]}"


def is_complete(folder: Path) -> bool:
    """Whether an installation of this version came to its end."""
    return (folder / MARK).is_file()


def make_version(bundle: Path, checked: Checked, folder: Path, *, embedder: bool, ocr: bool) -> None:
    """Make `folder`. When that fails it is gone again. Raises Conflict (`disk_full`, `install_failed`), OSError."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        copy_source(bundle, checked, folder)
        _copy(bundle / "bin" / "uv", folder / ".tools" / "uv")
        python = _base_python(bundle, checked, folder)
        make_environment(bundle, folder, CORE, python)
        _link_package(folder)
        if embedder and checked.manifest.embedder:
            make_environment(bundle, folder, LOCAL, python)
            shutil.copytree(bundle / EMBEDDER, folder / ".tools" / EMBEDDER)
        if ocr:
            make_environment(bundle, folder, OCR, python)
        os.sync()
        (folder / MARK).write_text(checked.identity + "\n", encoding="ascii")
    except BaseException as exc:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(exc, OSError) and exc.errno in (28, 122):  # ENOSPC, EDQUOT
            raise full(folder) from exc
        raise


def base_python(folder: Path) -> Path:
    """The Python that a version's environments were made from."""
    own = sorted((folder / ".tools" / "python" / "bin").glob("python3.*"))
    return own[0] if own else Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))


def make_environment(bundle: Path, folder: Path, name: str, python: Path) -> None:
    """One of the three environments, from the wheels of the bundle alone; any that was there is made anew."""
    say(f"正在安装 Python 环境 {FOLDERS[name]} …", f"installing the Python environment {FOLDERS[name]} …")
    target, uv = folder / FOLDERS[name], folder / ".tools" / "uv"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_", "PYTHON", "VIRTUAL_ENV"))}
    environment |= {"UV_CACHE_DIR": str(folder / ".tools" / "cache"), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    _run([str(uv), "venv", "--offline", "--no-project", "--clear", "--python", str(python), str(target)], environment)
    install = ["pip", "install", "--offline", "--no-index", "--find-links", str(bundle / "wheels"), "--python", str(target / "bin" / "python")]
    install += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--compile-bytecode", "-r", str(bundle / "requirements" / f"{name}.txt")]
    _run([str(uv), *install], environment)
    shutil.rmtree(folder / ".tools" / "cache", ignore_errors=True)
    (target / "qzbrain.stamp").write_text(_stamp(folder, name), encoding="utf-8")


def run_child(command: Sequence[str], environment: Mapping[str, str], **options: object) -> subprocess.Popen[bytes]:
    """A process that ends with this one, even by kill -9."""
    return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent, **options)  # type: ignore[call-overload,no-any-return]


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    with run_child(command, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            told = process.communicate()[0].decode("utf-8", "replace")
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    if "No space left on device" in told or "os error 28" in told:
        raise full(Path(command[0]).parent.parent)
    last = "\n".join(told.splitlines()[-_TOLD_LINES:])
    raise Conflict(
        "install_failed",
        zh=f"安装依赖失败，未留下任何内容：\n{last}",
        en=f"Installing the packages failed, nothing of it was left. {Path(command[0]).name} ended with {process.returncode}.",
    )


def copy_source(bundle: Path, checked: Checked, folder: Path) -> None:
    """The program's files, as a clone has them."""
    for name in checked.sums:
        if name.startswith("source/"):
            _copy(bundle / name, folder / name.removeprefix("source/"))


def _base_python(bundle: Path, checked: Checked, folder: Path) -> Path:
    for name in checked.sums:
        if name.startswith("python/"):
            _copy(bundle / name, folder / ".tools" / name)
    return base_python(folder)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _link_package(folder: Path) -> None:
    """As link_package in scripts/environment.sh: a path file and a launcher."""
    python = folder / FOLDERS[CORE] / "bin" / "python"
    site = next((folder / FOLDERS[CORE] / "lib").glob("python3.*/site-packages"))
    (site / "qzbrain.pth").write_text(f"{folder}\n", encoding="utf-8")
    launcher = python.with_name("qzbrain")
    launcher.write_text(f'#!/bin/sh\nexec "{python}" -P -m qzbrain.cli "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    _run([str(python), "-m", "compileall", "-q", "-j", "0", str(folder / "qzbrain")], os.environ)


def _stamp(folder: Path, name: str) -> str:
    """As environment_stamp in scripts/environment.sh: run.sh then finds nothing to do."""
    made = hashlib.sha256((folder / LOCKED[name]).read_bytes()).hexdigest()
    return f"{folder} {made}  -\n"
