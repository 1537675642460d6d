"""Wheels on a Python package index (the simple API of PEP 503), by the hashes that the locked requirements allow. What was seen is kept."""

from __future__ import annotations

import configparser
import html
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

import urllib3

from qzbrain.errors import Unavailable
from qzbrain.ops.bundle.requirements import Pin

_LINK = re.compile(r"""<a\s[^>]*?href=["']([^"']+)["']""", re.IGNORECASE)
_CONFIGURATIONS = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A wheel on the index."""

    name: str
    url: str
    sha256: str


class Index:
    """One index. Pages are kept by package and version: what a lock allows of a version does not change."""

    def __init__(self, url: str, http: urllib3.PoolManager, cache: Path) -> None:
        parts = urlsplit(url)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        name, _, password = parts.netloc.rpartition("@")[0].partition(":")
        self.headers: Mapping[str, str] = urllib3.make_headers(basic_auth=f"{unquote(name)}:{unquote(password)}") if name else {}
        self._http, self._cache = http, cache / "pages"

    def wheels(self, pin: Pin) -> list[WheelFile]:
        """The wheels of this version that the lock allows. Raises Unavailable (`index_unreachable`)."""
        kept = self._cache / f"{pin.name}-{pin.version}.json"
        if kept.exists():
            found = [WheelFile(**one) for one in json.loads(kept.read_text(encoding="utf-8"))]
            found = [one for one in found if one.sha256 in pin.hashes]
            if found:
                return found
        found = self._asked(pin)
        self._cache.mkdir(parents=True, exist_ok=True)
        new = kept.with_name(f"{kept.name}.{os.getpid()}")
        new.write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")
        new.replace(kept)
        return found

    def _asked(self, pin: Pin) -> list[WheelFile]:
        page = f"{self.url}/{pin.name}/"
        try:
            reply = self._http.request("GET", page, headers={**self.headers, "Accept": "text/html"}, retries=urllib3.Retry(total=4, backoff_factor=0.5))
        except urllib3.exceptions.HTTPError as exc:
            raise unreachable(self.url, str(getattr(exc, "reason", exc))[:200]) from exc
        if reply.status != 200:
            raise unreachable(self.url, f"HTTP {reply.status}: {pin.name}")
        base = urljoin(page, reply.geturl() or page)
        found = []
        for link in _LINK.findall(reply.data.decode("utf-8", "replace")):
            url, fragment = urldefrag(urljoin(base, html.unescape(link)))
            name = unquote(url.rpartition("/")[2])
            digest = fragment.removeprefix("sha256=")
            if name.endswith(".whl") and digest in pin.hashes:
                found.append(WheelFile(name, url, digest))
        return found


def index_url() -> str:
    """The index that pip or uv would use: environment, then pip's configuration, then PyPI."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if value := os.environ.get(name):
            return value
    files = [os.environ.get("PIP_CONFIG_FILE") or "", *reversed(_CONFIGURATIONS)]
    for file in files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(Path(file).expanduser() if file else [], encoding="utf-8")
        except configparser.Error:
            continue
        if value := parser.get("global", "index-url", fallback=""):
            return value
    return "https://pypi.org/simple"


def unreachable(where: str, why: str) -> Unavailable:
    """The error for an index that cannot be reached or does not have what is wanted."""
    return Unavailable(
        "index_unreachable",
        zh=f"无法从软件包索引 {where} 取得文件：{why}。请检查网络与代理，或用 PIP_INDEX_URL 指向可用的镜像，再运行一次（已下载的会保留）。",
        en=f"The package index {where} could not give a file: {why}. Check the network and the proxy, or point PIP_INDEX_URL at a mirror, and run this "
        "again (what was fetched is kept).",
        retry_after_s=60,
    )
