"""The search backends by name, each imported when it is chosen. An address is what chooses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from qzbrain.retrieval.base import SearchIndex
from qzbrain.settings import Settings

BACKENDS = {"embedded": "qzbrain.retrieval.embedded.lexical:at_home", "elastic": "qzbrain.retrieval.elastic.index:ElasticIndex"}
"""What makes each of them from the settings."""


def chosen(settings: Settings) -> str:
    """The backend's name: `elastic` when ES_URL_ADD is set."""
    return "elastic" if settings.es_addresses else "embedded"


def search_index(settings: Settings) -> SearchIndex:
    """The backend that the settings choose."""
    module, _, name = BACKENDS[chosen(settings)].partition(":")
    make: Callable[[Settings], SearchIndex] = getattr(import_module(module), name)
    return make(settings)
