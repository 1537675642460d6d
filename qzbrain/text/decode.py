"""Bytes to text: byte order marks, UTF-8, UTF-16, GBK/GB18030, Big5, Western, and other encodings as a last resort.

Several East Asian encodings accept the same bytes, so candidates are compared by how much of what they give are everyday
characters (the first level of GB 2312 and of Big5). Noise fits none and is refused.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache

from qzbrain.errors import ParseFailed

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"\x84\x31\x95\x33", "gb18030"),
)
_SAMPLE_CHARS = 20_000
_EVERYDAY_SHARE = 0.6
"""Least share of everyday characters; measured: real texts .93-1.0, the same bytes under a wrong encoding at most .5, noise .2."""
_NOISE_SHARE = 0.1
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_NOISE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufff0-\uffff\U00040000-\U000dffff\U000f0000-\U0010ffff]")
_WESTERN_MARKS = frozenset("“”‘’‚„–—…•·©®°§«»€£¥ºª¿¡½¼¾×±†‡™")
_STATED = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([A-Za-z0-9_-]{3,20})", re.IGNORECASE)
_STATED_WITHIN = 4096
_STATED_KINDS = ("gb", "big5", "shift_jis", "euc", "cp", "iso", "koi8")
"""Not punycode or utf-7, in which a page could be made to take for ever or to say something else."""
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949"}
_RARE_ENCODINGS = ["shift_jis", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "iso2022_jp"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text without BOM and control characters, newlines `\\n`; `encoding` is Python's name of what it was."""

    text: str
    encoding: str


def decode(data: bytes) -> Decoded:
    """Decode by content, then by what a page's `charset` or an XML file's `encoding` says; no bytes give no text.

    Raises ParseFailed `garbled` when the bytes are text in no known encoding.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _accept(_lenient(data[len(bom):], encoding), encoding)
    if wide := _utf16_with_zeros(data):
        return _accept(wide.text, wide.encoding)
    if (text := _strict(data, "utf-8")) is not None:
        return _accept(text, "utf-8")
    found = _east_asian(data) or _stated(data) or _western(data) or _mostly_utf8(data) or _rare(data)
    if found is None:
        raise garbled()
    return _accept(found.text, found.encoding)


def garbled() -> ParseFailed:
    """The bytes are noise, or text in an encoding that nobody can tell."""
    return ParseFailed(
        "garbled",
        zh="无法识别文件的文字编码，内容像是乱码或二进制数据。请另存为 UTF-8 编码的文本后再上传。",
        en="The file's text encoding cannot be recognised: it looks like noise or binary data. Save it as UTF-8 text and upload that.",
    )


def _accept(text: str, encoding: str) -> Decoded:
    """Refuse noise, drop stray control characters, make newlines `\\n`."""
    if text and _noise_share(text) > _NOISE_SHARE:
        raise garbled()
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(_CONTROLS.sub("", text), encoding)


def _noise_share(text: str) -> float:
    """Share of control, private and never-assigned characters in a sample from the start and one from the middle."""
    half = _SAMPLE_CHARS // 2
    sample = text if len(text) <= _SAMPLE_CHARS else text[:half] + text[len(text) // 2:len(text) // 2 + half]
    return len(_NOISE.findall(sample)) / len(sample)


def _strict(data: bytes, encoding: str) -> str | None:
    """Decode without a fault, save that the last character may be cut off."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        cut_off = any(word in exc.reason for word in ("unexpected end", "incomplete", "truncated"))
        if not cut_off or exc.start == 0:
            return None
        return data[:exc.start].decode(encoding)


def _lenient(data: bytes, encoding: str) -> str:
    return data.decode(encoding, errors="replace")


def _utf16_with_zeros(data: bytes) -> Decoded | None:
    """UTF-16 without BOM that holds ASCII, so zero bytes, which no other text encoding has: the byte order that gives plausible text."""
    if b"\0" not in data[:65_536] or len(data) % 2:
        return None
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _strict(data, encoding)
        if text and _plausible_share(text) > 0.8:
            return Decoded(text, encoding)
    return None


def _plausible_share(text: str) -> float:
    """Share of printable alphabetic characters (up to Cyrillic) and everyday Hanzi."""
    sample = text[:_SAMPLE_CHARS]
    simplified, traditional = _everyday_sets()
    return sum((c < "\u0530" and (c.isprintable() or c in "\t\r\n")) or c in simplified or c in traditional for c in sample) / len(sample)


def _east_asian(data: bytes) -> Decoded | None:
    """The best of GB18030, Big5 and UTF-16 by everyday characters, if it reaches the threshold."""
    best: tuple[float, Decoded] | None = None
    candidates = ["gb18030", "big5hkscs"] + (["utf-16-le", "utf-16-be"] if len(data) % 2 == 0 else [])
    for encoding in candidates:
        text = _strict(data, encoding)
        if text is None:
            continue
        share = _everyday_share(text)
        if share >= _EVERYDAY_SHARE and (best is None or share > best[0]):
            best = share, Decoded(text, encoding)
    return best[1] if best else None


def _everyday_share(text: str) -> float:
    """Share of everyday characters among those beyond ASCII: the better of the simplified and the traditional set."""
    sample = [c for c in text[:_SAMPLE_CHARS] if c > "\x7f"]
    if not sample:
        return 0.0
    return max(sum(c in known for c in sample) / len(sample) for known in _everyday_sets())


@cache
def _everyday_sets() -> tuple[frozenset[str], frozenset[str]]:
    """Level one of GB 2312 (3,755 Hanzi) and of Big5 (5,401), each with the punctuation and full-width rows."""
    simplified = _pairs("gb2312", range(0xB0, 0xD8)) | _pairs("gb2312", (0xA1, 0xA3))
    traditional = _pairs("big5", range(0xA4, 0xC7)) | _pairs("big5", (0xA1, 0xA2))
    return simplified, traditional


def _pairs(encoding: str, leads: range | tuple[int, ...]) -> frozenset[str]:
    decoded = "".join(bytes((lead, trail)).decode(encoding, "ignore") for lead in leads for trail in range(0x40, 0xFF))
    return frozenset(char for char in decoded if char > "\x7f")


def _stated(data: bytes) -> Decoded | None:
    """As a web page or an XML file says itself, if its bytes fit. Not believed before: many pages state another encoding than they have."""
    stated = _STATED.search(data, 0, _STATED_WITHIN)
    if stated is None:
        return None
    try:
        name = codecs.lookup(stated[1].decode("ascii")).name
    except (LookupError, UnicodeError):
        return None
    text = _strict(data, _WIDER.get(name, name)) if name.startswith(_STATED_KINDS) else None
    return None if text is None else Decoded(text, name)


def _western(data: bytes) -> Decoded | None:
    """Windows-1252: few bytes beyond ASCII, nearly all of them accented letters or typographic marks."""
    text = _strict(data, "cp1252")
    if text is None:
        return None
    high = [c for c in text[:_SAMPLE_CHARS] if c > "\x7f"]
    good = sum(c in _WESTERN_MARKS or (c.isalpha() and c < "\u0180") for c in high)
    if not high or good < 0.9 * len(high) or len(high) > 0.25 * min(len(text), _SAMPLE_CHARS):
        return None
    return Decoded(text, "cp1252")


def _mostly_utf8(data: bytes) -> Decoded | None:
    """UTF-8 or GB18030 with a few damaged bytes."""
    for encoding in ("utf-8", "gb18030"):
        text = _lenient(data, encoding)
        beyond_ascii = sum(c > "\x7f" for c in text)
        if text.count("\ufffd") * 20 <= beyond_ascii and (encoding == "utf-8" or _everyday_share(text) >= _EVERYDAY_SHARE):
            return Decoded(text, encoding)
    return None


def _rare(data: bytes) -> Decoded | None:
    """Japanese, Korean, Cyrillic and so on, as charset-normalizer sees it; only when it finds the language coherent."""
    from charset_normalizer import from_bytes

    best = from_bytes(data[:65_536], cp_isolation=_RARE_ENCODINGS, threshold=0.15).best()
    if best is None or best.coherence < 0.2:
        return None
    return Decoded(_lenient(data, best.encoding), best.encoding)
