"""Office files made for tests, and changed inside."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import openpyxl

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_STRICT = (
    (b"http://schemas.openxmlformats.org/officeDocument/2006/relationships", b"http://purl.oclc.org/ooxml/officeDocument/relationships"),
    (b"http://schemas.openxmlformats.org/wordprocessingml/2006/main", b"http://purl.oclc.org/ooxml/wordprocessingml/main"),
    (b"http://schemas.openxmlformats.org/presentationml/2006/main", b"http://purl.oclc.org/ooxml/presentationml/main"),
    (b"http://schemas.openxmlformats.org/spreadsheetml/2006/main", b"http://purl.oclc.org/ooxml/spreadsheetml/main"),
    (b"http://schemas.openxmlformats.org/drawingml/2006/", b"http://purl.oclc.org/ooxml/drawingml/"),
)


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """What `save` writes."""
    out = io.BytesIO()
    save(out)
    return out.getvalue()


def workbook(build: Callable[[Any], object]) -> bytes:
    """An xlsx that `build` fills."""
    book = openpyxl.Workbook()
    build(book)
    return saved(book.save)


def changed(data: bytes, parts: Mapping[str, Callable[[bytes], bytes] | bytes]) -> bytes:
    """The package with parts rewritten by a function, or added, by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = parts.get(name)
            new.writestr(name, part(old.read(name)) if callable(part) else old.read(name))
        for name, part in parts.items():
            if isinstance(part, bytes):
                new.writestr(name, part)
    return out.getvalue()


def strict(data: bytes) -> bytes:
    """The package in the strict variant of the format."""

    def translated(part: bytes) -> bytes:
        for transitional, name in _STRICT:
            part = part.replace(transitional, name)
        return part

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if name.endswith((".xml", ".rels"))]
    return changed(data, dict.fromkeys(names, translated))
