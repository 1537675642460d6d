"""Whether the text of a page means anything: fonts without a map to Unicode give a text layer that no one can read. Pure."""

from __future__ import annotations

from functools import lru_cache

_UNREADABLE_SHARE = 0.3
_LEAST_IDEOGRAPHS = 30
_RARE_SHARE = 0.15
_ACCENTED_SHARE = 0.5
_CODECS = ("gb2312", "big5", "shift_jis", "euc_kr")


def legible(text: str, unmapped: int = 0) -> bool:
    """Whether a page's text can be read. `unmapped`: how many of its characters the file gives no meaning for."""
    letters = "".join(text.split())
    if not letters:
        return False
    unreadable = letters.count("\ufffd") + (0 if letters.isprintable() else sum(not c.isprintable() for c in letters))
    if max(unreadable, unmapped) > _UNREADABLE_SHARE * len(letters):
        return False
    return not _shuffled(letters) and not _mojibake(letters)


def _shuffled(letters: str) -> bool:
    """Ideographs taken at random: many that no national standard of everyday characters holds."""
    ideographs = [c for c in letters if "\u4e00" <= c <= "\u9fff"]
    return len(ideographs) >= _LEAST_IDEOGRAPHS and sum(map(_is_rare, ideographs)) > _RARE_SHARE * len(ideographs)


@lru_cache(maxsize=30_000)
def _is_rare(ideograph: str) -> bool:
    for codec in _CODECS:
        try:
            ideograph.encode(codec)
        except UnicodeEncodeError:
            continue
        return False
    return True


def _mojibake(letters: str) -> bool:
    """Bytes of GBK taken for Western letters: no language writes half of its letters with accents, or in signs of phonetics."""
    odd = sum("\xa1" <= c <= "\xff" or "\u0250" <= c <= "\u02ff" for c in letters)
    return len(letters) >= _LEAST_IDEOGRAPHS and odd > _ACCENTED_SHARE * len(letters)
