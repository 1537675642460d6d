"""EPUB books: the chapters in reading order as one text, named by the table of contents where they have no heading of their own.

Container, package document, spine; of EPUB 2 and 3. Each chapter is a web page and read as one. Pictures and styles are ignored.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import html, refusals
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.text.decode import decode

_MIME = "application/epub+zip"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_FONTS_ONLY = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Ways of hiding fonts; a book that hides nothing else is readable."""
_PAGE_TYPES = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"))


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """One heading or more a chapter. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    check_archive(source.data, "EPUB", limits)
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            return _Book(archive, source, limits).read()
    except ParseFailed:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as exc:
        raise refusals.broken("EPUB") from exc


class _Book:
    """An open book."""

    def __init__(self, archive: zipfile.ZipFile, source: Source, limits: ParseLimits) -> None:
        self._archive, self._source, self._limits = archive, source, limits
        self._names = frozenset(archive.namelist())
        self._builder = TextBuilder(limits)

    def read(self) -> ParsedDocument:
        if _ENCRYPTION in self._names:
            self._refuse_locked()
        package_path = next((x.get("full-path", "") for x in _all(self._xml(_CONTAINER), "rootfile")), "")
        package = self._xml(package_path)
        folder = posixpath.dirname(package_path)
        items = {x.get("id", ""): x for x in _all(package, "item")}
        spine = [items[x.get("idref", "")] for x in _all(package, "itemref") if x.get("idref", "") in items]
        contents = self._contents(folder, items.values())
        seen: set[str] = set()
        for done, item in enumerate(spine):
            path = _joined(folder, item.get("href", ""))
            properties = (item.get("properties") or "").split()
            if path in self._names and path not in seen and item.get("media-type") in _PAGE_TYPES and "nav" not in properties:
                seen.add(path)
                self._chapter(path, contents.get(path, ""))
            self._source.progress(done + 1, len(spine), "pages")
        if not seen:
            raise refusals.broken("EPUB")
        title = next((clean_title(x.text or "") for x in _all(package, "title") if x.text), "")
        return ParsedDocument(self._builder.text(), tuple(self._builder.blocks), title or self._source.stem, _MIME)

    def _chapter(self, path: str, name: str) -> None:
        markup = decode(self._archive.read(path)).text
        if not markup.lstrip().startswith("<?xml"):
            markup = '<?xml version="1.0"?>' + markup  # its elements may be closed as in XML
        chapter = TextBuilder(self._limits)
        html.write(markup, chapter, self._limits, whole=True)
        text = chapter.text()
        if name and text and not any(block.heading_level for block in chapter.blocks[:3]):
            self._builder.add(name, heading_level=1)
        end = 0
        for block in chapter.blocks:
            gap = block.start - end if end else 2
            self._builder.add(text[block.start : block.end], heading_level=block.heading_level, kind=block.kind, gap=gap)
            end = block.end

    def _contents(self, folder: str, items: Any) -> dict[str, str]:
        """Chapter names by path, of the first entry that leads to each: from the navigation page or the older NCX."""
        names: dict[str, str] = {}
        for item in items:
            path = _joined(folder, item.get("href", ""))
            navigation = "nav" in (item.get("properties") or "").split()
            if path not in self._names or not (navigation or item.get("media-type") == "application/x-dtbncx+xml"):
                continue
            base = posixpath.dirname(path)
            try:
                root = self._xml(path)
            except ParseFailed:
                continue  # a book without its table of contents is still a book
            for entry in _all(root, "a" if navigation else "navPoint"):
                label = entry if navigation else next(iter(_all(entry, "text")), entry)
                target = entry.get("href", "") if navigation else next((x.get("src", "") for x in _all(entry, "content")), "")
                names.setdefault(_joined(base, target), clean_title("".join(label.itertext())))
        return names

    def _refuse_locked(self) -> None:
        methods = {x.get("Algorithm", "") for x in _all(self._xml(_ENCRYPTION), "EncryptionMethod")}
        if methods - set(_FONTS_ONLY):
            raise refusals.locked_book()

    def _xml(self, path: str) -> Any:
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
        try:
            root = etree.fromstring(self._archive.read(path), parser)
        except etree.XMLSyntaxError as exc:
            raise refusals.broken("EPUB") from exc
        if root is None:
            raise refusals.broken("EPUB")
        return root


def _all(root: Any, name: str) -> list[Any]:
    """Elements of that name in any namespace, in order."""
    return list(root.iter(f"{{*}}{name}"))


def _joined(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
