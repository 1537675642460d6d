"""A brain whose knowledge is written straight into SQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from knowledge_rows import LAWS, Writer

from qzbrain.brain import Brain


@pytest.fixture
def write(brain: Brain) -> Writer:
    """Rows of knowledge in the test's brain."""
    return Writer(brain)


@pytest.fixture
def laws(write: Writer) -> Callable[[], Writer]:
    """A knowledge base `laws` with a few articles of several laws, indexed."""

    def make() -> Writer:
        for title, articles in LAWS.items():
            write.put("laws", title, articles)
        write.catch_up("laws")
        return write

    return make
