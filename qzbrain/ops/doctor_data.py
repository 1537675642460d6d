"""The doctor's look at the data: the database's integrity and revision, the indexes against it, the queue."""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from qzbrain.errors import BrainError, IndexUnavailable
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.models.catalog import all_models, embedder_name
from qzbrain.ops import doctor_audit, doctor_backup, doctor_graph
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.minding import log_of, start_of
from qzbrain.retrieval.backends import chosen, search_index
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import HEAD, interrupted

_NO_TABLE = "1146"
"""MySQL's code for a table that is not there."""
_OLD_JOB = timedelta(minutes=10)
_TOLD = 200
_OLD_TABLES: Text = ("qzbrain db upgrade", "qzbrain db upgrade")


def _with_database(check: Callable[[Settings, Connection], Finding], id: str, step: int, zh: str, en: str) -> Callable[[Settings], list[Finding]]:
    """A check that reads the database; without one it is skipped, and a database that cannot be read fails it."""

    @wraps(check)
    def run(settings: Settings) -> list[Finding]:
        none_yet = Finding.skip(id, step, (zh, en), ("还没有数据库", "there is no database yet"), ("首次启动时会创建", "the first start makes it"))
        if not settings.mysql_host and not settings.database_path.exists():
            return [none_yet]
        try:
            with opened(settings) as connection:
                if settings.mysql_host and (backup := interrupted(connection)) is not None:
                    return [_broken_off(id, step, (zh, en), backup)]
                return [check(settings, connection)]
        except DatabaseError as exc:
            said = str(exc.orig)
            if settings.mysql_host:
                return [none_yet if _NO_TABLE in said else Finding.fail(id, step, (zh, en), (said, said), ("qzbrain db upgrade", "qzbrain db upgrade"))]
            return [Finding.fail(id, step, (zh, en), (said, said), _OLD_TABLES if said.startswith("no such") else _damaged(settings))]
        except BrainError:  # the server's own checks say why
            return [Finding.skip(id, step, (zh, en), ("数据库不可用", "the database cannot be used"), ("qzbrain doctor --step 1", "qzbrain doctor --step 1"))]

    return run


def _broken_off(id: str, step: int, title: Text, backup: str) -> Finding:
    """What is in the database is not whole; told once, by the check of its schema."""
    shown, command = ("恢复或升级被中断，数据不完整", "a restore or an upgrade was interrupted"), f"qzbrain restore {backup}"
    return (Finding.fail if id == "revision" else Finding.skip)(id, step, title, shown, (command, command))


def _damaged(settings: Settings) -> Text:
    copy = f"cp -a {shlex.quote(str(settings.data))} {shlex.quote(str(settings.data) + '.damaged')}"
    return f"停止 qzbrain，保留现状（{copy}），然后用备份恢复", f"stop the brain, keep what there is ({copy}), then restore a backup"


@contextmanager
def opened(settings: Settings) -> Iterator[Connection]:
    """A connection that only reads, and makes nothing where nothing is."""
    if settings.mysql_host:
        from qzbrain.storage.mysql import MysqlDriver
        from qzbrain.storage.mysql_session import Server

        with closing(Database(MysqlDriver(Server.of(settings), patience_s=0))) as database, database.read() as connection:
            yield connection
        return
    path = f"file:{settings.database_path}?mode=ro"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, uri=True, timeout=5), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _integrity(settings: Settings, connection: Connection) -> Finding:
    title = ("数据库完整性", "database integrity")
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        return Finding.fail("database", 1, title, ("; ".join(found), "; ".join(found)), _damaged(settings))
    size = f"{settings.database_path.stat().st_size / 1e6:.1f} MB"
    return Finding.ok("database", 1, title, (f"SQLite {sqlite3.sqlite_version}，{size}", f"SQLite {sqlite3.sqlite_version}, {size}"))


def _revision(settings: Settings, connection: Connection) -> Finding:
    title = ("表结构版本", "schema revision")
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
    revision = row[0] if row else "-"
    if revision > HEAD:
        shown = (f"{revision}，比程序（{HEAD}）新", f"{revision}, newer than the program ({HEAD})")
        newer = (
            "使用当初写入它的（更新的）程序版本：git pull && ./run.sh；或恢复升级前的备份",
            "use the newer program that wrote it: git pull && ./run.sh; or restore the backup from before the upgrade",
        )
        return Finding.fail("revision", 7, title, shown, newer)
    if revision != HEAD:
        shown = (f"{revision}，程序需要 {HEAD}", f"{revision}; the program needs {HEAD}")
        return Finding.fail("revision", 7, title, shown, ("qzbrain db upgrade", "qzbrain db upgrade"))
    return Finding.ok("revision", 7, title, (str(revision), str(revision)))


def _index(settings: Settings, connection: Connection) -> Finding:
    title = ("检索索引", "search index")
    try:
        bases, wrong = differing(settings, connection)
    except IndexUnavailable as exc:
        return Finding.skip("index", 7, title, (exc.code, exc.code), (exc.zh, exc.en))
    if not wrong:
        return Finding.ok("index", 7, title, (f"{bases} 个知识库与数据库一致", f"{bases} knowledge bases agree with the database"))
    shown = ", ".join(f"{name} {count}" for name, count in list(wrong.items())[:5])
    if at_work(connection):
        later = ("处理完后再看：qzbrain doctor --step 7", "look again later: qzbrain doctor --step 7")
        return Finding.warn("index", 7, title, (f"正在更新：{shown}", f"being updated: {shown}"), later)
    command = (f"qzbrain kb reindex {shlex.quote(next(iter(wrong)))}",) * 2
    return Finding.fail("index", 7, title, (f"段落数（索引/数据库）不一致：{shown}", f"chunks (index/database) differ: {shown}"), command)


def differing(settings: Settings, connection: Connection) -> tuple[int, dict[str, str]]:
    """How many knowledge bases there are, and of those whose index lacks chunks or has too many the counts by name. Raises IndexUnavailable."""
    indexes = search_index(settings)
    rows = connection.exec_driver_sql(
        "SELECT k.id, k.name, COALESCE(SUM(d.chunks), 0) - (SELECT COUNT(*) FROM chunks c WHERE c.kb_id = k.id AND c.disabled = 1) FROM knowledge_bases k"
        " LEFT JOIN documents d ON d.kb_id = k.id AND d.status = 'ready'"
        " WHERE SUBSTR(k.name, 1, 7) <> 'import:' GROUP BY k.id ORDER BY k.name"
    ).fetchall()
    found = {kb_id: indexes.chunk_count(kb_id) for kb_id, _, _ in rows}
    return len(rows), {name: f"{found[kb_id]}/{expected}" for kb_id, name, expected in rows if found[kb_id] != expected}


def at_work(connection: Connection) -> bool:
    """Whether jobs are due or being done: what they change is on its way."""
    return bool(connection.exec_driver_sql("SELECT COUNT(*) FROM jobs WHERE status IN ('pending', 'running')").scalar())


def _behind(settings: Settings, connection: Connection) -> Finding:
    title = ("索引进度", "index progress")
    changes, bases = connection.exec_driver_sql("SELECT COUNT(*), COUNT(DISTINCT kb_id) FROM outbox").one()
    if not changes:
        return Finding.ok("index_progress", 7, title, ("没有待写入索引的变更", "no change waits for the index"))
    shown = (f"{bases} 个知识库有 {changes} 项变更待写入索引", f"{changes} changes of {bases} knowledge bases wait for the index")
    again, else_ = "qzbrain doctor --step 7", "qzbrain doctor --step 8"
    advice = (f"稍后再看：{again}；没有减少则 {else_}", f"look again: {again}; if it stays: {else_}")
    return Finding.warn("index_progress", 7, title, shown, advice)


def _given_index(settings: Settings, connection: Connection) -> Finding:
    """EMBEDDING_INDEX names a pack: is it there, can it be read, was it taken in."""
    from qzbrain.knowledge.packs.configured import pack_file, pack_name

    title, given = ("语义索引库 EMBEDDING_INDEX", "EMBEDDING_INDEX"), settings.embedding_index_path
    if given is None:
        return Finding.skip("embedding_index", 5, title, ("未设置", "not set"), ("不需要；见 docs/packs.md", "not needed; see docs/packs.md"))
    path = pack_file(settings)
    if path is None:
        shown = (f"没有文件 {given}（或 {given.name}.qzkb）", f"there is no file {given} (or {given.name}.qzkb)")
        advice = ("用 qzbrain kb export 导出知识包后放到该位置", "write a pack with qzbrain kb export and put it there")
        return Finding.fail("embedding_index", 5, title, shown, advice)
    try:
        name = pack_name(settings, path)
    except BrainError as exc:
        return Finding.fail("embedding_index", 5, title, (exc.zh, exc.en), ("重新导出该知识包", "export the pack again"))
    if connection.execute(text("SELECT 1 FROM knowledge_bases WHERE name = :name"), {"name": name}).first() is None:
        shown = (f"{path.name} 尚未导入为 {name}", f"{path.name} is not taken in as {name} yet")
        advice = ("启动后台处理，或运行 qzbrain kb import", "start the worker, or run qzbrain kb import")
        return Finding.warn("embedding_index", 5, title, shown, (f"{advice[0]} {path}", f"{advice[1]} {path}"))
    return Finding.ok("embedding_index", 5, title, (f"{path.name} 已导入为 {name}", f"{path.name} was taken in as {name}"))


def _meaning(settings: Settings, connection: Connection) -> Finding:
    """Spaces of another embedder are not searched; those that lack vectors are being filled."""
    title, wanted = ("语义检索", "search by meaning"), embedder_name(settings)
    if not wanted:
        shown = ("没有向量模型，仅按字词检索", "no embedder; retrieval is by words only")
        return Finding.skip("semantic", 7, title, shown, ("./run.sh --setup-only，或设置 QZBRAIN_EMBEDDER", "./run.sh --setup-only, or set QZBRAIN_EMBEDDER"))
    if wanted not in all_models(settings):
        shown = (f"没有配置模型 {wanted}", f"the model {wanted} is not configured")
        return Finding.fail("semantic", 7, title, shown, (f"在 config.toml 中添加 [models.{wanted}]", f"add [models.{wanted}] to config.toml"))
    rows = connection.exec_driver_sql(
        "SELECT k.name, s.embedder, s.reason_code, s.embedded_upto, MAX(c.id) FROM knowledge_bases k JOIN chunks c ON c.kb_id = k.id"
        " LEFT JOIN vector_spaces s ON s.kb_id = k.id AND s.status = 'active'"
        " WHERE SUBSTR(k.name, 1, 7) <> 'import:' GROUP BY k.name, s.embedder, s.reason_code, s.embedded_upto ORDER BY k.name"
    ).fetchall()
    refused = [name for name, embedder, reason, _, _ in rows if embedder is not None and (embedder != wanted or reason)]
    missing = [name for name, embedder, _, upto, last in rows if embedder is None or (name not in refused and upto < last)]
    if refused:
        names = ", ".join(refused[:5])
        shown = (f"向量由其他模型生成：{names}", f"vectors of another model: {names}")
        return Finding.fail("semantic", 7, title, shown, (f"qzbrain kb reembed {refused[0]}", f"qzbrain kb reembed {refused[0]}"))
    if missing:
        names = ", ".join(missing[:5])
        shown = (f"正在生成向量：{names}", f"vectors are being made: {names}")
        return Finding.warn("semantic", 7, title, shown, ("GET /api/jobs 查看进度与原因", "GET /api/jobs shows how far it is, and what it waits for"))
    scanned = _scanned_by(settings)
    return Finding.ok("semantic", 7, title, (f"{wanted}，{len(rows)} 个知识库{scanned[0]}", f"{wanted}, {len(rows)} knowledge bases{scanned[1]}"))


def _scanned_by(settings: Settings) -> tuple[str, str]:
    """What compares vectors, faiss or numpy; nothing where a search server does."""
    if chosen(settings) != "embedded":
        return "", ""
    from qzbrain.retrieval.embedded import hamming

    return f"，由 {hamming.chosen()} 比对", f", compared by {hamming.chosen()}"


def _queue(settings: Settings, connection: Connection) -> Finding:
    """Nothing stands still, nothing failed for good, nothing is in quarantine. The one to look at first is named."""
    title = ("任务队列", "queue")
    counts = {row[0]: int(row[1]) for row in connection.exec_driver_sql("SELECT status, COUNT(*) FROM jobs GROUP BY status")}
    waiting, failed = counts.get("pending", 0) + counts.get("running", 0), counts.get("failed", 0)
    shown = (f"等待或运行 {waiting}，失败 {failed}", f"{waiting} waiting or running, {failed} failed")
    before = (datetime.now(UTC) - _OLD_JOB).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    unmoved = text(
        "SELECT id, kind, status, updated_at, lease_until FROM jobs WHERE status IN ('pending', 'running') AND updated_at < :before AND run_after <= :now"
        " ORDER BY updated_at"
    )
    old = connection.execute(unmoved, {"before": before, "now": time.time()}).all()
    if old:
        first = f"{old[0].kind} {old[0].id}, {str(old[0].updated_at)[:16]}Z"
        lost = sum(1 for one in old if one.status == "running" and one.lease_until < time.time())
        died = (f"，其中 {lost} 个的执行者已不在", f", the workers of {lost} of them are gone") if lost else ("", "")
        more = (
            f"{shown[0]}；{len(old)} 个任务超过 10 分钟没有进展{died[0]}（最早：{first}）",
            f"{shown[1]}; {len(old)} jobs have not moved for 10 minutes{died[1]} (oldest: {first})",
        )
        start = log_of("worker", settings) if worker_is_alive(settings.data) else start_of(settings)
        return Finding.warn("queue", 7, title, more, start)
    if failed:
        worst = connection.exec_driver_sql(
            "SELECT id, kind, reason_code, reason_zh, reason_en FROM jobs WHERE status = 'failed'"
            " ORDER BY CASE WHEN reason_code = 'quarantined' THEN 0 ELSE 1 END, updated_at DESC LIMIT 1"
        ).one()
        quarantined = connection.exec_driver_sql("SELECT COUNT(*) FROM jobs WHERE status = 'failed' AND reason_code = 'quarantined'").scalar()
        apart = (f"，其中 {quarantined} 个被隔离", f", {quarantined} of them in quarantine") if quarantined else ("", "")
        told = (
            f"{shown[0]}{apart[0]}；{worst.kind}：{(worst.reason_zh or worst.reason_code or '?')[:_TOLD]}",
            f"{shown[1]}{apart[1]}; {worst.kind}: {(worst.reason_en or worst.reason_code or '?')[:_TOLD]}",
        )
        again = f"curl -X POST {settings.url}/api/jobs/{worst.id}/retry"
        return Finding.warn("queue", 7, title, told, (f"改正原因后：{again}", f"when the reason is gone: {again}"))
    return Finding.ok("queue", 7, title, shown)


def mysql(settings: Settings) -> list[Finding]:
    """The server that holds the database, when it is one. The driver is imported only then."""
    if not settings.mysql_host:
        built_in = ("内置实现，无需安装", "built in; nothing to install")
        return [Finding.skip("mysql", 1, ("MySQL", "MySQL"), ("使用内置的 SQLite", "SQLite is used"), built_in)]
    from qzbrain.ops import doctor_mysql

    return doctor_mysql.server(settings)


def integrity(settings: Settings) -> list[Finding]:
    """That of the database file; a server looks after its own."""
    return [] if settings.mysql_host else _file_integrity(settings)


def graph(settings: Settings) -> list[Finding]:
    """That a graph service, where there is one, reads this database."""
    return _graph(settings) if settings.graph_address else []


_graph = _with_database(doctor_graph.data, "graph_data", 3, "图谱服务的数据", "data of the graph service")
_file_integrity = _with_database(_integrity, "database", 1, "数据库完整性", "database integrity")
revision = _with_database(_revision, "revision", 7, "表结构版本", "schema revision")
index = _with_database(_index, "index", 7, "检索索引", "search index")
behind = _with_database(_behind, "index_progress", 7, "索引进度", "index progress")
given_index = _with_database(_given_index, "embedding_index", 5, "语义索引库 EMBEDDING_INDEX", "EMBEDDING_INDEX")
meaning = _with_database(_meaning, "semantic", 7, "语义检索", "search by meaning")
audit = _with_database(doctor_audit.chain, "audit", 7, "审计日志", "audit log")
backup = _with_database(doctor_backup.backup, "backup", 5, "备份", "backup")
queue = _with_database(_queue, "queue", 7, "任务队列", "queue")
