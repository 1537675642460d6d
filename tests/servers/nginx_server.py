"""A real nginx over docs/examples/nginx.conf, with the ports of a test in the place of the example's."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.running import ROOT, free_port
from tests.servers.programs import end, need

STARTS_S = 10.0
EXAMPLE = ROOT / "docs" / "examples" / "nginx.conf"
_AROUND = """
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include {example};
}}
"""


class NginxServer:
    """One nginx before the web processes on `ports`."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        example = EXAMPLE.read_text(encoding="utf-8")
        for known, wanted in ((9080, self.port), (9025, ports[0]), (9026, ports[1])):
            assert f"127.0.0.1:{known}" in example
            example = example.replace(f"127.0.0.1:{known}", f"127.0.0.1:{wanted}")
        (folder / "example.conf").write_text(example, encoding="utf-8")
        (folder / "nginx.conf").write_text(_AROUND.format(example=folder / "example.conf"), encoding="utf-8")

    def start(self) -> NginxServer:
        """Start and wait until it takes connections."""
        program = need("nginx", "nginx-light")
        with (self.folder / "nginx.log").open("ab") as out:
            command = [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until = time.monotonic() + STARTS_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self.process.poll() is None, (self.folder / "nginx.log").read_text()[-2000:]
            time.sleep(0.02)
        raise AssertionError("nginx did not start")

    def stop(self) -> None:
        """SIGTERM."""
        end(self.process)
