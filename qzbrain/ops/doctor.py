"""`qzbrain doctor`: looks at the deployment step by step and says what to do. A check that cannot be made says so. Only reads, but for an
empty index on a search server and one key on a Redis, made and removed to see that they may be.

`step` is the deployment manual's: 1 database, 2 queue, 3 graph, 4 addresses, 5 code, data, models, 6 dependencies, 7 tables,
8 start, 9 containers. docs/doctor.md tells each check with the manual's row that it answers for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from traceback import extract_tb
from typing import Literal

from qzbrain import logs
from qzbrain.errors import Lang, SettingsInvalid
from qzbrain.ops import (
    doctor_containers,
    doctor_data,
    doctor_graph,
    doctor_machine,
    doctor_models,
    doctor_neo4j,
    doctor_place,
    doctor_redis,
    doctor_search,
    doctor_services,
    doctor_settings,
    doctor_tls,
)
from qzbrain.ops.finding import Finding, Text
from qzbrain.settings import Settings, load_settings, secrets_of

STEPS: Mapping[int, Text] = {
    1: ("数据库", "database"),
    2: ("队列", "queue"),
    3: ("图谱服务", "graph service"),
    4: ("地址与设置", "addresses and settings"),
    5: ("数据、模型、设备", "data, models, devices"),
    6: ("系统与依赖", "system and packages"),
    7: ("数据表与索引", "tables and indexes"),
    8: ("运行", "what runs"),
    9: ("容器", "containers"),
}
_FIRST_S, _SECOND_S = 6.0, 7.0
_AT_ONCE = 4
"""Looks at the database: each has a connection of its own."""

CAUSES: Mapping[str, tuple[str, ...]] = {
    "database": ("disk", "data_folder"), "mysql": (), "mysql_rights": (), "mysql_charset": (), "mysql_packet": (), "mysql_durability": (),
    "mysql_connections": (), "mysql_clock": ("clock",),
    "redis": (), "redis_password": (), "redis_memory": (), "redis_databases": (), "redis_writes": ("redis_memory",),
    "celery": ("redis", "redis_writes", "web", "worker"),
    "graph_service": ("graph_port",), "graph_data": ("graph_service",), "neo4j": (),
    "configuration": (), "setting_names": (), "settings_agree": (),
    "search": (), "search_rights": ("search", "search_disk"), "search_analysis": ("search", "search_rights", "search_disk"),
    "search_cluster": ("search",), "search_disk": ("search",),
    "search_index": ("search", "search_disk"),
    "data_folder": (), "disk": (), "inodes": (), "memory": (), "gpu": (), "engine:*": (), "model:*": ("gpu",), "models": (), "reranker": (),
    "embedding_index": ("worker",),
    "system": (), "python": (), "packages": (), "glibc": (), "compilers": (), "cuda_libraries": ("engine:*",), "clock": (), "open_files": (), "locale": (),
    "proxies": (),
    "revision": ("database", "mysql"), "index": ("revision", "database", "search", "search_disk", "worker", "disk", "data_folder"),
    "index_progress": ("revision", "database", "search", "search_disk", "worker", "disk"), "semantic": ("revision", "database", "model:*", "worker"),
    "queue": ("revision", "database", "worker", "disk", "redis"), "audit": ("revision", "database"),
    "backup": ("database", "disk", "worker"), "port": (), "graph_port": (), "tls": ("clock",),
    "web": ("database", "mysql", "revision", "search", "redis", "disk", "port"),
    "worker": ("disk", "database", "mysql", "redis"), "processes": ("port", "web", "worker", "disk", "database"), "leftovers": (),
    "running:*": ("model:*", "gpu"),
    "docker": (), "container_gpu": ("docker",),
}  # fmt: skip
"""Every check by its id, with those whose failure it can follow from: it then says so, and the reader begins with the first."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report in the reader's language, as GET /api/system/doctor gives it. `follows`: the check whose failure this one follows from."""

    id: str
    step: int
    title: str
    status: Literal["ok", "warn", "fail", "skip"]
    evidence: str
    next: str
    follows: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One look, which may give several findings of one step. `after`: looks without whose success this one could tell nothing.

    `id` and `title` are those of a look that raises, or does not come to an end.
    """

    id: str
    step: int
    title: Text
    look: Callable[[Settings], Iterable[Finding]]
    after: tuple[str, ...] = ()
    of_machine: bool = False


_DB = ("mysql",)
PROBES: tuple[Probe, ...] = (
    Probe("mysql", 1, ("MySQL", "MySQL"), doctor_data.mysql),
    Probe("database", 1, ("数据库完整性", "database integrity"), doctor_data.integrity),
    Probe("redis", 2, ("Redis", "Redis"), doctor_redis.redis),
    Probe("celery", 2, ("Celery", "Celery"), doctor_redis.celery, after=("redis",)),
    Probe("graph_service", 3, ("知识图谱服务", "graph service"), doctor_graph.service),
    Probe("graph_data", 3, ("图谱服务的数据", "data of the graph service"), doctor_data.graph, after=(*_DB, "graph_service")),
    Probe("neo4j", 3, ("Neo4j", "Neo4j"), doctor_neo4j.neo4j),
    Probe("configuration", 4, ("配置", "configuration"), doctor_settings.configuration),
    Probe("setting_names", 4, ("环境变量名", "names of variables"), doctor_settings.names, of_machine=True),
    Probe("settings_agree", 4, ("设置之间", "settings together"), doctor_settings.agreement),
    Probe("search", 4, ("检索服务", "search server"), doctor_search.search),
    Probe("data_folder", 5, ("数据目录", "data folder"), doctor_place.data_folder),
    Probe("disk", 5, ("磁盘空间", "disk space"), doctor_place.disk),
    Probe("memory", 5, ("内存", "memory"), doctor_machine.memory, of_machine=True),
    Probe("backup", 5, ("备份", "backup"), doctor_data.backup, after=_DB),
    Probe("models", 5, ("模型与显卡", "models and GPUs"), doctor_models.models),
    Probe("embedding_index", 5, ("语义索引库 EMBEDDING_INDEX", "EMBEDDING_INDEX"), doctor_data.given_index, after=_DB),
    Probe("system", 6, ("操作系统", "system"), doctor_machine.system, of_machine=True),
    Probe("python", 6, ("Python", "Python"), doctor_machine.python, of_machine=True),
    Probe("packages", 6, ("Python 依赖", "Python packages"), doctor_machine.packages, of_machine=True),
    Probe("glibc", 6, ("系统库", "system library"), doctor_machine.glibc, of_machine=True),
    Probe("compilers", 6, ("编译器", "compilers"), doctor_machine.compilers),
    Probe("cuda_libraries", 6, ("cuDNN 与 NCCL", "cuDNN and NCCL"), doctor_machine.cuda_libraries),
    Probe("clock", 6, ("系统时钟", "clock"), doctor_machine.clock),
    Probe("open_files", 6, ("打开文件数上限", "open-file limit"), doctor_machine.open_files, of_machine=True),
    Probe("locale", 6, ("字符编码", "locale"), doctor_machine.utf8, of_machine=True),
    Probe("proxies", 6, ("代理变量", "proxy variables"), doctor_machine.proxies),
    Probe("revision", 7, ("表结构版本", "schema revision"), doctor_data.revision, after=_DB),
    Probe("index", 7, ("检索索引", "search index"), doctor_data.index, after=(*_DB, "search")),
    Probe("index_progress", 7, ("索引进度", "index progress"), doctor_data.behind, after=_DB),
    Probe("semantic", 7, ("语义检索", "search by meaning"), doctor_data.meaning, after=_DB),
    Probe("queue", 7, ("任务队列", "queue"), doctor_data.queue, after=_DB),
    Probe("audit", 7, ("审计日志", "audit log"), doctor_data.audit, after=_DB),
    Probe("port", 8, ("端口", "port"), doctor_place.port),
    Probe("tls", 8, ("HTTPS 证书", "https certificate"), doctor_tls.tls),
    Probe("web", 8, ("网页服务", "web"), doctor_services.web),
    Probe("worker", 8, ("后台处理", "worker"), doctor_services.worker),
    Probe("processes", 8, ("进程", "processes"), doctor_services.supervised),
    Probe("running:*", 8, ("引擎", "engines"), doctor_models.running_engines),
    Probe("leftovers", 8, ("遗留", "leftovers"), doctor_place.left_behind),
    Probe("docker", 9, ("Docker", "Docker"), doctor_containers.docker, of_machine=True),
)


def examine_machine(lang: Lang, *, step: int | None = None) -> tuple[Settings | None, list[Check]]:
    """As `examine`, with the settings of environment and config.toml. Where those cannot be used the check `configuration` says why,
    and what needs none is looked at all the same; the settings are None then."""
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        found = [doctor_settings.unusable(error)]
        for one in _made([probe for probe in PROBES if probe.of_machine], Settings.model_construct(), at_once=_AT_ONCE, for_s=_FIRST_S).values():
            found += one
        return None, _told(found, lang, step)
    logs.hide(secrets_of(settings))
    return settings, examine(settings, lang, step=step)


def examine(settings: Settings, lang: Lang, *, step: int | None = None) -> list[Check]:
    """All checks, or those of one step, in the manual's order, within 15 s. Never raises for what it finds."""
    wanted = [probe for probe in PROBES if step in (None, probe.step)]
    needed = {name for probe in wanted for name in probe.after}
    first = [probe for probe in PROBES if not probe.after and (probe in wanted or probe.id in needed)]
    found = _made(first, settings, at_once=len(first), for_s=_FIRST_S)
    failed = {one.id for findings in found.values() for one in findings if one.status == "fail"}
    second = [probe for probe in wanted if probe.after]
    blocked = {probe.id: [_blocked(probe, found, failed)] for probe in second if failed & set(probe.after)}
    found |= blocked | _made([probe for probe in second if probe.id not in blocked], settings, at_once=_AT_ONCE, for_s=_SECOND_S)
    return _told([one for probe in PROBES for one in found.get(probe.id, ())], lang, step)


def _made(probes: Sequence[Probe], settings: Settings, *, at_once: int, for_s: float) -> dict[str, list[Finding]]:
    """What each has found by its id. One that does not come to an end in time is told so, and left behind: its own time-outs end it some day."""
    waiting, done, until = list(probes), dict[str, list[Finding]](), time.monotonic() + for_s

    def work() -> None:
        while waiting and time.monotonic() < until:
            try:
                probe = waiting.pop(0)
            except IndexError:  # another thread was faster
                return
            done[probe.id] = _looked(probe, settings)

    threads = [Thread(target=work, name=f"doctor-{n}", daemon=True) for n in range(min(at_once, len(probes)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return {probe.id: done.get(probe.id) or ([] if probe.id in done else [_late(probe, for_s)]) for probe in probes}


def _looked(probe: Probe, settings: Settings) -> list[Finding]:
    try:
        return list(probe.look(settings))
    except Exception as exc:  # noqa: BLE001  what a check did not foresee is its finding
        where = extract_tb(exc.__traceback__)[-1]
        said = logs.redacted(f"{type(exc).__name__}: {exc} ({where.filename.rpartition('/')[2]}:{where.lineno})".encode()).decode("utf-8", "replace")
        return [Finding.fail(probe.id, probe.step, probe.title, (f"检查没有完成：{said}", f"the check itself failed: {said}"), _again(probe))]


def _late(probe: Probe, for_s: float) -> Finding:
    seen = (
        f"{for_s:g} 秒内没有结果：所检查的服务接受连接但不应答，或机器过于繁忙",
        f"no result within {for_s:g} s: what it asks takes connections and does not answer, or the machine is too busy",
    )
    return Finding.fail(probe.id, probe.step, probe.title, seen, _again(probe))


def _again(probe: Probe) -> Text:
    return (f"qzbrain doctor --step {probe.step}",) * 2


def _blocked(probe: Probe, found: Mapping[str, Sequence[Finding]], failed: set[str]) -> Finding:
    cause = next(one for name in probe.after for one in found.get(name, ()) if one.id in failed and one.id == name)
    seen = (f"未检查：先解决「{cause.title[0]}」", f'not looked at: first see to "{cause.title[1]}"')
    return Finding.skip(probe.id, probe.step, probe.title, seen, (f"qzbrain doctor --step {cause.step}",) * 2)


def kind(id: str) -> str:
    """The check's id in `CAUSES` and in docs/doctor.md: `model:*` for `model:qwen`."""
    return f"{id.partition(':')[0]}:*" if ":" in id else id


def _told(found: Sequence[Finding], lang: Lang, step: int | None) -> list[Check]:
    failed = {kind(one.id): one for one in reversed(found) if one.status == "fail"}
    checks = []
    for one in sorted(found, key=lambda x: x.step):
        if step not in (None, one.step):
            continue
        cause = next((failed[name] for name in CAUSES.get(kind(one.id), ()) if name in failed), None) if one.status in ("warn", "fail") else None
        evidence = one.evidence[lang == "en"]
        if cause is not None:
            why = f"{cause.title[0]}，第 {cause.step} 步" if lang == "zh" else f"{cause.title[1]}, step {cause.step}"
            evidence += f"（由此引起：{why}）" if lang == "zh" else f" (follows from: {why})"
        checks.append(Check(one.id, one.step, one.title[lang == "en"], one.status, evidence, one.next[lang == "en"], cause.id if cause else ""))
    return checks
