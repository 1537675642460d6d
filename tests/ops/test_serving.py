"""A web server that runs is known by its sign, here and from another container; the doctor goes by it where no supervisord does."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qzbrain.ops.doctor import Check, examine
from qzbrain.ops.serving import hold, serving
from qzbrain.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = make_settings(qzbrain_port=probe.getsockname()[1])
    (made.data / "run").mkdir(parents=True)
    return made


@contextmanager
def held(settings: Settings, host: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Served from a machine of that name."""
    with patch.context() as there:
        there.setattr(socket, "gethostname", lambda: host)
        sign = hold(settings)
    assert sign is not None
    try:
        yield
    finally:
        os.close(sign)


def step_8(settings: Settings) -> dict[str, Check]:
    return {one.id: one for one in examine(settings, "en", step=8)}


def test_the_sign_goes_with_its_holder(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving(settings) is None
    with held(settings, "elsewhere", monkeypatch):
        found = serving(settings)
        assert found is not None and (found.host, found.url, found.is_here) == ("elsewhere", settings.url, False)
        with held(settings, socket.gethostname(), monkeypatch):
            found = serving(settings)
            assert found is not None and found.is_here and found.pid == os.getpid()
    assert serving(settings) is None
    with held(settings, "third", monkeypatch):
        assert len(list((settings.data / "run").glob("web-*"))) == 1  # those of the ended are gone


def test_who_starts_in_the_same_moment_hides_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one tidies up between the opening of our sign and its locking."""
    flock, removed = fcntl.flock, list[Path]()

    def late(file: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not removed:
            removed.extend((settings.data / "run").glob("web-*.lock"))
            removed[0].unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(settings, socket.gethostname(), monkeypatch):
        found = serving(settings)
        assert removed and found is not None and found.pid == os.getpid()


def test_a_folder_that_takes_no_sign_is_served_all_the_same(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    assert hold(settings) is None and serving(settings) is None


def test_the_doctor_knows_web_that_no_supervisord_minds(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", settings.qzbrain_port))
        listener.listen()
        assert step_8(settings)["port"].status == "fail"
        with held(settings, socket.gethostname(), monkeypatch):
            found = step_8(settings)
            assert found["port"].status == "ok" and "used by this brain" in found["port"].evidence
            assert found["web"].status == "fail" and "timed out" in found["web"].evidence  # it listens and never answers
            assert found["processes"].status == "skip" and found["worker"].status == "fail"
    with held(settings, "c0ffee", monkeypatch):
        found = step_8(settings)
        assert found["web"].status == "ok" and "c0ffee" in found["web"].evidence and found["port"].status == "ok"


def test_in_a_container_logs_are_those_of_compose(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "inside").touch()
    monkeypatch.setattr("qzbrain.ops.minding._INSIDE", (tmp_path / "inside",))
    assert step_8(settings)["web"].next == "./run.sh"  # a clone, in a container of somebody's own
    monkeypatch.setattr("qzbrain.ops.minding.ROOT", tmp_path)
    assert step_8(settings)["web"].next == "sh deploy.sh"
    with held(settings, socket.gethostname(), monkeypatch):
        found = step_8(settings)
        assert found["web"].next == "docker compose logs --tail 50 brain" and found["worker"].next == "docker compose logs --tail 50 worker"
