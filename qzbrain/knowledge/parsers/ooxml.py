"""Packages of Office Open XML (docx, xlsx, pptx): parts, their relationships, their XML by a parser that trusts nothing.

No entities, no document types, no network, bounded depth and text. Strict packages are read as transitional ones: their namespaces are
translated. Part names are looked up without regard to case, as the format demands.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple
from urllib.parse import unquote

from lxml import etree

from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, clean_title

_BAD_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, OSError, KeyError, ValueError, RuntimeError)
_OFFICE = b"http://schemas.openxmlformats.org/"
_STRICT = (
    (b"http://purl.oclc.org/ooxml/officeDocument/relationships", _OFFICE + b"officeDocument/2006/relationships"),
    (b"http://purl.oclc.org/ooxml/officeDocument/math", _OFFICE + b"officeDocument/2006/math"),
    (b"http://purl.oclc.org/ooxml/wordprocessingml/main", _OFFICE + b"wordprocessingml/2006/main"),
    (b"http://purl.oclc.org/ooxml/presentationml/main", _OFFICE + b"presentationml/2006/main"),
    (b"http://purl.oclc.org/ooxml/drawingml/", _OFFICE + b"drawingml/2006/"),
)
_XML = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False, "remove_comments": True, "remove_pis": True}
RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


class Target(NamedTuple):
    """Where a relationship leads: the last word of its type, the part."""

    kind: str
    part: str


class Package:
    """An opened package. Every method raises ParseFailed `broken` for what is damaged."""

    def __init__(self, data: bytes, kind: str, limits: ParseLimits) -> None:
        check_archive(data, kind, limits)
        self._kind = kind
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            self._names = {name.replace("\\", "/").lstrip("/").lower(): name for name in self._archive.namelist()}
        except _BAD_ZIP as exc:
            raise refusals.broken(kind) from exc
        self._targets: dict[str, dict[str, Target]] = {}

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._names

    @property
    def main(self) -> str:
        """The part that the package is about."""
        for target in self.targets("").values():
            if target.kind == "officeDocument" and target.part in self:
                return target.part
        for part in ("word/document.xml", "xl/workbook.xml", "ppt/presentation.xml"):
            if part in self:
                return part
        raise refusals.broken(self._kind)

    def read(self, part: str) -> bytes:
        """The bytes of a part."""
        with self.open(part) as stream:
            return stream.read()

    @contextmanager
    def open(self, part: str) -> Iterator[IO[bytes]]:
        """A part as a stream; what fails while it is read is `broken` too."""
        try:
            with self._archive.open(self._names[part.lower()]) as stream:
                yield stream
        except _BAD_ZIP as exc:
            raise refusals.broken(self._kind) from exc

    def xml(self, part: str) -> Any:
        """The root element of a part."""
        data = self.read(part)
        if b"http://purl.oclc.org/ooxml/" in data:
            for strict, transitional in _STRICT:
                data = data.replace(strict, transitional)
        try:
            root = etree.fromstring(data, etree.XMLParser(**_XML))
        except (etree.XMLSyntaxError, ValueError) as exc:
            raise refusals.broken(self._kind) from exc
        if root.getroottree().docinfo.doctype:
            raise refusals.broken(self._kind)
        return root

    def targets(self, part: str) -> dict[str, Target]:
        """What a part is related to inside the package, by relationship id; '' is the package itself."""
        if part not in self._targets:
            folder, name = posixpath.split(part)
            relations = posixpath.join(folder, "_rels", f"{name}.rels")
            self._targets[part] = dict(self._read_targets(relations, folder)) if relations in self else {}
        return self._targets[part]

    def related(self, part: str, kind: str) -> str | None:
        """The first part of a kind that `part` is related to and that is there."""
        return next((x.part for x in self.targets(part).values() if x.kind == kind and x.part in self), None)

    def stated_title(self) -> str:
        """The title in the package's properties; '' when there is none to be read."""
        part = self.related("", "core-properties")
        if part is None:
            return ""
        try:
            return clean_title(next((x.text or "" for x in self.xml(part).iter("{http://purl.org/dc/elements/1.1/}title")), ""))
        except ParseFailed:
            return ""

    def _read_targets(self, relations: str, folder: str) -> Iterator[tuple[str, Target]]:
        for one in self.xml(relations):
            if local(one) == "Relationship" and one.get("TargetMode") != "External":
                stated = unquote(one.get("Target") or "").replace("\\", "/")
                part = stated.lstrip("/") if stated.startswith("/") else posixpath.normpath(posixpath.join(folder, stated))
                yield one.get("Id", ""), Target(one.get("Type", "").rpartition("/")[2], part)


def local(element: Any) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def streamed(stream: IO[bytes], name: str, kind: str) -> Iterator[Any]:
    """The elements of a name one by one, each thrown away when the next is asked for."""
    try:
        options = {key: value for key, value in _XML.items() if key != "resolve_entities"}
        for _, element in etree.iterparse(stream, events=("end",), tag=f"{{*}}{name}", resolve_entities=False, **options):
            yield element
            element.clear()
            while (before := element.getprevious()) is not None:
                element.getparent().remove(before)
    except etree.XMLSyntaxError as exc:
        raise refusals.broken(kind) from exc
