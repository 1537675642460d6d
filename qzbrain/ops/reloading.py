"""A running brain takes over a changed configuration: the web process's workers and the worker are replaced, engines stay."""

from __future__ import annotations

import xmlrpc.client
from http.client import HTTPException

from qzbrain import logs
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import GROUP, socket_path
from qzbrain.settings import Settings

log = logs.get(__name__)


def reload(settings: Settings) -> bool:
    """Whether a brain runs on this data folder and was told. Answers under way end on the old workers; jobs go on with the new one.

    The engine manager looks for changes by itself.
    """
    path = socket_path(settings)
    if not running_brain(settings) or path is None or not path.exists():
        return False
    from supervisor.xmlrpc import SupervisorTransport

    server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(serverurl=f"unix://{path}"))
    try:
        server.supervisor.signalProcess(f"{GROUP}:web", "HUP")
        server.supervisor.signalProcess(f"{GROUP}:worker", "TERM")
    except (OSError, xmlrpc.client.Error, HTTPException) as exc:
        log.warning("not_reloaded", exc_info=exc)
        return False
    return True
