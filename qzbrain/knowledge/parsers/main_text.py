"""What of a web page is its text, and what surrounds it: navigation, link lists, notices, comments. A tree of nodes in, the nodes to leave out.

After the idea of Readability and of Kohlschütter et al. (WSDM 2010): tags and names say what a part is for, the share of its text
that stands in links says whether it is prose. Whatever is cut, a page keeps most of its prose, or nothing is cut at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

DROPPED = frozenset((
    "script", "style", "noscript", "template", "svg", "math", "nav", "iframe", "object", "canvas", "audio", "video", "select", "button", "dialog", "head",
    "textarea", "datalist", "menu", "-comment",
))
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_SURROUND_ROLES = frozenset(("navigation", "search", "menu", "menubar", "dialog", "alertdialog", "contentinfo", "complementary", "toolbar"))
_SURROUND_TAGS = frozenset(("footer", "aside"))
_SURROUND_NAME = re.compile(
    r"(?:^|[\s_-])(?:nav(?:bar|igation)?|menu|breadcrumbs?|crumbs?|side-?bar|footer|foot|cookies?|consent|gdpr|comments?|comment-?list|related|recommend(?:ed|s)?"
    r"|share|sharing|social|copyright|advert(?:s|isement)?|ads?|pagination|pager|popup|modal|newsletter|subscribe|toolbar|hot-?news|rank(?:ing)?|friend-?links?)"
    r"(?=$|[\s_-])|(?:Nav|Menu|Sidebar|Footer|Cookie|Comments?|Breadcrumb)(?=$|[\sA-Z_-])",
)
_IMPRINT = re.compile(r"ICP备|公网安备|网站标识码|版权所有|(?:copyright|©).{0,60}(?:all rights reserved|\d{4})", re.IGNORECASE)
_IMPRINT_CHARS = 300
_LINK_SHARE = 0.7
_LINKS = 3
_LINK_LISTS = frozenset(("ul", "ol", "dl", "div", "td", "table", "section", "p", "header", "form"))
_CONTENT_SHARE = 0.5
_KEPT_SHARE = 0.4
_IMPRINT_TAGS = frozenset(("p", "div", "td", "center", "li", "span", "section", "address"))


@dataclass(slots=True)
class _Mass:
    """Characters under a node: all, those in links; how many links."""

    chars: int = 0
    linked: int = 0
    links: int = 0

    @property
    def prose(self) -> int:
        return self.chars - self.linked


def events(root: LexborNode, skipped: frozenset[int] = frozenset()) -> Iterator[tuple[LexborNode, bool]]:
    """Nodes in document order, each entered and left; without recursion, since pages nest thousands deep.

    `skipped` (mem_ids) and what is never text are left out with all that is in them.
    """
    node: LexborNode | None = root
    while node is not None:
        out = _out(node, skipped)
        child = None if out else node.first_child
        if not out:
            yield node, True
        if child is not None:
            node = child
            continue
        while node is not None:
            if not out:
                yield node, False
            out = False
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def surroundings(root: LexborNode) -> frozenset[int]:
    """mem_ids of the nodes to leave out, of a page whose text is wanted alone."""
    hidden = frozenset(node.mem_id for node, entering in events(root) if entering and _is_hidden(node))
    masses = _masses(root, hidden)
    whole = masses[root.mem_id]
    content = _content(root, masses, hidden, whole)
    inside = _inside(root, content, hidden) if content is not None else frozenset[int]()
    for cut in (_cut(content or root, masses, hidden, links=True), _cut(content or root, masses, hidden, links=False)):
        if _left(root, hidden | inside | cut) >= max(_KEPT_SHARE * whole.prose, 1):
            return hidden | inside | cut
    return hidden


def _out(node: LexborNode, skipped: frozenset[int]) -> bool:
    return (node.tag or "") in DROPPED or (bool(skipped) and node.mem_id in skipped)


def _is_hidden(node: LexborNode) -> bool:
    if (node.tag or "-")[0] == "-":
        return False
    attributes = node.attributes
    return "hidden" in attributes or bool((style := attributes.get("style")) and _HIDDEN_STYLE.search(style))


def _masses(root: LexborNode, skipped: frozenset[int]) -> dict[int, _Mass]:
    masses: dict[int, _Mass] = {}
    stack: list[_Mass] = []
    links = 0
    for node, entering in events(root, skipped):
        tag = node.tag or ""
        if tag == "-text":
            if entering and stack:
                length = len("".join((node.text_content or "").split()))
                stack[-1].chars += length
                stack[-1].linked += length if links else 0
        elif entering:
            stack.append(masses.setdefault(node.mem_id, _Mass()))
            links += tag == "a"
        else:
            mass = stack.pop()
            links -= tag == "a"
            if stack:
                stack[-1].chars += mass.chars
                stack[-1].linked += mass.linked
                stack[-1].links += mass.links + (tag == "a")
    return masses


def _content(root: LexborNode, masses: dict[int, _Mass], hidden: frozenset[int], whole: _Mass) -> LexborNode | None:
    """The element that its author calls the content, when it holds most of the prose."""
    for node, entering in events(root, hidden):
        tag = node.tag or "-"
        named = entering and (tag in ("main", "article") or (tag[0] != "-" and node.attributes.get("role") == "main"))
        if named and masses[node.mem_id].prose >= _CONTENT_SHARE * max(whole.prose, 1):
            return node
    return None


def _inside(root: LexborNode, content: LexborNode, hidden: frozenset[int]) -> frozenset[int]:
    """All that does not lead to `content`, headings apart: a page's title often stands above its article."""
    path: set[int] = set()
    for kept in (content, *root.css("h1")):
        up: LexborNode | None = kept
        while up is not None and up.mem_id not in path:
            path.add(up.mem_id)
            up = up.parent
    out: set[int] = set()
    inside = 0
    for node, entering in events(root, hidden):
        if node.mem_id == content.mem_id:
            inside += 1 if entering else -1
        elif entering and not inside and node.mem_id not in path and not (node.parent is not None and node.parent.tag == "h1"):
            out.add(node.mem_id)
    return frozenset(out)


def _cut(root: LexborNode, masses: dict[int, _Mass], hidden: frozenset[int], *, links: bool) -> frozenset[int]:
    out: set[int] = set()
    half = masses[root.mem_id].prose * _CONTENT_SHARE
    for node, entering in events(root, hidden):
        tag = node.tag or "-"
        if not entering or tag[0] == "-" or node.mem_id == root.mem_id or tag in ("html", "body", "main", "article"):
            continue
        mass = masses[node.mem_id]
        if mass.prose > half:
            continue
        named = tag in _SURROUND_TAGS or _is_named_surrounding(node)
        listed = links and tag in _LINK_LISTS and mass.links >= _LINKS and mass.linked >= _LINK_SHARE * mass.chars
        imprint = tag in _IMPRINT_TAGS and 0 < mass.chars <= _IMPRINT_CHARS and bool(_IMPRINT.search(node.text()))
        if named or listed or imprint:
            out.add(node.mem_id)
    return frozenset(out)


def _is_named_surrounding(node: LexborNode) -> bool:
    attributes = node.attributes
    if attributes.get("role") in _SURROUND_ROLES:
        return True
    return any(value and len(value) < 200 and _SURROUND_NAME.search(value) for value in (attributes.get("class"), attributes.get("id")))


def _left(root: LexborNode, skipped: frozenset[int]) -> int:
    """Prose that is left."""
    mass = _masses(root, skipped).get(root.mem_id)
    return mass.prose if mass else 0
