"""PDF files of every kind, made with reportlab: text in columns, tables, outlines, turned pages, pages that are pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

FONT = "STSong-Light"
NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
WIDTH, HEIGHT = 595, 842

pdfmetrics.registerFont(UnicodeCIDFont(FONT))


def made(*pages: Callable[[Canvas], None], **options: object) -> bytes:
    """A PDF of pages that each function draws."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), **options)
    for draw in pages:
        canvas.setFont(FONT, 11)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def write(canvas: Canvas, lines: Sequence[str], x: float = 72, y: float = 750, size: float = 11, leading: float = 18) -> float:
    """Lines from the top; gives the height of the next."""
    canvas.setFont(FONT, size)
    for line in lines:
        canvas.drawString(x, y, line)
        y -= leading
    return y


def wrapped(text: str, chars: int, indent: int = 2) -> list[str]:
    """Lines of a paragraph as Chinese is set: `chars` a line, the first indented."""
    text = "\u3000" * indent + text
    return [text[i : i + chars] for i in range(0, len(text), chars)]


def draw_table(canvas: Canvas, rows: Sequence[Sequence[str]], x: float, y: float, widths: Sequence[float], height: float = 20, rules: str = "all") -> None:
    """A table with its top left corner at (x, y). `rules`: all, three (top, under the header, bottom), none, open (no outer sides)."""
    for index, row in enumerate(rows):
        left = x
        for text, width in zip(row, widths, strict=True):
            canvas.drawString(left + 4, y - height * (index + 1) + 6, text)
            left += width
    bottom, right = y - height * len(rows), x + sum(widths)
    levels = [y - height * i for i in range(len(rows) + 1)]
    for level in {"all": levels, "open": levels, "three": [y, y - height, bottom], "none": []}[rules]:
        canvas.line(x, level, right, level)
    if rules in ("all", "open"):
        places = [x + sum(widths[:i]) for i in range(len(widths) + 1)]
        for place in places if rules == "all" else places[1:-1]:
            canvas.line(place, y, place, bottom)


def picture(lines: Sequence[str], *, size: int = 40, width: int = 1240, height: int = 1754) -> Image.Image:
    """A page as a scanner gives it: black letters on white, 150 dots an inch."""
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(NOTO), size)
    for index, line in enumerate(lines):
        draw.text((120, 140 + index * int(size * 1.7)), line, fill=0, font=font)
    return image


def place_picture(canvas: Canvas, image: Image.Image) -> None:
    """The picture over the whole page."""
    canvas.drawImage(ImageReader(image), 0, 0, WIDTH, HEIGHT)
