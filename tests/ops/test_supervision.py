"""The supervisor's configuration: read back by supervisord itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from qzbrain.ops.supervision import configuration, socket_path
from qzbrain.settings import Settings


def read_back(text: str, path: Path) -> ServerOptions:
    path.write_text(text, encoding="utf-8")
    options = ServerOptions()
    options.realize(["-c", str(path)])
    return options


@pytest.mark.parametrize("name", ["data", "数据 和 空格", "100% data", "it's"])
def test_supervisord_reads_it_whatever_the_folder_is_called(name: str, tmp_path: Path) -> None:
    data = tmp_path / name
    (data / "logs").mkdir(parents=True)
    (data / "run").mkdir()
    options = read_back(configuration(Settings(qzbrain_data=data)), data / "run" / "supervisord.conf")
    (group,) = options.process_group_configs
    programs = {x.name: x for x in group.process_configs}
    assert set(programs) == {"web", "worker", "engines", "graph"}
    assert {name for name, x in programs.items() if not x.autostart} == {"engines", "graph"}  # nothing to manage; web is the graph service
    assert programs["web"].stdout_logfile == str(data / "logs" / "web.log")
    assert all(x.autorestart and x.startsecs == 0 and x.stopasgroup and x.killasgroup for x in programs.values())
    assert options.logfile == str(data / "logs" / "supervisord.log")


def test_command_lines_tell_what_a_process_is(make_settings: Callable[..., Settings]) -> None:
    text = configuration(make_settings())
    commands = [line for line in text.splitlines() if line.startswith("command")]
    assert any("gunicorn" in x for x in commands)
    assert any("qzbrain.worker" in x for x in commands)


def test_the_graph_service_runs_where_the_settings_say_so(make_settings: Callable[..., Settings]) -> None:
    section = configuration(make_settings(qzbrain_graph_service="on")).split("[program:graph]")[1].split("[")[0]
    assert "autostart = true" in section and "graph_server:app" in section


def test_the_socket_lies_in_the_data_folder() -> None:
    data = Path("/tmp/short")
    assert socket_path(Settings(qzbrain_data=data)) == data / "run" / "supervisor.sock"


def test_a_path_too_long_for_a_socket_moves_it_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.ops.supervision._SOCKET_PATH_BYTES", len(str(tmp_path)) + 60)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    found = socket_path(Settings(qzbrain_data=tmp_path / ("d" * 80)))
    assert found is not None
    assert found.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_enter_is_not_used_for_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"qzbrain-{os.getuid()}").mkdir()
    (tmp_path / f"qzbrain-{os.getuid()}").chmod(0o777)
    monkeypatch.setattr("qzbrain.ops.supervision._SOCKET_PATH_BYTES", len(str(tmp_path)) + 60)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    settings = Settings(qzbrain_data=tmp_path / ("d" * 80))
    assert socket_path(settings) is None
    assert "unix_http_server" not in configuration(settings)
