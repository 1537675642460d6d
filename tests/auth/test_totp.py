"""One-time codes: the vectors of RFC 6238, appendix B, and what counts once."""

from __future__ import annotations

import base64

import pytest

from qzbrain.auth import totp
from qzbrain.auth.codes import Codes
from qzbrain.auth.sealing import Seal
from qzbrain.brain import Brain
from qzbrain.errors import BrainError, Conflict, InvalidRequest
from qzbrain.storage.tables import users
from tests.auth.conftest import Clock

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"), (2000000000, "69279037"), (20000000000, "65353130")],
)
def test_the_vectors_of_the_rfc(at: int, code: str) -> None:
    assert totp.code_at(SECRET, at // 30, digits=8) == code
    assert totp.matching_step(SECRET, code[2:], at, after=0) == at // 30


def test_a_code_is_good_near_its_time_and_once() -> None:
    at = 1_800_000_000
    step = at // 30
    code = totp.code_at(SECRET, step)
    assert [totp.matching_step(SECRET, code, at + apart, after=0) for apart in (-60, -30, 0, 30, 60)] == [None, step, step, step, None]
    assert totp.matching_step(SECRET, f" {code[:3]} {code[3:]} ", at, after=0) == step
    assert totp.matching_step(SECRET, code, at, after=step) is None
    assert totp.matching_step(SECRET, "", at, after=0) is None
    assert totp.matching_step(SECRET, "１２３456\ud800", at, after=0) is None


@pytest.fixture
def codes(accounts_brain: Brain, clock: Clock) -> Codes:
    return Codes(accounts_brain.db, Seal(accounts_brain.settings.data / "secrets" / "totp.key"), now=clock)


def test_a_second_step_from_its_beginning_to_its_end(codes: Codes, new, clock: Clock, accounts_brain: Brain) -> None:
    who = new("ann")
    secret, address = codes.begin(who.id, "ann")
    assert address == f"otpauth://totp/qzbrain:ann?secret={secret}&issuer=qzbrain&digits=6&period=30"
    with pytest.raises(InvalidRequest):
        codes.confirm(who.id, "000000" if totp.code_at(secret, int(clock.now) // 30) != "000000" else "111111")
    first = totp.code_at(secret, int(clock.now) // 30)
    recovery = codes.confirm(who.id, first)
    (row,) = accounts_brain.db.rows(users.select().where(users.c.id == who.id))
    assert secret not in row.totp
    assert not set(recovery) & set(row.recovery)
    assert codes.spend(who.id, first) is False  # it confirmed
    clock.now += 30
    second = totp.code_at(secret, int(clock.now) // 30)
    assert [codes.spend(who.id, second) for _ in range(2)] == [True, False]
    assert [codes.spend(who.id, recovery[3].upper().replace("-", " ")) for _ in range(2)] == [True, False]
    assert codes.spend(who.id, recovery[4]) is True
    with pytest.raises(Conflict):
        codes.begin(who.id, "ann")
    codes.end(who.id)
    with pytest.raises(Conflict):
        codes.confirm(who.id, first)


def test_a_sealed_secret_is_bound_to_its_user_and_key(tmp_path) -> None:
    seal = Seal(tmp_path / "secrets" / "totp.key")
    sealed = seal.seal("SECRET", purpose="totp:1")
    assert (tmp_path / "secrets" / "totp.key").stat().st_mode & 0o777 == 0o600
    assert Seal(tmp_path / "secrets" / "totp.key").open(sealed, purpose="totp:1") == "SECRET"
    with pytest.raises(BrainError) as moved:
        seal.open(sealed, purpose="totp:2")
    assert moved.value.code == "seal_broken"
    (tmp_path / "secrets" / "totp.key").unlink()
    with pytest.raises(BrainError) as lost:
        seal.open(sealed, purpose="totp:1")
    assert "--no-totp" in lost.value.en
    assert list((tmp_path / "secrets").iterdir()) == []
