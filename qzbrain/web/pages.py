"""The console's static files. Every address of the console is the same page; its scripts decide what to show.

All assets are reached below a folder named by the hash of their contents (`/console/3f9c…/app.js`), so they may be kept for ever
and a new version is taken at once, without a build step. The page itself is never kept.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import NotFound
from qzbrain.web import schemas
from qzbrain.web.validation import validated

FOLDER = Path(__file__).parent / "console"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PAGE: Any = {"200": {"content": {"text/html": {"schema": {"type": "string"}}}}}
_VIEWS = (
    "/", "/conversations/<path:path>", "/documents/<path:path>", "/knowledge", "/knowledge/<path:path>", "/models", "/graph", "/graph/<path:path>",
    "/account", "/users", "/system", "/setup", "/password",
)  # fmt: skip
_TEXT = ("text/", "application/javascript", "image/svg+xml", "application/json")


@dataclass(frozen=True, slots=True)
class _Asset:
    data: bytes
    zipped: bytes | None
    mimetype: str


def routes(_brain: Brain) -> APIBlueprint:
    """The routes of this module."""
    api = APIBlueprint("pages", __name__, abp_tags=[Tag(name="console")])

    def page() -> Response:
        """The console: every address is the same page."""
        return _send(_index(), "no-cache")

    def view(path: schemas.ConsolePath) -> Response:
        """The console: every address is the same page."""
        return page()

    for rule in _VIEWS:
        shown = view if "<" in rule else page
        api.get(rule, responses=_PAGE, endpoint=rule.replace(".", ""))(validated(shown))

    @api.get("/console/<path:path>", responses={"200": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
    @validated
    def asset(path: schemas.ConsolePath) -> Response:
        """A file of the console."""
        version, _, name = path.path.partition("/")
        if version == _version():
            return _send(_asset(name), "public, max-age=31536000, immutable")
        return _send(_asset(path.path), "no-cache")

    return api


def _send(found: _Asset, caching: str) -> Response:
    zipped = found.zipped if "gzip" in request.headers.get("Accept-Encoding", "") else None
    response = Response(zipped or found.data, mimetype=found.mimetype)
    response.headers["Cache-Control"] = caching
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Vary"] = "Accept-Encoding"
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    if caching == "no-cache":
        response.set_etag(hashlib.sha256(found.data).hexdigest()[:32])
        response.make_conditional(request)
    return response


@cache
def _version() -> str:
    """One hash over names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _index() -> _Asset:
    data = (FOLDER / "index.html").read_bytes().replace(b'"/console/', b'"/console/' + _version().encode() + b"/")
    return _Asset(data, gzip.compress(data, 9), "text/html")


def _asset(name: str) -> _Asset:
    path = (FOLDER / name).resolve() if "\0" not in name else FOLDER
    if not path.is_relative_to(FOLDER) or not path.is_file():
        raise NotFound("file_not_found", zh="没有这个文件。", en="There is no such file.")
    return _read(path)


@cache
def _read(path: Path) -> _Asset:
    data = path.read_bytes()
    mimetype = "text/javascript" if path.suffix in (".js", ".mjs") else mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _Asset(data, gzip.compress(data, 9) if mimetype.startswith(_TEXT) else None, mimetype)
