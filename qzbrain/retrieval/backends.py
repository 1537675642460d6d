"""The search backends by name, each imported when it is chosen. An address is what chooses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from qzbrain.retrieval.base import SearchIndex
from qzbrain.retrieval.vectors import VectorIndex
from qzbrain.settings import Settings

BACKENDS = {"embedded": "qzbrain.retrieval.embedded.lexical:at_home", "elastic": "qzbrain.retrieval.elastic.index:ElasticIndex"}
"""What makes each of them from the settings."""
VECTORS = {"embedded": "qzbrain.retrieval.embedded.vectors:at_home", "elastic": "qzbrain.retrieval.elastic.vectors:ElasticVectors"}
"""The vector store that goes with each of them."""


def chosen(settings: Settings) -> str:
    """The backend's name: `elastic` when ES_URL_ADD is set."""
    return "elastic" if settings.es_addresses else "embedded"


def search_index(settings: Settings) -> SearchIndex:
    """The backend that the settings choose."""
    made: SearchIndex = _maker(BACKENDS[chosen(settings)])(settings)
    return made


def vector_index(settings: Settings) -> VectorIndex:
    """The vector store that the settings choose."""
    made: VectorIndex = _maker(VECTORS[chosen(settings)])(settings)
    return made


def _maker(named: str) -> Callable[[Settings], Any]:
    module, _, name = named.partition(":")
    make: Callable[[Settings], Any] = getattr(import_module(module), name)
    return make
