"""Scans and images read by OCR, and what is said where it is not there."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.answers import ReadDocument
from qzbrain.knowledge.parsers import ocr
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import Settings
from tests.knowledge.parsers.conftest import Read, pdf_bytes
from tests.knowledge.parsers.pdf_files import NOTO, made, picture, place_picture, write
from tests.running import wait_for

LINES = ["某市数据管理办法", "第一条 为了规范数据处理活动，保障数据安全，", "根据有关法律法规，制定本办法。", "第二条 本办法自2024年7月1日起施行。"]
LIMITS = ParseLimits(ocr_page_timeout_s=300)
OFF = ParseLimits(ocr_page_timeout_s=0)


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left() -> Iterator[None]:
    """What reads pictures waits for the next document; after these tests there is none."""
    yield
    ocr.retire(0)


@pytest.fixture
def with_ocr() -> None:
    """Skips, loudly, where OCR cannot be tested."""
    lacking = [what for what, there in (("OCR (./test.sh --setup-only)", ocr.available(LIMITS)), ("fonts-noto-cjk", NOTO.exists())) if not there]
    if lacking:
        message = f"NOTICE: tests of scans are skipped, missing: {', '.join(lacking)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def scan(*pages: Image.Image) -> bytes:
    def page(image: Image.Image) -> Callable[[Canvas], None]:
        return lambda canvas: place_picture(canvas, image)

    return made(*(page(image) for image in pages))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def flat(parsed: ParsedDocument) -> str:
    return "".join(parsed.text.split())


@pytest.mark.usefixtures("with_ocr")
def test_a_file_of_scans_text_and_garbage_is_read_page_by_page(read: Read) -> None:
    def under_a_scan(canvas: Canvas) -> None:
        place_picture(canvas, picture(["第三页是扫描件", "扫描程序在页脚加了自己的名字。"], size=44))
        write(canvas, ["扫描程序 创建"], 260, 20, 8)

    def text(canvas: Canvas) -> None:
        write(canvas, ["第二页有文字层，不需要识别。"])

    data = made(lambda canvas: place_picture(canvas, picture(LINES)), text, under_a_scan)
    parsed = read(data, "混合.pdf", LIMITS)
    assert "第一条为了规范数据处理活动，保障数据安全，根据有关法律法规，制定本办法。" in flat(parsed)
    assert "2024年7月1日" in flat(parsed)
    pages = {parsed.text[block.start : block.end]: block.page for block in parsed.blocks}
    assert pages["第二页有文字层，不需要识别。"] == 2
    assert (parsed.pages, parsed.ocr_pages) == (3, 2)
    assert next(page for line, page in pages.items() if "页脚加了自己的名字" in line) == 3


@pytest.mark.usefixtures("with_ocr")
def test_images_of_every_kind(read: Read) -> None:
    page = picture(LINES[:2], width=1240, height=420)
    beside = picture(["附页的内容是另一段话"], width=1240, height=420)
    tiff = encoded(page, "TIFF", save_all=True, append_images=[beside])
    parsed = read(tiff, "扫描.tif", LIMITS)
    assert parsed.pages == 2
    assert [block.page for block in parsed.blocks if "附页" in parsed.text[block.start : block.end]] == [2]
    clear = Image.new("RGBA", page.size, (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), mask=page.point(lambda value: 255 - value))
    for form in ("PNG", "WEBP"):
        assert "某市数据管理办法" in flat(read(encoded(clear, form), "透明." + form.lower(), LIMITS))


@pytest.mark.usefixtures("with_ocr")
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_on_its_side_or_head_is_read_upright(read: Read, degrees: int) -> None:
    page = picture(LINES, width=1240, height=520).rotate(degrees, expand=True)
    parsed = read(encoded(page.convert("RGB"), "JPEG", quality=90), "横放.jpg", LIMITS)
    places = [flat(parsed).find(text) for text in ("第一条为了规范数据处理活动", "根据有关法律法规", "第二条本办法")]
    assert 0 <= places[0] < places[1] < places[2]


@pytest.mark.usefixtures("with_ocr")
def test_a_picture_that_cannot_be_read_does_not_take_the_others_with_it(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    page = picture(LINES, height=600)
    with pytest.raises(ParseFailed) as refused:
        read(encoded(page, "PNG")[:2000], "半张.png", LIMITS)
    assert refused.value.code == "broken"
    with pytest.raises(ParseFailed) as refused:
        read(encoded(Image.new("L", (800, 600), 255), "PNG"), "空白.png", LIMITS)
    assert refused.value.code == "no_text"

    read_page = ocr.Ocr.page
    asked: list[int] = []

    def fails_once(self: ocr.Ocr, bitmap: ocr.Bitmap) -> ocr.Recognised:
        asked.append(1)
        if len(asked) == 1:
            raise ocr.PictureUnreadable("time is over")
        return read_page(self, bitmap)

    monkeypatch.setattr(ocr.Ocr, "page", fails_once)
    parsed = read(scan(page, page), "两页.pdf", LIMITS)
    assert "（第 1 页未能识别出文字" in parsed.text
    assert "某市数据管理办法" in flat(parsed)


@pytest.mark.usefixtures("with_ocr")
def test_a_page_that_takes_too_long_is_given_up_and_the_process_with_it() -> None:
    with ocr.Ocr(ParseLimits(ocr_page_timeout_s=300)) as reader:
        image = picture(LINES, height=600)
        assert reader.image(encoded(image, "PNG"), 0).runs
        process = reader._process
        assert process is not None
        reader._timeout_s = 0.01
        with pytest.raises(ocr.PictureUnreadable):
            reader.image(encoded(image, "PNG"), 0)
        assert process.returncode is not None
        reader._timeout_s = 300
        assert reader.image(encoded(image, "PNG"), 0).runs


@pytest.mark.usefixtures("with_ocr")
def test_its_process_waits_for_the_next_document_but_not_for_ever() -> None:
    ocr.retire(0)  # one that has grown is not kept
    limits = ParseLimits(ocr_page_timeout_s=300)
    image = encoded(picture(LINES[:2], width=1240, height=900), "PNG")
    seen = []
    for _ in range(2):
        with ocr.Ocr(limits) as reader:
            assert reader.image(image, 0).runs
            assert reader._process is not None
            seen.append(reader._process)
    assert seen[0] is seen[1] and seen[0].poll() is None
    ocr.retire(60)
    assert seen[0].poll() is None
    seen[0].kill()
    with ocr.Ocr(limits) as reader:
        wait_for(lambda: seen[0].poll() is not None, "killed")
        assert reader.image(image, 0).runs
        last = reader._process
    assert last is not None and last is not seen[0]
    ocr.retire(0)
    assert last.returncode is not None


@pytest.mark.usefixtures("with_ocr")
def test_what_one_that_has_read_others_cannot_read_is_tried_by_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ocr.retire(0)
    limits, image = ParseLimits(ocr_page_timeout_s=300), encoded(picture(LINES[:2], width=1240, height=900), "PNG")
    with ocr.Ocr(limits) as reader:
        assert reader.image(image, 0).runs
        tired = reader._process
    assert tired is not None
    answer, answers = ocr._read_line, [b'{"error": "no memory left"}\n']

    def first_refused(descriptor: int, ends: float) -> bytes:
        line = answer(descriptor, ends)
        return answers.pop() if answers else line

    monkeypatch.setattr(ocr, "_read_line", first_refused)
    with ocr.Ocr(limits) as reader:
        assert reader.image(image, 0).runs and not answers
        assert reader._process is not tired and tired.returncode is not None
        with pytest.raises(ocr.PictureUnreadable):
            reader.image(image[:200], 0)  # broken in itself
        assert reader.image(image, 0).runs
    monkeypatch.setattr(ocr, "_LARGE_BYTES", 1)
    with ocr.Ocr(limits) as reader:
        assert reader.image(image, 0).runs
    assert not ocr._spares


@pytest.mark.usefixtures("with_ocr")
def test_one_that_was_left_in_the_middle_of_a_picture_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ocr.retire(0)

    def interrupted(_descriptor: int, _ends: float) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(ocr, "_read_line", interrupted)
    with pytest.raises(KeyboardInterrupt), ocr.Ocr(ParseLimits(ocr_page_timeout_s=300)) as reader:
        reader.image(encoded(picture(LINES[:2], width=1240, height=900), "PNG"), 0)
    assert reader._process is None and not ocr._spares


@pytest.mark.usefixtures("with_ocr")
def test_the_reading_process_with_its_bounds_reads_a_scan(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(scan(picture(LINES, height=900)))
    request = ReadRequest(document_id="d", kb_id="k", name="扫描.pdf", chunk_chars=250, overlap_chars=50, path=tmp_path / "scan")
    outcomes = {}
    for wanted in ("auto", "off"):
        reader = Reader(make_settings(parse_timeout_s=300, ocr_page_timeout_s=200, parse_memory_mb=512, ocr=wanted))
        try:
            outcomes[wanted] = next(outcome for _, outcome in reader.read([request], beat=lambda _: None))
        finally:
            reader.close()
    read, refused = outcomes["auto"], outcomes["off"]
    assert isinstance(read, ReadDocument)
    assert "某市数据管理办法" in read.text
    assert {draft.page for draft in read.chunks} == {1}
    assert isinstance(refused, ParseFailed)
    assert refused.code == "no_text"


@pytest.mark.parametrize("missing", [True, False])
def test_without_ocr_a_scan_is_refused_with_the_command_that_installs_it(read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: bool) -> None:
    if missing:
        monkeypatch.setattr(ocr, "_ENVIRONMENT", tmp_path)
    limits = ParseLimits() if missing else OFF
    image = Image.new("L", (400, 300), 200)
    files = [(scan(image), "扫描.pdf", "no_text")] + [(encoded(image, form), f"图.{form}", "unsupported") for form in ("PNG", "BMP", "GIF", "WEBP", "TIFF")]
    for data, name, code in files:
        with pytest.raises(ParseFailed) as refused:
            read(data, name, limits)
        assert refused.value.code == code
        assert "./run.sh --setup-only --with-ocr" in refused.value.zh
        assert "./run.sh --setup-only --with-ocr" in refused.value.en
    assert read(pdf_bytes([["有文字的一页。"], ["\ue000\ue001\ue002\ue003"]]), "a.pdf", limits).text == "有文字的一页。"
