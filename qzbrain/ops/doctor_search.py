"""The doctor's look at the search server: who answers, whether we may write, the cluster, its disks, the indexes.

To see that indexes may be made, and that texts are split as ours are meant to be, it makes an empty one and removes it. Nothing else is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qzbrain.errors import IndexUnavailable
from qzbrain.ops.finding import Finding, Text
from qzbrain.retrieval.backends import chosen
from qzbrain.settings import Settings

if TYPE_CHECKING:
    from qzbrain.retrieval.elastic.connection import Server

_STEP = 4
_TITLE = ("检索服务", "search server")
_LIFT = '{"index.blocks.read_only_allow_delete": null}'
_RIGHTS_ADVICE: Text = ("核对该用户的权限与服务器状态，见 docs/search_server.md", "check that user's rights and the server's state; see docs/search_server.md")
_LOW_PERCENT = 85.0
"""The servers' own default of the low watermark."""


def search(settings: Settings) -> list[Finding]:
    """All checks; the first alone when nobody answers it."""
    if chosen(settings) != "elastic":
        without = ("设置 ES_URL_ADD 可改用 Elasticsearch 或 OpenSearch", "set ES_URL_ADD to use Elasticsearch or OpenSearch")
        return [Finding.skip("search", _STEP, _TITLE, ("使用内置索引", "the built-in index is used"), without)]
    from qzbrain.retrieval.elastic.connection import Server

    server, started = Server(settings), time.monotonic()
    try:
        product = server.product()
    except IndexUnavailable as exc:
        look = f"curl -sS {server.addresses[0]}/"
        advice = (f"{look}；然后核对 ES_URL_ADD 与登录设置（见 docs/search_server.md）", f"{look}; then check ES_URL_ADD and the login (docs/search_server.md)")
        return [Finding.fail("search", _STEP, _TITLE, (exc.zh, exc.en), advice)]
    shown = f"{product.name} {product.version}, {server.where}, {(time.monotonic() - started) * 1000:.0f} ms"
    return [Finding.ok("search", _STEP, _TITLE, (shown, shown)), *(_made(id, server, settings.es_index) for id in _CHECKS)]


def _made(id: str, server: Server, prefix: str) -> Finding:
    title, check = _CHECKS[id]
    try:
        return check(title, server, prefix)
    except IndexUnavailable as exc:
        return Finding.fail(id, _STEP, title, (exc.zh, exc.en), _RIGHTS_ADVICE)


def _ours(prefix: str) -> str:
    """Every index of this brain, and none of another whose names begin alike."""
    return f"{prefix}-*,{prefix}.*"


def _rights(title: Text, server: Server, prefix: str) -> Finding:
    with _empty(server, prefix):
        pass
    return Finding.ok("search_rights", _STEP, title, (f"可以创建和删除 {prefix}-*", f"may make and remove {prefix}-*"))


@contextmanager
def _empty(server: Server, prefix: str) -> Iterator[str]:
    """An index as ours are made, for a moment; its path."""
    from qzbrain.retrieval.elastic.mapping import index_body

    probe = f"/{prefix}-doctor"
    server.request("DELETE", probe, expected=(404,))
    server.request("PUT", probe, index_body(0), timeout_s=30)
    try:
        yield probe
    finally:
        server.request("DELETE", probe, timeout_s=30)


def _analysis(title: Text, server: Server, prefix: str) -> Finding:
    """The server splits terms at blanks and leaves them as they are: segmentation is ours, on both backends the same."""
    wanted = ["行政处罚", "Ab-1", "第十二条"]
    with _empty(server, prefix) as probe:
        reply = server.request("POST", f"{probe}/_analyze", {"analyzer": "whitespace", "text": " ".join(wanted)}).body or {}
    got = [str(one.get("token")) for one in reply.get("tokens", [])]
    if got != wanted:
        advice = ("移除改动分析器 whitespace 的插件或模板", "remove the plug-in or template that changes the analyzer `whitespace`")
        seen = (f"whitespace 得到 {got}，应为 {wanted}", f"whitespace gives {got} in place of {wanted}")
        return Finding.fail("search_analysis", _STEP, title, seen, advice)
    return Finding.ok("search_analysis", _STEP, title, ("whitespace 按空格切分（分词在本程序中完成）", "whitespace splits at blanks (the brain finds words)"))


def _cluster(title: Text, server: Server, prefix: str) -> Finding:
    health = server.request("GET", f"/_cluster/health/{_ours(prefix)}", params={"timeout": "1s"}, expected=(404, 408)).body or {}
    status, nodes = str(health.get("status", "green")), health.get("number_of_nodes", 1)
    shown = (f"{status}，{nodes} 个节点", f"{status}, {nodes} nodes")
    if status == "red":
        advice = (
            "GET /_cluster/allocation/explain 查看原因；丢失的索引可用 qzbrain kb reindex 重建",
            "GET /_cluster/allocation/explain tells why; an index that is lost is built again by: qzbrain kb reindex",
        )
        return Finding.fail("search_cluster", _STEP, title, shown, advice)
    if status == "yellow":
        advice = ("有副本未分配：GET /_cluster/allocation/explain 查看原因", "a copy is not assigned: GET /_cluster/allocation/explain tells why")
        return Finding.warn("search_cluster", _STEP, title, shown, advice)
    return Finding.ok("search_cluster", _STEP, title, shown)


def _disk(title: Text, server: Server, prefix: str) -> Finding:
    """Read-only indexes fail; a disk above the low watermark warns, before the server stops taking anything."""
    params = {"filter_path": "*.settings.index.blocks", "expand_wildcards": "all"}
    blocks = server.request("GET", f"/{_ours(prefix)}/_settings", params=params, expected=(404,)).body or {}
    blocked = sorted(name for name, one in blocks.items() if one["settings"]["index"]["blocks"].get("read_only_allow_delete") == "true")
    if blocked:
        lift = f"curl -X PUT '{server.addresses[0]}/{_ours(prefix)}/_settings' -H 'Content-Type: application/json' -d '{_LIFT}'"
        advice = (
            f"清理检索服务的磁盘，然后（OpenSearch 不会自行解除，见 docs/search_server.md）：{lift}",
            f"free space on the search server's disk; then (OpenSearch does not do so by itself, docs/search_server.md): {lift}",
        )
        return Finding.fail("search_disk", _STEP, title, (f"只读：{', '.join(blocked[:3])}", f"read-only: {', '.join(blocked[:3])}"), advice)
    nodes = server.request("GET", "/_cat/allocation", params={"format": "json", "bytes": "b"}).body
    used = max((float(node["disk.percent"]) for node in nodes if node.get("disk.percent")), default=0.0)
    low = _low_watermark(server)
    shown = (f"已用 {used:.0f}%，警戒线 {low:.0f}%", f"{used:.0f}% used, low watermark {low:.0f}%")
    if used >= low:
        advice = ("在到达上限变为只读之前清理或扩大磁盘", "free or add space before the server makes the indexes read-only")
        return Finding.warn("search_disk", _STEP, title, shown, advice)
    return Finding.ok("search_disk", _STEP, title, shown)


def _low_watermark(server: Server) -> float:
    """In percent used; the default where it is set in bytes."""
    name = "cluster.routing.allocation.disk.watermark.low"
    params = {"flat_settings": "true", "include_defaults": "true"}
    given = server.request("GET", "/_cluster/settings", params=params).body
    value = next((str(given[part][name]) for part in ("transient", "persistent", "defaults") if name in given.get(part, {})), "")
    number = value.removesuffix("%")
    try:
        percent = float(number)
    except ValueError:
        return _LOW_PERCENT
    return percent if value.endswith("%") else percent * 100


def _indexes(title: Text, server: Server, prefix: str) -> Finding:
    """Those that another version of this program made are not used by this one."""
    from qzbrain.retrieval.elastic.mapping import SCHEMA_HASH

    found = server.request("GET", f"/{prefix}-*/_mapping", params={"filter_path": "*.mappings._meta"}, expected=(404,)).body or {}
    schemas = {name: one["mappings"]["_meta"].get("schema") for name, one in found.items() if "mappings" in one}
    other = sorted(name for name, schema in schemas.items() if schema != SCHEMA_HASH)
    if other:
        shown = (f"{len(other)} 个索引由其他版本建立：{other[0]}", f"{len(other)} indexes were made by another version: {other[0]}")
        advice = ("启动后会自动重建；或运行 qzbrain kb reindex", "they are built anew after the start, or by: qzbrain kb reindex")
        return Finding.warn("search_index", _STEP, title, shown, advice)
    return Finding.ok("search_index", _STEP, title, (f"{len(schemas)} 个，版本 {SCHEMA_HASH}", f"{len(schemas)}, schema {SCHEMA_HASH}"))


_CHECKS: dict[str, tuple[Text, Callable[[Text, Server, str], Finding]]] = {
    "search_rights": (("检索服务权限", "search server rights"), _rights),
    "search_analysis": (("检索服务分析器", "search server's analyzer"), _analysis),
    "search_cluster": (("检索服务集群", "search cluster"), _cluster),
    "search_disk": (("检索服务磁盘", "search server disk"), _disk),
    "search_index": (("检索服务索引", "indexes on the search server"), _indexes),
}
