"""Runs LibreOffice once, in a folder of its own, and sees to it that nothing of it stays: no process, no file.

Started by `libreoffice` with: the program, extension of the document, extension wanted, seconds, size of the document. The document comes on
standard input, the result goes to standard output. Standard input stays open as long as somebody waits; when it ends, so does everything.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_LARGEST_RESULT = 1 << 30
_ADDRESS_SPACE = 6 << 30
_LOOK_S = 0.05
_SAFE_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableActiveContent" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetProxyType" oor:op="fuse"><value>2</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPProxyName" oor:op="fuse"><value>127.0.0.1</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPProxyPort" oor:op="fuse"><value>9</value></prop></item>
</oor:items>
"""
"""No macros, and no network: linked pictures would tell others that a document is read, or reach what only this machine may."""


def main() -> int:
    """0 with the result on standard output, 1 without."""
    soffice, extension, wanted, seconds, size = sys.argv[1:6]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _own_limits(float(seconds))
    data = _exactly(int(size))
    if data is None:
        return 1
    folder = Path(tempfile.mkdtemp(prefix="qzbrain-office-"))
    try:
        result = _convert(folder, data, (soffice, extension, wanted), time.monotonic() + float(seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if result is None:
        return 1
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()
    return 0


def _own_limits(seconds: float) -> None:
    """Those of the process that reads documents are not for us: it may write nothing."""
    bounds = ((resource.RLIMIT_FSIZE, _LARGEST_RESULT), (resource.RLIMIT_AS, _ADDRESS_SPACE), (resource.RLIMIT_CPU, 2 * int(seconds) + 10))
    for limit, value in bounds:
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _exactly(size: int) -> bytes | None:
    parts, missing = [], size
    while missing:
        part = os.read(0, min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _convert(folder: Path, data: bytes, how: tuple[str, str, str], until: float) -> bytes | None:
    soffice, extension, wanted = how
    profile, out = folder / "profile", folder / "out"
    (profile / "user").mkdir(parents=True)
    (profile / "user" / "registrymodifications.xcu").write_text(_SAFE_PROFILE, encoding="utf-8")
    document = folder / f"document.{extension}"
    document.write_bytes(data)
    command = [soffice, f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore", "--nolockcheck", "--nodefault"]
    command += ["--convert-to", wanted, "--outdir", str(out), str(document)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", "SAL_USE_VCLPLUGIN": "svp"}
    nowhere = subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment, cwd=folder, start_new_session=True)
    except OSError:
        return None
    try:
        while process.poll() is None:
            if time.monotonic() > until or select.select([0], [], [], _LOOK_S)[0]:
                return None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = out / f"document.{wanted}"
    return result.read_bytes() if process.returncode == 0 and result.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
