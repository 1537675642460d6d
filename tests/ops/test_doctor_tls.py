"""The doctor reads certificates: a good one, one that ends soon, one that is over, one with another's key; and a network without any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qzbrain.ops.doctor_tls import tls
from qzbrain.settings import Settings
from tests.ops.certificates import certificate


@pytest.mark.parametrize(("begins", "ends", "status"), [(-1, 90, "ok"), (-60, 5, "warn"), (-60, -1, "fail"), (2, 90, "fail")])
def test_how_long_it_is_good(tmp_path: Path, make_settings: Callable[..., Settings], begins: float, ends: float, status: str) -> None:
    (found,) = tls(make_settings(**certificate(tmp_path / "a", begins=begins, ends=ends)))
    assert (found.id, found.step, found.status) == ("tls", 8, status)
    assert f"{datetime.now(UTC) + timedelta(days=ends):%Y-%m-%d}" in found.evidence[1]


def test_files_that_do_not_belong_together_or_are_none(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    one, other = certificate(tmp_path / "a", begins=-1, ends=9), certificate(tmp_path / "b", begins=-1, ends=9)
    (tmp_path / "text.pem").write_text("no certificate")
    for wrong in ({**one, "tls_key": other["tls_key"]}, {**one, "tls_cert": str(tmp_path / "text.pem")}, {**one, "tls_key": str(tmp_path / "nothing.pem")}):
        assert tls(make_settings(**wrong))[0].status == "fail"


def test_one_without_names_is_told(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    (found,) = tls(make_settings(**certificate(tmp_path / "a", begins=-1, ends=90, names=())))
    assert (found.status, "subjectAltName" in found.evidence[1]) == ("warn", True)
    assert "brain.test" in tls(make_settings(**certificate(tmp_path / "b", begins=-1, ends=90)))[0].evidence[1]


def test_a_network_without_https(make_settings: Callable[..., Settings]) -> None:
    assert tls(make_settings())[0].status == "skip"
    assert tls(make_settings(qzbrain_host="0.0.0.0"))[0].status == "warn"
    assert tls(make_settings(qzbrain_host="0.0.0.0", trusted_proxies="10.0.0.5"))[0].status == "skip"
