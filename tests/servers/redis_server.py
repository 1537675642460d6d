"""A real Redis: `RedisServer(folder).start()`; it can be stopped, killed and started again on the same port."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.running import free_port
from tests.servers.programs import end, need

PASSWORD = "p@ss:word/#1 密码"
STARTS_S = 15.0


class RedisServer:
    """One redis-server. `settings`: what a brain needs to use it, by setting name."""

    def __init__(self, folder: Path, *, password: str = PASSWORD, arguments: tuple[str, ...] = ()) -> None:
        self.folder, self.password, self.port = folder, password, free_port()
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def settings(self) -> dict[str, object]:
        """Settings by name."""
        return {"redis_host": "127.0.0.1", "redis_port": self.port, "redis_password": self.password}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {name.upper(): str(value) for name, value in self.settings.items()}

    def start(self) -> RedisServer:
        """Start and wait until it takes connections."""
        program = need("redis-server", "redis-server")
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        secret = ["--requirepass", self.password] if self.password else []
        with (self.folder / "redis.log").open("ab") as out:
            self.process = subprocess.Popen([*command, *secret, *self._arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until = time.monotonic() + STARTS_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()[-2000:]
            time.sleep(0.02)
        raise AssertionError("redis did not start")

    def stop(self) -> None:
        """SIGTERM; what was not saved is lost (nothing is saved)."""
        end(self.process)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
