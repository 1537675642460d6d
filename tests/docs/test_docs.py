"""The documentation agrees with the program: settings, routes, commands, links, and the examples as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

from qzbrain.brain import Brain
from qzbrain.cli.app import app as command_line
from qzbrain.ops.reference import page
from qzbrain.settings import Settings, load_settings
from tests.running import ROOT, RunningBrain

READMES = ("README.md", "README.zh-CN.md")
PAGES = {
    "/", "/console/{path}", "/conversations/{path}", "/documents/{path}", "/graph", "/graph/{path}", "/knowledge", "/knowledge/{path}", "/models",
    "/account", "/users", "/system", "/setup", "/password", "/docs/style.css",
}  # fmt: skip
"""Of the console and of /docs: not for programs."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(name), re.DOTALL)


def test_the_settings_page_is_what_the_code_gives() -> None:
    assert read("docs/settings.md") == page(), "run: make docs"


def test_every_route_is_documented_and_every_documented_route_exists(brain: Brain) -> None:
    from qzbrain.web.app import create_app

    there = set()
    for rule in create_app(brain).url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        if path not in PAGES:
            there |= {f"{method} {path}" for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
    documented = set(re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) \S+)` \|", read("docs/api.md"), re.MULTILINE))
    assert documented == there


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    def commands(group: object, prefix: str) -> Iterator[str]:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                yield from commands(command, f"{prefix} {name}")
            if not hasattr(command, "commands") or command.invoke_without_command:
                yield f"{prefix} {name}"

    there = set(commands(typer.main.get_command(command_line), "qzbrain"))
    rows = re.findall(r"^\| `(qzbrain [^`]+)` \|", read("docs/api.md"), re.MULTILINE)
    documented = {" ".join(word for word in row.split() if re.fullmatch(r"[a-z][a-z-]*", word)) for row in rows}
    assert documented == there


@pytest.mark.parametrize("name", [*READMES, *(str(x.relative_to(ROOT)) for x in (ROOT / "docs").rglob("*.md")), "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)#]+)", read(name)):
        assert target.startswith("https://") or (here / target).exists(), target


@pytest.mark.parametrize("name", READMES)
def test_the_example_of_a_model_is_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks(name, "toml")
    assert tomllib.loads(text)
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("QZBRAIN_CONFIG", str(tmp_path / "config.toml"))
    assert list(load_settings().models) == ["qwen"]


def test_both_readmes_show_the_same_examples() -> None:
    for language in ("sh", "python", "toml"):
        assert blocks(READMES[0], language) == blocks(READMES[1], language)
    for name in READMES:
        assert "    ./run.sh " in read(name)
        assert "    ./test.sh " in read(name)


def run_example(command: list[str], running_brain: RunningBrain) -> str:
    """Standard output of an example of the README, its port changed to the test's brain."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    text = [part.replace("127.0.0.1:9025", f"127.0.0.1:{running_brain.port}") for part in command]
    done = subprocess.run(text, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_example_works_as_printed(running_brain: RunningBrain) -> None:
    example = next(x for x in blocks("README.md", "sh") if x.startswith("curl"))
    reply = run_example(["bash", "-c", example], running_brain)
    assert "警告" in reply
    assert '"citations"' in reply


def test_the_sdk_example_works_as_printed(running_brain: RunningBrain) -> None:
    (example,) = blocks("README.md", "python")
    printed = run_example([sys.executable, "-c", example], running_brain)
    assert "警告" in printed
    assert "中华人民共和国行政处罚法" in printed


def test_the_command_line_example_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "purchase.txt").write_text("采购金额超过五十万元的，须经董事会批准。", encoding="utf-8")
    example = next(x for x in blocks("README.md", "sh") if "kb add" in x)
    example = example.replace(".venv/bin/qzbrain", f"{sys.executable} -m qzbrain.cli").replace("path/to/folder", str(tmp_path / "rules"))
    environment = {**os.environ, "QZBRAIN_DATA": str(tmp_path / "data")}
    done = subprocess.run(["bash", "-ec", example], capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "董事会" in done.stdout


def test_every_setting_can_be_set_by_a_documented_name(make_settings: Callable[..., Settings]) -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", read("docs/settings.md"), re.MULTILINE))
    assert {name.upper() for name in type(make_settings()).model_fields if name != "models"} <= documented
