"""One tree of errors for the whole brain. Each class has a stable code, an HTTP status, and messages in Chinese and English.

    BrainError                       500 server_error
    ├── InvalidRequest               400 invalid_request_error (bad value, unknown field, question too long …)
    │   ├── PayloadTooLarge          413
    │   └── UnsupportedMedia         415
    ├── AuthenticationRequired       401 authentication_error
    ├── PermissionRefused            403 permission_error
    ├── NotFound                     404 not_found_error
    ├── Conflict                     409 conflict_error (name taken, wrong state)
    ├── RateLimited                  429 rate_limit_error, with retry_after_s
    ├── Unavailable                  503 unavailable_error, with retry_after_s
    │   ├── StorageFull              the disk is full
    │   ├── StorageBusy              the database stayed locked too long
    │   │   └── StorageAway          the database server cannot be reached
    │   │       └── StorageInDoubt   the connection broke during a commit: nobody knows whether it took place
    │   ├── IndexUnavailable         the search index cannot be reached or written now (answers say so, jobs wait for it)
    │   ├── GraphUnavailable         the graph service of GRAPH_URL does not answer (searches and answers go on without it)
    │   ├── MirrorUnavailable        the graph's copy on a Neo4j server cannot be used now (reads go to SQL, jobs wait for it)
    │   ├── EngineUnavailable        a language model could not answer (the chat ladder catches it)
    │   └── MissingExtra             an optional library is not installed; holds the install command
    ├── SettingsInvalid              the configuration cannot be used; the process must not start
    ├── ParseFailed                  a document cannot be read; its code and message become the document's reason
    └── Cancelled                    the caller left or pressed stop; never shown as an error

A message says what happened, why, and what to do next. Drivers' exceptions are translated once, where they are met, `from exc`.
"""

from __future__ import annotations

from typing import Literal

Lang = Literal["zh", "en"]


class BrainError(Exception):
    """Base of the tree. `zh` and `en` are complete sentences for the reader; `param` names the field at fault, if one is."""

    status = 500
    type = "server_error"
    default_code = "internal_error"

    def __init__(self, code: str | None = None, *, zh: str, en: str, param: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(f"{code or self.default_code}: {en}")
        self.code = code or self.default_code
        self.zh, self.en = zh, en
        self.param = param
        self.retry_after_s = retry_after_s

    def message(self, lang: Lang) -> str:
        """The sentence for a reader of `lang`."""
        return self.zh if lang == "zh" else self.en

    def body(self, lang: Lang) -> dict[str, dict[str, str | None]]:
        """The OpenAI error shape: `{"error": {"message", "type", "code", "param"}}`."""
        return {"error": {"message": self.message(lang), "type": self.type, "code": self.code, "param": self.param}}


class InvalidRequest(BrainError):
    """A value in the request cannot be used."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class PayloadTooLarge(InvalidRequest):
    """The body or a file is over its limit."""

    status = 413
    default_code = "too_large"


class UnsupportedMedia(InvalidRequest):
    """The content type is not one that this route takes."""

    status = 415
    default_code = "unsupported_media_type"


class AuthenticationRequired(BrainError):
    """Nobody is signed in, or the key is not known."""

    status = 401
    type = "authentication_error"
    default_code = "authentication_required"


class PermissionRefused(BrainError):
    """The caller is known and may not do this."""

    status = 403
    type = "permission_error"
    default_code = "permission_refused"


class NotFound(BrainError):
    """The thing named is not there, or the caller may not know that it is."""

    status = 404
    type = "not_found_error"
    default_code = "not_found"


class Conflict(BrainError):
    """A name is taken, or the thing is in a state that does not allow this."""

    status = 409
    type = "conflict_error"
    default_code = "conflict"


class RateLimited(BrainError):
    """Too much at once; `retry_after_s` says when to try again."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limited"


class Unavailable(BrainError):
    """A part that is needed is away; `retry_after_s` says when to try again."""

    status = 503
    type = "unavailable_error"
    default_code = "unavailable"


class StorageFull(Unavailable):
    """The disk that holds the data folder is full; nothing of this request was kept."""

    default_code = "storage_full"

    def __init__(self) -> None:
        super().__init__(
            zh="磁盘已满，本次请求没有保存任何内容。请清理数据目录所在的磁盘后重试。",
            en="The disk is full; nothing of this request was kept. Free space on the disk of the data folder and try again.",
            retry_after_s=60,
        )


class StorageBusy(Unavailable):
    """The database stayed locked longer than the busy time-out."""

    default_code = "storage_busy"

    def __init__(self) -> None:
        super().__init__(
            zh="数据库正忙，请稍后重试。",
            en="The database is busy; try again in a moment.",
            retry_after_s=2,
        )


class StorageAway(StorageBusy):
    """The database server could not be reached for some seconds; nothing of this request was kept."""

    default_code = "storage_away"

    def __init__(self) -> None:
        Unavailable.__init__(
            self,
            zh="数据库服务器暂时无法连接，本次请求没有保存任何内容。请稍后重试；若持续出现，请运行 qzbrain doctor --step 1。",
            en="The database server cannot be reached; nothing of this request was kept. Try again in a moment; if that does not help, run: "
            "qzbrain doctor --step 1",
            retry_after_s=5,
        )


class StorageInDoubt(StorageAway):
    """The connection to the database server broke while a change was being committed: it may have been kept or not."""

    default_code = "storage_in_doubt"

    def __init__(self) -> None:
        Unavailable.__init__(
            self,
            zh="提交时与数据库服务器的连接中断，本次更改可能已保存，也可能没有。请刷新查看后再重试；重复上传的内容会被识别。",
            en="The connection to the database server broke during the commit: the change may have been kept or not. "
            "Look, then try again if need be; an upload that is there already is recognised.",
            retry_after_s=5,
        )


class IndexUnavailable(Unavailable):
    """The search index cannot be used now: its server is away, refuses us, is full, or another process writes to it. No job's fault."""

    default_code = "index_unavailable"


class GraphUnavailable(Unavailable):
    """The graph service that GRAPH_URL names is away, or its reply cannot be used."""

    default_code = "graph_unavailable"


class MirrorUnavailable(Unavailable):
    """The copy of graphs on a Neo4j server cannot be used now: it is away, too slow, too old, or refuses us. No job's fault."""

    default_code = "neo4j_error"


class EngineUnavailable(Unavailable):
    """A language model did not answer, or not usably. `sent_chars` tells how much text it had given before it broke off.

    `request_refused`: the engine works but refused this one request (too long for its context, an option it does not know).
    `engine_full`: the engine works but takes no more requests just now (HTTP 503 or 429); it may in a moment.
    `connection_lost`: there was no connection, or it ended before the reply did.
    """

    default_code = "engine_unavailable"
    sent_chars = 0
    request_refused = False
    engine_full = False
    connection_lost = False


class MissingExtra(Unavailable):
    """An optional library is missing; the message holds the install command."""

    default_code = "missing_extra"


class SettingsInvalid(BrainError):
    """The configuration cannot be used as it is; the message names the setting and the way out."""

    default_code = "settings_invalid"


class ParseFailed(BrainError):
    """A document cannot be read. Codes: empty, broken, encrypted, too_large, bomb, no_text, garbled, unsupported, timeout, crashed, quarantined."""

    status = 422
    type = "invalid_request_error"
    default_code = "broken"


class Cancelled(BrainError):
    """The caller left or pressed stop."""

    status = 499
    type = "invalid_request_error"
    default_code = "cancelled"

    def __init__(self) -> None:
        super().__init__(zh="已停止。", en="Stopped.")
