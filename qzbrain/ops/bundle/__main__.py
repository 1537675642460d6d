"""The installer of a bundle, started by its install.sh: `python -m qzbrain.ops.bundle --bundle FOLDER [--to DIR] [--upgrade] …`.

Nothing of what it needs is installed yet: the standard library, and of qzbrain what uses no more than that.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from qzbrain.errors import BrainError, Conflict, InvalidRequest
from qzbrain.ops.bundle.checking import Checked, check_folder, require_key
from qzbrain.ops.bundle.docker import into_docker
from qzbrain.ops.bundle.installing import base_python, is_complete, make_environment, make_version, run_child, version_name
from qzbrain.ops.bundle.layout import CORE, FOLDERS, LOCAL, OCR
from qzbrain.ops.bundle.machine import full, require_machine, require_room
from qzbrain.ops.bundle.saying import progress, say
from qzbrain.ops.bundle.switching import Place

_WAIT_S = 60.0


def main() -> None:
    """Install, or say in both languages why not and end with exit code 1; 2 for arguments that cannot be meant, 130 and 143 when interrupted."""
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    os.umask(0o022)
    options = _options()
    try:
        _run(options)
    except BrainError as exc:
        sys.stderr.write(f"qzbrain: {exc.zh}\nqzbrain: {exc.en}\n")
        sys.exit(2 if isinstance(exc, InvalidRequest) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as exc:
        told = full(options.to) if exc.errno in (28, 122) else _no_access(exc)
        sys.stderr.write(f"qzbrain: {told.zh}\nqzbrain: {told.en}\n")
        sys.exit(1)


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def arguments() -> argparse.ArgumentParser:
    """The options of install.sh."""
    parser = argparse.ArgumentParser(prog="install.sh", description="安装离线包，不使用网络。 · Install the bundle; no network is used.")
    parser.add_argument("--bundle", type=Path, required=True, help=argparse.SUPPRESS)
    default = Path("/opt/qzbrain") if os.geteuid() == 0 else Path.home() / "qzbrain"
    parser.add_argument("--to", type=Path, default=default, metavar="DIR", help=f"安装到这个目录 · install into this folder ({default})")
    parser.add_argument("--upgrade", action="store_true", help="升级 DIR 中已有的安装，数据保留 · upgrade what is in DIR; its data stay")
    parser.add_argument("--verify-only", action="store_true", help="只核对，不安装 · only check the bundle")
    parser.add_argument("--key", default="", metavar="KEY", help="签名者的指纹或公钥文件 · fingerprint or public key file that must have signed it")
    parser.add_argument("--with-ocr", action="store_true", help="同时安装文字识别 · install OCR, too")
    parser.add_argument("--without-embedder", action="store_true", help="不安装内置向量模型 · leave the built-in embedder out")
    parser.add_argument("--docker", action="store_true", help="容器方式：其余参数交给 deploy.sh · in containers: further arguments are those of deploy.sh")
    return parser


def _options() -> argparse.Namespace:
    parser = arguments()
    options, more = parser.parse_known_args()
    options.more = more
    if more and not options.docker:
        parser.error(f"不认识的参数 · unknown arguments: {' '.join(more)}")
    options.to = Path(os.path.realpath(Path(os.environ.get("QZBRAIN_FROM", ".")) / options.to.expanduser()))
    return options


def _run(options: argparse.Namespace) -> None:
    bundle, place = options.bundle, Place(options.to)
    checked = check_folder(bundle, progress("正在核对离线包 …", "checking the bundle …"))
    _require_trust(checked, options.key, place)
    if options.verify_only:
        say("离线包完好。", "the bundle is whole.")
        return
    if options.docker:
        _require_fitting(options, checked, place)
        _require_no_bare_metal(place)
        with _alone(place):
            into_docker(bundle, checked, options.to, options.more, upgrade=options.upgrade)
        return
    require_machine(checked.manifest)
    _require_fitting(options, checked, place)
    with _alone(place):
        place.recover()
        name = version_name(checked)
        fresh = place.version() != name
        if fresh:
            _require_expected(options, place)
            _install(options, checked, place, name)
        if options.with_ocr and not (place.versions / name / FOLDERS[OCR] / "qzbrain.stamp").exists():
            require_room(place.folder, checked.manifest.environments[OCR])
            make_environment(bundle, place.versions / name, OCR, base_python(place.versions / name))
        _place_models(bundle, checked, place)
        _import_packs(bundle, checked, place)
        if checked.fingerprint:
            place.trusted.write_text(checked.fingerprint + "\n", encoding="ascii")
        _tell_next(place, checked, fresh=fresh)


def _install(options: argparse.Namespace, checked: Checked, place: Place, name: str) -> None:
    """Make the version, unless an earlier run has, and put it in force."""
    folder = place.versions / name
    if not is_complete(folder):
        wanted = {CORE, *([] if options.without_embedder else [LOCAL]), *([OCR] if options.with_ocr else [])}
        sizes = checked.manifest.sizes
        need = sum(size for one, size in checked.manifest.environments.items() if one in wanted)
        require_room(place.folder, need + sizes.get("source", 0) + sizes.get("python", 0) + sizes.get("models", 0) + 4 * sizes.get("packs", 0))
        make_version(options.bundle, checked, folder, embedder=not options.without_embedder, ocr=options.with_ocr)
    old = place.version()
    try:
        place.switch(name)
    except Conflict as exc:
        if exc.code == "does_not_come_up":
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if old:
        stays = place.versions / old
        say(f"已从 {old} 升级到 {name}；旧版本保留在 {stays}。", f"upgraded from {old} to {name}; the old version stays in {stays}.")


def _require_trust(checked: Checked, key: str, place: Place) -> None:
    """The key that the caller names, else the one that signed what is installed already. Raises Conflict (`key_wrong`), InvalidRequest."""
    known = place.trusted.read_text(encoding="ascii").strip() if place.trusted.exists() else ""
    if key or known:
        require_key(checked, key or known)
        say(f"签名正确，签名者：{checked.fingerprint}", f"the signature is right; signed by {checked.fingerprint}")
    elif checked.fingerprint:
        say(
            f"签名与包内公钥相符，指纹：{checked.fingerprint}。请与制作者从其他途径告知的指纹核对（或用 --key 指明）：包内的签名本身不能证明来源。",
            f"the signature fits the key in the bundle, fingerprint {checked.fingerprint}. Compare it with what its maker told you some other way (or name it "
            "with --key): by itself a signature inside a bundle does not prove where it comes from.",
        )
    else:
        say("离线包没有签名：校验和只能发现损坏，不能发现伪造。", "the bundle is not signed: checksums find damage, not forgery.")


def _require_fitting(options: argparse.Namespace, checked: Checked, place: Place) -> None:
    if options.with_ocr and OCR not in checked.manifest.environments:
        raise Conflict(
            "not_bundled",
            zh="离线包中没有文字识别（OCR）。请用 qzbrain bundle --with ocr 重新制作，或去掉 --with-ocr。",
            en="There is no OCR in the bundle. Make one with qzbrain bundle --with ocr, or leave --with-ocr out.",
        )
    if not place.versions.exists() and place.folder.exists() and any(place.folder.iterdir()):
        raise Conflict(
            "folder_taken",
            zh=f"{place.folder} 不是空目录，也不是 qzbrain 的安装目录。请用 --to 换一个目录。",
            en=f"{place.folder} is neither empty nor an installation of qzbrain. Take another folder with --to.",
        )
    if options.upgrade and not place.versions.exists():
        raise Conflict(
            "nothing_to_upgrade",
            zh=f"{place.folder} 中没有可升级的安装。请用 --to 指明其目录，或去掉 --upgrade 以新装。",
            en=f"There is nothing to upgrade in {place.folder}. Name its folder with --to, or leave --upgrade out to install anew.",
        )


def _require_no_bare_metal(place: Place) -> None:
    if place.version():
        raise Conflict(
            "folder_taken",
            zh=f"{place.folder} 中的 {place.version()} 不是以容器方式安装的。请去掉 --docker 以升级它，或用 --to 换一个目录。",
            en=f"{place.version()} in {place.folder} was not installed in containers. Leave --docker out to upgrade it, or take another folder with --to.",
        )


def _require_expected(options: argparse.Namespace, place: Place) -> None:
    if place.version() and not options.upgrade:
        raise Conflict(
            "installed_already",
            zh=f"{place.folder} 中已安装 {place.version()}。要升级请加 --upgrade（数据保留），否则用 --to 换一个目录。",
            en=f"{place.version()} is installed in {place.folder} already. Add --upgrade to upgrade it (data stay), or take another folder with --to.",
        )


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """The only installer at this folder; what an interrupted one has begun ends with it, so a short wait is enough."""
    made = not place.folder.exists()
    place.folder.mkdir(parents=True, exist_ok=True)
    place.versions.mkdir(exist_ok=True)
    try:
        with open(place.versions / ".lock", "a") as lock:
            end = time.monotonic() + _WAIT_S
            while not _locked(lock.fileno()):
                if time.monotonic() > end:
                    raise Conflict(
                        "install_runs",
                        zh=f"另一个安装程序正在 {place.folder} 上运行。请等它结束。",
                        en=f"Another installer is at work in {place.folder}. Wait for its end.",
                    )
                time.sleep(0.2)
            yield
    except BaseException:
        if not place.version():
            _leave_nothing(place, made=made)
        raise


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _leave_nothing(place: Place, *, made: bool) -> None:
    """After a first installation that failed: no empty folders either. A version that is whole stays for the next try; so does its log."""
    if any(one.is_dir() for one in place.versions.iterdir()):
        return
    (place.versions / ".lock").unlink(missing_ok=True)
    place.versions.rmdir()
    if made and not any(place.folder.iterdir()):
        place.folder.rmdir()


def _place_models(bundle: Path, checked: Checked, place: Place) -> None:
    if checked.manifest.models:
        _in_force(place, ["-m", "qzbrain.ops.bundle.placing", str(bundle)])


def _import_packs(bundle: Path, checked: Checked, place: Place) -> None:
    for name in checked.manifest.packs:
        say(f"正在导入知识包 {name} …", f"importing the pack {name} …")
        done = _in_force(place, ["-m", "qzbrain.cli", "kb", "import", str(bundle / "packs" / name), "--json"], check=False)
        told = json.loads(done.stdout or b"{}")
        error = told.get("error") or told.get("reason")
        if error and error["code"] == "name_taken":
            say("同名知识库已存在，未改动。", "a knowledge base of that name is there already and stays as it is.")
        elif error or done.returncode:
            said = error["message"] if error else done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise Conflict(
                "pack_refused",
                zh=f"知识包 {name} 未导入：{said}。程序已安装；处理后再运行一次同样的命令。",
                en=f"The pack {name} was not imported: {said}. The program is installed; see to it, then run the same command again.",
            )


def _in_force(place: Place, arguments: list[str], *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run the Python of the version in force. Raises Conflict when it fails and `check` is given."""
    folder = place.versions / place.version()
    command = [str(folder / FOLDERS[CORE] / "bin" / "python"), "-P", *arguments]
    errors = None if check else subprocess.PIPE
    with run_child(command, place.environment(), stdout=subprocess.PIPE, stderr=errors, cwd=folder) as process:
        out, err = process.communicate()
    if check and process.returncode:
        raise Conflict(
            "models_not_placed",
            zh="模型未能全部就位（原因见上）。程序已安装；处理后再运行一次同样的命令。",
            en="Not all models could be put in their place (see above). The program is installed; see to it, then run the same command again.",
        )
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _tell_next(place: Place, checked: Checked, *, fresh: bool) -> None:
    url = place.status(place.version()).url
    word_zh, word_en = ("已安装", "is installed") if fresh else ("已是此版本", "was installed already")
    say(f"qzbrain {checked.manifest.version} {word_zh}：{place.folder}", f"qzbrain {checked.manifest.version} {word_en} in {place.folder}")
    say(f"下一步：{place.launcher} serve，然后打开 {url}", f"next: {place.launcher} serve, then open {url}")
    say(f"检查部署：{place.launcher} doctor", f"to check the deployment: {place.launcher} doctor")


def _no_access(exc: OSError) -> Conflict:
    return Conflict(
        "not_possible",
        zh=f"无法写入或读取 {exc.filename}（{exc.strerror}）。请改正其权限，或用 --to 换一个目录。",
        en=f"{exc.filename} cannot be written or read ({exc.strerror}). Correct its rights, or take another folder with --to.",
    )


if __name__ == "__main__":
    main()
