"""`qzbrain bundle`: everything for a machine without a network in one file; `keygen` and `verify` for who made it and whether it is whole."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, Progress, WrongUsage, note, progress, result, result_json, t, table, transfer
from qzbrain.settings import Settings, load_settings

app = typer.Typer(help=t("制作离线包，供没有网络的机器安装", "Make an offline bundle for machines without a network"), invoke_without_command=True)

_KEY = t("签名私钥；默认用 bundle keygen 生成的那一把（若有）", "Private key to sign with; by default the one of bundle keygen, where there is one")
_PYTHON = t(
    "auto（独立安装，取不到则同 system）、system（目标机器自带）或目录",
    "auto (a standalone one; where it cannot be had, as system), system (the machine has one), or a folder",
)


@app.callback()
def bundle(
    context: typer.Context,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=t("写到哪个文件或目录", "The file or folder to write to"))] = None,
    extras: Annotated[list[str] | None, typer.Option("--with", help=t("附加部分，如 ocr、sso", "An extra, such as ocr or sso"))] = None,
    without_embedder: Annotated[bool, typer.Option("--without-embedder", help=t("不含内置向量模型", "Leave the built-in embedder out"))] = False,
    models: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help=t("带上这个模型", "Take this model along"))] = None,
    packs: Annotated[list[Path] | None, typer.Option("--pack", metavar="FILE", help=t("带上这个知识包", "Take this pack along"))] = None,
    kbs: Annotated[list[str] | None, typer.Option("--kb", metavar="KB", help=t("导出并带上这个知识库", "Export this knowledge base and take it along"))] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FILE", help=t("带上容器镜像（sh deploy.sh --save FILE）", "Take container images along (sh deploy.sh --save FILE)")),
    ] = None,
    machine: Annotated[str, typer.Option("--platform", help=t("目标机器：linux-x86_64 或 linux-aarch64", "The machine: linux-x86_64 or linux-aarch64"))] = "",
    glibc: Annotated[str, typer.Option("--glibc", help=t("目标机器的 glibc 不低于此版本", "The glibc that it has at least"))] = "2.28",
    python: Annotated[str, typer.Option("--python", help=_PYTHON)] = "auto",
    versions: Annotated[
        str, typer.Option("--python-version", help=t("安装包适用的 Python 版本，如 3.11,3.12", "Versions of Python that wheels are for: 3.11,3.12"))
    ] = "",
    sign: Annotated[Path | None, typer.Option("--sign", metavar="KEY", help=_KEY)] = None,
    no_sign: Annotated[bool, typer.Option("--no-sign", help=t("不签名", "Do not sign it"))] = False,
    cache: Annotated[Path | None, typer.Option("--cache", help=t("下载缓存的目录", "Folder of what was fetched"))] = None,
    show: Annotated[bool, typer.Option("--list", help=t("只列出将包含的内容", "Only list what would be in it"))] = False,
    json: Json = False,
) -> None:
    """Make an offline bundle."""
    if context.invoked_subcommand is not None:
        return
    from qzbrain.ops.bundle import building

    settings = load_settings()
    choice = building.Choice(
        cache=(cache or settings.data / "bundle" / "cache").absolute(), extras=extras or [], embedder=not without_embedder, models=models or [],
        packs=[*map(_existing, packs or []), *([] if show else _exported(settings, kbs or []))], images=_existing(images) if images else None,
        processor=_processor(machine), glibc=_minor(glibc, "2", "glibc"), python="system" if show and python == "auto" else python,
        pythons=[_minor(one.strip(), "3", "python-version") for one in versions.split(",") if one.strip()],
        key=None if no_sign else sign or _usual_key(settings),
    )  # fmt: skip
    planned = building.plan(settings, choice, _Told())
    if show:
        _list(planned, json=json)
        return
    target = output or Path()
    target = (target / building.default_name(choice) if target.is_dir() else target).absolute()
    built = building.build(planned, choice, target, _Told())
    _tell(built, json=json)


@app.command(help=t("生成签名用的密钥对。", "Make a pair of keys to sign with."))
def keygen(
    output: Annotated[Path | None, typer.Option("--output", "-o", help=t("私钥写到哪个文件", "The file for the private key"))] = None, json: Json = False
) -> None:
    """Make a pair of keys to sign with."""
    from qzbrain.ops.bundle.signing import make_key

    made = make_key((output or _key_path(load_settings())).absolute())
    if json:
        result_json(made)
        return
    result(t(f"私钥：{made.private}（请保密并备份）", f"private key: {made.private} (keep it secret, and a copy of it)"))
    result(t(f"公钥：{made.public}", f"public key: {made.public}"))
    result(t(f"指纹：{made.fingerprint}", f"fingerprint: {made.fingerprint}"))
    note(
        t(
            "请通过离线包以外的途径，把指纹或公钥告诉安装者。",
            "Tell those who install your bundles the fingerprint, or give them the public key, some other way than in a bundle.",
        )
    )


@app.command(help=t("核对一个离线包：完整性、签名、内容。", "Check a bundle: is it whole, who signed it, what is in it."))
def verify(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help=t("离线包文件，或解压后的目录", "The bundle, or the folder that it was unpacked into"))],
    key: Annotated[str, typer.Option("--key", help=t("必须由它签名：指纹或公钥文件", "Must be signed by this one: fingerprint or public key file"))] = "",
    json: Json = False,
) -> None:
    """Check a bundle."""
    from qzbrain.ops.bundle.checking import check_folder, check_tar, require_key

    _existing(file)
    with transfer(t("核对", "checking")) as tell:
        checked = check_folder(file, tell) if file.is_dir() else check_tar(file, tell)
    if key:
        require_key(checked, key)
    if json:
        result_json({"whole": True, "signed_by": checked.fingerprint, "key_checked": bool(key), "sums_sha256": checked.identity, "manifest": checked.manifest})
        return
    manifest = checked.manifest
    what, files = f"qzbrain {manifest.version}, {manifest.platform}", len(checked.sums)
    result(t(f"完好：{what}，{files} 个文件。", f"whole: {what}, {files} files."))
    if not checked.fingerprint:
        result(t("没有签名。", "It is not signed."))
    elif key:
        result(t(f"由所要求的密钥签名：{checked.fingerprint}", f"signed by the key that you named: {checked.fingerprint}"))
    else:
        told = t("请与从其他途径得知的指纹核对", "compare it with what you know some other way")
        result(t(f"签名者：{checked.fingerprint}（{told}）", f"signed by {checked.fingerprint} ({told})"))
    for part, size in sorted(manifest.sizes.items()):
        result(f"  {part}: {size / 1e6:,.1f} MB")


class _Told:
    """The terminal, for the builder."""

    def note(self, zh: str, en: str) -> None:
        note(t(zh, en))

    @contextmanager
    def stage(self, zh: str, en: str) -> Iterator[Callable[[int, int], None]]:
        with progress(t(zh, en)) as bar:
            yield bar.update


def _exported(settings: Settings, kbs: list[str]) -> list[Path]:
    """Packs of these knowledge bases, written now."""
    if not kbs:
        return []
    from qzbrain.knowledge.packs.writing import Choice

    folder = settings.data / "bundle" / "packs"
    made = []
    with open_brain() as (brain, caller):
        folder.mkdir(parents=True, exist_ok=True)
        for kb in kbs:
            with progress(t(f"导出 {kb}", f"exporting {kb}")) as bar:
                made.append(Path(brain.packs.write(caller, kb, folder, Choice(), _of_pack(bar)).path))
    return made


def _of_pack(bar: Progress) -> Callable[[str, int, int, str], None]:
    return lambda _stage, done, total, _unit: bar.update(done, total)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise WrongUsage("path_not_found", zh=f"没有这个文件：{path}", en=f"There is no such file: {path}", param="path")
    return path.absolute()


def _processor(machine: str) -> str:
    from qzbrain.ops.bundle.building import PROCESSORS

    found = (machine or f"linux-{platform.machine()}").removeprefix("linux-")
    if found not in PROCESSORS:
        raise WrongUsage(
            "unknown_platform",
            zh=f"不支持 {machine or found}；可用：linux-x86_64、linux-aarch64。",
            en=f"{machine or found} is not supported; there are linux-x86_64 and linux-aarch64.",
        )
    return found


def _minor(version: str, major: str, option: str) -> int:
    first, _, minor = version.partition(".")
    known = range(11, 14) if major == "3" else range(17, 100)
    if first != major or not minor.isdecimal() or int(minor) not in known:
        there = "3.11–3.13" if major == "3" else "2.17–"
        raise WrongUsage("unknown_version", zh=f"--{option} 的值“{version}”不可用（{there}）。", en=f'--{option} cannot be "{version}" ({there}).')
    return int(minor)


def _key_path(settings: Settings) -> Path:
    return settings.data / "bundle" / "signing.pem"


def _usual_key(settings: Settings) -> Path | None:
    path = _key_path(settings)
    return path if path.exists() else None


def _list(planned: Any, *, json: bool) -> None:
    rows: list[dict[str, Any]] = [{"part": name, "name": file.name, "size_bytes": None} for name, chosen in planned.wheels.items() for _, file in chosen]
    rows += [{"part": part, "name": "", "size_bytes": size} for part, size in sorted(planned.manifest.sizes.items())]
    if json:
        result_json({"manifest": planned.manifest, "data": rows})
        return
    shown = [[row["part"], row["name"], "" if row["size_bytes"] is None else f"{row['size_bytes'] / 1e6:,.1f} MB"] for row in rows]
    table([t("部分", "Part"), t("文件", "File"), t("大小", "Size")], shown)


def _tell(built: Any, *, json: bool) -> None:
    if json:
        told = built.written
        result_json({"path": str(built.path), "size_bytes": told.size_bytes, "sha256": told.sha256, "files": told.files, "manifest": built.manifest})
        return
    result(t(f"离线包：{built.path}（{built.written.size_bytes / 1e6:,.0f} MB）", f"bundle: {built.path} ({built.written.size_bytes / 1e6:,.0f} MB)"))
    result(f"SHA-256: {built.written.sha256}")
    signer = built.manifest.signer
    result(t(f"签名者：{signer}", f"signed by {signer}") if signer else t("未签名（bundle keygen 生成密钥）", "not signed (bundle keygen makes a key)"))
    result(t("在目标机器上：tar -xf 它，再运行 sh install.sh", "on the other machine: tar -xf it, then sh install.sh"))
