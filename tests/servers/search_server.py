"""A real search server: `SearchServer("opensearch").start()`; it can be stopped, killed and started again on the same port, and closed.

One node with a small heap. The servers refuse to run as root: then they run as nobody. So the node's folder is not under pytest's, which is
closed to others, but one of its own, removed by `close`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import urllib3

from tests.running import free_port, stop_still, wait_for
from tests.servers.search_distribution import Flavour, distribution, java_home

PASSWORD = "p@ss:word/#1 密码"
STARTS_S = 90.0
NOBODY = 65534
HEAP = "512m"
_AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""
_SECURE = """\
xpack.security.enabled: true
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.keystore.path: http.p12
xpack.security.http.ssl.keystore.password: changeit
"""


class SearchServer:
    """One node. `secure` (Elasticsearch only): HTTPS with a CA of its own, user elastic, PASSWORD."""

    def __init__(self, flavour: Flavour, *, secure: bool = False) -> None:
        self.flavour, self.secure, self.port = flavour, secure, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"qzbrain-{flavour}-"))
        self._transport = free_port()
        self._configuration = self.folder / "config"
        self._pid_file = self.folder / "pid"
        self._pool: urllib3.HTTPConnectionPool | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate of its CA, in PEM."""
        return self._configuration / "ca.crt"

    @property
    def settings(self) -> dict[str, object]:
        """What a brain needs to use it, by setting name."""
        secret = {"es_user": "elastic", "es_password": PASSWORD, "es_ca_file": str(self.ca_file)} if self.secure else {}
        return {"es_url_add": self.url, **secret}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {name.upper(): str(value) for name, value in self.settings.items()}

    def start(self) -> SearchServer:
        """Start and wait until it takes requests."""
        home, jdk = distribution(self.flavour), java_home()
        self._configure(home, jdk)
        self._pid_file.unlink(missing_ok=True)
        name = "ES" if self.flavour == "elasticsearch" else "OPENSEARCH"
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("JAVA_", "ES_", "OPENSEARCH_", "JDK_"))}
        options = f"-Xms{HEAP} -Xmx{HEAP} -XX:-AlwaysPreTouch -XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # quick to start, not to run
        environment = {f"{name}_JAVA_HOME": str(jdk), f"{name}_PATH_CONF": str(self._configuration), f"{name}_TMPDIR": str(self.folder / "tmp")}
        environment |= {f"{name}_JAVA_OPTS": options, "JAVA_HOME": str(jdk)}
        self._launch([*_unprivileged(), str(home / "bin" / self.flavour)], outer | environment)
        wait_for(self._is_up, f"{self.flavour} up:\n{self.output()}", STARTS_S)
        return self

    def stop(self) -> None:
        """SIGTERM; returns when the process is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pause(self) -> None:
        """Stop answering, with all connections open, until `resume`."""
        stop_still(self._pid)

    def resume(self) -> None:
        """Go on."""
        os.kill(self._pid, signal.SIGCONT)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request to the server itself, as its operator; status and reply."""
        if self._pool is None:
            secret = urllib3.make_headers() | {"Content-Type": "application/json"}
            if self.secure:
                import base64

                secret["Authorization"] = "Basic " + base64.b64encode(f"elastic:{PASSWORD}".encode()).decode()
                self._pool = urllib3.HTTPSConnectionPool("127.0.0.1", self.port, ca_certs=str(self.ca_file), headers=secret)
            else:
                self._pool = urllib3.HTTPConnectionPool("127.0.0.1", self.port, headers=secret)
        reply = self._pool.request(method, path, body=None if body is None else orjson.dumps(body), retries=False, timeout=30)
        return reply.status, orjson.loads(reply.data) if reply.data else None

    def remove(self, pattern: str) -> None:
        """Delete the indexes of these names."""
        for one in self.call("GET", f"/_cat/indices/{pattern}?format=json&expand_wildcards=all")[1]:
            assert self.call("DELETE", f"/{one['index']}")[0] == 200

    def output(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-4000:] if self._log.exists() else ""

    # -- one node

    def _launch(self, command: list[str], environment: dict[str, str]) -> None:
        """Elasticsearch's program is a launcher that ends when the server is up, OpenSearch's becomes the server."""
        with self._log.open("ab") as out:
            if self.flavour == "elasticsearch":
                command += ["-d", "-p", str(self._pid_file)]
                done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/")
                assert done.returncode == 0, self.output()
                return
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True)
            self._pid_file.write_text(str(process.pid))

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    @property
    def _pid(self) -> int:
        return int(self._pid_file.read_text())

    def _is_up(self) -> bool:
        try:
            status, health = self.call("GET", "/_cluster/health")
        except urllib3.exceptions.HTTPError:
            assert not _gone(self._pid), self.output()
            return False
        return status == 200 and health["status"] in ("green", "yellow")

    def _end(self, number: signal.Signals) -> None:
        """A killed node holds its port and its files until its last thread is gone."""
        if not self._pid_file.exists() or _gone(pid := self._pid):
            return
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, number)
        wait_for(lambda: _gone(pid) and not self._listens(), f"the end of {self.flavour}", 60)
        self._pid_file.unlink(missing_ok=True)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _configure(self, home: Path, jdk: Path) -> None:
        if self._configuration.exists():
            return
        for folder in ("data", "logs", "tmp", "config/jvm.options.d"):
            (self.folder / folder).mkdir(parents=True)
        lines = (home / "config/jvm.options").read_text(encoding="utf-8").splitlines()
        unwanted = ("Xlog", "HeapDump", "logs/", "-Xms", "-Xmx", "UseG1GC", "G1", "InitiatingHeapOccupancy", "ErrorFile")
        self._write("jvm.options", [x for x in lines if not any(word in x for word in unwanted)])
        self._write("log4j2.properties", [_LOGGING])
        self._write(f"{self.flavour}.yml", self._settings_of_node())
        if self.secure:
            self._secure(home, jdk)
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        if self.secure:
            self._set_password(home, jdk)

    def _settings_of_node(self) -> list[str]:
        values = {
            "cluster.name": "test",
            "node.name": "node-1",
            "path.data": self.folder / "data",
            "path.logs": self.folder / "logs",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": self._transport,
            "discovery.type": "single-node",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        lines = [f"{name}: {value}" for name, value in values.items()]
        if self.flavour == "elasticsearch":
            lines.append(_SECURE if self.secure else "xpack.security.enabled: false")
        return lines

    def _write(self, name: str, lines: Iterable[str]) -> None:
        (self._configuration / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _secure(self, home: Path, jdk: Path) -> None:
        keytool, store = str(jdk / "bin/keytool"), ["-storepass", "changeit", "-keystore", str(self._configuration / "http.p12"), "-alias", "http"]
        names = ["-dname", "CN=localhost", "-ext", "bc=ca:true", "-ext", "san=dns:localhost,ip:127.0.0.1"]
        make = [keytool, "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "3650", "-storetype", "PKCS12", *names, *store]
        subprocess.run(make, check=True, capture_output=True)
        self.ca_file.write_bytes(subprocess.run([keytool, "-exportcert", "-rfc", *store], check=True, capture_output=True).stdout)
        for name in ("roles.yml", "role_mapping.yml", "users", "users_roles"):
            shutil.copy(home / "config" / name, self._configuration)

    def _set_password(self, home: Path, jdk: Path) -> None:
        environment = {**os.environ, "ES_JAVA_HOME": str(jdk), "ES_PATH_CONF": str(self._configuration)}
        keystore = [*_unprivileged(), str(home / "bin/elasticsearch-keystore")]
        subprocess.run([*keystore, "create", "-s"], check=True, env=environment, capture_output=True)
        subprocess.run([*keystore, "add", "-s", "-x", "-f", "bootstrap.password"], input=PASSWORD.encode(), check=True, env=environment, capture_output=True)


def _unprivileged() -> list[str]:
    return _AS_NOBODY if os.geteuid() == 0 else []


def _gone(pid: int) -> bool:
    """No process, or one whose last thread has let go of its files and ports and that nobody has reaped."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return state in "ZX" and len(list((process / "task").iterdir())) <= 1
    except OSError:
        return True
