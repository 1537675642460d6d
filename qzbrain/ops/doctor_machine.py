"""The doctor's look at the machine: system, Python and its packages, memory, clock, open files, locale, proxies, compilers. Needs no server and no data."""

from __future__ import annotations

import importlib.metadata
import locale
import os
import platform
import re
import resource
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from qzbrain.models.catalog import all_models
from qzbrain.models.engines import devices as hardware
from qzbrain.models.engines.launching import engine_environment
from qzbrain.models.engines.needs import shown
from qzbrain.models.engines.validation_memory import named_devices
from qzbrain.ops.finding import Finding, Text
from qzbrain.settings import ROOT, ModelSettings, Settings, is_loopback

_STEP = 6
_LEAST_GLIBC = (2, 28)
_TESTED_PYTHON = ((3, 11), (3, 13))
_MACHINES = ("x86_64", "aarch64", "arm64", "AMD64")
_LEAST_MEMORY = 512 << 20
_EARLIEST_CLOCK = 1_767_225_600  # 2026-01-01: a clock before the program was written is wrong
_BACK_S = 300
"""So much later than now a file may have been written, before the clock counts as one that was set back."""
_MANY_FILES, _LEAST_FILES = 8_192, 1_024
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_COMPILED = ("vllm", "sglang")
"""Engines that compile kernels when they start."""
_CUDA_PACKAGES = ("cudnn", "nccl")


def system(settings: Settings) -> list[Finding]:
    """The distribution, and whether there are packages for this kind of machine."""
    title: Text = ("操作系统", "system")
    name = platform.system()
    if name == "Linux":
        try:
            name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        except OSError:
            name = "Linux"
    seen = f"{name}, {platform.machine()}, kernel {platform.release()}"
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        advice = ("推荐 x86_64 或 aarch64 的 Linux；其他系统可用 Docker 方式部署", "Linux on x86_64 or aarch64 is recommended; elsewhere use the Docker way")
        return [Finding.warn("system", _STEP, title, (seen, seen), advice)]
    return [Finding.ok("system", _STEP, title, (seen, seen))]


def python(settings: Settings) -> list[Finding]:
    """The version that runs this."""
    version = f"{platform.python_version()}, {sys.executable}"
    if not _TESTED_PYTHON[0] <= sys.version_info[:2] <= _TESTED_PYTHON[1]:
        advice = ("推荐 3.11–3.13；运行 ./run.sh --setup-only 会自动准备", "3.11 to 3.13 are tested; ./run.sh --setup-only gets one")
        return [Finding.warn("python", _STEP, ("Python", "Python"), (version, version), advice)]
    return [Finding.ok("python", _STEP, ("Python", "Python"), (version, version))]


def packages(settings: Settings) -> list[Finding]:
    """What requirements.txt names is installed, in those versions."""
    title: Text = ("Python 依赖", "Python packages")
    file = ROOT / "requirements.txt"
    if not file.is_file():
        return [Finding.skip("packages", _STEP, title, ("没有 requirements.txt", "there is no requirements.txt"), ("", ""))]
    wanted = _PINNED.findall(file.read_text(encoding="utf-8"))
    wrong = [f"{name} {_installed(name) or '-'} ≠ {version}" for name, version in wanted if _installed(name) != version]
    missing = [name for name, _ in wanted if not _installed(name)]
    command = (f"{sys.executable} -m pip install --require-hashes -r {file}",) * 2
    if missing:
        lacking = ", ".join(missing[:5])
        return [Finding.fail("packages", _STEP, title, (f"没有安装：{lacking}", f"not installed: {lacking}"), command)]
    if wrong:
        other = ", ".join(wrong[:5])
        return [Finding.warn("packages", _STEP, title, (f"版本与 requirements.txt 不同：{other}", f"other versions than requirements.txt: {other}"), command)]
    return [Finding.ok("packages", _STEP, title, (f"{len(wanted)} 个，版本均与 requirements.txt 一致", f"{len(wanted)}, all as requirements.txt says"))]


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def glibc(settings: Settings) -> list[Finding]:
    """The C library: the packages' wheels need 2.28."""
    name, version = platform.libc_ver()
    seen, title = (f"{name or '?'} {version}",) * 2, ("系统库", "system library")
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < _LEAST_GLIBC:
        return [Finding.warn("glibc", _STEP, title, seen, ("推荐 glibc ≥ 2.28 的系统", "a system with glibc ≥ 2.28 is recommended"))]
    return [Finding.ok("glibc", _STEP, title, seen)]


def compilers(settings: Settings) -> list[Finding]:
    """gcc and g++, only where a configured engine compiles its kernels itself."""
    title: Text = ("编译器", "compilers")
    names = [name for name, model in _alive(settings) if model.engine in _COMPILED]
    there = {program: shutil.which(program) for program in ("gcc", "g++")}
    seen = ", ".join(path for path in there.values() if path)
    if not names:
        why = ("没有引擎需要编译器，所有依赖都是编译好的", "no engine needs one; all packages come built")
        return [Finding.skip("compilers", _STEP, title, (seen, seen) if seen else ("未安装", "none"), why)]
    if missing := [program for program, path in there.items() if not path]:
        lacking, engines = ", ".join(missing), ", ".join(names)
        shown_ = (f"没有 {lacking}，而 {engines} 启动时要编译内核", f"there is no {lacking}, and {engines} compile kernels when they start")
        return [Finding.warn("compilers", _STEP, title, shown_, ("sudo apt-get install -y gcc g++",) * 2)]
    return [Finding.ok("compilers", _STEP, title, (seen, seen))]


def cuda_libraries(settings: Settings) -> list[Finding]:
    """cuDNN and NCCL, which vLLM and SGLang bring with them: that they came along."""
    title: Text = ("cuDNN 与 NCCL", "cuDNN and NCCL")
    models = [(name, model) for name, model in _alive(settings) if model.engine in _COMPILED and not model.command and named_devices(settings, model)]
    if not models:
        why = ("随 vLLM、SGLang 一起安装，其他引擎不需要", "they come with vLLM and SGLang; nothing else needs them")
        return [Finding.skip("cuda_libraries", _STEP, title, ("没有模型需要", "no model needs them"), why)]
    for name, model in models:
        environment = engine_environment(settings, model)
        if not environment.is_dir():
            continue  # told with the engine
        found = {part: _version_of(environment, part) for part in _CUDA_PACKAGES}
        needed = [part for part in _CUDA_PACKAGES if part == "cudnn" or len(named_devices(settings, model) or []) > 1]
        seen = ", ".join(f"{part} {version}" for part, version in found.items() if version) or "-"
        if lacking := [part for part in needed if not found[part]]:
            command = (f"{environment}/bin/pip install --force-reinstall {model.engine}",) * 2
            shown_ = (f"{name} 的环境中没有 {', '.join(lacking)}：{environment}", f"the environment of {name} has no {', '.join(lacking)}: {environment}")
            return [Finding.warn("cuda_libraries", _STEP, title, shown_, command)]
        return [Finding.ok("cuda_libraries", _STEP, title, (f"{name}：{seen}", f"{name}: {seen}"))]
    return [Finding.skip("cuda_libraries", _STEP, title, ("引擎尚未安装", "the engine is not installed yet"), ("见第 5 步", "see step 5"))]


def _version_of(environment: Path, part: str) -> str:
    for folder in environment.glob(f"lib/python3*/site-packages/nvidia_{part}_cu*.dist-info"):
        return folder.name.removesuffix(".dist-info").rpartition("-")[2]
    return ""


def _alive(settings: Settings) -> Iterator[tuple[str, ModelSettings]]:
    return ((name, model) for name, model in all_models(settings).items() if model.alive)


def memory(settings: Settings) -> list[Finding]:
    """Memory that can be had now: the machine's, or what its control group (a container's limit) leaves."""
    title: Text = ("内存", "memory")
    total, available = hardware.machine_memory()
    if not total:
        return [Finding.skip("memory", 5, title, ("系统没有提供", "the system does not tell"), ("", ""))]
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    bound = total < whole * 0.98
    more = (f"（控制组上限，机器共有 {shown(whole)}）", f" (the control group's limit; the machine has {shown(whole)})") if bound else ("", "")
    seen = (f"可用 {shown(available)}，共 {shown(total)}{more[0]}", f"{shown(available)} available of {shown(total)}{more[1]}")
    if available < _LEAST_MEMORY:
        zh, en = "关闭其他程序；处理大文件时需要更多内存", "close other programs; large documents need more"
        if bound:
            zh, en = "提高容器或控制组的内存上限（docker --memory）", "raise the limit of the container or control group (docker --memory)"
        return [Finding.warn("memory", 5, title, seen, (f"ps aux --sort=-rss | head；{zh}", f"ps aux --sort=-rss | head; {en}"))]
    return [Finding.ok("memory", 5, title, seen)]


def clock(settings: Settings) -> list[Finding]:
    """The clock is neither before the program's own time nor before what was written: leases, sessions and logs go by it."""
    title, now = ("系统时钟", "clock"), time.time()
    seen = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    command = ("timedatectl set-ntp true（或用 date -s 校准）", "timedatectl set-ntp true (or set it with date -s)")
    if now < _EARLIEST_CLOCK:
        return [Finding.fail("clock", _STEP, title, (f"{seen}，早于程序本身", f"{seen} is before the program was written"), command)]
    newest = max((path.stat().st_mtime for path in _written(settings)), default=0.0)
    if newest > now + _BACK_S:
        last = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(newest))
        return [Finding.fail("clock", _STEP, title, (f"现在是 {seen}，而数据写于 {last}", f"it is {seen}, and data was written at {last}"), command)]
    return [Finding.ok("clock", _STEP, title, (seen, seen))]


def _written(settings: Settings) -> Iterable[Path]:
    try:
        return [path for path in settings.data.glob("*.sqlite*") if path.is_file()]
    except OSError:
        return []


def open_files(settings: Settings) -> list[Finding]:
    """Each stream takes two open files. The start raises the soft limit to the hard one; beyond that it cannot go."""
    title: Text = ("打开文件数上限", "open-file limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 10**9 if hard == resource.RLIM_INFINITY else hard
    seen = (f"软 {_limit(soft)}，硬 {_limit(hard)}", f"soft {_limit(soft)}, hard {_limit(hard)}")
    if most >= _MANY_FILES:
        return [Finding.ok("open_files", _STEP, title, seen)]
    streams = most // 2
    more = (f"{seen[0]}：最多约 {streams} 个并发连接", f"{seen[1]}: some {streams} connections at most")
    command = (
        "在 /etc/security/limits.conf 中设 * hard nofile 65536（systemd：LimitNOFILE=65536），重新登录后 ulimit -Hn 查看",
        "set `* hard nofile 65536` in /etc/security/limits.conf (systemd: LimitNOFILE=65536); sign in anew and look with ulimit -Hn",
    )
    make = Finding.fail if most < _LEAST_FILES else Finding.warn
    return [make("open_files", _STEP, title, more, command)]


def _limit(value: int) -> str:
    return "∞" if value == resource.RLIM_INFINITY else f"{value:,}"


def utf8(settings: Settings) -> list[Finding]:
    """Names of files and what programs print are UTF-8."""
    title: Text = ("字符编码", "locale")
    files, preferred = sys.getfilesystemencoding(), locale.getencoding()
    seen = f"{os.environ.get('LC_ALL') or os.environ.get('LC_CTYPE') or os.environ.get('LANG') or '-'}, {files}"
    command = ("export LC_ALL=C.UTF-8",) * 2
    if files.lower().replace("-", "") != "utf8":
        return [Finding.fail("locale", _STEP, title, (f"{seen}：无法写中文文件名", f"{seen}: Chinese names of files cannot be written"), command)]
    if preferred.lower().replace("-", "") not in ("utf8", "ansi_x3.41968"):  # Python itself takes plain C for UTF-8
        return [Finding.warn("locale", _STEP, title, (f"{seen}，其他程序使用 {preferred}", f"{seen}; other programs use {preferred}"), command)]
    return [Finding.ok("locale", _STEP, title, (seen, seen))]


def proxies(settings: Settings) -> list[Finding]:
    """Variables that would send what is for our own servers out by a proxy. The brain heeds them only for `model pull`; engines and other tools do."""
    title: Text = ("代理变量", "proxy variables")
    named = {name: value for name in _PROXIES for name, value in ((name, os.environ.get(name)), (name.upper(), os.environ.get(name.upper()))) if value}
    if not named:
        return [Finding.ok("proxies", _STEP, title, ("没有设置", "none"))]
    ours = sorted(_own_hosts(settings))
    exposed = [host for host in ours if not urllib.request.proxy_bypass_environment(host)]  # type: ignore[attr-defined]
    seen = ", ".join(f"{name}={_without_secret(value)}" for name, value in named.items())
    if not exposed:
        return [Finding.ok("proxies", _STEP, title, (f"{seen}；本系统的地址已列入 NO_PROXY", f"{seen}; our own addresses are in NO_PROXY"))]
    hosts = ", ".join(exposed)
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    command = (f"export NO_PROXY={','.join(dict.fromkeys([*filter(None, before.split(',')), *exposed]))}",) * 2
    told = (f"{seen}：发往 {hosts} 的请求会经过代理外出", f"{seen}: what is sent to {hosts} would go out by the proxy")
    return [Finding.warn("proxies", _STEP, title, told, command)]


def _own_hosts(settings: Settings) -> set[str]:
    addresses = [*settings.es_addresses, settings.graph_address, settings.neo4j_url, *(model.base_url for model in settings.models.values())]
    hosts = {urlsplit(one).hostname or "" for one in addresses if one}
    hosts |= {host for host in (settings.mysql_host, settings.redis_host) if host}
    own = settings.qzbrain_host
    return {host for host in hosts if host} | {"127.0.0.1" if is_loopback(own) or own in ("0.0.0.0", "::") else own}  # noqa: S104  not bound here


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    return url if "@" not in parts.netloc else f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}"
