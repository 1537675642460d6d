"""`qzbrain doctor`: looks at the deployment step by step and says what to do. A check that cannot be made says so. Only reads, but for an
empty index on a search server, made and removed to see that it may be.

`step` is the deployment manual's: 1 database, 2 queue, 3 graph, 4 addresses, 5 code, data, models, 6 dependencies, 7 tables,
8 start, 9 containers.
"""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qzbrain.errors import Lang
from qzbrain.ops import doctor_data, doctor_graph, doctor_models, doctor_neo4j, doctor_redis, doctor_search, doctor_services, doctor_tls
from qzbrain.ops.finding import Finding
from qzbrain.ops.start import port_is_free, running_brain
from qzbrain.settings import Settings, config_path

_LEAST_GLIBC = (2, 28)
_LOW_DISK_MB, _LEAST_DISK_MB = 2_000, 200
_LEAST_MEMORY_MB = 512
_EARLIEST_CLOCK = 1_767_225_600  # 2026-01-01: a clock before the program was written is wrong


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report in the reader's language, as GET /api/system/doctor gives it."""

    id: str
    step: int
    title: str
    status: Literal["ok", "warn", "fail", "skip"]
    evidence: str
    next: str


def examine(settings: Settings, lang: Lang, *, step: int | None = None) -> list[Check]:
    """All checks, or those of one step, in the manual's order. Never raises for what it finds."""
    checks: Iterable[Callable[[Settings], Iterable[Finding]]] = (
        doctor_data.integrity,
        mysql,
        doctor_graph.service,
        doctor_data.graph,
        doctor_services.not_in_this_version,
        doctor_neo4j.neo4j,
        doctor_redis.redis,
        doctor_search.search,
        configuration,
        data_folder,
        disk,
        memory,
        doctor_data.backup,
        doctor_models.models,
        python,
        glibc,
        clock,
        doctor_data.revision,
        doctor_data.index,
        doctor_data.behind,
        doctor_data.given_index,
        doctor_data.meaning,
        doctor_data.queue,
        doctor_data.audit,
        port,
        doctor_tls.tls,
        doctor_services.web,
        doctor_services.worker,
        doctor_models.running_engines,
    )
    findings = [finding for check in checks for finding in check(settings)]
    wanted = [x for x in findings if step is None or x.step == step]
    return [Check(x.id, x.step, x.title[lang == "en"], x.status, x.evidence[lang == "en"], x.next[lang == "en"]) for x in sorted(wanted, key=lambda x: x.step)]


def configuration(settings: Settings) -> list[Finding]:
    """Which file is in force, and whether others may read the secrets in it."""
    title = ("配置", "configuration")
    path = config_path()
    if path is None:
        return [Finding.ok("configuration", 4, title, ("没有 config.toml，使用默认值和环境变量", "no config.toml; defaults and environment"))]
    own = (settings.mysql_password, settings.redis_password, settings.es_password, settings.es_api_key, settings.neo4j_password)
    secrets = any(own) or any(model.api_key for model in settings.models.values())
    if secrets and path.stat().st_mode & 0o077:
        return [
            Finding.warn(
                "configuration",
                4,
                title,
                (f"{path} 含有机密，但其他用户可读", f"{path} holds secrets, and other users may read it"),
                (f"chmod 600 {path}", f"chmod 600 {path}"),
            )
        ]
    return [Finding.ok("configuration", 4, title, (str(path), str(path)))]


def mysql(settings: Settings) -> list[Finding]:
    """The server that holds the database, when it is one. The driver is imported only then."""
    if not settings.mysql_host:
        built_in = ("内置实现，无需安装", "built in; nothing to install")
        return [Finding.skip("mysql", 1, ("MySQL", "MySQL"), ("使用内置的 SQLite", "SQLite is used"), built_in)]
    from qzbrain.ops import doctor_mysql

    return doctor_mysql.server(settings)


def data_folder(settings: Settings) -> list[Finding]:
    """The data folder exists, is ours and nobody else's."""
    title, folder = ("数据目录", "data folder"), settings.data
    if not folder.exists():
        return [Finding.skip("data_folder", 5, title, (f"{folder} 尚未创建", f"{folder} does not exist yet"), ("首次启动时会创建", "the first start makes it"))]
    if not _writable(folder):
        return [
            Finding.fail("data_folder", 5, title, (f"{folder} 不可写", f"{folder} cannot be written"), ("改正其所有者与权限", "correct its owner and rights"))
        ]
    if not settings.mysql_host and settings.database_path.exists() and settings.database_path.stat().st_mode & 0o077:
        command = f"chmod -R go-rwx {folder}"
        return [Finding.warn("data_folder", 5, title, ("其他用户可读取数据库", "other users may read the database"), (command, command))]
    return [Finding.ok("data_folder", 5, title, (str(folder), str(folder)))]


def _writable(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK | os.X_OK)


def disk(settings: Settings) -> list[Finding]:
    """Room on the data folder's disk."""
    title = ("磁盘空间", "disk space")
    there = next(x for x in (settings.data, *settings.data.parents) if x.exists())
    free_mb = shutil.disk_usage(there).free >> 20
    shown = (f"可用 {free_mb:,} MiB", f"{free_mb:,} MiB free")
    advice = ("清理磁盘，或用 QZBRAIN_DATA 换到更大的磁盘", "free some space, or move the data with QZBRAIN_DATA")
    if free_mb < _LEAST_DISK_MB:
        return [Finding.fail("disk", 5, title, shown, advice)]
    if free_mb < _LOW_DISK_MB:
        return [Finding.warn("disk", 5, title, shown, advice)]
    return [Finding.ok("disk", 5, title, shown)]


def memory(settings: Settings) -> list[Finding]:
    """Memory that can be had now; skipped where the system does not tell."""
    title = ("内存", "memory")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free_mb = next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:")) >> 10
    except (OSError, StopIteration):
        return [Finding.skip("memory", 5, title, ("系统没有提供", "the system does not tell"), ("", ""))]
    shown = (f"可用 {free_mb:,} MiB", f"{free_mb:,} MiB available")
    if free_mb < _LEAST_MEMORY_MB:
        return [Finding.warn("memory", 5, title, shown, ("关闭其他程序；处理大文件时需要更多内存", "close other programs; large documents need more"))]
    return [Finding.ok("memory", 5, title, shown)]


def python(settings: Settings) -> list[Finding]:
    """The version that runs this."""
    version = platform.python_version()
    if sys.version_info[:2] > (3, 13):
        advice = ("推荐 3.11–3.13；运行 ./run.sh 会自动准备", "3.11 to 3.13 are tested; ./run.sh gets one")
        return [Finding.warn("python", 6, ("Python", "Python"), (version, version), advice)]
    return [Finding.ok("python", 6, ("Python", "Python"), (version, version))]


def glibc(settings: Settings) -> list[Finding]:
    """The C library: the packages' wheels need 2.28."""
    name, version = platform.libc_ver()
    shown = (f"{name or '?'} {version}", f"{name or '?'} {version}")
    title = ("系统库", "system library")
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < _LEAST_GLIBC:
        return [Finding.warn("glibc", 6, title, shown, ("推荐 glibc ≥ 2.28 的系统", "a system with glibc ≥ 2.28 is recommended"))]
    return [Finding.ok("glibc", 6, title, shown)]


def clock(settings: Settings) -> list[Finding]:
    """The clock is not before the program's own time: leases and logs go by it."""
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    title = ("系统时钟", "clock")
    if time.time() < _EARLIEST_CLOCK:
        return [Finding.fail("clock", 6, title, (now, now), ("校准系统时间", "set the system's time"))]
    return [Finding.ok("clock", 6, title, (now, now))]


def port(settings: Settings) -> list[Finding]:
    """The port is free, or it is this brain that has it."""
    title, where = ("端口", "port"), f"{settings.qzbrain_host}:{settings.qzbrain_port}"
    if running_brain(settings).get("url") == settings.url:
        return [Finding.ok("port", 8, title, (f"{where} 由本 qzbrain 使用", f"{where} is used by this brain"))]
    if port_is_free(settings.qzbrain_host, settings.qzbrain_port):
        return [Finding.ok("port", 8, title, (f"{where} 空闲", f"{where} is free"))]
    return [
        Finding.fail(
            "port",
            8,
            title,
            (f"{where} 被其他程序占用", f"{where} is taken by another program"),
            ("关闭那个程序，或设置 QZBRAIN_PORT", "close that program, or set QZBRAIN_PORT"),
        )
    ]
