// Markdown to elements, from marked's tokens; no HTML string is ever made, so nothing in an answer can become markup, a request or a script.
// Raw HTML shows as the text it is, images as links to their address, links only with harmless schemes.
import { Marked } from "../vendor/marked-18.2.1/marked.js";
import { html, memo } from "./ui.js";

const OPEN = "\ue000"; // private-use marks put round sentences that their sources do not support
const CLOSE = "\ue001";
const MARKS = /([\ue000\ue001]|\[\d{1,3}\])/;
const SAFE_LINK = /^(https?:|mailto:|\/(?!\/))/i;
const BLOCK_PREFIX = /^(?:\s*(?:[-*+>]|#{1,6}|\d+[.)])\s+|\s+)+/;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };

// No link definitions: a line `[1]: http://…` must not turn the citation [1] into a link.
const reader = new Marked({ gfm: true, breaks: true, tokenizer: { def: () => undefined } });

const unescape = (text) => text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name) => ENTITIES[name]);

/** Text with marks round each `[start, end)` of `spans` (UTF-16, in order), list bullets and heading marks left outside. */
export function withMarks(text, spans) {
  const clean = text.replace(/[\ue000\ue001]/g, " ");
  let marked = "";
  let done = 0;
  for (const [start, end] of spans) {
    const lead = BLOCK_PREFIX.exec(clean.slice(start, end))?.[0].length ?? 0;
    marked += clean.slice(done, start + lead) + OPEN + clean.slice(start + lead, end) + CLOSE;
    done = end;
  }
  return marked + clean.slice(done);
}

/** An answer's text. `cite(index)` gives the element for `[index]`, or null when there is no such source; `doubt(children)` wraps unsupported words. */
export const Markdown = memo(({ text, spans, cite, doubt }) => {
  const context = { cite, doubt, doubtful: false };
  return html`<div class="prose">${blocks(reader.lexer(withMarks(text, spans || [])), context)}</div>`;
});

const blocks = (tokens, context) => tokens.map((token) => block(token, context));

function block(token, context) {
  switch (token.type) {
    case "heading":
      return heading(Math.min(token.depth + 2, 6), inline(token.tokens, context));
    case "paragraph":
      return html`<p>${inline(token.tokens, context)}</p>`;
    case "text":
      return token.tokens ? inline(token.tokens, context) : words(token.text, context);
    case "list":
      return list(token, context);
    case "blockquote":
      return html`<blockquote>${blocks(token.tokens, context)}</blockquote>`;
    case "code":
      return html`<pre tabindex="0"><code>${plain(token.text)}</code></pre>`;
    case "table":
      return table(token, context);
    case "hr":
      return html`<hr />`;
    case "space":
      return null;
    default:
      return html`<p>${words(token.raw, context)}</p>`;
  }
}

function heading(level, children) {
  return html`<${`h${level}`}>${children}<//>`;
}

function list(token, context) {
  const items = token.items.map((item) => html`<li>${item.task ? (item.checked ? "☑ " : "☐ ") : null}${blocks(item.tokens, context)}</li>`);
  return token.ordered ? html`<ol start=${token.start || 1}>${items}</ol>` : html`<ul>${items}</ul>`;
}

function table(token, context) {
  const cell = (tag, content) => html`<${tag} class=${content.align ? `align-${content.align}` : undefined}>${inline(content.tokens, context)}<//>`;
  return html`<div class="table-scroll" tabindex="0" role="group"><table>
    <thead><tr>${token.header.map((content) => cell("th", content))}</tr></thead>
    <tbody>${token.rows.map((row) => html`<tr>${row.map((content) => cell("td", content))}</tr>`)}</tbody>
  </table></div>`;
}

const inline = (tokens, context) => tokens.map((token) => span(token, context));

function span(token, context) {
  switch (token.type) {
    case "text":
      return token.tokens ? inline(token.tokens, context) : words(unescape(token.text), context);
    case "escape":
      return words(unescape(token.text), context);
    case "strong":
      return html`<strong>${inline(token.tokens, context)}</strong>`;
    case "em":
      return html`<em>${inline(token.tokens, context)}</em>`;
    case "del":
      return html`<del>${inline(token.tokens, context)}</del>`;
    case "codespan":
      return html`<code>${plain(token.text)}</code>`;
    case "br":
      return html`<br />`;
    case "link":
      return anchor(token.href, inline(token.tokens, context));
    case "image":
      return anchor(token.href, plain(token.text || token.href));
    default:
      return words(token.raw, context);
  }
}

function anchor(href, children) {
  if (!SAFE_LINK.test(href)) return html`<span>${children}</span>`;
  return html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${children}</a>`;
}

const plain = (text) => text.replace(/[\ue000\ue001]/g, "");

function words(text, context) {
  return text.split(MARKS).map((part) => {
    if (part === OPEN || part === CLOSE) {
      context.doubtful = part === OPEN;
      return null;
    }
    const index = /^\[(\d{1,3})\]$/.exec(part);
    const mark = index && context.cite(Number(index[1]));
    if (mark) return mark;
    return context.doubtful && part ? context.doubt(part) : part;
  });
}
