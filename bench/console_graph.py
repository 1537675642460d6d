"""How smooth the Graph page is at 2,000 nodes, in Chromium without a graphics card: python -m bench.console_graph [--nodes 2400] [--seconds 4]

A brain of its own with a made-up graph whose degrees are unequal as real ones are. The neighbourhoods of some entities, together nearly all of
it, are shown; then frames are timed while the layout runs, while the picture is dragged, and while it is zoomed; and every task of the page
that took over 50 ms is told.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "console")]

from graphs import entity, load  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from server import Server, wait_until  # noqa: E402

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]

WATCH = """() => {
  window.frames_ms = []; window.long_ms = [];
  new PerformanceObserver((list) =>
    list.getEntries().forEach((one) => long_ms.push([one.startTime, one.duration]))).observe({ type: "longtask", buffered: true });
  let last = performance.now();
  const look = (now) => { frames_ms.push([now, now - last]); last = now; requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
DRAG = """async ([seconds, kind]) => {
  const canvas = document.querySelector(".graph-canvas canvas"), box = canvas.getBoundingClientRect();
  const fire = (type, x, y, more) => canvas.dispatchEvent(new (type === "wheel" ? WheelEvent : PointerEvent)(type,
    { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true, cancelable: true, ...more }));
  canvas.setPointerCapture = () => {};
  const end = performance.now() + 1000 * seconds;
  const drawn = [];
  if (kind === "drag") fire("pointerdown", 40, 40);
  for (let n = 0; performance.now() < end; n++) {
    if (kind === "drag") fire("pointermove", 40 + 120 * (1 - Math.cos(n / 20)), 40 + 80 * Math.sin(n / 20));
    else fire("wheel", 300, 200, { deltaY: Math.sin(n / 15) * 40 });
    await new Promise(requestAnimationFrame);
    drawn.push(Number(canvas.dataset.drawn));
  }
  if (kind === "drag") fire("pointerup", 40, 40);
  return drawn;
}"""


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2400)
    parser.add_argument("--seconds", type=float, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        try:
            server.make_base("big", "Big", {})
            load(server, "big", triples(given.nodes))
            roots = ".".join(entity(server, "big", f"E{n}") for n in range(0, given.nodes, given.nodes // 58))
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            url = f"{server.url}/graph/big?entity={roots.split('.')[0]}&open={roots}&depth=3&limit=2000"
            print(json.dumps(measured(page, url, given.seconds), ensure_ascii=False, indent=2))
        finally:
            server.stop()


def triples(nodes: int) -> str:
    """1.6 links a node; each new node hangs on two that are the likelier the more hang on them already, short of those that are not walked through."""
    dice = random.Random(11)
    ends = [0]
    rows = ["head,relation,tail,head_type,tail_type"]
    degree = [0] * nodes
    for n in range(1, nodes):
        for _ in range(1 if n % 5 < 2 else 2):
            other = dice.choice(ends) if n > 40 else 0
            while degree[other] > 150 or other == n:
                other = dice.choice(ends)
            degree[other] += 1
            degree[n] += 1
            ends += [other, n]
            rows.append(f"E{other},关系{n % 12},E{n},类型{other % 9},类型{n % 9}")
    return "\n".join(rows) + "\n"


def measured(page: Page, url: str, seconds: float) -> dict[str, Any]:
    """Frame times (ms) of the page in its phases."""
    page.add_init_script(f"({WATCH})()")
    page.goto(url)
    wait_until(lambda: page.evaluate("Number(document.querySelector('.graph-picture')?.dataset.nodes || 0)") > 500, 60)
    begun = page.evaluate("performance.now()")
    page.wait_for_selector("[data-layout=still]", timeout=120_000)
    still = page.evaluate("performance.now()")
    found: dict[str, Any] = {"nodes": count(page, "nodes"), "links": count(page, "links"), "layout_s": round((still - begun) / 1000, 2)}
    found["layout"] = frames(page, begun, still)
    for kind in ("drag", "zoom"):
        start = page.evaluate("performance.now()")
        drawn = page.evaluate(DRAG, [seconds, kind])
        found[kind] = frames(page, start, page.evaluate("performance.now()")) | {"drawing_p50": quantile(drawn, 0.5), "drawing_p95": quantile(drawn, 0.95)}
    found["long_tasks_ms"] = [round(took) for at, took in page.evaluate("long_ms") if at >= begun]
    found["long_tasks_before_ms"] = [round(took) for at, took in page.evaluate("long_ms") if at < begun]
    return found


def count(page: Page, what: str) -> int:
    return int(page.get_attribute(".graph-picture", f"data-{what}") or 0)


def frames(page: Page, start: float, end: float) -> dict[str, float]:
    took = [ms for at, ms in page.evaluate("frames_ms") if start < at <= end]
    return {"frames": len(took), "p50": quantile(took, 0.5), "p95": quantile(took, 0.95), "max": quantile(took, 1.0)}


def quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1) if values else 0.0


if __name__ == "__main__":
    main()
