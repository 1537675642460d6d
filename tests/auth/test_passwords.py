"""How passwords are kept and which may be chosen."""

from __future__ import annotations

import pytest

from qzbrain.auth.passwords import Cost, Passwords, checked_password
from qzbrain.errors import InvalidRequest

CHEAP = Passwords(Cost(memory_kib=64, passes=1))


def test_a_password_is_known_again_and_no_other() -> None:
    kept = CHEAP.hash("vier graue Kraniche")
    assert kept.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert "Kraniche" not in kept
    assert CHEAP.verify(kept, "vier graue Kraniche")
    assert not CHEAP.verify(kept, "vier graue Kranich")
    assert kept != CHEAP.hash("vier graue Kraniche")  # its own salt


def test_the_parameters_are_those_that_are_documented() -> None:
    kept = Passwords().hash("vier graue Kraniche")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert Passwords().outdated(kept) is False
    assert CHEAP.outdated(kept) is True
    assert CHEAP.verify(kept, "vier graue Kraniche")  # it names its own


def test_composed_and_decomposed_characters_are_the_same() -> None:
    assert CHEAP.verify(CHEAP.hash("caf\u00e9-zug-1234"), "cafe\u0301-zug-1234")


def test_nobody_has_no_password() -> None:
    assert CHEAP.verify("", "") is False
    assert CHEAP.verify("", "vier graue Kraniche") is False


@pytest.mark.parametrize(
    "password",
    ["kurz", "123456789", "x" * 257, "1234567890", "password123", "ＰＡＳＳＷＯＲＤ１２３", "aaaaaaaaaaaa", "abcdefghijkl", "zyxwvutsrqpo", "ababababababab"],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked_password(password, name="ann")
    assert refused.value.code == "password_refused"


@pytest.mark.parametrize("password", ["zhangweimin", "ZhangWeimin1", "zhangweimin2026", "zhangweiminzhangweimin"])
def test_the_name_is_no_password(password: str) -> None:
    with pytest.raises(InvalidRequest):
        checked_password(password, name="zhangweimin")
    assert checked_password(password, name="other") == password


def test_words_of_any_script_are_taken() -> None:
    assert checked_password("白日依山尽黄河入海流", name="王")
    assert checked_password("vier graue Kraniche", name="ann")


def test_a_surrogate_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        checked_password("vier graue \ud800", name="ann")
