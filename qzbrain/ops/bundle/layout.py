"""What lies where in a bundle, and what its bundle.json says. Standard library only: the installer reads it, too.

    install.sh  README.txt  bundle.json
    source/                    the program: what a clone holds, without tests
    requirements/ENV.txt       packages of an environment (core, local, ocr) with the hashes of the wheels that are here
    wheels/*.whl   bin/uv      python/  a Python of its own, where one was taken along
    models/NAME/…  packs/*.qzkb  images/images.tar
    SHA256SUMS                 of every file above, as sha256sum writes it
    SHA256SUMS.sig  signer.pem an Ed25519 signature of SHA256SUMS, and the public key
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qzbrain.errors import Conflict

FORMAT = 1
MANIFEST, SUMS, SIGNATURE, KEY = "bundle.json", "SHA256SUMS", "SHA256SUMS.sig", "signer.pem"
UNLISTED = frozenset({SUMS, SIGNATURE, KEY})
"""What the checksums cannot hold."""
EMBEDDER = "models/multilingual-e5-small-int8"
IMAGES = "images/images.tar"
CORE, LOCAL, OCR = "core", "local", "ocr"
FOLDERS = {CORE: ".venv", LOCAL: ".venv-local", OCR: ".venv-ocr"}
"""The environments by name, and where they are made beside the program."""
LOCKED = {CORE: "requirements.txt", LOCAL: "requirements-local.txt", OCR: "requirements-ocr.txt"}
"""The file whose hash stands in an environment's stamp, as scripts/environment.sh writes it."""


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model: its folder under models/, and its table for config.toml (`path` relative to the data folder's models)."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Manifest:
    """bundle.json. `pythons`: versions that the wheels are for, "3.11"; `python`: the one in the bundle, '' for none."""

    version: str
    commit: str
    platform: str
    glibc: str
    pythons: Sequence[str]
    python: str
    environments: Mapping[str, int]
    """Bytes that each takes when installed, about."""
    extras: Sequence[str] = ()
    embedder: bool = False
    models: Sequence[BundledModel] = ()
    packs: Sequence[str] = ()
    images: Sequence[str] = ()
    signer: str = ""
    """Fingerprint of the key that signed it: so that a signature that got lost is missed."""
    format: int = FORMAT
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each part in the bundle: source, wheels, python, models, packs, images."""

    def dump(self) -> bytes:
        """As JSON, the same bytes for the same contents."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def load(data: bytes) -> Manifest:
    """The manifest of these bytes. Raises Conflict (`bundle_damaged`, `bundle_newer`)."""
    try:
        values = json.loads(data)
        if int(values["format"]) > FORMAT:
            raise Conflict(
                "bundle_newer",
                zh=f"离线包的格式是 {values['format']}，本程序只认识到 {FORMAT}。请使用包内的 install.sh 或更新的 qzbrain。",
                en=f"The bundle is of format {values['format']}, this program knows {FORMAT} at most. Use its own install.sh, or a newer qzbrain.",
            )
        known = {one.name for one in fields(Manifest)}
        given = {key: value for key, value in values.items() if key in known}
        return Manifest(**{**given, "models": [BundledModel(one["name"], one["values"]) for one in values["models"]]})
    except (ValueError, KeyError, TypeError) as exc:
        raise damaged(MANIFEST, f"{type(exc).__name__}: {exc}", f"{type(exc).__name__}: {exc}") from exc


def damaged(name: str, why_zh: str, why_en: str) -> Conflict:
    """The error for a part that is not as it was made."""
    return Conflict(
        "bundle_damaged",
        zh=f"离线包已损坏，未安装：{name}（{why_zh}）。请重新复制离线包并再次解压。",
        en=f"The bundle is damaged, nothing was installed: {name} ({why_en}). Copy the bundle again, and unpack it anew.",
    )
