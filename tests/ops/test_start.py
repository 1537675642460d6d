"""What keeps a brain from starting is said clearly, before anything is changed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qzbrain.brain import build
from qzbrain.errors import Conflict
from qzbrain.ops.start import port_is_free, prepare, prepare_folders, require_free_port, running_brain, take_lock
from qzbrain.settings import Settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_named(taken_port: int, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(Conflict) as refused:
        require_free_port(make_settings(qzbrain_port=taken_port))
    assert refused.value.code == "port_taken"
    assert str(taken_port) in refused.value.zh
    assert "QZBRAIN_PORT" in refused.value.en


def test_a_port_is_free_once_its_server_has_gone(taken_port: int) -> None:
    assert not port_is_free("127.0.0.1", taken_port)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert port_is_free("127.0.0.1", port)


def test_one_brain_for_a_data_folder(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(qzbrain_port=7009)
    prepare_folders(settings)
    assert running_brain(settings) == {}
    lock = take_lock(settings)
    try:
        assert running_brain(settings) == {"pid": os.getpid(), "url": "http://127.0.0.1:7009"}
        with pytest.raises(Conflict, match=r"7009.*PID"):
            take_lock(settings)
    finally:
        os.close(lock)
    assert running_brain(settings) == {}


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Conflict) as refused:
        prepare_folders(Settings(qzbrain_data=tmp_path / "file" / "data"))
    assert refused.value.code == "data_folder_not_writable"
    assert "QZBRAIN_DATA" in refused.value.zh


def test_preparing_makes_tables_and_sample_once_and_runs_nothing(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str]) -> None:
    settings = make_settings()
    prepare(settings)
    assert "laws" in capfd.readouterr().err
    assert running_brain(settings) == {}
    brain = build(settings)
    try:
        caller = brain.access.local_caller()
        assert [ref.name for ref in brain.access.resolve(caller)] == ["laws"]
        brain.knowledge.delete(caller, "laws")
        prepare(settings)  # whoever deleted the sample does not get it back
        assert brain.access.resolve(caller) == [] and "laws" not in capfd.readouterr().err
    finally:
        brain.close()
