"""docs/observability.md lists what the brain shows, and dashboard and alerts ask for nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from qzbrain import metrics
from qzbrain.chat.draft import Part
from qzbrain.stages import INGEST_STAGES, SEARCH_STAGES
from qzbrain.web.scrape import GAUGES
from tests.running import ROOT

BOARD = ROOT / "deploy" / "grafana" / "qzbrain.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
OF_PROMETHEUS = {"instance", "job"}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_WORDS = {
    "sum", "min", "max", "count", "by", "without", "rate", "increase", "histogram_quantile", "topk", "and", "or", "unless", "ignoring", "on", "group_left",
    "__rate_interval", "time",
}  # fmt: skip


def registered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """By the name that the documentation has: kind and labels."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {name: ("gauge", labels) for name, (_, labels) in GAUGES.items()}
    for collector in set(metrics.REGISTRY._collector_to_names):
        (family,) = collector.describe()  # type: ignore[attr-defined]
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, tuple(collector._labelnames))  # type: ignore[attr-defined]
    return found


def series() -> dict[str, set[str]]:
    """Every name that an expression may ask for, with its labels."""
    found = {}
    for name, (kind, labels) in registered().items():
        for suffix in _SUFFIXES[kind] if kind != "counter" else ("",):
            found[name + suffix] = {*labels, *OF_PROMETHEUS, *({"le"} if suffix == "_bucket" else set())}
    return found


def test_every_metric_is_documented_with_its_labels_and_every_documented_one_exists() -> None:
    rows = re.findall(r"^\| `(qzbrain_\w+)` \| ([\w, ]*)\| \S", (ROOT / "docs" / "observability.md").read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: tuple(label.strip() for label in labels.split(",") if label.strip()) for name, labels in rows}
    assert len(rows) == len(documented)
    assert documented == {name: labels for name, (_, labels) in registered().items()}


def test_stages_and_parts_are_documented() -> None:
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    (stages,) = re.findall(r"^\| `qzbrain_search_stage_seconds` .*$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", stages)) >= set(SEARCH_STAGES)
    (ingest,) = re.findall(r"^\| `qzbrain_ingest_stage_seconds` .*$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", ingest)) >= set(INGEST_STAGES)
    assert set(re.findall(r"^\| `(\w+)_ms` \|", text, re.MULTILINE)) == set(get_args(Part))


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what is asked."""
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable", re.sub(r"label_values\((\w+), (\w+)\)", r"sum by (\2) (\1)", variable["definition"])
    for name, expr in re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", ALERTS.read_text(encoding="utf-8")):
        yield f"alert {name}", expr


def complaints(expr: str) -> list[str]:
    """What of an expression does not fit what the brain shows."""
    known, wrong = series(), []
    pairs = {")": "(", "]": "[", "}": "{"}
    without_texts = re.sub(r'"[^"]*"', '""', expr)
    open_: list[str] = []
    for sign in without_texts:
        if sign in "([{":
            open_.append(sign)
        elif sign in pairs and (not open_ or open_.pop() != pairs[sign]):
            wrong.append("brackets")
    wrong += ["brackets"] if open_ else []
    used: set[str] = set()
    for name, matchers in re.findall(r"\b(up|qzbrain_\w+)(?:\{([^}]*)\})?", without_texts):
        if name == "up":
            continue
        if name not in known:
            wrong.append(f"no metric {name}")
            continue
        used |= known[name]
        wrong += [f"{name} has no label {label}" for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers) if label not in known[name]]
    for labels in re.findall(r"\b(?:by|without|ignoring|on) \(?([^()]*)\)|ignoring\(([^()]*)\)", without_texts):
        for label in re.findall(r"\w+", " ".join(labels)):
            wrong += [] if label in used else [f"nothing here has the label {label}"]
    rest = re.sub(r"\{[^}]*\}|\b(?:by|without|ignoring|on) ?\([^()]*\)|\[[^\]]*\]|qzbrain_\w+|\bup\b", " ", without_texts)
    wrong += [f"unknown word {word}" for word in re.findall(r"[A-Za-z_]\w*", rest) if word not in _WORDS]
    wrong += [f"no counter under rate: {name}" for name in re.findall(r"rate\((qzbrain_\w+)", expr) if not re.search(r"_(total|bucket|sum|count)$", name)]
    return wrong


def test_every_expression_asks_for_what_there_is() -> None:
    found = list(expressions())
    assert len([where for where, _ in found if where.startswith("panel")]) > 40
    assert len([where for where, _ in found if where.startswith("alert")]) == ALERTS.read_text(encoding="utf-8").count("- alert:")
    assert {where: wrong for where, expr in found if (wrong := complaints(expr))} == {}


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("sum by (rung) (rate(qzbrain_answers_total[5m]))", None),
        ("sum(rate(qzbrain_answers[5m]))", "no metric qzbrain_answers"),
        ('rate(qzbrain_answers_total{model="x"}[5m])', "qzbrain_answers_total has no label model"),
        ("sum by (model) (rate(qzbrain_answers_total[5m]))", "nothing here has the label model"),
        ("histogram_quantile(0.5, sum by (le) (rate(qzbrain_search_seconds_bucket[5m])))", None),
        ("sum(rate(qzbrain_search_seconds[5m]))", "no metric qzbrain_search_seconds"),
        ("sum(qzbrain_sockets", "brackets"),
        ("sums(qzbrain_sockets)", "unknown word sums"),
        ("rate(qzbrain_sockets[5m])", "no counter under rate: qzbrain_sockets"),
    ],
)
def test_the_check_itself_sees_what_is_wrong(expr: str, complaint: str | None) -> None:
    assert (complaint in complaints(expr)) if complaint else complaints(expr) == []


def test_every_metric_is_on_the_dashboard() -> None:
    asked = " ".join(expr for where, expr in expressions() if not where.startswith("alert"))
    assert [name for name in registered() if name not in asked] == []


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    assert board["schemaVersion"] >= 36 and board["title"] and board["uid"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], panel["title"]
            assert all(target["datasource"]["uid"] == "${datasource}" and target["refId"] for target in panel["targets"])
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(re.findall(r"\$\{?(\w+)", BOARD.read_text(encoding="utf-8"))) <= {*variables, "__rate_interval", "__all"}
    assert not re.search(r"https?://", BOARD.read_text(encoding="utf-8"))


def test_the_extra_is_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {re.split(r"[<>=]", one)[0] for one in project["project"]["optional-dependencies"]["otel"]}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements-otel.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert names <= locked
    core = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert not names & core
