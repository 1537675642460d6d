"""Runs a command where there is no network, and fails when anything in it tries to leave the machine.

    python -m tests.offline.silence [--json FILE] -- COMMAND…

The command gets a network namespace of its own, with `lo` and one more interface, `out`, that has the default routes and whose packets
come here and go nowhere; and a mount namespace whose resolv.conf names a server of ours that writes down each name and resolves none.
So an attempt is not only in vain, it is seen: by name or by address, with the time, the process, and the tests that ran just then.
Needs Linux, root, /dev/net/tun and `ip` (iproute2). Exit code: the command's own; 1 when that is 0 and something tried; 3 when it cannot be done here.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CANNOT = 3
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_TCP, _UDP = 6, 17
_KERNELS_OWN = {0, 2, 58}
"""Protocols by which the kernel itself tells of interfaces and groups: IPv6 options, IGMP, ICMPv6. Of interest only from a program, which has none of them."""
_SERVFAIL = 2
ON_PURPOSE = [ipaddress.ip_network(one) for one in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
"""Addresses that tests reach for because nobody has them: those of documentation (RFC 5737, RFC 3849)."""
NAMES_ON_PURPOSE = (".invalid", ".test", ".example", ".localhost")
"""Names that tests ask for because nobody has them (RFC 6761)."""


@dataclass(frozen=True)
class Attempt:
    """Something that was tried: `what` is `name pypi.org`, or `tcp 8.8.8.8:53`."""

    at: float
    what: str
    by: str


class Catcher:
    """Sees what is tried; call `enclose()` first."""

    def __init__(self, tun: int) -> None:
        self._tun, self.attempts, self._seen = tun, list[Attempt](), set[tuple[str, str]]()
        self._own = {socket.gethostname().lower(), "localhost"}
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 53))
        tcp = socket.create_server(("127.0.0.1", 53))
        for target, given in ((self._packets, None), (self._udp_names, udp), (self._tcp_names, tcp)):
            threading.Thread(target=target, args=(given,) if given else (), daemon=True).start()

    def _note(self, what: str, by: str) -> None:
        """Repetitions, as of a lost packet, are one attempt."""
        if (what, by) not in self._seen:
            self._seen.add((what, by))
            self.attempts.append(Attempt(time.time(), what, by))
            sys.stderr.write(f"\nSILENCE BROKEN: {what}, by {by}\n")

    def _packets(self) -> None:
        while packet := os.read(self._tun, 65_536):
            if (found := destination(packet)) is not None:
                address, protocol, source, port = found
                if not any(address in network for network in ON_PURPOSE if network.version == address.version):
                    kind = {_TCP: "tcp", _UDP: "udp"}.get(protocol, f"protocol {protocol}")
                    where = f"[{address}]" if address.version == 6 else str(address)
                    self._note(f"{kind} {where}:{port}", owner(kind, source))

    def _asked(self, query: bytes, kind: str, port: int) -> bytes:
        name = asked_name(query).lower().rstrip(".")
        if name and name not in self._own and not name.endswith(NAMES_ON_PURPOSE):
            self._note(f"name {name}", owner(kind, port))
        return query[:2] + struct.pack("!H", 0x8180 | _SERVFAIL) + query[4:6] + bytes(6) + query[12:]

    def _udp_names(self, server: socket.socket) -> None:
        while True:
            query, sender = server.recvfrom(4096)
            if len(query) > 12:
                server.sendto(self._asked(query, "udp", sender[1]), sender)

    def _tcp_names(self, server: socket.socket) -> None:
        while True:
            client, sender = server.accept()
            with client:
                client.settimeout(2)
                try:
                    query = client.recv(4096)[2:]
                    if len(query) > 12:
                        reply = self._asked(query, "tcp", sender[1])
                        client.sendall(struct.pack("!H", len(reply)) + reply)
                except OSError:
                    continue


def destination(packet: bytes) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int, int] | None:
    """Address, protocol, source port and port of an IP packet; None for the kernel's own and for what is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(packet[16:20])
        protocol, body = packet[9], packet[(packet[0] & 15) * 4 :]
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        address, protocol, body = ipaddress.IPv6Address(packet[24:40]), packet[6], packet[40:]
    else:
        return None
    if protocol in _KERNELS_OWN and address.is_multicast:
        return None
    source, port = struct.unpack("!HH", body[:4]) if protocol in (_TCP, _UDP) and len(body) >= 4 else (0, 0)
    return address, protocol, source, port


def asked_name(query: bytes) -> str:
    """The first name that a DNS query asks for."""
    labels, at = [], 12
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels)


def owner(kind: str, port: int) -> str:
    """The command line of the process that has this port of ours, as far as it can still be told."""
    inodes = {
        f"socket:[{row.split()[9]}]"
        for table in (f"/proc/net/{kind}", f"/proc/net/{kind}6")
        if Path(table).exists()
        for row in Path(table).read_text().splitlines()[1:]
        if row.split()[1].endswith(f":{port:04X}")
    }
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if any(str(descriptor.readlink()) in inodes for descriptor in (process / "fd").iterdir()):
                    return f"{process.name} {(process / 'cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')[:200].strip()}"
            except OSError:
                continue
    return "a process that is gone"


def enclose() -> int:
    """Leave the network, for good; the descriptor from which the packets that want out can be read. Raises OSError, CalledProcessError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    _run("mount", "--make-rprivate", "/")
    _run("ip", "link", "set", "lo", "up")
    device = Path("/dev/net/tun")
    if not device.exists():
        device.parent.mkdir(exist_ok=True)
        os.mknod(device, 0o666 | 0o020000, os.makedev(10, 200))
    tun = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"out", _IFF_TUN | _IFF_NO_PI))
    _run("ip", "addr", "add", "10.91.0.1/30", "dev", "out")
    _run("ip", "link", "set", "out", "up")
    _run("ip", "route", "add", "default", "dev", "out")
    if Path("/proc/net/if_inet6").exists():
        _run("ip", "-6", "addr", "add", "fd91::1/64", "dev", "out", "nodad")
        _run("ip", "-6", "route", "add", "default", "dev", "out")
    resolver = Path(tempfile.mkdtemp(prefix="silence-")) / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    target = Path("/etc/resolv.conf").resolve()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _run("mount", "--bind", str(resolver), str(target))
    for folder in ("/run/systemd/resolve", "/run/nscd", "/var/run/nscd"):  # services outside that would ask for us
        if Path(folder).is_dir() and Path(folder).resolve() not in target.parents:
            _run("mount", "-t", "tmpfs", "tmpfs", folder)
    return tun


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def running_tests(log: Path, at: float) -> Iterator[str]:
    """Tests that ran at that time, by what `watch.py` wrote."""
    running: set[str] = set()
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        when, sign, test = line.split(" ", 2)
        if float(when) > at:
            break
        (running.add if sign == "+" else running.discard)(test)
    yield from sorted(running)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="tests.offline.silence")
    parser.add_argument("--json", type=Path, help="file for what was tried")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    try:
        catcher = Catcher(enclose())
    except (OSError, subprocess.CalledProcessError) as exc:
        sys.stderr.write(f"qzbrain: 无法进入没有网络的命名空间：{exc}（需要 Linux、root、/dev/net/tun 和 iproute2） · cannot leave the network: {exc}\n")
        return CANNOT
    with tempfile.TemporaryDirectory(prefix="silence-") as folder:
        log = Path(folder) / "tests"
        child = subprocess.Popen(given.command, env={**os.environ, "SILENCE_TESTS": str(log)})
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: child.send_signal(got))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child, too
        code = child.wait()
        time.sleep(0.2)  # what was sent last is read
        for one in catcher.attempts:
            when = time.strftime("%H:%M:%S", time.localtime(one.at))
            sys.stderr.write(f"SILENCE BROKEN at {when}: {one.what}, by {one.by}; running then: {', '.join(running_tests(log, one.at)) or 'no test'}\n")
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in catcher.attempts]), encoding="utf-8")
    code = code if code >= 0 else 128 - code
    return code or int(bool(catcher.attempts))


if __name__ == "__main__":
    sys.exit(main())
