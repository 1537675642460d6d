"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a folder, by the openssl command. `file` is what clients must trust."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.file = folder, folder / "ca.pem"
        folder.mkdir()
        self._run("req", "-x509", *self._new_key("ca.key"), "-out", "ca.pem", "-days", "2", "-subj", "/CN=Our own CA")

    def context(self, names: str, days: int = 2) -> ssl.SSLContext:
        """A server's context with a certificate for `names` (subjectAltName)."""
        (self._folder / "names").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        self._run("req", *self._new_key("engine.key"), "-out", "engine.csr", "-subj", "/CN=engine")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", str(days))
        self._run("x509", "-req", "-in", "engine.csr", "-out", "engine.pem", *signing)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self._folder / "engine.pem", self._folder / "engine.key")
        return made

    def _new_key(self, name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", name)

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)
