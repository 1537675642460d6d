"""The doctor's look at the graph service: does it answer, which routes has it, does it read the same data. Asks the running service and changes nothing."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

from sqlalchemy import Connection

from qzbrain.errors import GraphUnavailable
from qzbrain.graph.breaker import GraphFault
from qzbrain.graph.calls import GraphCalls, RouteLacking, SaysNotFound
from qzbrain.graph.remote_replies import StatsShape, read
from qzbrain.ops.finding import Finding
from qzbrain.ops.start import running_brain
from qzbrain.settings import Settings

_STEP = 3
_TITLE = ("知识图谱服务", "graph service")
_DATA_TITLE = ("图谱服务的数据", "data of the graph service")
_SAME = (
    "两边须使用同一个数据目录（QZBRAIN_DATA）或同一个 MySQL 数据库",
    "both sides need the same data folder (QZBRAIN_DATA) or the same MySQL database",
)
_GRAPH = (
    "SELECT k.id, k.name, v.version FROM knowledge_bases k JOIN graph_versions v ON v.kb_id = k.id WHERE v.version > 0 "
    "AND SUBSTR(k.name, 1, 7) <> 'import:' ORDER BY k.name LIMIT 1"
)


def service(settings: Settings) -> list[Finding]:
    """Whether it answers `POST /chat-process-txt`."""
    if not settings.graph_address:
        shown = ("由网页进程自己应答 POST /chat-process-txt", "web itself answers POST /chat-process-txt")
        advice = ("单独部署见 docs/graph_service.md", "docs/graph_service.md tells how to run it alone")
        return [Finding.skip("graph_service", _STEP, _TITLE, shown, advice)]
    if not settings.graph_url and not running_brain(settings):
        return [Finding.skip("graph_service", _STEP, _TITLE, ("没有运行", "not running"), ("./run.sh", "./run.sh"))]
    with closing(_calls(settings)) as calls:
        try:
            took_ms = calls.trial()
        except GraphFault as fault:
            where = f"qzbrain graph-service; curl {settings.graph_address}/healthz; docs/graph_service.md"
            shown = (f"{calls.where}：{fault.zh}", f"{calls.where}: {fault.en}")
            return [Finding.fail("graph_service", _STEP, _TITLE, shown, (where, where))]
        return [Finding.ok("graph_service", _STEP, _TITLE, (f"{calls.where}，{took_ms:.0f} ms", f"{calls.where}, {took_ms:.0f} ms"))]


def data(settings: Settings, connection: Connection) -> Finding:
    """Whether the service and this brain see the same graph, by its version."""
    row = connection.exec_driver_sql(_GRAPH).fetchone()
    if row is None:
        return Finding.skip("graph_data", _STEP, _DATA_TITLE, ("没有可比较的图谱", "there is no graph to compare"), ("", ""))
    kb_id, name, version = row
    with closing(_calls(settings)) as calls:
        try:
            told = calls.ask("GET", f"/api/graph/{quote(kb_id, safe='')}/stats", lambda body: read(StatsShape, body)).version
        except RouteLacking:
            shown = ("该服务只有 /chat-process-txt，其余查询由本系统自己读取图谱", "it has /chat-process-txt alone; other queries read the graph here")
            return Finding.ok("graph_data", _STEP, _DATA_TITLE, shown)
        except SaysNotFound as exc:
            return Finding.fail("graph_data", _STEP, _DATA_TITLE, (str(exc), str(exc)), _SAME)
        except GraphUnavailable as exc:
            if isinstance(exc.__cause__, GraphFault) and not exc.__cause__.weight:  # it works, and knows nothing of this knowledge base
                return Finding.fail("graph_data", _STEP, _DATA_TITLE, (exc.__cause__.zh, exc.__cause__.en), _SAME)
            return Finding.skip("graph_data", _STEP, _DATA_TITLE, ("服务不可用", "the service cannot be used"), ("", ""))
    if told != version:  # it may have changed between the two looks, or be another database
        shown = (f"{name}：服务为版本 {told}，数据库为 {version}", f"{name}: version {told} there, {version} in the database")
        advice = ("稍后再检查一次；仍不同则检查双方的数据库设置", "look again; if it stays, compare the databases of both")
        return Finding.warn("graph_data", _STEP, _DATA_TITLE, shown, advice)
    return Finding.ok("graph_data", _STEP, _DATA_TITLE, (f"{name}：版本 {version}，两边一致", f"{name}: version {version} on both sides"))


def _calls(settings: Settings) -> GraphCalls:
    return GraphCalls(settings.graph_address, token=settings.graph_token, timeout_s=settings.graph_timeout_s)
