"""gunicorn's configuration for the web process: WEB_WORKERS gevent workers, many connections each, no access log of its own."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from typing import Any

from gevent import monkey

monkey.patch_all()  # before gunicorn's worker class imports ssl and sockets

from qzbrain.ops.serving import hold  # noqa: E402
from qzbrain.settings import load_settings  # noqa: E402
from qzbrain.web.gunicorn_worker import end_with_master, tls_context  # noqa: E402

_settings = load_settings()
_counters = _settings.data / "run" / f"metrics-{_settings.qzbrain_port}"
if _settings.web_workers > 1:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_counters)  # before a worker imports prometheus_client, which looks once

bind = f"{_settings.qzbrain_host if ':' not in _settings.qzbrain_host else f'[{_settings.qzbrain_host}]'}:{_settings.qzbrain_port}"
workers = _settings.web_workers
worker_class = "qzbrain.web.gunicorn_worker.Worker"
worker_connections = 20_000
backlog = 4096
timeout = 60
graceful_timeout = 900
keepalive = 75
http_parser = "auto"
forwarded_allow_ips = ""
accesslog = None
errorlog = "-"
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
proc_name = "qzbrain-web"
control_socket_disable = True
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190

if _settings.tls:
    certfile, keyfile = str(_settings.tls_cert_path), str(_settings.tls_key_path)


def ssl_context(_config: Any, _default: Any) -> Any:
    """The server's TLS, where it has a certificate."""
    return tls_context(str(_settings.tls_cert_path), str(_settings.tls_key_path))


def on_starting(_server: Any) -> None:
    """The sign that a web server runs here is held from now on. Counts of workers begin anew with their master."""
    hold(_settings)
    if workers > 1:
        shutil.rmtree(_counters, ignore_errors=True)
        _counters.mkdir(parents=True, exist_ok=True)


def child_exit(_server: Any, worker: Any) -> None:
    """What a worker that ended had open is open no more; what it counted stays."""
    for path in _counters.glob(f"gauge_live*_{worker.pid}.db"):
        with suppress(OSError):
            path.unlink()


def worker_exit(_server: Any, _worker: Any) -> None:
    """What waits for the audit log is written; engines that a worker started end with it: whoever stops the brain finds nothing left behind."""
    program = sys.modules.get("qzbrain.wsgi")
    if program is not None:
        program.brain.close_audit()
        program.brain.end_engines()
        program.traces.end()


def post_fork(_server: Any, worker: Any) -> None:
    """A worker ends with its master, also when that is killed: otherwise it would keep the port from the next one."""
    end_with_master(worker)
