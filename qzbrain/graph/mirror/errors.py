"""What can be wrong with a Neo4j server, each with the next step. Passwords never stand in what is said."""

from __future__ import annotations

from qzbrain.errors import MirrorUnavailable, MissingExtra

LEAST = (5, 26)
"""The oldest version that is used: that of long support, on which this was tested. Its successors count by years (2025.1)."""


def missing_driver() -> MissingExtra:
    """The optional library is not there."""
    return MissingExtra(
        zh="设置了 NEO4J_URL，但没有安装 Neo4j 驱动。请运行 pip install 'qzbrain[neo4j]'（或 pip install -r requirements-neo4j.txt），或取消 NEO4J_URL。",
        en="NEO4J_URL is set, but the Neo4j driver is not installed. Run: pip install 'qzbrain[neo4j]' (or pip install -r requirements-neo4j.txt), "
        "or unset NEO4J_URL.",
        param="neo4j_url",
    )


def unreachable(where: str, why: str) -> MirrorUnavailable:
    """Nobody answers, or the connection broke."""
    return MirrorUnavailable(
        "neo4j_unreachable",
        zh=f"无法连接 Neo4j（{where}）：{why}。图谱照常从数据库读取；请检查服务是否启动、NEO4J_URL 与网络。恢复后会自动补齐。",
        en=f"Neo4j at {where} cannot be reached: {why}. Graphs are read from the database meanwhile; see that the server runs, and check NEO4J_URL. "
        "What it lacks is made up for when it is back.",
        param="neo4j_url",
        retry_after_s=10,
    )


def too_slow(where: str, limit_s: float) -> MirrorUnavailable:
    """No answer within the limit."""
    return MirrorUnavailable(
        "neo4j_slow",
        zh=f"Neo4j（{where}）在 {limit_s:g} 秒内没有回应。图谱照常从数据库读取；请检查该服务的负载与内存。",
        en=f"Neo4j at {where} did not answer within {limit_s:g} s. Graphs are read from the database meanwhile; look at that server's load and memory.",
        retry_after_s=10,
    )


def login_refused(where: str) -> MirrorUnavailable:
    """Wrong name or password, or too many wrong ones before."""
    return MirrorUnavailable(
        "neo4j_login_refused",
        zh=f"Neo4j（{where}）拒绝登录：用户名或密码不对。请改正 NEO4J_USER 与 NEO4J_PASSWORD 后重启；多次出错后，该服务会有几秒拒绝正确的密码。",
        en=f"Neo4j at {where} refused the login. Correct NEO4J_USER and NEO4J_PASSWORD and restart; after several wrong ones it refuses the right one too "
        "for some seconds.",
        param="neo4j_password",
        retry_after_s=30,
    )


def no_database(where: str, database: str) -> MirrorUnavailable:
    """The server has no such database."""
    return MirrorUnavailable(
        "neo4j_no_database",
        zh=f"Neo4j（{where}）没有数据库“{database}”。请改正 NEO4J_DATABASE，或留空使用默认数据库。",
        en=f'Neo4j at {where} has no database "{database}". Correct NEO4J_DATABASE, or leave it empty for the default one.',
        param="neo4j_database",
        retry_after_s=30,
    )


def forbidden(where: str, why: str) -> MirrorUnavailable:
    """The user may not do it."""
    return MirrorUnavailable(
        "neo4j_forbidden",
        zh=f"Neo4j（{where}）不允许这个用户进行该操作：{why}。需要读写数据、创建约束与索引的权限。",
        en=f"Neo4j at {where} does not let this user do that: {why}. It must be allowed to read, to write, and to make constraints and indexes.",
        param="neo4j_user",
        retry_after_s=30,
    )


def wrong_version(where: str, version: str) -> MirrorUnavailable:
    """Too old."""
    least = ".".join(map(str, LEAST))
    return MirrorUnavailable(
        "neo4j_version",
        zh=f"Neo4j（{where}）的版本是 {version}，需要 {least} 或更新的版本。图谱照常从数据库读取；请升级该服务，或取消 NEO4J_URL。",
        en=f"Neo4j at {where} is version {version}; {least} or newer is needed. Graphs are read from the database meanwhile; upgrade that server, "
        "or unset NEO4J_URL.",
        param="neo4j_url",
        retry_after_s=60,
    )


def refused(where: str, why: str) -> MirrorUnavailable:
    """Anything else that the server says."""
    return MirrorUnavailable(
        "neo4j_error",
        zh=f"Neo4j（{where}）没有完成该操作：{why}。图谱照常从数据库读取；请查看该服务的日志。",
        en=f"Neo4j at {where} did not do that: {why}. Graphs are read from the database meanwhile; see that server's log.",
        retry_after_s=10,
    )
