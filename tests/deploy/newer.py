"""A newer version of the program as `git pull` would bring it, with a newer schema; and bundles of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzbrain import __version__
from qzbrain.ops.bundle.layout import IMAGES, KEY, MANIFEST, SIGNATURE, SUMS
from qzbrain.ops.bundle.signing import load_key, public_pem
from qzbrain.storage.migrate import HEAD
from tests.running import ROOT

REVISION = f"{int(HEAD) + 1:04}"
_MIGRATION = f'''"""Of a newer version."""

import sqlalchemy as sa
from alembic import op

revision = "{REVISION}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column more."""
    op.add_column("knowledge_bases", sa.Column("of_a_newer_version", sa.Integer(), nullable=False, server_default="0"))
'''


def newer_program(folder: Path, version: str, image: str, files: Mapping[str, str] | None = None) -> Path:
    """A folder with what deploy.sh needs of a program of that version. Its image is `image` with what has changed; `files`: by path, further changes."""
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets", "config", "tls", ".env"))
    shutil.copy(ROOT / "deploy.sh", folder)
    migrate = (ROOT / "qzbrain/storage/migrate.py").read_text(encoding="utf-8")
    changed = {
        "qzbrain/__init__.py": with_version((ROOT / "qzbrain/__init__.py").read_text(encoding="utf-8"), version),
        "qzbrain/storage/migrate.py": migrate.replace(f'HEAD = "{HEAD}"', f'HEAD = "{REVISION}"'),
        f"qzbrain/storage/migrations/versions/v{REVISION}_newer.py": _MIGRATION,
        **(files or {}),
    }
    for name, text in changed.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "Dockerfile").write_text(f"FROM {image}\nCOPY qzbrain /app/qzbrain\n", encoding="utf-8")
    return folder


def with_version(text: str, version: str) -> str:
    """`qzbrain/__init__.py` of that version."""
    return re.sub(r'(__version__ = )".*"', rf'\1"{version}"', text)


@dataclass
class Bundle:
    """An unpacked bundle with container images, and the key that signs it."""

    folder: Path
    key: Path
    fingerprint: str

    @classmethod
    def made(cls, folder: Path, images: Path) -> Bundle:
        """By `qzbrain bundle`, without what containers do not need."""
        environment = {**os.environ, "QZBRAIN_DATA": str(folder / "data"), "QZBRAIN_EMBEDDER": "none", "QZBRAIN_LANG": "en"}

        def qzbrain(*words: object) -> Any:
            command = [sys.executable, "-m", "qzbrain.cli", *map(str, words), "--json"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)

        key = qzbrain("bundle", "keygen")
        words = ["--without-embedder", "--python", "system", "--images", images, "--cache", ROOT / ".tools" / "bundle-cache"]
        built = qzbrain("bundle", "-o", folder / "bundle.tar", *words)
        assert built["manifest"]["images"]
        subprocess.run(["tar", "-xf", "bundle.tar"], cwd=folder, check=True)
        (folder / "bundle.tar").unlink()
        return cls(next(folder.glob("qzbrain-*")), Path(key["private"]), key["fingerprint"])

    def become(self, version: str, images: Path) -> None:
        """A bundle of that version with these images."""
        text = self.folder / "source/qzbrain/__init__.py"
        text.write_text(with_version(text.read_text(encoding="utf-8"), version), encoding="utf-8")
        manifest = self.folder / MANIFEST
        manifest.write_text(manifest.read_text(encoding="utf-8").replace(f'"version": "{__version__}"', f'"version": "{version}"'), encoding="utf-8")
        shutil.copy(images, self.folder / IMAGES)
        sign_again(self.folder, [MANIFEST, IMAGES, "source/qzbrain/__init__.py"], load_key(self.key))


def sign_again(bundle: Path, names: list[str], key: Any) -> None:
    """After a change to these files of an unpacked bundle: their checksums, and the signature."""
    lines = (bundle / SUMS).read_text(encoding="utf-8").splitlines()
    for name in names:
        with (bundle / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    text = ("\n".join(lines) + "\n").encode()
    (bundle / SUMS).write_bytes(text)
    (bundle / SIGNATURE).write_bytes(key.sign(text))
    (bundle / KEY).write_bytes(public_pem(key))
