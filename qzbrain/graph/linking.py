"""Finds the entities that a text names: longest match over names and aliases. Pure.

Names are compared as a search sees them (NFKC, simplified, lower case) and without blanks. Instead of an automaton there is a dictionary of the first
two characters of every name with the lengths of names that begin so: at most positions of a text nothing has to be looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from qzbrain.text.normalize import searchable

KEY_CHARS = 64
LONGEST_NAME = 60
"""Longer names are found by search, not in texts."""


@dataclass(frozen=True, slots=True)
class Mention:
    """`text[start:end]` names each of `entity_ids` (several where they share a name)."""

    start: int
    end: int
    key: str
    entity_ids: tuple[int, ...]


def name_key(name: str) -> str:
    """A name as it is compared."""
    return "".join(searchable(name).split())


@lru_cache(maxsize=1 << 17)
def key_of(name: str) -> str:
    """`name_key`, a long one shortened to its beginning and a hash."""
    return _shortened(name_key(name))


def _shortened(key: str) -> str:
    return key if len(key) <= KEY_CHARS else f"{key[: KEY_CHARS - 25]}~{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def keys_of(names: Collection[str]) -> dict[str, str]:
    """`key_of` of each, in a fifth of the time: the converter is called once."""
    some = [name for name in names if "\n" not in name]
    compared = searchable("\n".join(some)).split("\n") if some else []
    found = {name: _shortened("".join(text.split())) for name, text in zip(some, compared, strict=True)}
    found.update((name, key_of(name)) for name in names if "\n" in name)
    return found


class Linker:
    """Names of one knowledge base. Immutable, safe for threads."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        """`names`: (key as `name_key` makes it, entity id), aliases included."""
        found: dict[str, list[int]] = {}
        lengths: dict[str, set[int]] = {}
        for key, entity_id in names:
            if 0 < len(key) <= LONGEST_NAME:
                ids = found.setdefault(key, [])
                if entity_id not in ids:
                    ids.append(entity_id)
                lengths.setdefault(key[:2], set()).add(len(key))
        self._names: Mapping[str, tuple[int, ...]] = {key: tuple(ids) for key, ids in found.items()}
        self._lengths: Mapping[str, tuple[int, ...]] = {begin: tuple(sorted(some, reverse=True)) for begin, some in lengths.items()}

    def __len__(self) -> int:
        return len(self._names)

    def ids(self, name: str) -> tuple[int, ...]:
        """Entities of exactly this name or alias."""
        return self._names.get(name_key(name), ())

    def all_mentions(self, text: str) -> list[Mention]:
        """Every name that stands in the text, also inside longer ones; by start, the longer first. Offsets are those of `text`."""
        squeezed, places = _squeezed(text)
        names, lengths = self._names, self._lengths
        found: list[Mention] = []
        for at in range(len(squeezed)):
            pair = squeezed[at : at + 2]
            some = lengths.get(pair)
            if len(pair) == 2 and (single := lengths.get(pair[0])):
                some = (*some, *single) if some else single
            for length in some or ():
                key = squeezed[at : at + length]
                ids = names.get(key)
                if ids is not None and len(key) == length and _whole(squeezed, places, at, at + length):
                    found.append(Mention(places[at], places[at + length - 1] + 1, key, ids))
        return found

    def mentions(self, text: str, *, shortest: int = 2) -> list[Mention]:
        """Those that do not overlap: longer before shorter, then from the left; in their order in the text.

        Names shorter than `shortest` are left out: a single character names something by chance.
        """
        taken: list[Mention] = []
        candidates = [one for one in self.all_mentions(text) if len(one.key) >= shortest]
        for one in sorted(candidates, key=lambda m: (-len(m.key), m.start)):
            if all(one.end <= other.start or one.start >= other.end for other in taken):
                taken.append(one)
        return sorted(taken, key=lambda m: m.start)


def _squeezed(text: str) -> tuple[str, Sequence[int]]:
    """The text as it is compared, and the place of each of its characters in `text`."""
    whole = searchable(text)
    if len(whole) == len(text):
        kept = [(c, n) for n, c in enumerate(whole) if not c.isspace()]
    else:  # a character became several, or several became one: each by itself
        kept = [(c, n) for n, raw in enumerate(text) for c in searchable(raw) if not c.isspace()]
    return "".join(c for c, _ in kept), [n for _, n in kept]


def _whole(text: str, places: Sequence[int], start: int, end: int) -> bool:
    """Whether Latin letters or digits at an end are not the middle of a longer word or number; a blank in the text ends a word."""
    return not (_joined(text, places, start - 1) or _joined(text, places, end - 1))


def _joined(text: str, places: Sequence[int], left: int) -> bool:
    if left < 0 or left + 1 >= len(text) or places[left + 1] - places[left] > 1:
        return False
    a, b = text[left], text[left + 1]
    return a.isascii() and b.isascii() and ((a.isdigit() and b.isdigit()) or (a.isalpha() and b.isalpha()))
