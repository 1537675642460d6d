"""The doctor's look at the data: the database's integrity and revision, the indexes against it, the queue."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from qzbrain.errors import BrainError, IndexUnavailable
from qzbrain.models.catalog import all_models, embedder_name
from qzbrain.ops import doctor_audit, doctor_backup, doctor_graph
from qzbrain.ops.finding import Finding
from qzbrain.retrieval.backends import chosen, search_index
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import HEAD

_NO_TABLE = "1146"
"""MySQL's code for a table that is not there."""
_OLD_JOB = timedelta(minutes=10)


def _with_database(check: Callable[[Settings, Connection], Finding], id: str, step: int, zh: str, en: str) -> Callable[[Settings], list[Finding]]:
    """A check that reads the database; without one it is skipped, and a database that cannot be read fails it."""

    @wraps(check)
    def run(settings: Settings) -> list[Finding]:
        none_yet = Finding.skip(id, step, (zh, en), ("还没有数据库", "there is no database yet"), ("首次启动时会创建", "the first start makes it"))
        if not settings.mysql_host and not settings.database_path.exists():
            return [none_yet]
        try:
            with _opened(settings) as connection:
                return [check(settings, connection)]
        except DatabaseError as exc:
            said = str(exc.orig)
            if settings.mysql_host:
                return [none_yet if _NO_TABLE in said else Finding.fail(id, step, (zh, en), (said, said), ("qzbrain db upgrade", "qzbrain db upgrade"))]
            advice = ("停止 qzbrain 并用备份恢复；先复制整个数据目录", "stop the brain and restore a backup; copy the whole data folder first")
            return [Finding.fail(id, step, (zh, en), (said, said), advice)]
        except BrainError:  # the server's own checks say why
            return [Finding.skip(id, step, (zh, en), ("数据库不可用", "the database cannot be used"), ("qzbrain doctor --step 1", "qzbrain doctor --step 1"))]

    return run


@contextmanager
def _opened(settings: Settings) -> Iterator[Connection]:
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
        advice = ("停止 qzbrain 并用备份恢复；先复制整个数据目录", "stop the brain and restore a backup; copy the whole data folder first")
        return Finding.fail("database", 1, title, ("; ".join(found), "; ".join(found)), advice)
    size = f"{settings.database_path.stat().st_size / 1e6:.1f} MB"
    return Finding.ok("database", 1, title, (f"SQLite {sqlite3.sqlite_version}，{size}", f"SQLite {sqlite3.sqlite_version}, {size}"))


def _revision(settings: Settings, connection: Connection) -> Finding:
    title = ("表结构版本", "schema revision")
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
    revision = row[0] if row else "-"
    if revision != HEAD:
        shown = (f"{revision}，程序需要 {HEAD}", f"{revision}; the program needs {HEAD}")
        return Finding.fail("revision", 7, title, shown, ("qzbrain db upgrade", "qzbrain db upgrade"))
    return Finding.ok("revision", 7, title, (str(revision), str(revision)))


def _index(settings: Settings, connection: Connection) -> Finding:
    title, indexes = ("检索索引", "search index"), search_index(settings)
    rows = connection.exec_driver_sql(
        "SELECT k.id, k.name, COALESCE(SUM(d.chunks), 0) - (SELECT COUNT(*) FROM chunks c WHERE c.kb_id = k.id AND c.disabled = 1) FROM knowledge_bases k"
        " LEFT JOIN documents d ON d.kb_id = k.id AND d.status = 'ready'"
        " WHERE SUBSTR(k.name, 1, 7) <> 'import:' GROUP BY k.id ORDER BY k.name"
    ).fetchall()
    try:
        found = {kb_id: indexes.chunk_count(kb_id) for kb_id, _, _ in rows}
    except IndexUnavailable as exc:
        return Finding.skip("index", 7, title, (exc.code, exc.code), (exc.zh, exc.en))
    wrong = [f"{name} {found[kb_id]}/{expected}" for kb_id, name, expected in rows if found[kb_id] != expected]
    if not wrong:
        return Finding.ok("index", 7, title, (f"{len(rows)} 个知识库与数据库一致", f"{len(rows)} knowledge bases agree with the database"))
    shown = ", ".join(wrong[:5])
    working = connection.exec_driver_sql("SELECT COUNT(*) FROM jobs WHERE status IN ('pending', 'running')").scalar()
    if working:
        return Finding.warn("index", 7, title, (f"正在更新：{shown}", f"being updated: {shown}"), ("处理完后再检查一次", "look again when the queue is empty"))
    return Finding.fail("index", 7, title, (f"段落数不一致：{shown}", f"chunk counts differ: {shown}"), ("qzbrain kb reindex 名称", "qzbrain kb reindex KB"))


def _behind(settings: Settings, connection: Connection) -> Finding:
    title = ("索引进度", "index progress")
    changes, bases = connection.exec_driver_sql("SELECT COUNT(*), COUNT(DISTINCT kb_id) FROM outbox").one()
    if not changes:
        return Finding.ok("index_progress", 7, title, ("没有待写入索引的变更", "no change waits for the index"))
    shown = (f"{bases} 个知识库有 {changes} 项变更待写入索引", f"{changes} changes of {bases} knowledge bases wait for the index")
    advice = ("确认后台处理与检索服务正在运行，稍后再检查一次", "see that the worker and the search server run, and look again in a moment")
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
    title = ("任务队列", "queue")
    counts = {row[0]: int(row[1]) for row in connection.exec_driver_sql("SELECT status, COUNT(*) FROM jobs GROUP BY status")}
    waiting, failed = counts.get("pending", 0) + counts.get("running", 0), counts.get("failed", 0)
    shown = (f"等待或运行 {waiting}，失败 {failed}", f"{waiting} waiting or running, {failed} failed")
    before = (datetime.now(UTC) - _OLD_JOB).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    unmoved = text("SELECT COUNT(*) FROM jobs WHERE status IN ('pending', 'running') AND updated_at < :before")
    old = connection.execute(unmoved, {"before": before}).scalar()
    if old:
        more = (f"{shown[0]}；{old} 个任务超过 10 分钟没有进展", f"{shown[1]}; {old} jobs have not moved for 10 minutes")
        return Finding.warn(
            "queue", 7, title, more, ("确认后台处理正在运行（./run.sh），并查看 worker.log", "see that the worker runs (./run.sh), and read worker.log")
        )
    if failed:
        return Finding.warn(
            "queue", 7, title, shown, ("GET /api/jobs?status=failed 查看原因，改正后重试", "GET /api/jobs?status=failed tells why; correct it and retry")
        )
    return Finding.ok("queue", 7, title, shown)


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
