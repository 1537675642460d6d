"""The doctor's look at the audit log: is its chain whole."""

from __future__ import annotations

from sqlalchemy import Connection

from qzbrain.auth.audit_head import HeadFile
from qzbrain.auth.audit_trail import verify
from qzbrain.ops.finding import Finding
from qzbrain.settings import Settings

_SHOWN = 5


def chain(settings: Settings, connection: Connection) -> Finding:
    """Every row follows from the one before it, and the last one that was written is there."""
    title = ("审计日志", "audit log")
    try:
        head = HeadFile.of(settings).read()
    except ValueError as exc:
        advice = (
            "查明是谁改了该文件；然后删除它并运行 qzbrain audit verify --accept-end",
            "find out who changed it; then remove it and run qzbrain audit verify --accept-end",
        )
        return Finding.fail("audit", 7, title, (f"audit.head 不可读：{exc}", str(exc)), advice)
    found = verify(connection, head)
    if not found.rows and head is None:
        off = ("没有记录", "nothing is in it") if settings.audited else ("未启用", "not kept")
        return Finding.skip("audit", 7, title, off, ("启用账号，或 QZBRAIN_AUDIT=on；见 docs/security.md", "accounts, or QZBRAIN_AUDIT=on: docs/security.md"))
    if not found.faults:
        return Finding.ok("audit", 7, title, (f"{found.rows:,} 条，校验链完整", f"{found.rows:,} rows; the chain is whole"))
    shown = ("；".join(x.zh for x in found.faults[:_SHOWN]), "; ".join(x.en for x in found.faults[:_SHOWN]))
    advice = (
        "核对是谁改动了数据库；qzbrain audit verify 列出全部。若是恢复了旧备份，用 qzbrain audit verify --accept-end 记下并继续",
        "find out who changed the database; qzbrain audit verify lists all. After an older backup was restored: qzbrain audit verify --accept-end",
    )
    if all(fault.kind == "no_head" for fault in found.faults):
        return Finding.warn("audit", 7, title, shown, advice)
    return Finding.fail("audit", 7, title, shown, advice)
