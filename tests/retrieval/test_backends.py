"""The address chooses the backend, and only the chosen one is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qzbrain.retrieval.backends import BACKENDS, chosen, search_index
from qzbrain.settings import Settings
from tests.running import ROOT


@pytest.mark.parametrize(("address", "name", "made"), [("", "embedded", "TantivyIndex"), ("127.0.0.1:9200", "elastic", "ElasticIndex")])
def test_the_address_chooses(address: str, name: str, made: str, tmp_path: Path) -> None:
    settings = Settings(es_url_add=address, qzbrain_data=tmp_path)
    assert chosen(settings) == name
    assert type(search_index(settings)).__name__ == made
    assert name in BACKENDS


@pytest.mark.parametrize(("address", "absent"), [("", "opensearchpy"), ("127.0.0.1:9200", "qzbrain.retrieval.embedded")])
def test_the_other_backend_is_not_imported(address: str, absent: str, tmp_path: Path) -> None:
    code = (
        "import sys; from qzbrain.brain import build; from qzbrain.settings import load_settings; brain = build(load_settings()); "
        f"brain.index, brain.feeder, brain.retriever; sys.exit({absent!r} in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QZBRAIN_DATA": str(tmp_path), "ES_URL_ADD": address}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
