"""Runs supervisord in the foreground of this process and says when the brain is ready: `python -m qzbrain.ops.supervise CONF URL`.

Told to restart (`qzbrain restart`), it ends all processes and becomes a new start of the brain, under the same process id.

The process that stays: only the standard library and supervisor are imported, so that it holds some 25 MB. Children get SIGKILL
from the kernel when this process dies without having stopped them, so that nothing outlives a kill -9.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from qzbrain.ops.own_tls import own_tls

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_LATE_S = 60
_libc = ctypes.CDLL(None, use_errno=True)


class Options(ServerOptions):  # type: ignore[misc]
    """supervisord's options; a child also asks the kernel to end it together with supervisord."""

    def setpgrp(self) -> None:
        """Runs in the child between fork and exec; the request outlives the exec."""
        super().setpgrp()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class ImmediateSupervisor(Supervisor):  # type: ignore[misc]
    """supervisord, but processes start at once; the original first waits a second for something to happen."""

    def runforever(self) -> None:
        """Start what is to be started, then loop until a signal ends it."""
        for group in self.process_groups.values():
            group.transition()
        super().runforever()


def main() -> None:
    """Supervise until a signal ends it."""
    parser = argparse.ArgumentParser(prog="qzbrain.ops.supervise")
    parser.add_argument("configuration", type=Path)
    parser.add_argument("url")
    parser.add_argument("--await-knowledge-base", default="", help="ready only when this knowledge base has no document left to read")
    parser.add_argument("--setup-link", type=Path, help="file with the link to show beside the address; it is removed")
    arguments = parser.parse_args()
    setup_link = ""
    if arguments.setup_link is not None:
        setup_link = arguments.setup_link.read_text(encoding="utf-8")
        arguments.setup_link.unlink()
    logs = arguments.configuration.parent.parent / "logs"
    announcer = threading.Thread(target=_announce, args=(arguments.url, logs, arguments.await_knowledge_base, setup_link), daemon=True)
    options = Options()
    options.realize(["-c", str(arguments.configuration)], doc=__doc__)
    options.first = True
    options.test = False
    announcer.start()
    with contextlib.suppress(ExitNow):
        ImmediateSupervisor(options).main()
    options.close_httpservers()
    options.close_logger()
    if options.mood == SupervisorStates.RESTARTING:
        _begin_anew()
    _say("已停止。", "stopped.")


def _begin_anew() -> None:
    """Start the brain again in this process: the settings are read anew, and so is the program. The lock of the data folder goes with its descriptor."""
    _say("正在重新启动…", "starting again …")
    sys.stdout.flush()
    os.closerange(3, 4096)
    os.execv(sys.executable, [sys.executable, "-m", "qzbrain.cli", "serve"])


def _announce(url: str, logs: Path, knowledge_base: str, setup_link: str) -> None:
    """Poll until a question can be answered, then print the address; after a minute say what is missing, once."""
    started, warned = time.monotonic(), False
    while lacking := missing(url, knowledge_base):
        if not warned and time.monotonic() - started > _LATE_S:
            warned = True
            files = f"{logs}/web.log, {logs}/worker.log"
            _say(f"仍未就绪（{lacking}）。请查看日志：{files}", f"not ready yet ({lacking}). See the logs: {files}")
        time.sleep(_POLL_S)
    if setup_link:
        _say(
            "还没有账号。请在 24 小时内用此链接创建管理员（仅可使用一次）：",
            "there are no accounts yet. Make the administrator with this link, once, within 24 hours:",
        )
        sys.stdout.write(f"{setup_link}\n")
    sys.stdout.write(f"qzbrain is ready: {url}\n")
    sys.stdout.flush()


def missing(url: str, knowledge_base: str) -> str:
    """What the brain still lacks, '' when it is ready."""
    try:
        status, body = _get(url, "/readyz")
        if status != 200:
            return str(body.get("checks", body))
        if knowledge_base:
            status, body = _get(url, f"/api/knowledge-bases/{knowledge_base}")
            pending = body.get("documents", {}).get("pending", 0) if status == 200 else 0
            return f"{knowledge_base}: {pending}" if pending else ""
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return f"{type(exc).__name__}: {exc}"
    return ""


def _get(url: str, path: str) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, timeout=5, context=own_tls())
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = json.loads(response.read())
        return response.status, body if isinstance(body, dict) else {}
    finally:
        connection.close()


def _say(zh: str, en: str) -> None:
    sys.stderr.write(f"qzbrain: {zh} · {en}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
