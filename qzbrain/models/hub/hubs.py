"""The hubs that models come from: ModelScope, Hugging Face, and their mirrors. Where a file is, how large, and which hash the hub tells.

Nothing is asked before somebody runs a command that says so.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import urllib3

from qzbrain.errors import Unavailable
from qzbrain.settings import Settings

_TIMEOUT = urllib3.Timeout(connect=10, read=30)
_LIST_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """A file on a hub. `size_bytes` 0 and `sha256` '' for what the hub does not tell. `headers` go to the hub alone, not to where it redirects."""

    hub: str
    url: str
    size_bytes: int = 0
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Hub(Protocol):
    """One hub."""

    name: str

    def source(self, repository: str, file: str, revision: str) -> Source:
        """Where this file is. Raises Unavailable: the hub cannot be reached, or has no such file."""


class ModelScope:
    """modelscope.cn, or what MODELSCOPE_ENDPOINT names."""

    name = "modelscope"

    def __init__(self, endpoint: str, http: urllib3.PoolManager) -> None:
        self._endpoint, self._http = endpoint.rstrip("/"), http

    def source(self, repository: str, file: str, revision: str) -> Source:
        """See `Hub.source`. Its revisions are its own: the default branch is taken, and the hash decides whether that is the file."""
        base = f"{self._endpoint}/api/v1/models/{quote(repository)}/repo"
        listed = _json(self._http, f"{base}/files?{urlencode({'Revision': 'master', 'Recursive': 'true'})}", {})
        files = (listed.get("Data") or {}).get("Files") or [] if isinstance(listed, dict) else []
        for one in files:
            if one.get("Path") == file:
                url = f"{base}?{urlencode({'Revision': 'master', 'FilePath': file})}"
                return Source(self.name, url, int(one.get("Size") or 0), str(one.get("Sha256") or "").lower())
        raise _no_file(self._endpoint, repository, file)


class HuggingFace:
    """huggingface.co, or the mirror that HF_ENDPOINT names."""

    name = "huggingface"

    def __init__(self, endpoint: str, token: str, http: urllib3.PoolManager) -> None:
        self._endpoint, self._http = endpoint.rstrip("/"), http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def source(self, repository: str, file: str, revision: str) -> Source:
        """See `Hub.source`."""
        listed = _json(self._http, f"{self._endpoint}/api/models/{quote(repository)}/tree/{quote(revision)}?recursive=true", self._headers)
        for one in listed if isinstance(listed, list) else []:
            if one.get("path") == file:
                kept = one.get("lfs") or {}
                url = f"{self._endpoint}/{quote(repository)}/resolve/{quote(revision)}/{quote(file)}"
                return Source(self.name, url, int(kept.get("size") or one.get("size") or 0), str(kept.get("oid") or "").lower(), self._headers)
        raise _no_file(self._endpoint, repository, file)


def hubs(settings: Settings, http: urllib3.PoolManager, chosen: str = "auto") -> list[Hub]:
    """The hubs in the order in which they are tried: ModelScope, then Hugging Face; one alone when it is chosen by name."""
    made: list[Hub] = [ModelScope(settings.modelscope_endpoint, http), HuggingFace(settings.hf_endpoint, settings.hf_token, http)]
    return [hub for hub in made if chosen in ("auto", hub.name)]


def http_pool(*, at_once: int = 1) -> urllib3.PoolManager:
    """Connections, so many kept for each host, through the proxy that the environment names (https_proxy, http_proxy)."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("http")
    return urllib3.ProxyManager(proxy, timeout=_TIMEOUT, maxsize=at_once) if proxy else urllib3.PoolManager(timeout=_TIMEOUT, maxsize=at_once)


def refused(where: str, status: int) -> Unavailable:
    """The error for an HTTP status that no second try will change, or that many tries did not."""
    if status in (401, 403):
        return Unavailable(
            "hub_refused",
            zh=f"{where} 拒绝访问（HTTP {status}）。若该模型需要授权，请在其网页上同意许可，并设置 HF_TOKEN。",
            en=f"{where} refused access (HTTP {status}). Where the model wants it, accept its licence on its page and set HF_TOKEN.",
        )
    if status == 404:
        return Unavailable("hub_no_file", zh=f"{where} 没有这个文件（HTTP 404）。", en=f"{where} has no such file (HTTP 404).")
    return unreachable(where, f"HTTP {status}")


def unreachable(where: str, why: str) -> Unavailable:
    """The error for a hub that cannot be reached or does not work."""
    return Unavailable(
        "hub_unreachable",
        zh=f"无法从 {where} 下载：{why}。请检查网络与代理（https_proxy）；可用 HF_ENDPOINT 指定镜像；离线时请用 qzbrain model import 导入文件。",
        en=f"Cannot download from {where}: {why}. Check the network and the proxy (https_proxy); HF_ENDPOINT names a mirror; without a network bring "
        "the file here and run: qzbrain model import FILE",
        retry_after_s=60,
    )


def _json(http: urllib3.PoolManager, url: str, headers: Mapping[str, str]) -> Any:
    where = urllib3.util.parse_url(url).host or url
    try:
        with http.request("GET", url, headers=dict(headers), preload_content=False, retries=urllib3.Retry(total=3, backoff_factor=0.3)) as reply:
            if reply.status != 200:
                raise refused(where, reply.status)
            return json.loads(reply.read(_LIST_BYTES))
    except (urllib3.exceptions.HTTPError, ValueError) as exc:
        raise unreachable(where, str(getattr(exc, "reason", exc))[:200]) from exc


def _no_file(endpoint: str, repository: str, file: str) -> Unavailable:
    return Unavailable("hub_no_file", zh=f"{endpoint} 的 {repository} 中没有 {file}。", en=f"{repository} at {endpoint} has no {file}.")
