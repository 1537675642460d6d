"""Pictures of the console for the READMEs, of a brain of their own: `python tests/console/screenshots.py docs/images`.

Afterwards `pngquant --ext .png --force docs/images/*.png` halves them; each stays below 200 KB.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine import Engine
from graphs import company_triples, entity, load
from local_models import local_models
from playwright.sync_api import Browser, Page, sync_playwright
from server import LAWS, Server

QUESTION = "哪些情形应当从轻或者减轻行政处罚？"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
ASKED_BEFORE = ("劳动合同的试用期最长可以约定多久？", "个人信息处理者应当履行哪些义务？", "拖欠工资可以向谁投诉？")
ENTRIES: tuple[dict[str, Any], ...] = (
    {"question": "夜间值班几点交接？", "answer": "二十二时。", "source": "办公室", "approve": True},
    {"question": "差旅住宿费每天最多报销多少？", "answer": "五百元。", "source": "财务处", "valid_from": "2099-01-01", "approve": True},
    {"question": "打印机坏了找谁？", "answer": "信息科，内线 6012。", "source": "信息科"},
    {
        "question": "年假可以休几天？", "answer": "工作满一年不满十年的，年假 **5 天**。\n\n- 满十年：10 天\n- 满二十年：15 天", "approve": True,
        "variants": ["年休假有多少天", "带薪年假怎么算"], "negatives": ["实习生年假可以休几天？"], "source": "人事处《休假管理办法》",
    },
)  # fmt: skip
ANSWER = (
    "依照行政处罚法，有下列情形之一的，**应当从轻或者减轻**行政处罚：\n\n",
    "- 主动消除或者减轻违法行为危害后果的；\n- 受他人胁迫或者诱骗实施违法行为的；\n- 主动供述行政机关尚未掌握的违法行为的；\n",
    "- 配合行政机关查处违法行为有立功表现的；\n- 法律、法规、规章规定其他应当从轻或者减轻行政处罚的。[1]\n\n",
    "此外，已满十四周岁不满十八周岁的未成年人有违法行为的，应当从轻或者减轻行政处罚。[2]",
)


def main(folder: Path) -> None:
    """Write all pictures."""
    with Engine() as engine, tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        engine.script(ANSWER)
        server = Server(Path(data), f'[models."Qwen3-8B"]\nengine = "external"\nbase_url = "{engine.base_url}"\n')
        try:
            fill(server)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
            conversation = ask(browser, server)
            for theme in ("light", "dark"):
                take(browser, server, conversation, theme, folder)
            narrow(browser, server, conversation, folder)
            graph(browser, server, folder)
            system(browser, server, folder)
        finally:
            server.stop()
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        models(playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS), Path(data), folder)


def models(browser: Browser, data: Path, folder: Path) -> None:
    """The models of a machine that runs its own, in both themes."""
    external = '[models.llama]\nengine = "external"\nbase_url = "http://127.0.0.1:9/v1"\n'
    with local_models(data, ["qzbrain", "qwen"], ["qzbrain3"], external) as server:
        for theme in ("light", "dark"):
            page = open_page(browser, server, "/models", theme=theme)
            page.get_by_role("button", name="“qzbrain3”的操作").click()
            shoot(page, folder / f"models-{theme}.png")


def fill(server: Server) -> None:
    """The sample laws, a second knowledge base, a file that cannot be read, and some older conversations."""
    server.make_base("laws", "常用法律", {path.name: path.read_text(encoding="utf-8") for path in sorted(LAWS.glob("*.md"))})
    server.make_base("rules", "单位规章制度", {"值班制度.md": "# 值班制度\n\n第一条　夜间值班由两人担任，二十二时交接。\n"})
    for entry in ENTRIES:
        made = server.call("POST", "/api/knowledge-bases/laws/entries", entry)
    changed = {"answer": made["answer"].replace("10 天", "12 天"), "source": "人事处《休假管理办法（2026）》"}
    server.call("PATCH", f"/api/knowledge-bases/laws/entries/{made['id']}", changed)
    for question in ASKED_BEFORE:
        conversation = server.call("POST", "/api/conversations", {"title": question})["id"]
        answer = server.call("POST", f"/api/conversations/{conversation}/messages", {"content": question, "model": "extractive"})
    server.call(
        "POST", f"/api/conversations/{conversation}/messages/{answer['message_id']}/correct", {"answer": "向劳动行政部门投诉。", "knowledge_base": "laws"}
    )


def open_page(browser: Browser, server: Server, path: str, *, theme: str = "light", lang: str = "zh-CN", size: tuple[int, int] = (1366, 768)) -> Page:
    """A page, quiet and complete."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale=lang, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(server.url + path)
    page.wait_for_load_state("networkidle")
    return page


def ask(browser: Browser, server: Server) -> str:
    """Path of a conversation with an answer of the scripted model."""
    page = open_page(browser, server, "/")
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    page.wait_for_selector(".tools")
    return page.url.removeprefix(server.url)


def take(browser: Browser, server: Server, conversation: str, theme: str, folder: Path) -> None:
    """All pages in one theme."""
    page = open_page(browser, server, conversation, theme=theme)
    page.locator(".mark").first.click()
    page.wait_for_selector(".pane .passage")
    page.mouse.move(0, 0)
    shoot(page, folder / f"chat-{theme}.png")
    page.get_by_role("link", name="打开全文").click()
    page.wait_for_selector(".page .passage")
    shoot(page, folder / f"document-{theme}.png")
    page = open_page(browser, server, "/knowledge/laws", theme=theme)
    page.get_by_label("输入一个问题").fill("未成年人可以从轻处罚吗")
    page.get_by_role("button", name="检索").click()
    page.wait_for_selector(".try .card")
    page.mouse.move(0, 0)
    shoot(page, folder / f"knowledge-{theme}.png")
    page = open_page(browser, server, "/knowledge/laws/entries", theme=theme)
    page.wait_for_selector(".entries tbody tr")
    shoot(page, folder / f"entries-{theme}.png")
    page.get_by_role("link", name="年假可以休几天").click()
    page.wait_for_selector(".versions ins")
    shoot(page, folder / f"entry-{theme}.png")
    shoot(open_page(browser, server, "/", theme=theme, lang="en-GB"), folder / f"welcome-{theme}.png")


def narrow(browser: Browser, server: Server, conversation: str, folder: Path) -> None:
    """The chat on a telephone."""
    page = open_page(browser, server, conversation, size=(375, 740))
    shoot(page, folder / "chat-narrow.png")


def graph(browser: Browser, server: Server, folder: Path) -> None:
    """The graph of a few firms, with the way between two of its entities, and on a telephone."""
    server.make_base("firms", "企业图谱", {})
    load(server, "firms", company_triples())
    one, other = (entity(server, "firms", name) for name in ("晨光集团公司", "半导体"))
    places: dict[str, dict[str, Any]] = {"light": {}, "dark": {"theme": "dark", "lang": "en-GB"}, "narrow": {"size": (375, 740)}}
    for name, more in places.items():
        page = open_page(browser, server, f"/graph/firms?entity={one}" + (f"&from={one}&to={other}" if name != "narrow" else ""), **more)
        page.wait_for_selector("[data-layout=still]")
        shoot(page, folder / f"graph-{name}.png")


def system(browser: Browser, server: Server, folder: Path) -> None:
    """The installation and its checks, in both themes and on a telephone."""
    places: dict[str, dict[str, Any]] = {"light": {}, "dark": {"theme": "dark", "lang": "en-GB"}, "narrow": {"size": (375, 740)}}
    for name, more in places.items():
        page = open_page(browser, server, "/system", **more)
        page.wait_for_selector(".finding")
        shoot(page, folder / f"system-{name}.png")


def shoot(page: Page, path: Path) -> None:
    """One picture, when nothing loads any more."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=str(path))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    main(target)
