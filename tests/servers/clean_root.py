"""A clean Debian: a machine on which nothing was installed but Python 3.11, venv and curl. Built once into `.tools/clean-root`, then laid under each use.

    with CleanRoot(tmp_path) as root:
        root.put(bundle, "/srv/bundle.tar")
        done = root.run("cd /srv && tar -xf bundle.tar && sh qzbrain-*/install.sh")            # no network at all, only `lo`
        done = root.run("apt-get update", network=True)                                        # the machine's own network
        server = root.popen("cd /srv/qzbrain && ./run.sh")

Mounts, processes and the network of a use end with it, or with this process. Needs root and mmdebstrap; without them, and in CI, tests
skip with a notice.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import pytest

from tests.running import ROOT, wait_for

PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv", "curl")
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_CA = Path("/etc/ssl/certs/ca-certificates.crt")
_CA_INSIDE = "/etc/ssl/build-ca.crt"
"""The machine's own certificates, beside the root's: over those the next apt step would write."""

# As in the official Python images there is `python`, and pip may install; no service of a package starts; the network is reached as this machine reaches it.
_HOOK = f"""set -e
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -sf python3 "$1"/usr/bin/python
cp {_CA} "$1"{_CA_INSIDE}
cp /etc/pip.conf "$1"/etc/pip.conf 2>/dev/null || printf '[global]\\n' > "$1"/etc/pip.conf
sed -i '/^cert/d' "$1"/etc/pip.conf; printf 'cert = {_CA_INSIDE}\\n' >> "$1"/etc/pip.conf
cp /etc/apt/apt.conf.d/99* "$1"/etc/apt/apt.conf.d/ 2>/dev/null || true
cp -L /etc/resolv.conf "$1"/etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' > "$1"/usr/sbin/policy-rc.d; chmod +x "$1"/usr/sbin/policy-rc.d"""

# The first process inside: makes the mounts, says so, takes in orphans, and ends (with everything inside) when its input ends.
_INIT = """set -e
mount --make-rprivate /
[ -z "$3" ] || mount -t tmpfs -o "size=$3" tmpfs "$2"
mkdir -p "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" 2>/dev/null || cp -a "$1/." "$2/root/"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/run"
ip link set lo up
echo ready
while read -r _; do :; done"""

_ENVIRONMENT = {
    "HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
    "SSL_CERT_FILE": _CA_INSIDE, "REQUESTS_CA_BUNDLE": _CA_INSIDE, "PIP_CERT": _CA_INSIDE, "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}  # fmt: skip


def skip(reason: str) -> None:
    """Skip with a notice."""
    pytest.skip(f"NOT TESTED IN A CLEAN ROOT: {reason}")


def base(packages: tuple[str, ...] = PACKAGES) -> Path:
    """The folder of the root that every use lies on; made (about a minute) when it is not there. Nobody may write into it."""
    if os.environ.get("CI") == "true":
        skip("it would take CI too long, and may not be allowed there")
    if os.geteuid() != 0:
        skip("only root can make one")
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False).returncode:
        skip("this machine does not allow namespaces (unshare)")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if shutil.which(program) is None:
            skip(f"{program} is not installed (apt-get install --no-install-recommends {package})")
    sources = next((one for one in _SOURCES if one.is_file()), None)
    if sources is None:
        skip("this is no Debian: there is no list of its packages' sources")
    place = ROOT / ".tools" / "clean-root"
    place.mkdir(parents=True, exist_ok=True)
    made = place / hashlib.sha256(f"1 {packages} {_HOOK}".encode()).hexdigest()[:12]
    with (place / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(made, packages, str(sources))
    return made


def _make(target: Path, packages: tuple[str, ...], sources: str) -> None:
    """In memory where there is room, for the sake of thousands of small files; then moved to its place."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30 else target.parent
    with tempfile.TemporaryDirectory(prefix="clean-root-", dir=place) as folder:
        made = Path(folder) / "root"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"']
        command += [f"--include={','.join(packages)}", f"--customize-hook={_HOOK}", "bookworm", str(made), sources]
        done = subprocess.run(command, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run(["cp", "-a", str(made), str(partial)], check=True)
        partial.rename(target)


def _memory() -> str:
    """How much memory a use may take for what it writes, '' where that must go to the disk: memory is there at once, and gone at once."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) >> 20 for line in lines if line.startswith("MemAvailable"))
    return "6g" if available >= 10 else ""


class CleanRoot:
    """One use. `packages`: what is installed besides the essential ones; each choice is a base of its own, so take the default unless it matters."""

    def __init__(self, folder: Path, *, packages: tuple[str, ...] = PACKAGES) -> None:
        self._base, self._folder = base(packages), folder / "clean"
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def start(self) -> CleanRoot:
        """Lay a fresh root over the base, with processes and a network (`lo` alone) of its own."""
        self._folder.mkdir(parents=True)
        command = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "bash", "-c", _INIT, "init", str(self._base), str(self._folder), _memory()]
        self._outer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._outer.stdout is not None
        assert self._outer.stdout.readline() == b"ready\n", "the root could not be mounted"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        self._pid = int(wait_for(lambda: children.read_text().split(), "the first process inside")[0])
        return self

    @property
    def path(self) -> Path:
        """The root as this process sees it, while it runs. Absolute links in it lead out of it."""
        return Path(f"/proc/{self._pid}/root{self._folder}/root")

    def put(self, source: Path, inside: str) -> None:
        """Copy a file or folder to an absolute path inside."""
        target = self.path / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)

    def command(self, text: str, *, network: bool = False, environment: dict[str, str] | None = None) -> list[str]:
        """What enters the root and runs `text` in bash."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", *([] if network else ["--net"])]
        given = [f"{name}={value}" for name, value in {**_ENVIRONMENT, **(environment or {})}.items()]
        return [*enter, "chroot", f"{self._folder}/root", "/usr/bin/env", "-i", *given, "bash", "-c", text]

    def run(
        self, text: str, *, network: bool = False, timeout_s: float = 300, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; its exit code and what it printed."""
        command = self.command(text, network=network, environment=environment)
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False)

    def popen(self, text: str, *, network: bool = False, environment: dict[str, str] | None = None, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start and go on. A signal to the process returned does not reach those inside: end them from inside, or with the root."""
        command = self.command(text, network=network, environment=environment)
        with (log or Path(os.devnull)).open("ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def stop(self) -> None:
        """End everything inside and remove what was written."""
        if self._outer is not None:
            assert self._outer.stdin is not None
            self._outer.stdin.close()
            self._outer.wait(30)
            assert self._outer.stdout is not None
            self._outer.stdout.close()
        subprocess.run(["rm", "-rf", str(self._folder)], check=False)

    def __enter__(self) -> CleanRoot:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
