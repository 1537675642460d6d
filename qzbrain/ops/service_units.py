"""The brain as a service of the host: a hardened systemd unit, or sections for a supervisord that the host has. Made from the settings; runs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.models.catalog import LOCAL_ENGINES
from qzbrain.ops.supervision import program_sections, run_folder, socket_path
from qzbrain.settings import ROOT, Settings, config_path

ENVIRONMENT_FILE = Path("/etc/qzbrain.env")
"""Where settings and secrets may stand for the service, one NAME=value a line; read by systemd as root. It need not be there."""
_LAST_S = 10
"""What systemd waits beyond the brain's own bound before it kills what is left."""
_OPEN_FILES = 65_536
_LEAST_OPEN_PORT = 1024


def systemd_unit(settings: Settings, user: str) -> str:
    """The text of qzbrain.service. Nothing but the data folder can be written; running answers end first at a stop."""
    temporary = socket_path(settings) is None or socket_path(settings).parent != run_folder(settings)  # type: ignore[union-attr]
    lines = [
        "# Made by `qzbrain service systemd`. To change it: systemctl edit qzbrain",
        "[Unit]",
        "Description=qzbrain (启智大脑)",
        f"Documentation=file:{_value(ROOT / 'docs' / 'running.md')}",
        "Wants=network-online.target",
        "After=network-online.target mysql.service mariadb.service redis-server.service",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"User={user}",
        f"WorkingDirectory={_value(ROOT)}",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in _places(settings).items()),
        f"EnvironmentFile=-{ENVIRONMENT_FILE}",
        f"ExecStart={' '.join(_quoted(part).replace('$', '$$') for part in _command('serve'))}",
        "",
        "# Answers under way may end; what is left then is killed. `qzbrain stop` counts as a wish and is not undone.",
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        f"TimeoutStopSec={settings.stop_wait_s + _LAST_S}",
        "Restart=on-failure",
        "RestartSec=5",
        f"LimitNOFILE={_OPEN_FILES}",
        "",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        f"ReadWritePaths={_quoted(settings.data)}",
        "ProtectHome=read-only",
        *(["ReadWritePaths=/tmp"] if temporary else ["PrivateTmp=yes"]),
        *([] if _has_engines(settings) else ["PrivateDevices=yes"]),  # GPUs are devices
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native",
        *_capabilities(settings),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def supervisor_sections(settings: Settings, user: str) -> str:
    """Sections for the host's own supervisord (`/etc/supervisor/conf.d/qzbrain.conf`): the processes one by one, without a supervisord between.

    Raises InvalidRequest for a place whose name cannot stand there.
    """
    places = _places(settings)
    if any('"' in value for value in places.values()):
        raise InvalidRequest("unusable_path", zh="路径中不能有双引号。", en='A path with a double quote (") cannot be written there.')
    environment = ",".join(f'{name}="{value}"' for name, value in places.items()).replace("%", "%%")
    commands = {name: _command(command) for name, command in (("web", "web"), ("worker", "worker"), ("engines", "engines"), ("graph", "graph-service"))}
    head = "; Made by `qzbrain service supervisor`. All processes: supervisorctl status 'qzbrain:*'\n"
    return "\n".join([head, *program_sections(settings, commands, user=user, environment=environment)])


def write(path: Path, text: str, *, force: bool) -> None:
    """Into a new file that all may read. Raises Conflict where there is another one, or where it cannot be written."""
    try:
        if not force and path.exists() and path.read_text(encoding="utf-8") != text:
            zh, en = f"{path} 已存在且内容不同，没有改动；要覆盖请加 --force。", f"{path} is there and differs; it was not changed. --force overwrites it."
            raise Conflict("exists", zh=zh, en=en)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as exc:
        raise Conflict(
            "not_written",
            zh=f"无法写入 {path}（{exc.strerror}）。请以 root 运行，或用 -o 指定另一个文件。",
            en=f"{path} cannot be written ({exc.strerror}). Run this as root, or name another file with -o.",
        ) from exc


def settings_left_out(settings: Settings, environment: dict[str, str]) -> list[str]:
    """Settings that come from this command's environment and that the service would not have: they belong into the environment file or config.toml."""
    known = {name.upper() for name in type(settings).model_fields} - {"MODELS"}
    return sorted(name for name in environment if name in known and environment[name] and name not in _places(settings) and name != "QZBRAIN_LANG")


def _places(settings: Settings) -> dict[str, str]:
    """What the service must be told so that it finds the same data and the same configuration."""
    places = {"QZBRAIN_DATA": str(settings.data)}
    if settings.current_dir != ROOT:
        places["CURRENT_DIR"] = str((ROOT / settings.current_dir).resolve())
    path = config_path()
    if path is not None and path != settings.data / "config.toml":
        places["QZBRAIN_CONFIG"] = str(path)
    return places


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "qzbrain.cli", name]


def _has_engines(settings: Settings) -> bool:
    return any(model.engine in LOCAL_ENGINES for model in settings.models.values())


def _capabilities(settings: Settings) -> list[str]:
    """None; but a port below 1024 needs one."""
    needed = "CAP_NET_BIND_SERVICE" if settings.qzbrain_port < _LEAST_OPEN_PORT else ""
    return [f"CapabilityBoundingSet={needed}", f"AmbientCapabilities={needed}"]


def _value(value: object) -> str:
    """`%` begins a specifier."""
    return str(value).replace("%", "%%")


def _quoted(value: object) -> str:
    """A word of a unit file, quoted where there is something to quote."""
    text = _value(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(sign in text for sign in " \t'\"\\;") else text
