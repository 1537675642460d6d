"""A real Neo4j: `Neo4jServer(folder).start()`; it can be stopped, killed, paused and started again on the same port over the same data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.running import free_port, stop_still, wait_for
from tests.servers.neo4j_distribution import distribution
from tests.servers.programs import end
from tests.servers.search_distribution import java_home

PASSWORD = "p@ss:word/#1 密码"
STARTS_S = 90.0
_CONFIGURATION = """\
server.bolt.enabled=true
server.bolt.listen_address=127.0.0.1:{port}
server.bolt.advertised_address=127.0.0.1:{port}
server.bolt.tls_level=DISABLED
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=true
dbms.security.auth_minimum_password_length=1
dbms.usage_report.enabled=false
server.memory.pagecache.size=128m
db.tx_log.rotation.size=16m
db.tx_log.preallocate=false
db.logs.query.enabled=OFF
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
"""
_OPENED = ("java.nio", "java.io", "sun.nio.ch")


class Neo4jServer:
    """One server, Community edition, Bolt without TLS on 127.0.0.1, user neo4j."""

    def __init__(self, folder: Path, *, password: str = PASSWORD, heap: str = "600m", quick: bool = False) -> None:
        """`quick`: takes longer to start, and is faster then."""
        self.folder, self.password, self.port, self._heap, self._quick = folder, password, free_port(), heap, quick
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"bolt://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, object]:
        """What a brain needs to use it, by setting name."""
        return {"neo4j_url": self.url, "neo4j_user": "neo4j", "neo4j_password": self.password}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {name.upper(): str(value) for name, value in self.settings.items()}

    def start(self) -> Neo4jServer:
        """Start and wait until it takes requests."""
        there, jdk = distribution(), java_home()
        (self.folder / "neo4j.conf").write_text(_CONFIGURATION.format(port=self.port), encoding="utf-8")
        self._ready.unlink(missing_ok=True)
        options = ["-Xms128m", f"-Xmx{self._heap}", "-XX:+ExitOnOutOfMemoryError", *([] if self._quick else ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])]
        options += ["-Dio.netty.tryReflectionSetAccessible=true", "-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false", "-Dfile.encoding=UTF-8"]
        options += [f"--add-opens=java.base/{one}=ALL-UNNAMED" for one in _OPENED]
        command = [str(jdk / "bin/java"), *options, "-cp", f"{there}/classes:{there}/lib/*", "Neo4jLauncher"]
        command += [str(self.folder / "home"), str(self.folder / "neo4j.conf"), str(self._ready)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("JAVA_", "JDK_", "NEO4J"))} | {"LC_ALL": "C.UTF-8"}
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env={**environment, "NEOPASS": self.password}, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
            )
        wait_for(self._is_up, f"Neo4j up:\n{self.output()}", STARTS_S)
        return self

    def stop(self) -> None:
        """SIGTERM; returns when the process is gone."""
        end(self.process)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """Stop answering, with all connections open, until `resume`."""
        assert self.process is not None
        stop_still(self.process.pid)

    def resume(self) -> None:
        """Go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-4000:] if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / "neo4j.log"

    @property
    def _ready(self) -> Path:
        return self.folder / "ready"

    def _is_up(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.output()
        with socket.socket() as probe:
            return self._ready.exists() and probe.connect_ex(("127.0.0.1", self.port)) == 0


def main() -> None:
    """Start one in a folder and keep it until interrupted, for trying things by hand."""
    server = Neo4jServer(Path(sys.argv[1])).start()
    print(f"NEO4J_URL={server.url} NEO4J_USER=neo4j NEO4J_PASSWORD='{server.password}'", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
