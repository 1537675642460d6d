"""gunicorn's configuration for the graph service: one gevent worker, no access log of its own."""

from __future__ import annotations

import os
from typing import Any

from gevent import monkey

monkey.patch_all()  # before gunicorn's worker class imports ssl and sockets

from qzbrain.settings import load_settings, require_graph_secret  # noqa: E402
from qzbrain.web.gunicorn_worker import end_with_master  # noqa: E402

_settings = load_settings()
require_graph_secret(_settings)

bind = f"{_settings.qzbrain_graph_host if ':' not in _settings.qzbrain_graph_host else f'[{_settings.qzbrain_graph_host}]'}:{_settings.qzbrain_graph_port}"
workers = 1
worker_class = "qzbrain.web.gunicorn_worker.Worker"
worker_connections = 1000
backlog = 1024
timeout = 60
graceful_timeout = 15
keepalive = 75
http_parser = "auto"
forwarded_allow_ips = ""
accesslog = None
errorlog = "-"
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
proc_name = "qzbrain-graph"
control_socket_disable = True


def post_fork(_server: Any, worker: Any) -> None:
    """A worker ends with its master."""
    end_with_master(worker)
