"""A real Docker engine of the tests' own, with local stand-ins under the official images' names: `with docker_engine() as engine`. Beside it, where a
machine without any network is wanted: `with empty_engine() as machine`, with no image at all.

Root, no other engine on the machine (two would share a bridge and firewall rules, so ours is not started beside another). What it makes once, base
and servers, stays in /var/tmp for the next run; the machine's firewall rules are put back at the end. `python -m tests.servers.docker_engine` gets
the plugins and the stand-ins ready, so that no test has to wait for them.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.servers.programs import missing, need, need_namespaces

KEPT = Path("/var/tmp/qzbrain-docker")
SOURCES = Path(__file__).resolve().parent / "docker"
BASE = "python:3.11-slim-bookworm"
STAND_INS = {"mysql:8.4": "mysql.Dockerfile", "redis:7.4": None, "nginx:1.28": None}
"""Official names of what Compose starts, and how each is made from the servers' image; None: it is that image."""
STARTS_S, ENDS_S, OTHERS_END_S = 30.0, 60.0, 120.0
_COMPOSE = (2, 20)
_ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
_WITHOUT = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "locale", "man")]
"""Images are saved and loaded by tests: a third less of them."""
_HOOK = """set -e
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf python3 "$1"/usr/bin/python
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$1"/etc/ssl/build-ca.crt
    printf '[global]\\ncert = /etc/ssl/build-ca.crt\\n' >"$1"/etc/pip.conf
fi
cp /etc/apt/apt.conf.d/99* "$1"/etc/apt/apt.conf.d/ 2>/dev/null || true
printf '#!/bin/sh\\nexit 101\\n' >"$1"/usr/sbin/policy-rc.d
chmod +x "$1"/usr/sbin/policy-rc.d"""
"""As the official image; pip and apt reach their indexes in it as on this machine (its CA beside the image's own bundle, which stays as it is)."""


class DockerEngine:
    """One dockerd. `environment` makes `docker` talk to it. `alone`: in a network of its own, which leads nowhere."""

    def __init__(self, run: Path, data: Path = KEPT / "data", *, alone: bool = False) -> None:
        self.run, self.data, self.alone = run, data, alone
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{run}/docker.sock", "DOCKER_CONFIG": str(KEPT / "config")}
        self.process: subprocess.Popen[bytes] | None = None
        self._rules = ""

    def start(self) -> DockerEngine:
        """Start and wait until it answers."""
        program = need("dockerd", "docker.io iptables")
        if not self.alone:
            self._rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
        (self.run / "daemon.json").write_text("{}", encoding="utf-8")
        command = [
            *(_ALONE if self.alone else ()), program, "--config-file", str(self.run / "daemon.json"), "--host", f"unix://{self.run}/docker.sock",
            "--data-root", str(self.data), "--exec-root", str(self.run / "exec"), "--pidfile", str(self.run / "dockerd.pid"), "--bip", "172.31.240.1/24",
            "--default-address-pool", "base=172.31.128.0/18,size=24", "--storage-driver", "overlay2",
        ]  # fmt: skip
        with (self.run / "dockerd.log").open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        until = time.monotonic() + STARTS_S
        while self.call("version", check=False).returncode:
            ended = self.process.poll() is not None
            if ended or time.monotonic() > until:
                missing(f"a Docker engine does not run here: {(self.run / 'dockerd.log').read_text()[-600:]}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End it with its containers, and leave the machine as it was."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(ENDS_S)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(10)
        if not self.alone:
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
        if self._rules:
            subprocess.run(["iptables-restore"], input=self._rules, capture_output=True, text=True, check=False)

    def call(self, *arguments: str, check: bool = True, timeout_s: float = 600, **options: Any) -> subprocess.CompletedProcess[str]:
        """`docker …`."""
        done = subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=timeout_s, **options
        )
        assert not check or not done.returncode, f"docker {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done

    def inside(self) -> list[str]:
        """What runs a command where the engine's ports are."""
        return ["nsenter", f"--net={self._network()}"] if self.alone else []

    @contextmanager
    def ports(self) -> Iterator[None]:
        """What this thread connects to meanwhile are the engine's ports."""
        if not self.alone:
            yield
            return
        with Path("/proc/thread-self/ns/net").open() as here, Path(self._network()).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def _network(self) -> str:
        assert self.process is not None
        return f"/proc/{self.process.pid}/ns/net"

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return not self.call("image", "inspect", image, check=False).returncode

    def inspect(self, container: str) -> Any:
        """What Docker knows of a container."""
        return json.loads(self.call("inspect", container).stdout)[0]

    def remove_containers(self) -> None:
        """All of them, by kill -9."""
        if left := self.call("ps", "--all", "--quiet").stdout.split():
            self.call("rm", "--force", "--volumes", *left)

    def clear(self) -> None:
        """Remove what a run that was killed has left, and builds that nobody will ask for again."""
        self.remove_containers()
        if left := self.call("volume", "ls", "--quiet").stdout.split():
            self.call("volume", "rm", "--force", *left)
        self.call("network", "prune", "--force")
        self.call("image", "prune", "--force")
        self.call("builder", "prune", "--force", "--keep-storage", "4GB")

    # -- stand-ins

    def prepare(self) -> None:
        """Have the plugins and the stand-ins, made anew where their recipes have changed."""
        recipe = hashlib.sha256((_HOOK + str(_WITHOUT)).encode() + b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()[:12]
        if self.has(f"qzbrain-test/done:{recipe}") and all(self.has(image) for image in (BASE, *STAND_INS)):
            return
        self._make_base()
        self._build("qzbrain-test/servers:1", "servers.Dockerfile")
        for image, file in STAND_INS.items():
            if file is None:
                self.call("tag", "qzbrain-test/servers:1", image)
            else:
                self._build(image, file)
        self.call("tag", BASE, f"qzbrain-test/done:{recipe}")

    def _build(self, image: str, file: str) -> None:
        self.call("build", "--quiet", "--tag", image, "--file", str(SOURCES / file), str(SOURCES))

    def _make_base(self) -> None:
        sources = Path("/etc/apt/sources.list.d/debian.sources")
        source = str(sources) if sources.is_file() else "deb http://deb.debian.org/debian bookworm main"
        command = [
            need("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", *_WITHOUT, '--aptopt=Acquire::Languages "none"',
            "--include=ca-certificates,python3,python3-pip,python3-venv,curl", f"--customize-hook={_HOOK}", "bookworm", "-", source,
        ]  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="qzbrain-root-", dir="/dev/shm") as folder:
            environment = {**os.environ, "TMPDIR": folder}
            making = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            taking = ["docker", "import", "--change", 'CMD ["python3"]', "-", BASE]
            done = subprocess.run(taking, env=self.environment, stdin=making.stdout, capture_output=True, text=True, check=False)
            _, said = making.communicate()
            assert making.returncode == 0, said.decode(errors="replace")[-3000:]
            assert done.returncode == 0, done.stderr


@contextmanager
def docker_engine() -> Iterator[DockerEngine]:
    """The engine, with plugins and stand-ins ready. Skips, or fails in CI, where it cannot be."""
    if os.geteuid():
        missing("a Docker engine of the tests' own needs root")
    need_namespaces()
    need("dockerd", "docker.io iptables")
    need("iptables", "iptables")
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _await_no_other()
        get_plugins()
        run = Path(tempfile.mkdtemp(prefix="qzbrain-docker-"))
        engine = DockerEngine(run)
        try:
            engine.start().clear()
            engine.prepare()
            yield engine
        finally:
            engine.stop()
            shutil.rmtree(run, ignore_errors=True)


@contextmanager
def empty_engine() -> Iterator[DockerEngine]:
    """An engine as on a machine that has Docker and nothing else, and reaches nothing. While `docker_engine` holds the machine's."""
    with tempfile.TemporaryDirectory(prefix="empty-", dir=KEPT) as folder:
        engine = DockerEngine(Path(folder), Path(folder) / "data", alone=True)
        try:
            yield engine.start()
            engine.remove_containers()  # at once: an engine that ends stops them one after the other
        finally:
            engine.stop()


def _enter(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, 0):
        raise OSError(ctypes.get_errno(), "setns")


def _await_no_other() -> None:
    until = time.monotonic() + OTHERS_END_S
    while _engines():
        if time.monotonic() > until:
            missing("another Docker engine runs on this machine; ours would disturb it")
        time.sleep(1)


def _engines() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "comm").read_text().strip() == "dockerd" and ") Z" not in (entry / "stat").read_text():
                    found.append(entry.name)
    return found


def get_plugins() -> None:
    """Have compose (2.20 or later) and buildx: the machine's, else in a folder of ours."""
    environment = {**os.environ, "DOCKER_CONFIG": str(KEPT / "config")}

    def there() -> bool:
        compose = subprocess.run(["docker", "compose", "version", "--short"], env=environment, capture_output=True, text=True, check=False).stdout
        buildx = subprocess.run(["docker", "buildx", "version"], env=environment, capture_output=True, check=False)
        parts = compose.strip().lstrip("v").split(".")
        return not buildx.returncode and len(parts) > 1 and (int(parts[0]), int(parts[1])) >= _COMPOSE

    if there():
        return
    done = subprocess.run(["bash", str(SOURCES / "plugins.sh"), str(KEPT / "config" / "cli-plugins")], capture_output=True, text=True, check=False)
    if done.returncode or not there():
        missing(f"Docker's plugins compose and buildx cannot be had: {done.stderr[-600:]}")


if __name__ == "__main__":
    with docker_engine() as engine:
        print(engine.call("images").stdout)
