"""The proof of silence proves itself: what tries is caught, what does not is not; and a brain in use, as it is installed, tries nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.offline.silence import CANNOT
from tests.running import ROOT
from tests.servers.programs import missing, need


def silently(folder: Path, *command: str) -> tuple[int, set[str], str]:
    """Exit code, what was tried, and what was said, of a command in a place of its own without a network."""
    if os.getuid():
        missing("leaving the network needs root")
    need("ip", "iproute2")
    tried = folder / "tried.json"
    run = [sys.executable, "-m", "tests.offline.silence", "--json", str(tried), "--", *command]
    inner = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(run, cwd=ROOT, env=inner, capture_output=True, text=True, timeout=110)
    if done.returncode == CANNOT:  # in CI, too: what runs there may not be allowed to make namespaces
        pytest.skip(f"SILENCE IS NOT PROVED: {done.stderr}")
    return done.returncode, {one["what"] for one in json.loads(tried.read_text())}, done.stdout + done.stderr


TRIES = """
import socket, sys
def tries(address, kind=socket.SOCK_STREAM, family=socket.AF_INET):
    with socket.socket(family, kind) as one:
        one.settimeout(0.2)
        try:
            one.connect(address)
            one.send(b"x")
        except OSError:
            pass
for name in ("pypi.org", "nobody.invalid", socket.gethostname()):
    try:
        socket.getaddrinfo(name, 443)
    except OSError:
        pass
tries(("8.8.8.8", 443))
tries(("9.9.9.9", 5353), socket.SOCK_DGRAM)
tries(("192.0.2.1", 80))
if socket.has_ipv6:
    tries(("2001:4860:4860::8888", 443), family=socket.AF_INET6)
"""


def test_a_process_that_tries_is_caught_by_name_and_by_address(tmp_path: Path) -> None:
    code, tried, said = silently(tmp_path, sys.executable, "-c", TRIES)
    assert code == 1
    assert tried - {"tcp [2001:4860:4860::8888]:443"} == {"name pypi.org", "tcp 8.8.8.8:443", "udp 9.9.9.9:5353"}
    assert ("tcp [2001:4860:4860::8888]:443" in tried) == Path("/proc/net/if_inet6").exists()
    assert "SILENCE BROKEN" in said and sys.executable in said  # who it was


TALKS_TO_ITSELF = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.sendall(b"x")
assert server.accept()[0].recv(1) == b"x"
raise SystemExit(7)
"""


def test_a_process_that_stays_here_is_not_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    code, tried, _ = silently(tmp_path, sys.executable, "-c", TALKS_TO_ITSELF)
    assert (code, tried) == (7, set())


def test_the_test_that_was_running_is_named(tmp_path: Path) -> None:
    asks = "    try:\n        socket.getaddrinfo('tells.org', 80)\n    except OSError:\n        pass\n"
    (tmp_path / "test_tells.py").write_text(f"import socket\ndef test_tells():\n{asks}")
    code, tried, said = silently(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "tests.offline.watch", "-c", os.devnull, str(tmp_path / "test_tells.py"))
    assert (code, tried) == (1, {"name tells.org"})
    assert "running then: " in said and "test_tells" in said.rsplit("running then: ", 1)[1]


@pytest.mark.slow
def test_a_brain_in_use_tries_nothing(tmp_path: Path) -> None:
    code, tried, said = silently(tmp_path, sys.executable, "-m", "tests.offline.in_use", str(tmp_path / "brain"))
    assert tried == set(), said
    assert code == 0, said
    told = json.loads(said.splitlines()[0])
    assert told["answers"] >= 2 and told["searches"] >= 5 and told["documents"] >= 2 and told["pages"] >= 5, told
