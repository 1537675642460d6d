"""Documents with something wrong in them: the kinds of damage that disks, mailers and attackers do. Used by tests and bench/mutations.py."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from contextlib import suppress

_LONGEST = 64
_WORTH = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"<", b">", b"&", b'"', b"/", b"-1", b"99999999999", b"%n", b"\r")
"""What has a meaning somewhere: lengths, ends, marks."""


def mutants(data: bytes, seed: int) -> Iterator[bytes]:
    """Damaged copies of a document, without end; the same for the same seed."""
    chance = random.Random(seed)
    while True:
        yield _in_package(data, chance) if data.startswith(b"PK") and chance.random() < 0.6 else mutated(data, chance)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """With one to four wounds."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        _wound(damaged, chance)
    return bytes(damaged)


def _wound(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(data) + 1), chance.randint(1, _LONGEST)
    match chance.randrange(7):
        case 0:
            for place in range(at, min(at + size, len(data)), chance.randint(1, 8)):
                data[place] ^= 1 << chance.randrange(8)
        case 1:
            data[at : at + size] = chance.randbytes(min(size, max(0, len(data) - at)))
        case 2:
            del data[at : at + size * chance.choice((1, 1, 100))]
        case 3:
            data[at:at] = data[at : at + size] * chance.choice((1, 2, 200))
        case 4:
            data[at : at + 4] = chance.choice(_WORTH)
        case 5:
            other = chance.randrange(len(data) + 1)
            data[at : at + size] = data[other : other + size]
        case _:
            del data[at:]


def _in_package(data: bytes, chance: random.Random) -> bytes:
    """One part of a zip damaged, the zip itself in order, so that the parser of the part meets it."""
    packed = io.BytesIO()
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(io.BytesIO(data)) as before:
        victim = chance.choice(before.namelist())
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
            for name in before.namelist():
                part = before.read(name)
                after.writestr(name, mutated(part, chance) if name == victim and part else part)
        return packed.getvalue()
    return mutated(data, chance)
