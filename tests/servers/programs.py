"""What a machine must have for a server to be started, and the end of a server's process."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def need(program: str, package: str) -> str:
    """The path of a server's program. Without it the test is skipped with a notice, or fails where CI=true."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{program} is not installed (apt-get install --no-install-recommends {package})")
    return path


def missing(reason: str) -> None:
    """Skip, or fail in CI, where nothing that needs a server may be skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED ON A REAL SERVER: {reason}")


def need_namespaces() -> None:
    """Skip where this machine does not let root make namespaces, as in a container without rights: nothing there can be installed for it, in CI neither."""
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: this machine does not allow namespaces (unshare)")


def end(process: subprocess.Popen[bytes] | None, *, within_s: float = 30) -> None:
    """SIGTERM, then SIGKILL; returns when the process is gone."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(within_s)
