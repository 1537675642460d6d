"""Installation in containers: the program's own deploy.sh, with the images of the bundle. Standard library only."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.checking import Checked
from qzbrain.ops.bundle.installing import MARK, copy_source, version_name
from qzbrain.ops.bundle.layout import IMAGES
from qzbrain.ops.bundle.machine import require_room


def into_docker(bundle: Path, checked: Checked, folder: Path, arguments: Sequence[str]) -> None:
    """Put the program into `folder` and become its deploy.sh. What that keeps (secrets, configuration) lies in `folder`/deploy, for every version.

    Raises Conflict when the bundle has no images, OSError.
    """
    if IMAGES not in checked.sums:
        raise Conflict(
            "not_bundled",
            zh="离线包中没有容器镜像。请用 qzbrain bundle --images IMAGES.tar 重新制作（镜像由 sh deploy.sh --save IMAGES.tar 得到），或去掉 --docker。",
            en="There are no container images in the bundle. Make one with qzbrain bundle --images IMAGES.tar (sh deploy.sh --save IMAGES.tar writes them), or "
            "leave --docker out.",
        )
    program, state = folder / "versions" / f"{version_name(checked)}-docker", folder / "deploy"
    if not (program / MARK).exists():
        require_room(folder, checked.manifest.sizes.get("source", 0))
        shutil.rmtree(program, ignore_errors=True)
        copy_source(bundle, checked, program)
        (program / MARK).write_text(checked.identity + "\n", encoding="ascii")
    state.mkdir(exist_ok=True)
    if checked.fingerprint:
        (folder / "trusted-key").write_text(checked.fingerprint + "\n", encoding="ascii")
    os.environ["QZBRAIN_STATE"] = str(state)
    sys.stderr.flush()
    os.execvp("sh", ["sh", str(program / "deploy.sh"), "--offline", str(bundle / IMAGES), *arguments])
