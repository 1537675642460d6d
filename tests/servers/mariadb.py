"""A real MariaDB: `MariaDb(folder).start()`; it can be stopped, killed and started again on the same port. Its tables are made once and copied.

With QZBRAIN_TEST_MYSQLD naming the `mysqld` of a MySQL 8 or 9, that server runs in its place, for all tests.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pymysql

from tests.running import free_port
from tests.servers.programs import end, need

USER = "启元@a'b\"c`d"
PASSWORD = "p@ss:word/#1%s '\"\\密码"
DATABASE = "chatglm"
RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"
STARTS_S = 30.0
MYSQLD = os.environ.get("QZBRAIN_TEST_MYSQLD", "")
OWN_ARGUMENTS = (
    ("--mysqlx=OFF", "--secure-file-priv=", "--auto-generate-certs=OFF", "--max-allowed-packet=16M") if MYSQLD else ("--innodb-log-file-size=64M",)
)
"""Without certificates, as MariaDB: what goes over the line must be readable for a proxy that cuts it."""
CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
CRASHED: list[int] = []
"""A port for each time that a server crashed by itself. No test has its server crash: they kill it."""


@cache
def _template() -> Path:
    """An empty data folder as the server's own program makes it, which takes seconds; kept until the test process ends."""
    holder = tempfile.TemporaryDirectory(prefix="mariadb-template-")
    _KEPT.append(holder)
    folder = Path(holder.name) / "data"
    common = ["--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder}"]
    if MYSQLD:
        command = [MYSQLD, *common, "--initialize-insecure", "--auto-generate-certs=OFF"]
    else:
        program = need("mariadb-install-db", "mariadb-server")
        command = [program, *common, "--auth-root-authentication-method=normal", "--skip-test-db", "--force"]  # --force: where no name can be looked up, too
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


class MariaDb:
    """One mariadbd with the brain's user. `settings`: what a brain needs to use it, by setting name."""

    def __init__(self, folder: Path, *, arguments: tuple[str, ...] = ()) -> None:
        self.folder, self.port = folder, free_port()
        self.user, self.password = USER, PASSWORD
        self._arguments = arguments
        self._sockets = tempfile.TemporaryDirectory(prefix="mariadb-")  # a socket's path may have 107 bytes
        self.socket = Path(self._sockets.name) / "my.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by name."""
        return {"mysql_host": "127.0.0.1", "mysql_port": self.port, "mysql_user": self.user, "mysql_password": self.password, "mysql_db": DATABASE}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {name.upper(): str(value) for name, value in self.settings.items()}

    def start(self) -> MariaDb:
        """Start and wait until it takes connections; the first time also make the user and the database."""
        program = MYSQLD or need("mariadbd", "mariadb-server")
        data, fresh = self.folder / "data", not self.folder.exists()
        if fresh:
            shutil.copytree(_template(), data)
        command = [
            program, "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={data}", f"--socket={self.socket}", f"--pid-file={self.folder / 'my.pid'}",
            "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-log-bin", "--skip-name-resolve", "--innodb-buffer-pool-size=64M",
            "--performance-schema=0", "--character-set-server=latin1", *OWN_ARGUMENTS, *self._arguments,
        ]  # fmt: skip
        self._launch(command)
        threading.Thread(target=self._watch, args=(command,), daemon=True).start()
        until = time.monotonic() + STARTS_S
        while True:
            try:
                self.run("SELECT 1")
                break
            except pymysql.err.OperationalError:
                assert self.process is not None and self.process.poll() is None and time.monotonic() < until, self.log()
                time.sleep(0.02)
        if fresh:
            self.run(f"CREATE USER {self.account} IDENTIFIED BY {_quoted(self.password)}")
            self.create_database(DATABASE)
        return self

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "mariadb.log").open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self.process

    def _watch(self, command: list[str]) -> None:
        """Start a server that crashes again at once, as a service manager does: MariaDB 10.11 was seen to segfault, once in some twenty runs of all tests."""
        while self.process is not None and self.process.wait() in CRASHES:
            CRASHED.append(self.port)
            sys.stderr.write(f"\nMariaDB crashed by itself and is started again:\n{self.log()}\n")
            self._launch(command)

    @property
    def account(self) -> str:
        """The brain's user in SQL."""
        return f"{_quoted(self.user)}@'127.0.0.1'"

    def create_database(self, name: str, *, rights: str = RIGHTS) -> None:
        """A database, in a character set that is not the brain's, and the brain's rights on it."""
        self.run(f"CREATE DATABASE `{name}` CHARACTER SET latin1")
        pattern = name.replace("_", "\\_")
        self.run(f"GRANT {rights} ON `{pattern}`.* TO {self.account}")

    def drop_database(self, name: str) -> None:
        """A database that need not be there is gone."""
        self.run(f"DROP DATABASE IF EXISTS `{name}`")

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement as root, through the socket; its rows."""
        with closing(self.root()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def root(self, **options: Any) -> Any:
        """A connection as root."""
        return pymysql.connect(unix_socket=str(self.socket), user="root", charset="utf8mb4", autocommit=True, **options)

    def log(self) -> str:
        """The end of what the server said."""
        return (self.folder / "mariadb.log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """SIGTERM: the server ends its sessions and stops."""
        end(self.process)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def remove(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self._sockets.cleanup()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
