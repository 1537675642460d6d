"""What can be wrong with a search server, as the brain says it: a stable code, the reason, and the next step, in both languages.

Every exception of the driver becomes one of these, once, in `connection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qzbrain.errors import IndexUnavailable, Unavailable

LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Fault:
    """A state of the server. `lasting`: the next request would meet it too, so for a moment none is sent."""

    code: str
    zh: str
    en: str
    lasting: bool = False

    def error(self) -> IndexUnavailable:
        """As an exception, a new one each time: it is raised in many threads."""
        return IndexUnavailable(self.code, zh=self.zh, en=self.en, retry_after_s=3)


    def refusal(self) -> Unavailable:
        """As an exception about one change, which waiting will not mend: a job counts it as a failed try."""
        return Unavailable(self.code, zh=self.zh, en=self.en, retry_after_s=3)


def unreachable(where: str, why: str) -> Fault:
    """Refused, no such host, connection lost."""
    return Fault(
        "search_unreachable",
        f"无法连接检索服务 {where}：{why}。请确认它正在运行，并检查 ES_URL_ADD。",
        f"The search server {where} cannot be reached: {why}. See that it runs, and check ES_URL_ADD.",
        lasting=True,
    )


def too_slow(where: str, timeout_s: float) -> Fault:
    """No answer in time."""
    return Fault(
        "search_timeout",
        f"检索服务 {where} 在 {timeout_s:g} 秒内没有响应。请检查其负载；必要时调大 ES_TIMEOUT_S。",
        f"The search server {where} did not answer within {timeout_s:g} s. Check its load; raise ES_TIMEOUT_S if it must be.",
        lasting=True,
    )


def untrusted(where: str, why: str) -> Fault:
    """The certificate is not one that we trust, or there is none."""
    return Fault(
        "search_tls",
        f"无法与检索服务 {where} 建立安全连接：{why}。请用 ES_CA_FILE 指定签发其证书的 CA 文件（PEM），并核对地址以 https:// 开头。",
        f"No secure connection to the search server {where}: {why}. Name the PEM file of the CA that signed its certificate in ES_CA_FILE, "
        "and check that the address begins with https:// where the server wants that.",
        lasting=True,
    )


def login_refused(where: str) -> Fault:
    """401."""
    return Fault(
        "search_login",
        f"检索服务 {where} 拒绝登录。请检查 ES_USER 与 ES_PASSWORD，或 ES_API_KEY。",
        f"The search server {where} refuses the login. Check ES_USER and ES_PASSWORD, or ES_API_KEY.",
        lasting=True,
    )


def forbidden(why: str) -> Fault:
    """403."""
    return Fault(
        "search_forbidden",
        f"检索服务的用户权限不足：{why}。所需权限见 docs/search_server.md。",
        f"The user lacks a right on the search server: {why}. docs/search_server.md lists what it needs.",
    )


def unsupported(product: str) -> Fault:
    """Not a server that we know."""
    return Fault(
        "search_product",
        f"检索服务是 {product}，不受支持。请使用 Elasticsearch 8/9 或 OpenSearch 2/3。",
        f"The search server is {product}, which is not supported. Use Elasticsearch 8/9 or OpenSearch 2/3.",
        lasting=True,
    )


def not_ready(why: str) -> Fault:
    """A shard that is needed is not there, the cluster has no head, or the node is still starting."""
    return Fault(
        "search_red",
        f"检索服务的索引或集群当前不可用：{why}。请查看 GET /_cluster/health 与 /_cluster/allocation/explain；也可以运行 qzbrain kb reindex 重建索引。",
        f"An index or the cluster of the search server is not available now: {why}. Look at GET /_cluster/health and /_cluster/allocation/explain; "
        "an index that is lost is built again by: qzbrain kb reindex.",
    )


def overloaded(why: str) -> Fault:
    """429, again and again."""
    return Fault(
        "search_busy",
        f"检索服务过载，多次拒绝写入：{why}。任务会自动重试；请检查其负载与内存。",
        f"The search server is overloaded and kept refusing: {why}. Jobs try again by themselves; check its load and memory.",
    )


def disk_full(why: str) -> Fault:
    """The server has made the index read-only, because its disk is filled beyond the flood-stage watermark."""
    return Fault(
        "search_disk_full",
        f"检索服务的磁盘已满，索引被设为只读：{why}。请清理该服务器的磁盘；OpenSearch 还需解除只读，见 docs/search_server.md。之后会自动继续。",
        f"The search server's disk is full, and it made the index read-only: {why}. Free space there (on OpenSearch also lift the block, see "
        "docs/search_server.md); the work goes on by itself then.",
    )


def another_writer() -> Fault:
    """Somebody else holds, or has taken, the right to write."""
    return Fault(
        "index_busy",
        "该知识库的索引正在由另一个进程写入，请稍后重试。",
        "Another process is writing this knowledge base's index; try again in a moment.",
    )


def unexpected(status: object, why: str) -> Fault:
    """Anything else that the server refuses."""
    return Fault(
        "search_refused",
        f"检索服务拒绝了请求（{status}）：{why}。请查看其日志；若在升级之后出现，请运行 qzbrain kb reindex。",
        f"The search server refused a request ({status}): {why}. See its log; if it began with an upgrade, run: qzbrain kb reindex.",
    )


def from_reply(where: str, status: int, body: Any) -> Fault:
    """The fault that a refusing reply tells of. `body`: the reply's JSON, or an item's error, or whatever text a proxy sent."""
    kind, why = reason(body)
    if status == 401:
        return login_refused(where)
    if "block" in kind and ("read-only" in why or "flood" in why or "/12/" in why):
        return disk_full(why)
    if status == 403:
        return forbidden(why)
    if status == 429:
        return overloaded(why)
    if status in (502, 503, 504):
        return not_ready(why)
    return unexpected(status, why)


def reason(body: Any) -> tuple[str, str]:
    """(type, reason) of an error as the servers write it, the root cause where one is told."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", str(error)[:LONGEST_REASON]
    causes = error.get("root_cause") or [error]
    kind = str(error.get("type") or causes[0].get("type") or "")
    why = str(causes[0].get("reason") or error.get("reason") or kind)
    return kind, why[:LONGEST_REASON]
