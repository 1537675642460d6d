"""Old office formats by way of LibreOffice: what it gives is read, what it does not give is a reason, and nothing of it stays behind."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import libreoffice
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import Settings
from tests.knowledge.parsers.office_files import saved, workbook

Read = Callable[..., ParsedDocument]
Make = Callable[[Callable[[Any], object]], bytes]
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
DOC = OLE + "WordDocument".encode("utf-16-le")
PPT = OLE + "PowerPoint Document".encode("utf-16-le")
RTF = rb"{\rtf1\ansi hello}"
BEGIN = f"""#!{sys.executable}
import os, sys, time, subprocess
from pathlib import Path
out, document = Path(sys.argv[sys.argv.index("--outdir") + 1]), Path(sys.argv[-1])
wanted = sys.argv[sys.argv.index("--convert-to") + 1]
assert "--headless" in sys.argv and any(x.startswith("-env:UserInstallation=file://") for x in sys.argv)
assert document.is_file() and document.parent == Path(os.environ["HOME"])
"""
GIVE = """
out.mkdir()
(out / f"document.{wanted}").write_bytes((Path(__file__).parent / "result").read_bytes())
"""


@pytest.fixture
def soffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a program named soffice into the path; `result` is what it may give. Temporary folders go below `tmp_path/tmp`."""
    folder = tmp_path / "bin"
    (tmp_path / "tmp").mkdir()
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))

    def put(body: str, result: bytes = b"") -> Path:
        program = folder / "soffice"
        (folder / "result").write_bytes(result)
        program.write_text(BEGIN + body)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return folder

    return put


def refused(read: Read, data: bytes, name: str) -> ParseFailed:
    with pytest.raises(ParseFailed) as caught:
        read(data, name)
    return caught.value


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_until(true: Callable[[], bool]) -> bool:
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("data", "name"), [(DOC, "旧.doc"), (DOC, "文.wps"), (PPT, "讲.ppt"), (RTF, "信.txt")])
def test_without_libreoffice_the_command_that_installs_it_is_told(read: Read, monkeypatch: pytest.MonkeyPatch, data: bytes, name: str) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    error = refused(read, data, name)
    assert error.code == "unsupported"
    assert all("apt-get install libreoffice-writer-nogui" in text for text in (error.zh, error.en))


def test_what_it_gives_is_read(read: Read, soffice: Callable[..., Path], make_docx: Make, tmp_path: Path) -> None:
    soffice(GIVE, make_docx(lambda document: document.add_paragraph("旧文档的正文。")))
    for data, name in ((DOC, "旧.doc"), (RTF, "信.rtf")):
        parsed = read(data, name)
        assert (parsed.text, parsed.title) == ("旧文档的正文。", name[0])
    assert not list((tmp_path / "tmp").iterdir())


def test_old_xml_of_excel(read: Read, soffice: Callable[..., Path]) -> None:
    soffice(GIVE, workbook(lambda book: [book.active.append(row) for row in (["名称", "数量"], ["纸", 1])]))
    data = b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>'
    assert "名称：纸\n数量：1" in read(data, "导出.xls").text


@pytest.mark.parametrize("body", [
    "sys.exit(1)", "", "os.kill(os.getpid(), 11)", "out.mkdir(); (out / f'document.{wanted}').write_bytes(b'nonsense')",
    "out.mkdir(); (out / f'document.{wanted}').write_bytes(b'')", "out.mkdir(); (out / 'elsewhere.docx').write_bytes(b'PK')",
])  # fmt: skip
def test_what_it_fails_on_has_a_reason(read: Read, soffice: Callable[..., Path], tmp_path: Path, body: str) -> None:
    soffice(body)
    assert refused(read, DOC, "旧.doc").code == "broken"
    assert not list((tmp_path / "tmp").iterdir())


def test_one_that_hangs_is_ended_with_its_children(
    read: Read, soffice: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = soffice("""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(Path(__file__).parent / "pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
""")
    monkeypatch.setattr(libreoffice, "CONVERSION_S", 2)
    assert refused(read, DOC, "旧.doc").code == "broken"
    pids = [int(x) for x in (folder / "pids").read_text().split()]
    assert wait_until(lambda: all(is_gone(pid) for pid in pids))
    assert not list((tmp_path / "tmp").iterdir())


def test_children_that_it_leaves_are_ended(read: Read, soffice: Callable[..., Path], make_docx: Make) -> None:
    leave = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(Path(__file__).parent / "pids").write_text(f"{child.pid}")
"""
    folder = soffice(leave + GIVE, make_docx(lambda document: document.add_paragraph("正文。")))
    assert read(DOC, "旧.doc").text == "正文。"
    assert wait_until(lambda: is_gone(int((folder / "pids").read_text())))


def test_it_is_ended_when_the_reader_is(soffice: Callable[..., Path], tmp_path: Path) -> None:
    """The process that reads documents is killed when its time is over; what it started must not outlive it."""
    folder = soffice("""
(Path(__file__).parent / "pids").write_text(f"{os.getpid()}")
time.sleep(600)
""")
    path = tmp_path / "stored"
    path.write_bytes(DOC)
    reader = Reader(Settings(qzbrain_data=tmp_path / "data", parse_timeout_s=5))
    request = ReadRequest("d", "kb", "旧.doc", 250, 50, path=path, size_bytes=len(DOC))
    [(_, outcome)] = list(reader.read([request], beat=lambda _: None))
    reader.close()
    assert isinstance(outcome, ParseFailed)
    assert outcome.code == "timeout"
    assert wait_until(lambda: is_gone(int((folder / "pids").read_text())))
    assert wait_until(lambda: not list((tmp_path / "tmp").iterdir()))


def test_the_confined_reader_gets_what_it_converts(soffice: Callable[..., Path], make_docx: Make, tmp_path: Path) -> None:
    soffice(GIVE, make_docx(lambda document: document.add_paragraph("旧文档的正文。")))
    path = tmp_path / "stored"
    path.write_bytes(DOC)
    reader = Reader(Settings(qzbrain_data=tmp_path / "data"))
    [(_, outcome)] = list(reader.read([ReadRequest("d", "kb", "旧.doc", 250, 50, path=path, size_bytes=len(DOC))], beat=lambda _: None))
    reader.close()
    assert not isinstance(outcome, ParseFailed)
    assert outcome.text == "旧文档的正文。"


@pytest.mark.skipif(shutil.which("soffice") is None, reason="NOTICE: LibreOffice is not installed, the real conversion is not tested")
@pytest.mark.parametrize(("made", "old"), [("docx", "doc"), ("docx", "rtf"), ("docx", "odt"), ("xlsx", "ods"), ("pptx", "ppt"), ("pptx", "odp")])
def test_real_files_of_libreoffice(read: Read, make_docx: Make, tmp_path: Path, made: str, old: str) -> None:
    import pptx

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "采购办法", "金额超过五十万元的须经董事会批准。"
    new = {
        "docx": lambda: make_docx(lambda document: document.add_paragraph("金额超过五十万元的须经董事会批准。")),
        "xlsx": lambda: workbook(lambda book: [book.active.append(row) for row in (["事项", "条件"], ["金额超过五十万元的", "须经董事会批准。"])]),
        "pptx": lambda: saved(deck.save),
    }[made]()
    (tmp_path / f"a.{made}").write_bytes(new)
    command = ["soffice", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}", "--headless", "--convert-to", old]
    command += ["--outdir", str(tmp_path), str(tmp_path / f"a.{made}")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)}, timeout=90)
    assert "须经董事会批准。" in read((tmp_path / f"a.{old}").read_bytes(), f"a.{old}").text
