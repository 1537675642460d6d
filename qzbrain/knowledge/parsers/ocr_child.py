"""The process that recognises text in pictures: pictures in on standard input, lines out on standard output.

Run by the Python of `.venv-ocr`, which need not have anything of qzbrain: only the standard library, rapidocr and what comes with it are
imported. Argument: threads. A request is a line of JSON (`size_bytes`; of a bitmap `width`, `height`, `stride`, `channels`; of an image file
`frame`) and that many bytes; the answer is a line of JSON: `lines` as [text, left, top, right, bottom], `width` and `height` of the picture as it
was read, `frames` of the file; or `error`. It ends with its standard input or its parent.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

_PR_SET_PDEATHSIG = 1
_MEMORY_BYTES = 3 << 30
_NICE = 12
"""Answers, and the reading of documents with text, come first."""
_MOST_PIXELS = 100_000_000
_LONGEST_SIDE = 1900
_LEAST_SCORE = 0.5
_LIMIT_SIDE = 1280
"""Side at which text is looked for: 99.3% of the characters of a page were read (2026-11); at the default, 81.7%. The shorter side of a small picture,
the longer of a page: there its lines are found as well, in half the time (.996 and .995 of the characters of four pages; 2026-11)."""
_PAGE_SIDE = 1600
_TALL = 1.5
_TALL_SHARE = 0.6
_LEAST_LINES = 2
_POOR_SCORE = 0.8
"""On average: upright pages score .99, those upside down .4 to .7 (2026-11)."""


def main() -> None:
    """Serve until there is nobody to serve."""
    parent = os.getppid()
    _confine()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    engine = _engine(max(int(sys.argv[1]), 1))
    while os.getppid() == parent and (line := requests.readline()):
        request = json.loads(line)
        data = requests.read(request["size_bytes"])
        if len(data) < request["size_bytes"]:
            return
        try:
            answer = _answer(engine, request, data)
        except Exception as exc:  # noqa: BLE001 - the edge of this process: a picture that cannot be read is an answer
            answer = {"error": repr(exc)[:300]}
        _write(answers, answer)


def _confine() -> None:
    """The process that starts us has little memory; the models need more. Neither may write a file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.nice(_NICE)


def _engine(threads: int) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is imported: else it tells its maker of each process and session (from 1.29 on, on Linux too)
    import onnxruntime

    usual = onnxruntime.SessionOptions

    def patient() -> Any:
        """Threads that wait asleep: spinning takes a third more of the processor, and takes it from answers."""
        options = usual()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    onnxruntime.SessionOptions = patient
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_rec import TextRecOutput

    pool = ThreadPoolExecutor(threads)

    class LineByLine(RapidOCR):  # type: ignore[misc, unused-ignore]
        """Recognises lines on their own, several at a time on a thread each.

        In batches the shorter are filled up to the longest; and two threads within a model are half again as fast as one, not twice (2026-11).
        """

        def lines(self, picture: Any) -> Any:
            """What stands in a picture."""
            kind = "max" if max(picture.shape[:2]) >= _PAGE_SIDE else "min"
            self.cfg.Det.limit_type = kind  # read when the detector is loaded, with the first picture
            if self.text_det is not None:
                self.text_det.limit_type = kind
            return self(picture)

        def recognize_txt(self, img: list[Any]) -> Any:
            self.cfg.EngineConfig.onnxruntime.intra_op_num_threads = 1  # read when the model is loaded, which is now; the detector has its own by now
            lines = list(pool.map(lambda line: super(LineByLine, self).recognize_txt([line]), img))
            return TextRecOutput(
                imgs=img,
                txts=tuple(line.txts[0] for line in lines),
                scores=[line.scores[0] for line in lines],
                word_results=tuple(line.word_results[0] for line in lines),
                elapse=0.0,
            )

    return LineByLine(
        params={
            "Global.log_level": "error",
            "Global.max_side_len": _LONGEST_SIDE,
            "Global.text_score": 0.0,
            "Global.use_cls": False,  # it turns upright lines over now and then: 780 characters instead of 842 on one page
            "Det.limit_side_len": _LIMIT_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


def _answer(engine: Any, request: dict[str, Any], data: bytes) -> dict[str, Any]:
    import numpy as np

    picture, frames = _bitmap(request, data) if "width" in request else _frame(request["frame"], data)
    best = _Seen(engine, picture)
    if best.on_its_side:
        turned = [_Seen(engine, np.ascontiguousarray(np.rot90(picture, quarter))) for quarter in (1, 3)]
        side = max(turned, key=lambda seen: seen.worth)  # lines on their side may be read well, but their order is lost
        best = side if side.worth > 0.7 * best.worth else best
    elif best.boxes >= _LEAST_LINES and best.score < _POOR_SCORE:
        best = max(best, _Seen(engine, np.ascontiguousarray(np.rot90(picture, 2))), key=lambda seen: seen.score)
    return {"lines": best.lines, "width": best.width, "height": best.height, "frames": frames}


class _Seen:
    """Lines of a picture as [text, left, top, right, bottom], and how far they can be trusted."""

    def __init__(self, engine: Any, picture: Any) -> None:
        self.height, self.width = int(picture.shape[0]), int(picture.shape[1])
        self.lines: list[list[Any]] = []
        self.score = self.worth = 0.0
        self.on_its_side = False
        self.boxes = 0
        result = engine.lines(picture)
        if result is None or result.txts is None:
            return
        tall = 0
        self.boxes = len(result.txts)
        for text, box, score in zip(result.txts, result.boxes, result.scores, strict=True):
            xs, ys = [float(p[0]) for p in box], [float(p[1]) for p in box]
            tall += max(ys) - min(ys) > _TALL * (max(xs) - min(xs))
            self.score += float(score) / len(result.txts)
            if score >= _LEAST_SCORE and text.strip():
                self.lines.append([text, min(xs), min(ys), max(xs), max(ys)])
                self.worth += float(score) * len(text)
        self.on_its_side = tall > _TALL_SHARE * len(result.txts)


def _bitmap(request: dict[str, Any], data: bytes) -> tuple[Any, int]:
    """Pixels in the order blue, green, red."""
    import numpy as np

    width, height, stride, channels = (request[name] for name in ("width", "height", "stride", "channels"))
    rows = np.frombuffer(data, dtype=np.uint8).reshape(height, stride)
    return np.ascontiguousarray(rows[:, : width * channels].reshape(height, width, channels)[:, :, :3]), 1


def _frame(index: int, data: bytes) -> tuple[Any, int]:
    """A frame of an image file, upright, on white; and how many frames there are (an animation counts as one)."""
    import numpy as np
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError("too many pixels")
        frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if index:
            image.seek(index)
        image.draft("RGB", (_LONGEST_SIDE, _LONGEST_SIDE))
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            upright = upright.point(lambda value: value / 256).convert("L")
        upright = upright.convert("RGBA")
        upright.thumbnail((2 * _LONGEST_SIDE, 2 * _LONGEST_SIDE))
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright)
        return np.ascontiguousarray(np.asarray(paper.convert("RGB"))[:, :, ::-1]), frames


if __name__ == "__main__":
    main()
