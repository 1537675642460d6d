"""Web pages as people save them: the text without what surrounds it, and never a page without its text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qzbrain.domain import ParsedDocument

Read = Callable[..., ParsedDocument]

OLD_SITE = """<html><head><meta http-equiv=Content-Type content="text/html; charset=gb2312"><title>关于印发办法的通知_某市人民政府门户网站</title></head>
<body><table width=100%><tr><td><table><tr><td><a href=/>首页</a></td><td><a href=/a>政务公开</a></td><td><a href=/b>办事服务</a></td></tr></table></td></tr>
<tr><td><table><tr><td><a href=1>通知公告</a><br><a href=2>政策法规</a><br><a href=3>领导之窗</a></td><td><table><tr><td><b>各县人民政府：</b></td></tr>
<tr><td>现将办法印发给你们，请贯彻执行。<br>第一条　为了规范管理，制定本办法。<p>第二条　本办法自发布之日起施行。</p>
<table border=1><tr><th>项目</th><th>标准</th></tr><tr><td>住宿</td><td>50元</td></tr></table></td></tr></table></td></tr></table></td></tr>
<tr><td align=center>版权所有：某市人民政府办公厅　京ICP备05000000号</td></tr></table></body></html>"""

NEWS = """<!doctype html><html><head><title>边境考察纪行 - 某某新闻网</title></head><body>
<header><h1>某某新闻网</h1><div class="nav-bar"><a>国内</a></div></header>
<div class="wrap"><div class="text"><h2>边境考察纪行</h2><p>这是第一段正文，说了很多话，足够让人看出它是正文，不是导航。</p>
<p>第二段有<a href=x>一个链接</a>，也是正文。</p><dl><dt>术语</dt><dd>它的解释</dd></dl><details><summary>更多</summary>收起的细节</details>
<div style="color:red; display: none">看不见的一</div><p hidden>看不见的二</p></div><div class="sidebar"><h3>热门排行</h3></div>
<ul><li><a>甲新闻</a></li><li><a>乙新闻</a></li><li><a>丙新闻</a></li></ul><div id="comments">网友评论：写得好</div></div>
<div class="cookie-banner">我们使用缓存文件</div><footer>联系我们</footer><p>Copyright © 2020 某某新闻网 All rights reserved</p></body></html>"""


def test_a_page_laid_out_with_tables(read: Read) -> None:
    parsed = read(OLD_SITE.encode("gbk"), "t2012.htm")
    assert parsed.title == "关于印发办法的通知"
    assert parsed.text.split("\n\n")[0] == "各县人民政府："
    for words in ("现将办法印发给你们，请贯彻执行。\n第一条　为了规范管理，制定本办法。", "第二条　本办法自发布之日起施行。"):
        assert words in parsed.text
    assert all(parsed.text.count(words) == 1 for words in ("50元", "第二条", "项目"))
    assert not any(words in parsed.text for words in ("首页", "领导之窗", "京ICP备"))


def test_what_surrounds_an_article_is_left_out(read: Read) -> None:
    parsed = read(NEWS.encode(), "page.html")
    assert parsed.title == "边境考察纪行"
    for words in ("这是第一段正文", "第二段有一个链接，也是正文。", "术语", "它的解释", "收起的细节"):
        assert words in parsed.text
    for words in ("国内", "看不见", "热门排行", "乙新闻", "网友评论", "缓存文件", "联系我们", "Copyright"):
        assert words not in parsed.text


@pytest.mark.parametrize("page", [
    "<ul><li><a>要找的文字一</a></li><li><a>二</a></li><li><a>三</a></li></ul>",
    "<footer>要找的文字</footer>",
    "<div class=sidebar><p>要找的文字，整页只有它。</p></div>",
    "<div id=comments><table><tr><td>要找的文字</td><td>5</td></tr></table></div>",
    "<main></main><div>要找的文字</div>",
    "<article>短</article><p>要找的文字在文章之外，它比文章长得多，所以不能丢掉。</p>",
    "<table><tr><td>要找的文字</td></tr></table>",
    "<p>版权所有：要找的文字</p>",
])
def test_a_simple_page_keeps_its_text(read: Read, page: str) -> None:
    assert "要找的文字" in read(f"<html><body>{page}</body></html>".encode(), "a.html").text


def test_the_stated_encoding_decides_where_the_bytes_leave_it_open(read: Read) -> None:
    page = '<html><head><meta charset="{}"></head><body><p>東京都の条例です。</p></body></html>'
    assert read(page.format("shift_jis").encode("shift_jis"), "a.html").text == "東京都の条例です。"
    assert read(page.format("gb2312").encode(), "a.html").text == "東京都の条例です。", "UTF-8 whatever it says"
    assert read(page.format("nonsense").encode("utf-16"), "a.html").text == "東京都の条例です。"


def test_xhtml_with_an_empty_title_keeps_its_body(read: Read) -> None:
    page = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><a id="x"/><p>正文</p></body></html>'
    assert read(page.encode(), "a.xhtml").text == "正文"


@pytest.mark.parametrize("piece", ["<div class=x>", "<table><tr><td>甲<td>", "<ul><li><a>甲</a>", "<main><h1>", "<table>"])
def test_deep_nesting_neither_stops_nor_loses(read: Read, piece: str) -> None:
    assert "深处的文字" in read((f"<html><body>{piece * 5000}<p>深处的文字").encode(), "deep.html").text
