"""The search backends by name, each imported when it is chosen. An address is what chooses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from qzbrain.retrieval.base import SearchIndex
from qzbrain.retrieval.vectors import VectorIndex
from qzbrain.settings import Settings

BACKENDS = {"embedded": "qzbrain.retrieval.embedded.lexical:at_home", "elastic": "qzbrain.retrieval.elastic.index:ElasticIndex"}
VECTOR_BACKENDS = {"embedded": "qzbrain.retrieval.embedded.vectors:at_home", "elastic": "qzbrain.retrieval.elastic.vectors:ElasticVectors"}
"""What makes each of them from the settings."""


def chosen(settings: Settings) -> str:
    """The backend's name: `elastic` when ES_URL_ADD is set."""
    return "elastic" if settings.es_addresses else "embedded"


def search_index(settings: Settings) -> SearchIndex:
    """The backend that the settings choose."""
    index: SearchIndex = _made(BACKENDS, settings)
    return index


def vector_index(settings: Settings) -> VectorIndex:
    """The vector backend that goes with it."""
    index: VectorIndex = _made(VECTOR_BACKENDS, settings)
    return index


def _made(backends: dict[str, str], settings: Settings) -> Any:
    module, _, name = backends[chosen(settings)].partition(":")
    make: Callable[[Settings], Any] = getattr(import_module(module), name)
    return make(settings)
