"""What can be said of the console's files without a browser: words, weight, licences, and that nothing in them points elsewhere."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

CONSOLE = Path(__file__).parents[2] / "qzbrain" / "web" / "console"
FIRST_PAGE_BYTES = 150_000
OWN = sorted(path for path in CONSOLE.rglob("*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts)
_WORD = re.compile(r'^  "([\w.]+)": "(.*)",$', re.M)
_USED = re.compile(r'\b(?:words|t)\(\s*"([\w.]+)"')
_USED_BY_CHOICE = re.compile(r'\b(?:words|t)\([^"()]*\?\s*"([\w.]+)"\s*:\s*"([\w.]+)"')


def words(lang: str) -> dict[str, str]:
    return dict(_WORD.findall((CONSOLE / "lang" / f"{lang}.js").read_text(encoding="utf-8")))


def test_both_languages_have_the_same_keys() -> None:
    zh, en = words("zh"), words("en")
    assert len(zh) > 150
    assert set(zh) == {key for key in en if not key.endswith(".one")}
    assert {key.removesuffix(".one") for key in en if key.endswith(".one")} <= set(zh)


def test_both_languages_fill_in_the_same_values() -> None:
    zh, en = words("zh"), words("en")
    holes = re.compile(r"\{(\w+)\}")
    assert [key for key in zh if set(holes.findall(zh[key])) != set(holes.findall(en[key]))] == []


def test_every_word_used_is_there_and_every_word_there_is_used() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in OWN if path.suffix == ".js" and path.parent.name != "lang")
    used = set(_USED.findall(source)) | {key for pair in _USED_BY_CHOICE.findall(source) for key in pair}
    known = set(words("zh"))
    assert used - known == set()
    families = tuple({f"{name}." for name in re.findall(r"words\(`(\w+)\.\$\{", source)})
    unused = {key for key in known if f'"{key}"' not in source and not key.startswith(families)}
    assert unused == set()


def test_nothing_is_inline_and_nothing_points_to_another_origin() -> None:
    page = (CONSOLE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    for path in OWN:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:src|href|import|from|url)\s*[=(]?\s*["'(](?:https?:)?//""", text), path
        assert "innerHTML" not in text, path


def first_modules() -> set[Path]:
    """The modules that the page needs before anything is opened: those that `app.js` imports, and what they import."""
    found, waiting = {CONSOLE / "theme.js"}, [CONSOLE / "app.js"]
    while waiting:
        path = waiting.pop()
        found.add(path)
        named = re.findall(r'^(?:import|export)[^"()]*"(\.[^"]+)";', path.read_text(encoding="utf-8"), re.M)
        waiting += {(path.parent / name).resolve() for name in named} - found
    return found


def test_the_page_asks_for_every_first_module_at_once_and_for_no_other() -> None:
    page = (CONSOLE / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:modulepreload" href|src)="/console/([^"]+\.js)"', page))
    assert named == {path.relative_to(CONSOLE).as_posix() for path in first_modules()}


def test_every_module_is_reached() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in OWN if path.suffix == ".js")
    lazy = {path for path in OWN if path.suffix == ".js"} - first_modules()
    assert lazy and [path.name for path in lazy if f'/{path.name}"' not in source] == []


def test_no_icon_is_an_emoji_and_no_line_is_left_for_later() -> None:
    for path in OWN:
        text = path.read_text(encoding="utf-8")
        assert not re.search("[\U0001f300-\U0001faff]", text), path
        assert not re.search(r"\b(?:TODO|FIXME|console\.log|debugger)\b", text), path


def test_the_first_page_weighs_at_most_150_kb_compressed() -> None:
    files = [path for path in CONSOLE.rglob("*") if path.suffix in (".css", ".html", ".svg")] + sorted(first_modules())
    total = sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)
    assert total <= FIRST_PAGE_BYTES, f"{total:,} bytes"


@pytest.mark.parametrize("folder", sorted((CONSOLE / "vendor").glob("*/")), ids=lambda path: path.name)
def test_vendored_libraries_are_pinned_and_have_their_licence(folder: Path) -> None:
    assert re.search(r"-\d+\.\d+\.\d+$", folder.name)
    assert (folder / "LICENSE").stat().st_size > 500
    assert folder.name in (CONSOLE / "vendor" / "README.md").read_text(encoding="utf-8")
