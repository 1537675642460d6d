"""The brain as a service of the host: units that systemd itself finds right, sections that supervisord reads, and nothing written but the data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from qzbrain.errors import InvalidRequest
from qzbrain.ops.service_units import settings_left_out, supervisor_sections, systemd_unit
from qzbrain.settings import ModelSettings, Settings
from tests.running import ROOT, RunningBrain


def keys(unit: str) -> dict[str, list[str]]:
    """Values by key, whatever the section."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        if line and line[0] not in "#;[":
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def verified(unit: str, folder: Path) -> str:
    """What systemd says against it; '' for a unit that is right. Skips where there is no systemd-analyze."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    file = folder / "qzbrain.service"
    file.write_text(unit, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode or "qzbrain.service" in done.stderr else ""


@pytest.mark.parametrize("name", ["data", "数据 和 空格", '100% "data"', "it's $HOME"])
def test_systemd_finds_the_unit_right_whatever_the_folder_is_called(name: str, make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    unit = systemd_unit(make_settings(qzbrain_data=tmp_path / name), "daemon")
    assert verified(unit, tmp_path) == ""
    assert verified(unit.replace("KillMode=mixed", "KillMode=gently"), tmp_path) != ""  # it would say


def test_the_unit_is_hardened_and_stops_gently(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    unit = keys(systemd_unit(make_settings(qzbrain_data=Path("/srv/qzbrain"), stop_wait_s=120), "qzbrain"))
    assert unit["User"] == ["qzbrain"]
    assert unit["Environment"] == ["QZBRAIN_DATA=/srv/qzbrain"]
    assert (unit["ProtectSystem"], unit["ReadWritePaths"], unit["NoNewPrivileges"]) == (["strict"], ["/srv/qzbrain"], ["yes"])
    assert (unit["KillMode"], unit["TimeoutStopSec"], unit["Restart"], unit["LimitNOFILE"]) == (["mixed"], ["130"], ["on-failure"], ["65536"])
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["ExecStart"] == [f"{sys.executable} -m qzbrain.cli serve"]


def test_what_a_setting_needs_is_allowed_and_no_more(make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(systemd_unit(make_settings(qzbrain_port=443), "q"))["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert "PrivateDevices" in keys(systemd_unit(make_settings(), "q"))
    assert "PrivateDevices" not in keys(systemd_unit(make_settings(models={"m": ModelSettings(engine="vllm", path="m", devices="0")}), "q"))
    short = keys(systemd_unit(make_settings(qzbrain_data=Path("/srv/q")), "q"))
    far = keys(systemd_unit(make_settings(qzbrain_data=Path("/srv") / ("d" * 120)), "q"))  # the control socket is in the temporary folder then
    assert "PrivateTmp" in short and "PrivateTmp" not in far and "/tmp" in far["ReadWritePaths"]


def test_settings_of_the_environment_that_the_service_would_not_have_are_named(make_settings: Callable[..., Settings]) -> None:
    environment = {"MYSQL_PASSWORD": "x", "QZBRAIN_DATA": "/d", "QZBRAIN_LANG": "en", "HOME": "/root", "REDIS_HOST": "", "QZBRAIN_PORT": "9026"}
    assert settings_left_out(make_settings(), environment) == ["MYSQL_PASSWORD", "QZBRAIN_PORT"]


def test_the_hosts_supervisord_reads_the_sections(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    data = tmp_path / "100% 数据"
    (data / "logs").mkdir(parents=True)
    text = supervisor_sections(make_settings(qzbrain_data=data, qzbrain_graph_service="on", stop_wait_s=33, log_file_mb=7, log_files=2), "daemon")
    file = tmp_path / "supervisord.conf"
    file.write_text(f"[supervisord]\nlogfile={tmp_path}/s.log\n{text}", encoding="utf-8")
    options = ServerOptions()
    options.realize(["-c", str(file)])
    (group,) = options.process_group_configs
    programs = {one.name: one for one in group.process_configs}
    assert set(programs) == {"web", "worker", "engines", "graph"}
    assert {name for name, one in programs.items() if not one.autostart} == {"engines"}
    assert programs["graph"].command.endswith("-m qzbrain.cli graph-service")
    assert all(one.environment == {"QZBRAIN_DATA": str(data)} and one.stopwaitsecs == 33 for one in programs.values())
    assert (programs["web"].stdout_logfile_maxbytes, programs["web"].stdout_logfile_backups) == (7 << 20, 2)
    with pytest.raises(InvalidRequest):
        supervisor_sections(make_settings(qzbrain_data=tmp_path / 'a"b'), "daemon")


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QZBRAIN_DATA": str(tmp_path / "data"), "QZBRAIN_LANG": "en", "MYSQL_SSL_CA": "/ca.pem"}
    return subprocess.run([sys.executable, "-m", "qzbrain.cli", "service", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_the_command_writes_a_file_once_and_says_what_is_left_to_do(tmp_path: Path) -> None:
    file = tmp_path / "brain.service"
    done = command(tmp_path, "systemd", "--user", "no-such-user", "-o", str(file))
    assert done.returncode == 0, done.stderr
    assert keys(file.read_text())["User"] == ["no-such-user"]
    for told in ("useradd --system", "install -d -m 700", "MYSQL_SSL_CA", "systemctl enable --now brain"):
        assert told in done.stderr
    file.write_text("mine")
    refused = command(tmp_path, "systemd", "--user", "no-such-user", "-o", str(file))
    assert refused.returncode == 1 and "--force" in refused.stderr and file.read_text() == "mine"
    forced = command(tmp_path, "systemd", "--user", "no-such-user", "-o", str(file), "--force", "--json")
    assert forced.returncode == 0 and json.loads(forced.stdout)["text"] == file.read_text()
    assert command(tmp_path, "systemd", "--user", "a b").returncode == 2


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_brain_writes_nothing_but_its_data_folder(tmp_path: Path) -> None:
    """What ProtectSystem=strict and NoNewPrivileges leave it: the whole file system but the data folder is read-only."""
    brain = RunningBrain(tmp_path / "data")
    data = f'"{brain.data}"'
    mounts = f"mount --make-rprivate / && mount -t tmpfs tmpfs /var/tmp && mount --bind {data} {data} && mount -o remount,bind,ro /"
    lock_up = f"{mounts} && touch {data}/ok && ! touch /x 2>/dev/null"
    run = ["unshare", "--mount", "sh", "-c", f'{lock_up} && exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$0" "$@"']

    def launch() -> subprocess.Popen[bytes]:
        with brain.log.open("ab") as out:
            command = [*run, sys.executable, str(ROOT / "main.py")]
            brain.process = subprocess.Popen(command, env=brain.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return brain.process

    brain.launch = launch  # type: ignore[method-assign]
    try:
        brain.start()
        assert (brain.data / "ok").exists()
        asked = {"model": "auto@laws", "messages": [{"role": "user", "content": "行政处罚的种类有哪些？"}]}
        assert brain.call("POST", "/v1/chat/completions", asked)[0] == 200
        assert "Read-only" not in (brain.data / "logs/web.log").read_text() + (brain.data / "logs/worker.log").read_text()
    finally:
        assert brain.stop() == 0
