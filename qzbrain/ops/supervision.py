"""The supervisord configuration of one brain, made from its settings at every start. Knows names and paths, runs nothing."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from qzbrain.models.engines.manager import is_needed
from qzbrain.settings import ROOT, Settings

GROUP = "qzbrain"
ENGINES = "engines"
"""The engine manager under supervisord: there is always such a program, and it runs where there is something to manage."""
GRAPH = "graph"
"""The graph service as a process of its own; it runs where QZBRAIN_GRAPH_SERVICE says so."""
_SOCKET_PATH_BYTES = 100  # sun_path holds 108, and supervisord binds a temporary name that is longer by the pid


def run_folder(settings: Settings) -> Path:
    """Where the lock, the configuration and the socket of a running brain lie."""
    return settings.data / "run"


def log_folder(settings: Settings) -> Path:
    """Where web, worker and supervisord write their logs."""
    return settings.data / "logs"


def programs() -> dict[str, list[str]]:
    """The command line of each process, by its name under supervisord."""
    return {
        "web": [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "qzbrain" / "web" / "gunicorn_conf.py"), "qzbrain.wsgi:app"],
        "worker": [sys.executable, "-m", "qzbrain.worker"],
        ENGINES: [sys.executable, "-m", "qzbrain.models.engines.manager"],
        GRAPH: [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "qzbrain" / "web" / "graph_gunicorn_conf.py"), "qzbrain.web.graph_server:app"],
    }


def socket_path(settings: Settings) -> Path | None:
    """The control socket: in the data folder, else (path too long for a socket) in a private folder under the temporary one.

    None when no short path is to be had; supervisord then runs without remote control.
    """
    wanted = run_folder(settings) / "supervisor.sock"
    if len(os.fsencode(wanted)) <= _SOCKET_PATH_BYTES:
        return wanted
    folder = Path(tempfile.gettempdir()) / f"qzbrain-{os.getuid()}"
    short = folder / f"{settings.qzbrain_port}.sock"
    if len(os.fsencode(short)) > _SOCKET_PATH_BYTES:
        return None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    state = folder.lstat()
    private = state.st_uid == os.getuid() and not state.st_mode & 0o077 and not folder.is_symlink()
    return short if private else None


def configuration(settings: Settings) -> str:
    """The text of supervisord.conf.

    `startsecs=0`: a process that ends is started again at the next tick (one second), however often; with the usual back-off a
    few quick ends would leave it down for good.
    """
    run, logs = run_folder(settings), log_folder(settings)
    sections = [
        _section(
            "supervisord",
            nodaemon="true",
            silent="true",
            logfile=_escaped(logs / "supervisord.log"),
            logfile_maxbytes=settings.log_file_mb << 20,
            logfile_backups=settings.log_files,
            pidfile=_escaped(run / "supervisord.pid"),
            childlogdir=_escaped(logs),
            identifier="qzbrain",
            **({"user": "root"} if os.getuid() == 0 else {}),
        )
    ]
    socket = socket_path(settings)
    if socket is not None:
        sections += [
            _section("unix_http_server", file=_escaped(socket), chmod="0700"),
            _section("supervisorctl", serverurl=f"unix://{_escaped(socket)}"),
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
            f"[rpcinterface:{GROUP}]\nsupervisor.rpcinterface_factory = qzbrain.ops.restart_counts:make\n",
        ]
    return "\n".join([*sections, *program_sections(settings, programs())])


def program_sections(settings: Settings, commands: dict[str, list[str]], **more: str) -> list[str]:
    """A section for each process, with `more` in each, and the group. Those that these settings do not need are not started by themselves."""
    idle = set() if is_needed(settings) else {ENGINES}
    idle |= set() if settings.qzbrain_graph_service == "on" else {GRAPH}
    sections = [_program(settings, name, command, autostart=name not in idle, **more) for name, command in commands.items()]
    return [*sections, _section(f"group:{GROUP}", programs=",".join(commands))]  # one group stops together, several one after the other


def _program(settings: Settings, name: str, command: list[str], *, autostart: bool, **more: str) -> str:
    return _section(
        f"program:{name}",
        command=_escaped(shlex.join(command)),
        directory=_escaped(ROOT),
        autostart=str(autostart).lower(),
        autorestart="true",
        startsecs=0,
        stopsignal="TERM",
        stopwaitsecs=settings.stop_wait_s,
        stopasgroup="true",
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=_escaped(_escaped(log_folder(settings) / f"{name}.log")),  # supervisord expands this one twice
        stdout_logfile_maxbytes=settings.log_file_mb << 20,
        stdout_logfile_backups=settings.log_files,
        **more,
    )


def _section(name: str, **values: object) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")
