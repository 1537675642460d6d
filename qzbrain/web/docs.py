"""/openapi.json, and /docs: the same as one page of plain HTML, made here, so that it needs neither script nor network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

from flask import Response, current_app
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.web.responses import reply

_STYLE = (
    "body{font:15px/1.7 system-ui,'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c1f24;background:#fff}code,pre{font-family:ui-monospace,monospace;font-size:13px}h2{margin-top:2.5rem}"
    "details{border:1px solid #d8dce2;border-radius:8px;margin:8px 0;padding:8px 12px}summary{cursor:pointer}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;border-top:1px solid #e5e8ec;padding:4px 8px 4px 0}b.m{display:inline-block;min-width:4.5em}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#16181c}details{border-color:#363b43}td,th{border-color:#2b2f36}}"
)


def routes(_brain: Brain) -> APIBlueprint:
    """The routes of this module."""
    api = APIBlueprint("docs", __name__, abp_tags=[Tag(name="documentation")])

    @api.get("/openapi.json", responses={"200": {"content": {"application/json": {"schema": {"type": "object"}}}}})
    def openapi() -> Response:
        """This description."""
        return reply(_specification())

    @api.get("/docs", responses={"200": {"content": {"text/html": {"schema": {"type": "string"}}}}})
    def reference() -> Response:
        """The API as a page to read."""
        return Response(_page(), mimetype="text/html", headers={"Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'"})

    @api.get("/docs/style.css", responses={"200": {"content": {"text/css": {"schema": {"type": "string"}}}}})
    def style() -> Response:
        """The look of /docs."""
        return Response(_STYLE, mimetype="text/css", headers={"Cache-Control": "max-age=3600"})

    return api


def _specification() -> dict[str, Any]:
    described: dict[str, Any] = current_app.api_doc  # type: ignore[attr-defined]
    described.get("components", {}).pop("securitySchemes", None)  # null would not be a valid description
    return described


@cache
def _page() -> str:
    return "".join(_html(_specification()))


def _html(described: dict[str, Any]) -> Iterator[str]:
    info = described["info"]
    yield f"<!doctype html><html lang=zh-CN><meta charset=utf-8><title>{escape(info['title'])} API</title><link rel=stylesheet href=/docs/style.css>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} <a href=/openapi.json>openapi.json</a></p>"
    schemas = described["components"]["schemas"]
    for tag in described.get("tags", []):
        yield f"<h2>{escape(tag['name'])}</h2>"
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation.get("tags", []):
                    yield from _operation(path, method, operation, schemas)
    yield "</html>"


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b class=m>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}</summary>"
    if parameters := operation.get("parameters"):
        yield from _table("Parameters", [(p["name"], p.get("schema", {}), p.get("description", "")) for p in parameters])
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _table(f"Body: {kind}", _fields(content.get("schema", {}), schemas))
    for status, response in sorted(operation.get("responses", {}).items()):
        for content in response.get("content", {}).values():
            yield from _table(f"{status}", _fields(content.get("schema", {}), schemas))
    yield "</details>"


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    known = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
    return [(name, field, field.get("description", "")) for name, field in known.get("properties", {}).items()]


def _table(title: str, rows: list[tuple[str, dict[str, Any], str]]) -> Iterator[str]:
    yield f"<p><b>{escape(title)}</b></p><table>"
    for name, schema, text in rows:
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(_type(schema))}<td>{escape(text)}"
    yield "</table>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"[{_type(schema.get('items', {}))}]"
    return str(schema.get("const", schema.get("type", "any")))
