"""How fast PDF is read: pages with a text layer, and scans by OCR, each by the product's own reading child.

    python bench/parsing.py [--pages 600] [--scans 8]      scans need `./run.sh --with-ocr`; pages are made on the spot (Chinese, 30 lines each)

Prints one JSON object: pages a second of three runs each, and the largest memory of the child and what it started (MB, resident).
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import pypdfium2
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from qzbrain.errors import ParseFailed
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import ROOT, Settings

_WORDS = ("采购", "合同", "审批", "预算", "仓库", "车辆", "出差", "保密", "培训", "档案", "消防", "值班", "印章", "会议", "验收", "维修", "报销", "考勤")
_LINES, _RUNS, _DPI = 30, 3, 150


def main() -> None:
    """Make, read, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--scans", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text, scan = Path(folder) / "text.pdf", Path(folder) / "scan.pdf"
        text.write_bytes(_text(given.pages))
        scan.write_bytes(_scanned(_text(given.scans)))
        settings = Settings(qzbrain_data=Path(folder) / "data", current_dir=ROOT)
        print(json.dumps({"text": _read(settings, text, given.pages), "scans": _read(settings, scan, given.scans)}, ensure_ascii=False, indent=1))


def _text(pages: int) -> bytes:
    chance, out = random.Random(1), io.BytesIO()
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    canvas = Canvas(out, pagesize=A4)
    for page in range(pages):
        canvas.setFont("STSong-Light", 12)
        for line in range(_LINES):
            words = "".join(chance.choices(_WORDS, k=12))
            canvas.drawString(60, 780 - line * 24, f"第{page * _LINES + line + 1}条 {words}须经批准。")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _scanned(data: bytes) -> bytes:
    """The same pages as pictures."""
    document, out = pypdfium2.PdfDocument(data), io.BytesIO()
    canvas = Canvas(out, pagesize=A4)
    for page in document:
        picture = page.render(scale=_DPI / 72).to_pil().convert("L")
        canvas.drawImage(ImageReader(picture), 0, 0, *A4)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _read(settings: Settings, path: Path, pages: int) -> dict[str, object]:
    reader, rates, chars = Reader(settings), list[float](), 0
    peak = _Peak()
    try:
        for run in range(_RUNS):
            began = time.monotonic()
            request = ReadRequest(f"{path.stem}{run}", "k", path.name, 250, 50, path=path, size_bytes=path.stat().st_size)
            for _, outcome in reader.read([request], beat=lambda _: None):
                if isinstance(outcome, ParseFailed):
                    return {"refused": outcome.code, "message": outcome.en}
                chars = len(outcome.text)  # type: ignore[union-attr]
            rates.append(round(pages / (time.monotonic() - began), 2))
    finally:
        reader.close()
    return {"pages": pages, "pages_a_second": rates, "chars": chars, "peak_mb": peak.end()}


class _Peak:
    """The largest resident memory of all processes below this one."""

    def __init__(self) -> None:
        self._most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return round(self._most / 1024)

    def _watch(self) -> None:
        import os

        while not self._over.wait(0.2):
            self._most = max(self._most, sum(_resident(pid) for pid in _below(os.getpid())))


def _below(pid: int) -> list[int]:
    try:
        children = [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]
    except OSError:
        return []
    return [*children, *(one for child in children for one in _below(child))]


def _resident(pid: int) -> int:
    try:
        return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    main()
