"""What a kind of database does in its own way; `database.Database` does the rest, and gives the promises. One contract test class runs on each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RootTransaction

from qzbrain.errors import BrainError

Result = TypeVar("Result")
Kind = Literal["sqlite", "mysql"]


class Driver(Protocol):
    """One database of one kind. Safe for several threads and greenlets."""

    name: Kind
    place: str
    """Where the database is, for people: a path, or user, host and name. Never the password."""
    engine: Engine
    tries: int
    """How often a transaction is tried whose statements are data, when the database was busy or away."""

    def ask(self, question: Callable[[Connection], Result]) -> Result:
        """Put a question that only reads. It may be called again on another connection when the first one turns out to be dead."""

    def fetch(self, connection: Connection, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """All rows of a compiled SELECT as plain tuples, by the shortest way."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for SELECTs, each of which sees what is committed at that moment."""

    def snapshot(self) -> AbstractContextManager[Connection]:
        """A connection whose SELECTs all see the same moment."""

    def begin(self, *, durable: bool, blind: bool) -> tuple[Connection, RootTransaction]:
        """Begin a transaction that writes, when no other one in any process does. `durable`, `blind`: see `Database.write`, `write_blindly`."""

    def translated(self, exc: Exception) -> BrainError | None:
        """The error of the tree for a driver's exception; None for one that is to pass as it is (a constraint that was hurt, a bug)."""

    def scrub(self) -> bool:
        """Take deleted content out of the files that the database can do without; False when that is not possible now."""

    def close(self) -> None:
        """Give all connections back; the next call opens new ones."""
