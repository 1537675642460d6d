"""Installation in containers: the program's own deploy.sh, with the images of the bundle. Standard library only."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.checking import Checked
from qzbrain.ops.bundle.installing import MARK, copy_source, version_name
from qzbrain.ops.bundle.layout import IMAGES
from qzbrain.ops.bundle.machine import require_room

_LAUNCHER = """\
#!/bin/sh
# 当前版本的 deploy.sh · the deploy.sh of the version in force; what all versions share lies in {state}
QZBRAIN_STATE={state}
export QZBRAIN_STATE
exec sh {program}/deploy.sh "$@"
"""


def into_docker(bundle: Path, checked: Checked, folder: Path, arguments: Sequence[str], *, upgrade: bool) -> None:
    """Put the program into `folder` and become its deploy.sh. What that keeps (secrets, configuration) lies in `folder`/deploy, for every version;
    `folder`/deploy.sh is the one of the version in force.

    Raises Conflict when the bundle has no images, or when another version is there and no upgrade is wanted; OSError.
    """
    if IMAGES not in checked.sums:
        raise Conflict(
            "not_bundled",
            zh="离线包中没有容器镜像。请用 qzbrain bundle --images IMAGES.tar 重新制作（镜像由 sh deploy.sh --save IMAGES.tar 得到），或去掉 --docker。",
            en="There are no container images in the bundle. Make one with qzbrain bundle --images IMAGES.tar (sh deploy.sh --save IMAGES.tar writes them), or "
            "leave --docker out.",
        )
    program, launcher = folder / "versions" / f"{version_name(checked)}-docker", folder / "deploy.sh"
    before = _in_force(launcher)
    if before not in ("", program.name) and not upgrade:
        raise Conflict(
            "installed_already",
            zh=f"{folder} 中已部署 {before}。要升级请加 --upgrade（数据保留），否则用 --to 换一个目录。",
            en=f"{before} is deployed from {folder} already. Add --upgrade to upgrade it (data stay), or take another folder with --to.",
        )
    if not (program / MARK).exists():
        require_room(folder, checked.manifest.sizes.get("source", 0))
        shutil.rmtree(program, ignore_errors=True)
        copy_source(bundle, checked, program)
        (program / MARK).write_text(checked.identity + "\n", encoding="ascii")
    (folder / "deploy").mkdir(exist_ok=True)
    _put_in_force(launcher, program, keep={program.name, before})
    if checked.fingerprint:
        (folder / "trusted-key").write_text(checked.fingerprint + "\n", encoding="ascii")
    sys.stderr.flush()
    os.execvp("sh", ["sh", str(launcher), *(["--upgrade"] if upgrade else []), "--offline", str(bundle / IMAGES), *arguments])


def _in_force(launcher: Path) -> str:
    """The folder's name of the version that the launcher starts; '' without one."""
    try:
        return Path(shlex.split(launcher.read_text(encoding="utf-8"), comments=True)[-2]).parent.name
    except (OSError, ValueError, IndexError):
        return ""


def _put_in_force(launcher: Path, program: Path, *, keep: set[str]) -> None:
    """Write the launcher, and remove versions that are older than the one before: containers that run have files of that one mounted."""
    new = launcher.with_name(".deploy.sh.new")
    new.write_text(_LAUNCHER.format(state=shlex.quote(str(launcher.parent / "deploy")), program=shlex.quote(str(program))), encoding="utf-8")
    new.chmod(0o755)
    new.replace(launcher)
    for one in program.parent.glob("*-docker"):
        if one.name not in keep:
            shutil.rmtree(one, ignore_errors=True)
