"""Signing in: what is told, what is slowed down, and that time tells nothing of who exists."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from qzbrain.auth import totp
from qzbrain.auth.links import LIVES_S
from qzbrain.auth.passwords import Cost, Passwords
from qzbrain.auth.signin import SignIn
from qzbrain.auth.throttle import BY_ADDRESS, BY_NAME, Throttle
from qzbrain.brain import Brain
from qzbrain.errors import AuthenticationRequired, BrainError, InvalidRequest, NotFound, PermissionRefused, RateLimited
from qzbrain.storage.tables import login_failures, sessions, users
from tests.auth.conftest import CHEAP, GOOD, Clock


def signing_in(brain: Brain, clock: Clock, passwords: Passwords | None = None) -> SignIn:
    return SignIn(
        brain.db, brain.access, passwords or Passwords(CHEAP), brain.sessions, brain.accounts.codes, Throttle(brain.db, now=clock), now=clock
    )


@pytest.fixture
def sign(accounts_brain: Brain, clock: Clock) -> SignIn:
    return signing_in(accounts_brain, clock)


def code_of(attempt) -> str:
    with pytest.raises(BrainError) as refused:
        attempt()
    return refused.value.code


def test_the_name_is_taken_in_any_case(sign: SignIn, new, accounts_brain: Brain) -> None:
    who = new("Ann")
    token, user_id = sign.sign_in(" aNN ", GOOD, address="10.0.0.1", agent="x")
    assert user_id == who.id
    found = accounts_brain.sessions.caller(token, "zh", "")
    assert found is not None
    assert found.id == who.id
    assert accounts_brain.accounts.users.user(who, who.id).signed_in_at is not None


def test_a_wrong_password_and_an_unknown_name_get_one_answer(sign: SignIn, new) -> None:
    new("ann")
    answers = []
    for name in ("ann", "nobody", "", "\ud800", "x" * 500):
        with pytest.raises(AuthenticationRequired) as refused:
            sign.sign_in(name, "wrong wrong wrong", address=name)
        answers.append((refused.value.code, refused.value.zh, refused.value.en))
    assert len(set(answers)) == 1


def test_a_user_without_a_password_cannot_sign_in(sign: SignIn, accounts_brain: Brain) -> None:
    accounts_brain.accounts.users.create(accounts_brain.access.local_caller(), name="empty")
    assert code_of(lambda: sign.sign_in("empty", "")) == "credentials_wrong"


def test_that_an_account_is_disabled_is_told_to_who_has_the_password(sign: SignIn, new, accounts_brain: Brain) -> None:
    who = new("ann")
    accounts_brain.accounts.users.update(accounts_brain.access.local_caller(), who.id, disabled=True)
    assert code_of(lambda: sign.sign_in("ann", "wrong wrong wrong")) == "credentials_wrong"
    with pytest.raises(PermissionRefused) as refused:
        sign.sign_in("ann", GOOD)
    assert refused.value.code == "account_disabled"


def test_a_name_is_slowed_down_and_never_locked(sign: SignIn, new, clock: Clock) -> None:
    new("ann")
    for number in range(BY_NAME.free):
        assert code_of(lambda: sign.sign_in("ann", "wrong wrong wrong", address=f"10.0.0.{number}")) == "credentials_wrong"  # noqa: B023
    waits = []
    for _ in range(12):
        with pytest.raises(RateLimited) as refused:
            sign.sign_in("ann", GOOD, address="10.1.1.1")  # even the right one
        assert refused.value.code == "too_many_attempts"
        waits.append(refused.value.retry_after_s)
        clock.now += waits[-1]
        assert code_of(lambda: sign.sign_in("ann", "wrong wrong wrong", address="10.2.2.2")) == "credentials_wrong"
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == BY_NAME.longest_s
    clock.now += BY_NAME.longest_s
    sign.sign_in("ann", GOOD, address="10.1.1.1")
    sign.sign_in("ann", GOOD, address="10.1.1.1")  # it starts anew


def test_unknown_names_are_slowed_down_alike(sign: SignIn, clock: Clock) -> None:
    for _ in range(BY_NAME.free):
        assert code_of(lambda: sign.sign_in("nobody", "x")) == "credentials_wrong"
    assert code_of(lambda: sign.sign_in("nobody", "x")) == "too_many_attempts"


def test_an_address_is_slowed_down_whatever_names_it_tries(sign: SignIn, new, clock: Clock, accounts_brain: Brain) -> None:
    new("ann")
    for number in range(BY_ADDRESS.free):
        assert code_of(lambda: sign.sign_in(f"name{number}", "x", address="10.0.0.9")) == "credentials_wrong"  # noqa: B023
        if number % 10 == 5:
            clock.now += 1
            sign.sign_in("ann", GOOD, address="10.0.0.9")  # a good one hides nothing
    assert code_of(lambda: sign.sign_in("ann", GOOD, address="10.0.0.9")) == "too_many_attempts"
    sign.sign_in("ann", GOOD, address="10.0.0.10")
    clock.now += 3601
    sign.sign_in("ann", GOOD, address="10.0.0.9")
    assert accounts_brain.db.rows(select(func.count()).select_from(login_failures))[0][0] <= 2  # the old ones are forgotten


def test_many_guesses_at_once_are_not_many_guesses(sign: SignIn, new) -> None:
    new("ann")

    def guess(_: int) -> str:
        return code_of(lambda: sign.sign_in("ann", "wrong wrong wrong"))

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(guess, range(40)))
    assert found.count("credentials_wrong") == BY_NAME.free


def test_another_process_counts_with_us(accounts_brain: Brain, sign: SignIn, new, clock: Clock) -> None:
    new("ann")
    other = signing_in(accounts_brain, clock)
    for one in (sign, other, sign, other, sign):
        assert code_of(lambda: one.sign_in("ann", "wrong wrong wrong")) == "credentials_wrong"  # noqa: B023
    assert code_of(lambda: other.sign_in("ann", GOOD)) == "too_many_attempts"


def test_a_code_is_asked_and_counts_once(sign: SignIn, new, clock: Clock, accounts_brain: Brain) -> None:
    who, codes = new("ann"), accounts_brain.accounts.codes
    codes._now = clock
    secret, _ = codes.begin(who.id, "ann")
    sign.sign_in("ann", GOOD)  # not before it is confirmed
    recovery = codes.confirm(who.id, totp.code_at(secret, int(clock.now) // 30))
    clock.now += 30
    code = totp.code_at(secret, int(clock.now) // 30)
    for _ in range(10):
        assert code_of(lambda: sign.sign_in("ann", GOOD)) == "totp_required"  # no guess, so it is not slowed down
    assert code_of(lambda: sign.sign_in("ann", "wrong wrong wrong", code=code)) == "credentials_wrong"
    sign.sign_in("ann", GOOD, code=code)
    assert code_of(lambda: sign.sign_in("ann", GOOD, code=code)) == "totp_wrong"
    sign.sign_in("ann", GOOD, code=recovery[0])
    for _ in range(BY_NAME.free):
        assert code_of(lambda: sign.sign_in("ann", GOOD, code=recovery[0])) == "totp_wrong"
    assert code_of(lambda: sign.sign_in("ann", GOOD, code=recovery[1])) == "too_many_attempts"


def test_a_password_is_kept_anew_when_the_parameters_change(accounts_brain: Brain, new, clock: Clock) -> None:
    who = new("ann")
    stronger = Passwords(Cost(memory_kib=128, passes=2))
    signing_in(accounts_brain, clock, stronger).sign_in("ann", GOOD)
    kept = accounts_brain.db.rows(select(users.c.password).where(users.c.id == who.id))[0][0]
    assert kept.startswith("$argon2id$v=19$m=128,t=2,p=1$")
    signing_in(accounts_brain, clock).sign_in("ann", GOOD)


def test_changing_ones_password_ends_the_other_sessions(sign: SignIn, new, accounts_brain: Brain) -> None:
    who = new("ann")
    tokens = [sign.sign_in("ann", GOOD)[0] for _ in range(3)]
    mine = accounts_brain.sessions.caller(tokens[0], "zh", "")
    assert mine is not None
    assert code_of(lambda: sign.change_password(who.id, mine.session_id, "wrong wrong wrong", "neun weisse Kraniche", "")) == "credentials_wrong"
    with pytest.raises(InvalidRequest):
        sign.change_password(who.id, mine.session_id, GOOD, "1234567890", "")
    sign.change_password(who.id, mine.session_id, GOOD, "neun weisse Kraniche", "")
    assert [accounts_brain.sessions.caller(token, "zh", "") is not None for token in tokens] == [True, False, False]
    assert code_of(lambda: sign.sign_in("ann", GOOD)) == "credentials_wrong"
    sign.sign_in("ann", "neun weisse Kraniche")


def test_a_password_link_is_good_once_and_for_a_day(sign: SignIn, new, clock: Clock, accounts_brain: Brain) -> None:
    who, local, accounts = new("ann"), accounts_brain.access.local_caller(), accounts_brain.accounts
    clock.now = time.time()
    sign.sign_in("ann", GOOD)
    token = accounts.users.link(local, "ann")
    with pytest.raises(InvalidRequest):
        sign.choose_password(token, "ann")  # it is not spent by a password that may not be
    assert sign.choose_password(token, "neun weisse Kraniche") == "ann"
    assert accounts_brain.db.rows(select(sessions).where(sessions.c.user_id == who.id)) == []
    sign.sign_in("ann", "neun weisse Kraniche")
    with pytest.raises(NotFound) as used:
        sign.choose_password(token, "zehn schwarze Kraniche")
    assert used.value.code == "link_unknown"
    former, latest = accounts.users.link(local, "ann"), accounts.users.link(local, "ann")
    with pytest.raises(NotFound):
        sign.choose_password(former, "zehn schwarze Kraniche")
    clock.now += LIVES_S + 60
    with pytest.raises(NotFound):
        sign.choose_password(latest, "zehn schwarze Kraniche")
    for wrong in ("", "x", "\ud800", latest + "x"):
        with pytest.raises(NotFound):
            sign.choose_password(wrong, "zehn schwarze Kraniche")


def test_one_link_used_twice_at_once_sets_one_password(sign: SignIn, new, accounts_brain: Brain) -> None:
    new("ann")
    token = accounts_brain.accounts.users.link(accounts_brain.access.local_caller(), "ann")
    sign._now = time.time

    def choose(number: int) -> bool:
        try:
            sign.choose_password(token, f"{number} schwarze Kraniche")
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(choose, range(8))) == 1


def test_time_tells_nothing_of_which_names_exist(accounts_brain: Brain, new, clock: Clock) -> None:
    """Medians of 15 each, in turns; without the dummy verification an unknown name would take less than a tenth."""
    real = Passwords()
    who = new("ann")
    with accounts_brain.db.write() as connection:
        connection.execute(update(users).where(users.c.id == who.id).values(password=real.hash(GOOD)))
    sign = signing_in(accounts_brain, clock, real)
    took: dict[str, list[float]] = {"ann": [], "nobody": []}
    for _ in range(16):
        for name, times in took.items():
            clock.now += 3601
            begun = time.process_time()
            assert code_of(lambda: sign.sign_in(name, "wrong wrong wrong")) == "credentials_wrong"  # noqa: B023
            times.append(time.process_time() - begun)
    known, unknown = (statistics.median(times[1:]) for times in took.values())
    assert 0.6 < known / unknown < 1.6
