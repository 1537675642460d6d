"""What MySQL's and MariaDB's error codes mean for the brain. Codes below 2000 come from the server, others from the driver."""

from __future__ import annotations

import ssl

from pymysql import err
from sqlalchemy import exc

from qzbrain.errors import BrainError, InvalidRequest, PayloadTooLarge, SettingsInvalid, StorageAway, StorageBusy, StorageFull, StorageInDoubt
from qzbrain.storage.text import no_text

_LOST = frozenset({0, 1053, 1927, 2006, 2013, 2014, 2045, 2055, 3169, 4031})
"""The connection is dead: closed, killed, or its server is stopping."""
_AWAY = frozenset({1040, 1152, 1158, 1159, 1160, 1161, 1203, 2002, 2003, 2005})
"""No connection could be made, or there are too many."""
_READ_ONLY = frozenset({1290, 1792, 1836})
_BUSY = frozenset({1205, 1213})
_FULL = frozenset({3, 1021, 1026, 1030, 1114})
_NO_TEXT = frozenset({1264, 1265, 1292, 1300, 1366, 1406, 3140, 4025})
_TLS = frozenset({2026, 3159})
PACKET_TOO_LARGE = 1153


class CommitLost(err.OperationalError):  # type: ignore[misc]
    """The connection broke while COMMIT was on its way."""


def code_of(error: BaseException) -> int:
    """The number of a driver's exception, wrapped by SQLAlchemy or not; -1 where it has none."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    code = original.args[0] if isinstance(original, err.MySQLError) and original.args else -1
    return code if isinstance(code, int) else -1


def is_lost(error: BaseException) -> bool:
    """Whether a connection that was there is dead."""
    return code_of(error) in _LOST


def is_away(error: BaseException) -> bool:
    """Whether it may help to connect again. A certificate that is refused stays refused."""
    return is_lost(error) or (code_of(error) in _AWAY and not _tls_failure(error))


def translated(error: Exception, *, user: str, database: str) -> BrainError | None:
    """The error of the tree; None for what is to pass: a constraint that was hurt, a bug, an error that is no driver's."""
    if unstorable := no_text(error):
        return unstorable
    if isinstance(error, exc.TimeoutError):
        return StorageBusy()
    if not isinstance(error, exc.DBAPIError | err.MySQLError):
        return None
    code = code_of(error)
    if isinstance(error, exc.DBAPIError) and isinstance(error.orig, CommitLost):
        return StorageInDoubt()
    if code in _TLS or _tls_failure(error):
        return _tls(error)
    if code in _LOST | _AWAY | _READ_ONLY:
        return StorageAway()
    if code in _BUSY:
        return StorageBusy()
    if code in _FULL:
        return StorageFull()
    if code == PACKET_TOO_LARGE:
        return _too_large()
    if code in _NO_TEXT:
        return _not_storable()
    return _refused(code, user, database)


def _tls_failure(error: BaseException) -> bool:
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    return isinstance(getattr(original, "original_exception", None), ssl.SSLError)


def _tls(error: Exception) -> SettingsInvalid:
    said = str(error.orig if isinstance(error, exc.DBAPIError) else error)[:200]
    return SettingsInvalid(
        zh=f"无法与数据库服务器建立受信任的加密连接：{said}。请检查 MYSQL_SSL_CA 指向签发服务器证书的 CA，且 MYSQL_HOST 与证书中的名称一致。",
        en=f"No trusted encrypted connection to the database server: {said}. See that MYSQL_SSL_CA is the CA that signed the server's certificate, "
        "and that MYSQL_HOST is a name in it.",
        param="mysql_ssl_ca",
    )


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        zh="内容超过数据库服务器一次能接收的大小（max_allowed_packet）。请将其调高到 64M（见 docs/mysql.md），或拆分文件。",
        en="The content is larger than the database server takes at once (max_allowed_packet). Raise it to 64M (docs/mysql.md), or split the file.",
        param="text",
    )


def _not_storable() -> InvalidRequest:
    return InvalidRequest(
        zh="有一个值过长，或含有数据库无法存储的字符。请缩短或改正后重试。",
        en="A value is too long for the database, or holds a character that it cannot store. Shorten or correct it and try again.",
    )


def _refused(code: int, user: str, database: str) -> SettingsInvalid | None:
    if code in (1045, 1130, 1251, 1698, 1862):
        return SettingsInvalid(
            zh=f"数据库服务器拒绝用户 {user} 登录。请检查 MYSQL_USER 与 MYSQL_PASSWORD，以及该用户是否允许从本机连接（见 docs/mysql.md）。",
            en=f"The database server refuses the user {user}. Check MYSQL_USER and MYSQL_PASSWORD, and that this user may connect from this host "
            "(docs/mysql.md).",
            param="mysql_password",
        )
    if code in (1044, 1049):
        return SettingsInvalid(
            zh=f"数据库 {database} 不存在，或用户 {user} 无权使用它。请由管理员创建数据库并授权（命令见 docs/mysql.md），或改正 MYSQL_DB。",
            en=f"There is no database {database}, or the user {user} may not use it. Have it made and the rights granted (docs/mysql.md has the commands), "
            "or correct MYSQL_DB.",
            param="mysql_db",
        )
    if code in (1142, 1143, 1227, 1370):
        return SettingsInvalid(
            zh=f"用户 {user} 在数据库 {database} 上缺少所需的权限。请运行 qzbrain doctor --step 1 查看缺少哪些，并由管理员授权。",
            en=f"The user {user} lacks a right on the database {database}. qzbrain doctor --step 1 says which; have it granted.",
            param="mysql_user",
        )
    return None
