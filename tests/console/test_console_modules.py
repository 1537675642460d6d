"""The console's modules by themselves, in Chromium: offsets, Markdown, and the stream over a scripted socket."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser
CONSOLE = Path(__file__).parents[2] / "qzbrain" / "web" / "console"
ORIGIN = "http://console.test"

SOCKET = """
// A scripted Socket.IO client: what the console emits is kept, what the test sends arrives.
export function io() {
  const listeners = {};
  const socket = {
    connected: true,
    sent: [],
    on: (event, listener) => { listeners[event] = listener; return socket; },
    emit: (event, ...rest) => { socket.sent.push([event, rest[0]]); const ack = rest.at(-1); if (typeof ack === "function") socket.ack = ack; return socket; },
    timeout: () => socket,
    connect: () => {},
    receive: (event, payload) => listeners[event]?.(payload),
  };
  window.socket = socket;
  return socket;
}
"""


@pytest.fixture
def module_page(browser: Any) -> Any:
    """An empty page that can import the console's modules; its socket is scripted."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.route(f"{ORIGIN}/**", _serve)
    page.goto(f"{ORIGIN}/empty")
    yield page
    context.close()


def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN).lstrip("/")
    if "socket.io-client" in path:
        route.fulfill(body=SOCKET, content_type="text/javascript")
    elif path == "empty":
        route.fulfill(body='<!doctype html><html lang="zh-CN"><body><div id="box"></div></body></html>', content_type="text/html")
    else:
        kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0] or "text/plain"
        route.fulfill(body=(CONSOLE / path).read_bytes(), content_type=kind)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("第一条 处罚", 0, 3), ("𠮷野家：𠀀𠀁第二条", 4, 7), ("表情🀄在前，第三条", 6, 9), ("abc", 1, 99)],
)
def test_offsets_in_code_points_become_those_of_the_browser(module_page: Page, text: str, start: int, end: int) -> None:
    found = module_page.evaluate(
        """async ([text, start, end]) => {
            const { passageIn } = await import("/core/documents.js");
            const [from, to] = passageIn(text, start, end);
            return text.slice(from, to);
        }""",
        [text, start, end],
    )
    assert found == text[start:end]


def render(page: Page, text: str, spans: list[list[int]] | None = None) -> str:
    return page.evaluate(
        """async ([text, spans]) => {
            const { html, render } = await import("/core/ui.js");
            const { Markdown } = await import("/core/markdown.js");
            const cite = (index) => index <= 2 && html`<button class="mark">${index}</button>`;
            const doubt = (part) => html`<u>${part}</u>`;
            render(html`<${Markdown} text=${text} spans=${spans} cite=${cite} doubt=${doubt} />`, document.getElementById("box"));
            return document.getElementById("box").firstChild.innerHTML;
        }""",
        [text, spans or []],
    )


HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "[a](javascript:window.hit=1)",
    "[a](JaVaScRiPt:window.hit=1)",
    "[a](data:text/html,<script>window.hit=1</script>)",
    "![a](http://evil.test/pixel.png)",
    "<iframe src=http://evil.test></iframe>",
    "<a href='javascript:window.hit=1' style='position:fixed;inset:0'>a</a>",
    "<svg/onload=window.hit=1>",
    "[1]: http://evil.test\n\n甲[1]",
    "[a](//evil.test)",
    "`<b onclick=window.hit=1>`",
]


def test_what_a_store_gets_before_its_component_listens_is_shown(module_page: Page) -> None:
    shown = module_page.evaluate(
        """async () => {
            const { html, render } = await import("/core/ui.js");
            const { store, useStore } = await import("/core/store.js");
            const source = store("before");
            const Value = () => html`<p>${useStore(source)}</p>`;
            const box = document.body.appendChild(document.createElement("div"));
            render(html`<${Value} />`, box);
            source.set("after");
            await new Promise((done) => setTimeout(done, 300));
            return box.textContent;
        }"""
    )
    assert shown == "after"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_stays_text(module_page: Page, text: str) -> None:
    asked: list[str] = []
    module_page.on("request", lambda request: asked.append(request.url))
    made = render(module_page, text)
    assert module_page.evaluate("window.hit") is None
    bad = "script, img, iframe, svg, style, [style], [onclick], [onerror], [onload], a[href^='javascript'], a[href^='data'], a[href^='//']"
    assert module_page.locator(f"#box :is({bad})").count() == 0, made
    assert not [url for url in asked if not url.startswith(ORIGIN)]


def test_citations_stand_in_text_but_not_in_code(module_page: Page) -> None:
    made = render(module_page, "甲[1]，**乙[2]**，丙[9]，`丁[1]`。")
    assert made == ('<p>甲<button class="mark">1</button>，<strong>乙<button class="mark">2</button></strong>，丙[9]，<code>丁[1]</code>。</p>')


def test_unsupported_sentences_are_underlined_across_emphasis_and_in_lists(module_page: Page) -> None:
    text = "- 甲。**乙**丙。丁"
    made = render(module_page, text, [[0, 4], [4, 11]])
    assert made.replace("\n", "") == "<ul><li><u>甲。</u><strong><u>乙</u></strong><u>丙。</u>丁</li></ul>"


def test_a_very_long_line_is_rendered_at_once(module_page: Page) -> None:
    took = module_page.evaluate("performance.now()")
    render(module_page, "长" * 2000 + "*_[" * 2000)
    assert module_page.evaluate("performance.now()") - took < 1500


FOLLOW = """async () => {
    const stream = await import("/core/stream.js");
    window.turns = [];
    window.draws = 0;
    stream.ask({ message: "问" }, { onStart: (ids) => (window.ids = ids), onRefused: (error) => (window.refused = error), onChange: (turn) => {
        window.draws += 1;
        window.turn = turn;
    } });
    return window.socket.sent;
}"""


def begin(page: Page) -> None:
    assert page.evaluate(FOLLOW) == [["chat", {"message": "问"}]]
    page.evaluate("socket.ack(null, { conversation_id: 'c', message_id: 'm' })")


def receive(page: Page, *events: tuple[str, dict[str, Any]]) -> None:
    page.evaluate("(events) => events.forEach(([event, payload]) => socket.receive(event, { message_id: 'm', ...payload }))", [list(e) for e in events])


def deltas(text: str, first: int = 0) -> list[tuple[str, dict[str, Any]]]:
    return [("chat:delta", {"seq": first + n, "text": c}) for n, c in enumerate(text)]


def test_a_lost_connection_is_taken_up_without_losing_or_doubling_a_character(module_page: Page) -> None:
    begin(module_page)
    receive(module_page, *deltas("从轻或者"))
    module_page.evaluate("socket.receive('disconnect', 'transport close'); socket.sent.length = 0; socket.receive('connect')")
    assert module_page.evaluate("socket.sent") == [["chat:resume", {"message_id": "m", "after_seq": 3}]]
    receive(module_page, *deltas("或者减轻", 2), *deltas("减轻处罚。", 4))
    module_page.wait_for_function("window.turn?.text === '从轻或者减轻处罚。'")


def test_a_gap_is_asked_for_once_and_filled(module_page: Page) -> None:
    begin(module_page)
    receive(module_page, *deltas("甲乙"))
    module_page.evaluate("socket.sent.length = 0")
    receive(module_page, *deltas("丁戊", 3))
    assert module_page.evaluate("socket.sent") == [["chat:resume", {"message_id": "m", "after_seq": 1}]]
    receive(module_page, *deltas("丙丁戊", 2))
    module_page.wait_for_function("window.turn?.text === '甲乙丙丁戊'")


def test_many_deltas_are_drawn_at_most_once_a_frame(module_page: Page) -> None:
    begin(module_page)
    receive(module_page, *deltas("字" * 3000))
    module_page.wait_for_function("window.turn?.text.length === 3000")
    assert module_page.evaluate("window.draws") <= 3


def test_a_refused_question_tells_why(module_page: Page) -> None:
    module_page.evaluate(FOLLOW)
    module_page.evaluate("socket.ack(null, { error: { code: 'empty_question', message: '问题是空的。' } })")
    assert module_page.evaluate("window.refused.message") == "问题是空的。"


def test_sizes_days_and_durations_follow_the_language(module_page: Page) -> None:
    shown = module_page.evaluate(
        """async () => {
            const words = await import("/core/i18n.js");
            const at = (lang) => {
                words.lang.set(lang);
                return [words.size(1_234_567), words.duration(3), words.number(24072), words.t("bases.count", { n: 1 })];
            };
            return [at("zh"), at("en")];
        }"""
    )
    assert shown[0][0].startswith("1.2") and "秒" in shown[0][1] and shown[0][2] == "24,072" and shown[0][3] == "1 个文档"
    assert shown[1][0].startswith("1.2") and shown[1][1].startswith("3 sec") and shown[1][3] == "1 document"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("年假 10 天。", "年假 12 天。", "年假 [-10-]{+12+} 天。"), ("", "新的", "{+新的+}"), ("旧的", "", "[-旧的-]"), ("同", "同", "同"), ("", "", ""),
        ("甲乙丙丁", "甲丙戊丁", "甲[-乙-]丙{+戊+}丁"), ("the old rule", "the new rule", "the [-old-]{+new+} rule"), ("a\nb\n", "a\nc\nb\n", "a\n{+c\n+}b\n"),
        ("表情🀄一", "表情🀅一", "表情[-🀄-]{+🀅+}一"), ("a" * 9, "b" * 9, "[-aaaaaaaaa-]{+bbbbbbbbb+}"),
    ],
)  # fmt: skip
def test_what_changed_is_told_by_character_or_word(module_page: Page, before: str, after: str, shown: str) -> None:
    found = module_page.evaluate(
        """async ([before, after]) => {
            const { diff } = await import("/core/diff.js");
            const around = { same: ["", ""], out: ["[-", "-]"], in: ["{+", "+}"] };
            return diff(before, after).map(({ kind, text }) => around[kind][0] + text + around[kind][1]).join("");
        }""",
        [before, after],
    )
    assert found == shown


def test_long_texts_are_compared_and_lose_nothing(module_page: Page) -> None:
    for before, after in (("句子。\n" * 9000, "句子。\n" * 4500 + "别的。\n" * 4500), ("甲" * 50_000, "乙" * 50_000), ("条一" * 1500, "一条" * 1500)):
        parts = module_page.evaluate("async ([a, b]) => (await import('/core/diff.js')).diff(a, b)", [before, after])
        assert "".join(part["text"] for part in parts if part["kind"] != "in") == before
        assert "".join(part["text"] for part in parts if part["kind"] != "out") == after
