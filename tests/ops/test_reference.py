"""What people read about the settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from qzbrain.ops.reference import MASK, effective, page, template
from qzbrain.settings import Settings, load_settings


def test_effective_values_have_origins_and_masked_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text("log_level = 'debug'\n[models.a]\nengine = 'external'\nbase_url = 'http://127.0.0.1:1/v1'\napi_key = 'hunter2'\n")
    monkeypatch.setenv("QZBRAIN_CONFIG", str(config))
    monkeypatch.setenv("MYSQL_PASSWORD", "hunter3")
    rows = {row.name: row for row in effective(load_settings())}
    assert (rows["log_level"].value, rows["log_level"].origin) == ("debug", str(config))
    assert (rows["mysql_password"].value, rows["mysql_password"].origin) == (MASK, "environment")
    assert rows["models.a.api_key"].value == MASK
    assert (rows["redis_password"].value, rows["redis_password"].origin) == ("", "default")
    assert not any("hunter" in row.value for row in rows.values())


def test_the_template_changes_nothing_until_a_line_is_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tomllib.loads(template()) == {}
    config = tmp_path / "config.toml"
    config.write_text("\n".join(line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in template().splitlines()))
    monkeypatch.setenv("QZBRAIN_CONFIG", str(config))
    loaded, default = load_settings(), Settings()
    assert list(loaded.models) == ["qwen"]
    assert loaded.model_dump(exclude={"models"}) == default.model_dump(exclude={"models"}) | {"qzbrain_config": config}


def test_every_setting_is_on_the_page() -> None:
    text = page()
    for name in Settings.model_fields:
        assert f"| `{name if name == 'models' else name.upper()}` |" in text
