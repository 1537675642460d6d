"""The doctor's look at a MySQL or MariaDB server: reachable, version, rights, character set, and the settings that lose data or refuse it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from pymysql import err

from qzbrain.errors import BrainError, SettingsInvalid, StorageBusy
from qzbrain.ops.finding import Finding, Text
from qzbrain.settings import Settings
from qzbrain.storage.mysql import POOLED
from qzbrain.storage.mysql_errors import translated
from qzbrain.storage.mysql_session import Server, Session, open_session

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES")
"""All that the brain needs on its own database."""
_LEAST_MARIADB, _LEAST_MYSQL = (10, 6), (8, 0)
_BYTES_OF_A_CHARACTER = 3
_USUAL_PACKET = 64 << 20
_DRIFT_S, _WRONG_S = 5.0, 60.0
_GRANT = re.compile(r"^GRANT (?P<rights>.+?) ON (?P<level>.+?) TO (?P<rest>.*)$", re.DOTALL)
_DATABASE = re.compile(r"^`(?P<name>(?:[^`]|``)*)`\.\*$", re.DOTALL)


def server(settings: Settings) -> list[Finding]:
    """All that can be seen with the brain's own user."""
    known = Server.of(settings)
    started = time.monotonic()
    try:
        with closing(open_session(known)) as session:
            took_ms = (time.monotonic() - started) * 1e3
            checks = (_version(session, known, took_ms), _rights(session, known), _charset(session, known))
            return [*checks, _packet(session, settings), _durability(session), _connections(session), _clock(session)]
    except (err.MySQLError, BrainError) as exc:
        error = exc if isinstance(exc, BrainError) else translated(exc, user=known.user, database=known.database)
        return [_unusable(known, exc, error)]


def _unusable(known: Server, exc: Exception, error: BrainError | None) -> Finding:
    title, said = ("MySQL", "MySQL"), f"{known.place}: {exc}"
    if isinstance(error, SettingsInvalid):
        return Finding.fail("mysql", 1, title, (said, said), (error.zh, error.en))
    if isinstance(error, StorageBusy):
        where = f"{known.host}:{known.port}"
        advice = (
            f"确认 MySQL 正在运行并监听 {where}（bind-address、防火墙），或改正 MYSQL_HOST 与 MYSQL_PORT",
            f"see that MySQL runs and listens on {where} (bind-address, firewall), or correct MYSQL_HOST and MYSQL_PORT",
        )
        return Finding.fail("mysql", 1, title, (said, said), advice)
    return Finding.fail("mysql", 1, title, (said, said), ("对照 docs/mysql.md 检查服务器", "check the server against docs/mysql.md"))


def _asked(session: Session, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall())


def _version(session: Session, known: Server, took_ms: float) -> Finding:
    version = str(_asked(session, "SELECT VERSION()")[0][0])
    name, least = ("MariaDB", _LEAST_MARIADB) if "mariadb" in version.lower() else ("MySQL", _LEAST_MYSQL)
    numbers = tuple(int(x) for x in re.findall(r"\d+", version)[:2])
    shown = f"{name} {version}, {known.place}, {took_ms:.0f} ms"
    if numbers < least:
        wanted = ".".join(map(str, least))
        return Finding.fail("mysql", 1, ("MySQL", "MySQL"), (shown, shown), (f"升级到 {name} {wanted} 或更新", f"upgrade to {name} {wanted} or later"))
    return Finding.ok("mysql", 1, ("MySQL", "MySQL"), (shown, shown))


def _rights(session: Session, known: Server) -> Finding:
    title: Text = ("MySQL 权限", "MySQL rights")
    grants = [str(row[0]) for row in _asked(session, "SHOW GRANTS")]
    given = granted(grants, known.database)
    account = _account(session)
    missing = [x for x in RIGHTS if x not in given and "ALL PRIVILEGES" not in given]
    if missing and any(_GRANT.match(x) is None for x in grants):
        wanted = ", ".join(RIGHTS)
        shown = ("权限来自角色，无法逐项判断", "rights come from a role; they cannot be told one by one")
        return Finding.warn("mysql_rights", 1, title, shown, (f"确认该角色默认启用并含有：{wanted}", f"see that the role is a default one and holds: {wanted}"))
    if missing:
        command = f"GRANT {', '.join(missing)} ON `{_pattern(known.database)}`.* TO {account};"
        shown = (f"缺少 {', '.join(missing)}", f"missing: {', '.join(missing)}")
        return Finding.fail("mysql_rights", 1, title, shown, (f"由管理员执行：{command}", f"have an administrator run: {command}"))
    if wide := too_wide(grants):
        command = f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}; GRANT {', '.join(RIGHTS)} ON `{_pattern(known.database)}`.* TO {account};"
        shown = (f"足够，但过大：{', '.join(wide)}", f"they suffice, but are needlessly wide: {', '.join(wide)}")
        return Finding.warn("mysql_rights", 1, title, shown, (f"由管理员执行：{command}", f"have an administrator run: {command}"))
    return Finding.ok("mysql_rights", 1, title, (f"足够：{known.database} 上的 {', '.join(sorted(given))}", f"{', '.join(sorted(given))} on {known.database}"))


def granted(grants: Iterable[str], database: str) -> set[str]:
    """The rights on a database, from the lines of SHOW GRANTS."""
    found: set[str] = set()
    for grant in grants:
        if (parts := _GRANT.match(grant)) and _covers(parts["level"], database):
            found |= {right.strip().upper() for right in parts["rights"].split(",")}
    return found - {"USAGE"}


def too_wide(grants: Iterable[str]) -> list[str]:
    """Rights on the whole server, and the right to pass rights on."""
    found: list[str] = []
    for grant in grants:
        parts = _GRANT.match(grant)
        if parts is None:
            continue
        if parts["level"] == "*.*" and parts["rights"].strip().upper() != "USAGE":
            found.append(f"{parts['rights']} ON *.*")
        if "GRANT OPTION" in parts["rest"].upper():
            found.append(f"GRANT OPTION ON {parts['level']}")
    return found


def _covers(level: str, database: str) -> bool:
    """Whether a grant's level holds the database; `_` and `%` in it are patterns unless they are escaped."""
    if level == "*.*":
        return True
    if (named := _DATABASE.match(level)) is None:
        return False
    pieces = re.findall(r"\\[_%]|.", named["name"].replace("``", "`"), re.DOTALL)
    pattern = "".join({"_": ".", "%": ".*"}.get(x, re.escape(x[-1])) for x in pieces)
    return re.fullmatch(pattern, database, re.DOTALL) is not None


def _pattern(database: str) -> str:
    return database.replace("`", "``").replace("_", "\\_").replace("%", "\\%")


def _account(session: Session) -> str:
    user, _, host = str(_asked(session, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    return "@".join("'" + x.replace("'", "''") + "'" for x in (user, host))


def _charset(session: Session, known: Server) -> Finding:
    title: Text = ("MySQL 字符集", "MySQL character set")
    tables = "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = %s"
    wrong = _asked(session, f"{tables} AND table_collation <> 'utf8mb4_bin'", known.database)
    if wrong:
        shown = ", ".join(f"{name} ({collation})" for name, collation in wrong[:5])
        return Finding.fail(
            "mysql_charset",
            1,
            title,
            (f"这些表不是 utf8mb4_bin：{shown}", f"tables that are not utf8mb4_bin: {shown}"),
            (
                "停止 qzbrain，用 qzbrain db copy 移到 sqlite:路径，重建空数据库后再移回（见 docs/mysql.md）",
                "stop the brain, move it to sqlite:PATH with qzbrain db copy, make the database anew, and move it back (docs/mysql.md)",
            ),
        )
    charset, collation = _asked(session, "SELECT @@character_set_database, @@collation_database")[0]
    if charset != "utf8mb4":
        command = f"ALTER DATABASE `{known.database.replace('`', '``')}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        shown_both = (f"数据库默认是 {collation}；qzbrain 的表不受影响", f"the database's default is {collation}; the brain's own tables do not mind")
        return Finding.warn("mysql_charset", 1, title, shown_both, (f"建议执行：{command}", f"advised: {command}"))
    return Finding.ok("mysql_charset", 1, title, (str(collation), str(collation)))


def _packet(session: Session, settings: Settings) -> Finding:
    title: Text = ("MySQL 最大数据包", "MySQL packet size")
    needed = settings.max_text_chars * _BYTES_OF_A_CHARACTER + (1 << 20)
    there = session.longest_bytes
    if there < needed:
        wanted = max(_USUAL_PACKET, -(-needed // (1 << 20)) << 20)
        shown, longest = f"max_allowed_packet = {there >> 20}M", there // _BYTES_OF_A_CHARACTER
        return Finding.warn(
            "mysql_packet",
            1,
            title,
            (f"{shown}，超过约 {longest:,} 字的文档会失败", f"{shown}: texts over {longest:,} characters fail"),
            (
                f"在服务器配置 [mysqld] 中设置 max_allowed_packet = {wanted >> 20}M，并执行 SET GLOBAL max_allowed_packet = {wanted}",
                f"set max_allowed_packet = {wanted >> 20}M under [mysqld], and run SET GLOBAL max_allowed_packet = {wanted}",
            ),
        )
    return Finding.ok("mysql_packet", 1, title, (f"{there >> 20}M", f"{there >> 20}M"))


def _durability(session: Session) -> Finding:
    title: Text = ("MySQL 持久性", "MySQL durability")
    flush = int(_asked(session, "SELECT @@innodb_flush_log_at_trx_commit")[0][0])
    shown = (f"innodb_flush_log_at_trx_commit = {flush}", f"innodb_flush_log_at_trx_commit = {flush}")
    if flush != 1:
        more = (f"{shown[0]}：断电时可能丢失已确认的上传", f"{shown[1]}: a power loss may take uploads that were acknowledged")
        return Finding.warn("mysql_durability", 1, title, more, ("在服务器配置 [mysqld] 中设为 1", "set it to 1 under [mysqld]"))
    return Finding.ok("mysql_durability", 1, title, shown)


def _connections(session: Session) -> Finding:
    title: Text = ("MySQL 连接", "MySQL connections")
    most, timeout_s = _asked(session, "SELECT @@max_connections, @@wait_timeout")[0]
    shown = (f"max_connections = {most}，空闲 {timeout_s} 秒断开", f"max_connections = {most}, closed after {timeout_s} s of silence")
    if most < POOLED:
        advice = (f"设为至少 {2 * POOLED}：每个网页进程最多用 {POOLED} 个", f"set it to at least {2 * POOLED}: a web process uses up to {POOLED}")
        return Finding.warn("mysql_connections", 1, title, shown, advice)
    return Finding.ok("mysql_connections", 1, title, shown)


def _clock(session: Session) -> Finding:
    """That server and this machine agree on the time: leases that one of them gives the other takes back. The zone does not matter; we keep UTC."""
    title: Text = ("MySQL 时钟", "MySQL clock")
    before = time.time()
    there, zone = _asked(session, "SELECT UNIX_TIMESTAMP(NOW(6)), CONCAT(@@global.time_zone, ' (', @@system_time_zone, ')')")[0]
    drift = float(there) - (before + time.time()) / 2
    seen = (f"与本机相差 {drift:+.1f} 秒，时区 {zone}（数据库中存的是 UTC）", f"{drift:+.1f} s against this machine, zone {zone} (what is stored is UTC)")
    if abs(drift) <= _DRIFT_S:
        return Finding.ok("mysql_clock", 1, title, seen)
    make = Finding.fail if abs(drift) > _WRONG_S else Finding.warn
    advice = ("在两台机器上都启用校时：timedatectl set-ntp true", "have both machines set by the network: timedatectl set-ntp true")
    return make("mysql_clock", 1, title, seen, advice)
