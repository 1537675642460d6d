"""config.toml gets a model's table, and nothing else in it changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from qzbrain.errors import Conflict, SettingsInvalid
from qzbrain.models.hub.configured import write

VALUES = {"kind": "embedding", "engine": "llamacpp", "on_demand": True, "context": 1024, "query_prefix": 'Instruct: "x"\nQuery:', "path": "m/数据.gguf"}
BEFORE = """# 我的配置
log_level = "debug"   # keep

[models.other]
engine = "external"
base_url = "http://127.0.0.1:8001/v1"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "data" / "config.toml"


@pytest.mark.parametrize("name", ["Qwen3-4B", "bge.m3", "启智"])
@pytest.mark.parametrize("before", ["", BEFORE, BEFORE.rstrip("\n")])
def test_the_table_is_added_and_the_rest_stays(config: Path, name: str, before: str) -> None:
    if before:
        config.parent.mkdir()
        config.write_text(before, encoding="utf-8")
    assert write(config, name, VALUES)
    text = config.read_text(encoding="utf-8")
    assert text.startswith(before)
    found = tomllib.loads(text)
    assert found["models"][name] == VALUES
    assert tomllib.loads(before).items() <= {**found, "models": tomllib.loads(before).get("models")}.items() or not before
    assert write(config, name, VALUES) is False
    assert config.read_text(encoding="utf-8") == text


def test_a_new_file_is_for_its_owner_alone_and_an_old_one_keeps_its_rights(config: Path) -> None:
    write(config, "m", VALUES)
    assert config.stat().st_mode & 0o777 == 0o600
    config.chmod(0o640)
    write(config, "n", VALUES)
    assert config.stat().st_mode & 0o777 == 0o640


def test_a_table_with_another_path_is_left_alone_unless_forced(config: Path) -> None:
    config.parent.mkdir()
    mine = '[models."bge.m3"]  # mine\nengine = "llamacpp"\npath = "old.gguf"  # old\nslots = 7\n'
    config.write_text(f'{BEFORE}\n{mine}\n[models.last]\nengine = "extractive"\n')
    with pytest.raises(Conflict) as refused:
        write(config, "bge.m3", VALUES)
    assert refused.value.code == "model_configured" and "old.gguf" in refused.value.en
    assert write(config, "bge.m3", VALUES, force=True)
    found = tomllib.loads(config.read_text(encoding="utf-8"))["models"]
    assert found["bge.m3"] == {"engine": "llamacpp", "path": "m/数据.gguf", "slots": 7}
    assert found["last"] == {"engine": "extractive"}
    assert "# keep" in config.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["log_level = ", 'models = {m = {engine = "llamacpp", path = "a"}}\n'])
def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(SettingsInvalid):
        write(config, "m", VALUES, force=True)
    assert config.read_text() == text
