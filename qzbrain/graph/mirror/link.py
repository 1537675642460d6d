"""The way to a Neo4j server: transactions with a time limit that holds even when the server has frozen, and its faults as errors of ours.

After a fault nobody is sent there for a while (`rest`): the next call is told at once what was wrong. Thread-safe; nothing is opened before the first use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from qzbrain.errors import MirrorUnavailable
from qzbrain.graph.mirror import errors

if TYPE_CHECKING:
    from neo4j import Driver, Transaction

    from qzbrain.settings import Settings

Found = TypeVar("Found")
READ_S = 2.0
WRITE_S = 60.0
_REST_S = 10.0
_STUCK = 32
_CONNECTIONS = 20
_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """What answered."""

    name: str
    version: str
    edition: str


def require_driver() -> None:
    """Raises MissingExtra when the driver is not installed. Does not import it: that takes a quarter of a second."""
    if find_spec("neo4j") is None:
        raise errors.missing_driver()


class Link:
    """One server, one database."""

    def __init__(self, settings: Settings, *, read_s: float | None = None, rest_s: float | None = None) -> None:
        require_driver()
        self._url, self._login = settings.neo4j_url, (settings.neo4j_user, settings.neo4j_password)
        self._database = settings.neo4j_database or None
        self.read_s, self._rest_s = read_s or READ_S, rest_s or _REST_S
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._fault: MirrorUnavailable | None = None
        self._until = 0.0
        self._under_way = threading.BoundedSemaphore(_STUCK)

    @property
    def where(self) -> str:
        """The server's address, for people."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 7687}"

    @property
    def fault(self) -> MirrorUnavailable | None:
        """Why nobody is sent there just now."""
        return self._fault if time.monotonic() < self._until else None

    def read(self, work: Callable[[Transaction], Found], *, limit_s: float | None = None) -> Found:
        """Do this in a reading transaction, within `read_s` or another limit. Raises MirrorUnavailable; what `work` raises of its own passes."""
        limit = limit_s or self.read_s
        return self._within(limit, lambda: self._transaction(work, limit, reading=True))

    def write(self, work: Callable[[Transaction], Found]) -> Found:
        """Do this in a writing transaction, all or nothing. It may be done again after a broken connection, so `work` must not mind. Raises as `read`."""
        return self._within(WRITE_S, lambda: self._transaction(work, WRITE_S, reading=False))

    def run(self, statement: str) -> None:
        """A statement that stands alone, as those that make constraints do."""
        self._within(WRITE_S, lambda: self._opened().execute_query(statement, database_=self._database))

    def server(self, *, limit_s: float | None = None) -> Server:
        """Ask who is there. Raises MirrorUnavailable, for one that is too old too."""
        question = "CALL dbms.components() YIELD name, versions, edition RETURN name, versions[0] AS version, edition"
        rows = self.read(lambda tx: tx.run(question).values(), limit_s=limit_s)
        found = next((Server(*row) for row in rows if str(row[0]).startswith("Neo4j")), Server(*rows[0]))
        if _number(found.version) < errors.LEAST:
            raise self._noted(errors.wrong_version(self.where, found.version))
        return found

    def close(self) -> None:
        """Give the connections back; a frozen server is not waited for."""
        driver, self._driver = self._driver, None
        if driver is not None and self.fault is None:
            with_limit(driver.close, self.read_s)

    def _within(self, limit_s: float, call: Callable[[], Found]) -> Found:
        if (fault := self.fault) is not None:
            raise fault
        if not self._under_way.acquire(blocking=False):
            raise self._noted(errors.too_slow(self.where, limit_s))

        def released() -> Found:
            try:
                return call()
            finally:
                self._under_way.release()

        try:
            found = with_limit(released, limit_s + self.read_s if self._driver is None else limit_s)
        except TimeoutError as exc:
            raise self._noted(errors.too_slow(self.where, limit_s)) from exc
        except Exception as exc:
            error = self._translated(exc)
            if error is None:
                raise
            raise self._noted(error) from exc
        self._fault = None
        return found

    def _transaction(self, work: Callable[[Transaction], Found], limit_s: float, *, reading: bool) -> Found:
        """Done again at once, one time, where a connection that was kept turns out to be broken, as after a restart of the server."""
        from neo4j import exceptions

        try:
            return self._tried(work, limit_s, reading=reading)
        except (exceptions.ServiceUnavailable, exceptions.SessionExpired):
            return self._tried(work, limit_s, reading=reading)

    def _tried(self, work: Callable[[Transaction], Found], limit_s: float, *, reading: bool) -> Found:
        with self._opened().session(database=self._database, default_access_mode="READ" if reading else "WRITE") as session:
            transaction = session.begin_transaction(timeout=limit_s)
            with transaction:
                found = work(transaction)
                transaction.commit()
            return found

    def _opened(self) -> Driver:
        with self._lock:
            if self._driver is None:
                from neo4j import GraphDatabase

                logging.getLogger("neo4j").setLevel(logging.CRITICAL)  # what goes wrong is told here, once
                self._driver = GraphDatabase.driver(
                    self._url,
                    auth=self._login,
                    user_agent="qzbrain",
                    connection_timeout=self.read_s,
                    connection_acquisition_timeout=self.read_s,
                    max_connection_pool_size=_CONNECTIONS,
                    liveness_check_timeout=_IDLE_S,
                    notifications_min_severity="OFF",
                    telemetry_disabled=True,
                )
            return self._driver

    def _noted(self, error: MirrorUnavailable) -> MirrorUnavailable:
        self._fault, self._until = error, time.monotonic() + max(self._rest_s, self._rest_s * (error.retry_after_s or 0) / _REST_S)
        return error

    def _translated(self, exc: Exception) -> MirrorUnavailable | None:
        """What the driver raised as an error of ours; None for what did not come from it."""
        from neo4j import exceptions

        if isinstance(exc, exceptions.AuthError):
            return errors.forbidden(self.where, _why(exc)) if isinstance(exc, exceptions.Forbidden) else errors.login_refused(self.where)
        if isinstance(exc, exceptions.Neo4jError):
            code = exc.code or ""
            if code.endswith(("DatabaseNotFound", "IllegalDatabaseName")):
                return errors.no_database(self.where, self._database or "")
            if code.endswith("AuthenticationRateLimit"):
                return errors.login_refused(self.where)
            if "TransactionTimedOut" in code:
                return errors.too_slow(self.where, self.read_s)
            return errors.refused(self.where, _why(exc))
        if isinstance(exc, exceptions.ConfigurationError):
            return errors.refused(self.where, _why(exc))
        if isinstance(exc, exceptions.DriverError | OSError | EOFError):
            return errors.unreachable(self.where, _why(exc))
        return None


def with_limit(call: Callable[[], Found], limit_s: float) -> Found:
    """What a call gives; raises TimeoutError after so long, and leaves it alone. On a thread of its own (a greenlet, where threads are such)."""
    future: Future[Found] = Future()

    def answer() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # noqa: BLE001  it is raised where the result is waited for
            future.set_exception(exc)

    threading.Thread(target=answer, name="neo4j", daemon=True).start()
    return future.result(limit_s)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())


def _why(exc: Any) -> str:
    return " ".join(str(getattr(exc, "message", None) or exc).split())[:200]
