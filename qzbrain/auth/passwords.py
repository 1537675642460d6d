"""Passwords: which may be chosen, and how they are kept: as Argon2id (RFC 9106) in PHC form, which names its own parameters.

19 MiB, two passes, one lane: the least that OWASP's cheat sheet advises (2026), about 45 ms of one core (2026-11-28), so that two cores sign in
some forty people a second. At most two are counted at once in a process, whatever comes in: more would only take memory. The counting itself runs in
the native pool and lets the interpreter go, so that streams flow on meanwhile.
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from qzbrain.errors import InvalidRequest
from qzbrain.storage.cooperation import offloader

SHORTEST, LONGEST = 10, 256
_AT_ONCE = 2
_SALT_BYTES, _HASH_BYTES = 16, 32
_FEWEST_DIFFERENT = 5
_PHC = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$")
_GUESSED_FIRST = """
    1234567890 0123456789 0987654321 9876543210 12345678910 123456789a a123456789 q123456789 aa123456789 abc123456789 a1234567890 1234567890a
    123456789q 1234567891 123456789abc abcd123456 abc1234567 abcd1234567 123123123123 123456123456 1233211234567 147258369a 1472583690 5201314520
    woaini1314 woaini5201314 woaini520 iloveyou1314 iloveyou123 iloveyou1234 qwertyuiop qwerty12345 qwerty123456 qwertyuiop123 1qaz2wsx3edc
    1q2w3e4r5t 1q2w3e4r5t6y qazwsxedcrfv zaq12wsxcde3 asdfghjkl123 zxcvbnm123 password12 password123 password1234 password12345 passw0rd123
    p@ssw0rd123 p@ssword123 p@ssw0rd1234 pass123456 admin12345 admin123456 admin1234567 administrator administrator1 root123456 test123456
    test1234567 user123456 welcome123 welcome1234 changeme123 letmein123 letmein1234 monkey123456 dragon123456 sunshine123 princess123
    football123 baseball123 superman123 abcdefghij abcdefghijk qizhibrain qizhibrain1 qizhibrain123 qzbrain123 qzbrain1234 zhongguo123
    beijing123 beijing2008 shanghai123 huawei12345 taobao12345
"""
_COMMON = frozenset(_GUESSED_FIRST.split())


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters of Argon2id: memory in KiB, passes over it, lanes."""

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1


class Passwords:
    """Makes and checks what is kept of passwords."""

    def __init__(self, cost: Cost | None = None) -> None:
        self._cost = cost or Cost()
        self._off_the_loop = offloader()
        self._turn = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody = ""

    def hash(self, password: str) -> str:
        """What is kept of a password: `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`."""
        cost = self._cost
        kdf = Argon2id(salt=os.urandom(_SALT_BYTES), length=_HASH_BYTES, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib)
        with self._turn:
            kept: str = self._off_the_loop(kdf.derive_phc_encoded, _bytes(password))
        return kept

    def verify(self, kept: str, password: str) -> bool:
        """Whether this is the password. `kept` '' (nobody of that name, or no password): False, and it takes as long as any other."""
        if not kept:
            kept, real = self._for_nobody(), False
        else:
            real = True
        with self._turn:
            same: bool = self._off_the_loop(_same, _bytes(password), kept)
        return same and real

    def outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters than those of today, and should be made anew while the password is at hand."""
        found = _PHC.match(kept)
        cost = self._cost
        return found is None or tuple(map(int, found.groups())) != (cost.memory_kib, cost.passes, cost.lanes)

    def _for_nobody(self) -> str:
        if not self._nobody:
            self._nobody = self.hash(os.urandom(16).hex())
        return self._nobody


def checked_password(password: str, *, name: str) -> str:
    """The password, when it may be chosen by the user of this name. Raises InvalidRequest (`password_refused`)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise _refused(f"须为 {SHORTEST} 至 {LONGEST} 个字符", f"is {SHORTEST} to {LONGEST} characters long")
    folded = unicodedata.normalize("NFKC", password).casefold()
    if not _is_text(password):
        raise _refused("含有无法处理的字符", "must not hold characters that are no text")
    if folded in _COMMON or len(set(folded)) < _FEWEST_DIFFERENT or _is_a_row(folded):
        raise _refused("太常见或太简单，容易被猜到", "must not be one that is guessed first")
    if name and len(folded.replace(name.casefold(), "")) < SHORTEST // 2:
        raise _refused("不能由用户名构成", "must not be made of the user's name")
    return password


def _is_a_row(folded: str) -> bool:
    """Whether each character is the next one in the alphabet, or each the one before."""
    steps = {ord(after) - ord(before) for before, after in pairwise(folded)}
    return steps in ({1}, {-1})


def _is_text(password: str) -> bool:
    return all(unicodedata.category(x) not in ("Cs", "Cc") for x in password)


def _same(password: bytes, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True


def _bytes(password: str) -> bytes:
    """The same bytes however a keyboard composed the characters."""
    return unicodedata.normalize("NFKC", password[: 2 * LONGEST]).encode("utf-8", "surrogatepass")


def _refused(zh: str, en: str) -> InvalidRequest:
    return InvalidRequest(
        "password_refused",
        zh=f"密码{zh}。请换一个至少 {SHORTEST} 个字符的密码，例如几个不相干的词。",
        en=f"A password {en}. Choose another of at least {SHORTEST} characters, such as some words that have nothing to do with each other.",
        param="password",
    )
