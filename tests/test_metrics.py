"""Counters of several processes in one: what workers write down, and what becomes of it when they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from qzbrain import metrics
from tests.running import ROOT, wait_for

COUNTING = """
import sys, threading
from pathlib import Path
from qzbrain import metrics
metrics.PAGES_READ.inc(7)
metrics.DOCUMENTS_READ.labels("pdf", "read").inc(2)
metrics.SEARCH_SECONDS.observe(0.003)
end = metrics.share(Path(sys.argv[1]))
sys.stdin.readline()
metrics.PAGES_READ.inc(1)
end()
"""


class _Nothing:
    def collect(self) -> list[object]:
        return []


def shown(data: Path) -> dict[str, float]:
    """By name with labels, as /metrics has it."""
    text = generate_latest(metrics.scraped(_Nothing(), data)).decode()  # type: ignore[arg-type]
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            assert (sample.name, labels) not in found
            found[sample.name, labels] = sample.value
    return {f"{name}{{{labels}}}": value for (name, labels), value in found.items()}


def test_what_a_worker_counts_is_in_the_sums_while_it_lives_and_no_longer(tmp_path: Path) -> None:
    before = shown(tmp_path)
    worker = subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)], stdin=subprocess.PIPE, cwd=ROOT)
    try:
        (path,) = wait_for(lambda: metrics.workers_counting(tmp_path), "its file", 20)
        assert path.name.endswith(f"-{worker.pid}.prom")
        metrics.PAGES_READ.inc(5)
        metrics.SEARCH_SECONDS.observe(0.003)
        now = shown(tmp_path)
        assert now["qzbrain_pages_read_total{}"] - before["qzbrain_pages_read_total{}"] == 12
        assert now["qzbrain_documents_read_total{result=read,type=pdf}"] - before.get("qzbrain_documents_read_total{result=read,type=pdf}", 0) == 2
        for sample in ("qzbrain_search_seconds_count{}", "qzbrain_search_seconds_bucket{le=0.005}", "qzbrain_search_seconds_bucket{le=+Inf}"):
            assert now[sample] - before[sample] == 2
        assert now["qzbrain_search_seconds_bucket{le=0.002}"] == before["qzbrain_search_seconds_bucket{le=0.002}"]
    finally:
        worker.communicate(b"\n", 20)
    assert shown(tmp_path)["qzbrain_pages_read_total{}"] - before["qzbrain_pages_read_total{}"] == 13  # what it counted last is there
    long_ago = time.time() - metrics.FRESH_S - 1
    os.utime(path, (long_ago, long_ago))
    assert metrics.workers_counting(tmp_path) == []
    assert shown(tmp_path)["qzbrain_pages_read_total{}"] - before["qzbrain_pages_read_total{}"] == 5


def test_a_file_that_is_none_of_ours_spoils_nothing_and_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / metrics.SHARED_FOLDER
    folder.mkdir(parents=True)
    (folder / "nonsense.prom").write_bytes(b"\xff\xfe nonsense {\n")
    old = folder / "old-1.prom"
    old.write_text("qzbrain_pages_read_total 1000000.0\n")
    days = time.time() - 3 * 86_400
    os.utime(old, (days, days))
    assert shown(tmp_path)["qzbrain_pages_read_total{}"] < 1_000_000
    metrics.share(tmp_path)()
    assert not old.exists()
    assert len(metrics.workers_counting(tmp_path)) == 2


def test_all_are_in_the_one_registry() -> None:
    assert isinstance(metrics.REGISTRY, CollectorRegistry)
    names = {family.name for family in metrics.REGISTRY.collect()}
    assert all(name.startswith("qzbrain_") for name in names)
