// A document's stored text with a passage highlighted in place, and what stands before and after it. Long texts are shown a stretch at a time.
import { linesOf, stretch } from "../core/documents.js";
import { useWords } from "../core/i18n.js";
import { html, memo, useLayoutEffect, useMemo, useRef, useState } from "../core/ui.js";

const AROUND = 3000;
const MORE = 6000;
const SYNTAX = /(\*\*|^#{1,6}\s+)/;
const SYNTAX_ONLY = /^(?:\*\*|#{1,6}\s+)$/;

/** `passage`: `[start, end)` in UTF-16 units, or null. `find`: words to mark. `isMarkdown`: marks like ** are not shown. `edges`: chunk numbers by the start of their line. */
export function DocumentText({ text, passage, find = "", isMarkdown = false, edges = null }) {
  const words = useWords();
  const [shown, setShown] = useState({ passage: undefined, range: [0, 0] });
  const range = shown.passage === passage ? shown.range : stretch(text, passage, AROUND);
  const box = useRef(null);
  useLayoutEffect(() => {
    box.current.querySelector(".passage")?.scrollIntoView({ block: "center" });
  }, [passage]);
  const widen = (from, to) => setShown({ passage, range: stretch(text, [from, to], 0) });
  const lines = useMemo(() => linesOf(text, ...range), [text, range[0], range[1]]);
  return html`<div class="document-text" ref=${box}>
    ${range[0] > 0 && html`<button type="button" class="button more" onClick=${() => widen(Math.max(0, range[0] - MORE), range[1])}>${words("document.before")}</button>`}
    ${lines.map((line) => html`<${Line} key=${line.start} line=${line.text} level=${line.level} isBlank=${line.isBlank} from=${cut(passage, line, 0)} to=${cut(passage, line, 1)} find=${find} isMarkdown=${isMarkdown} chunk=${edges?.get(line.start)} />`)}
    ${range[1] < text.length && html`<button type="button" class="button more" onClick=${() => widen(range[0], Math.min(text.length, range[1] + MORE))}>${words("document.after")}</button>`}
  </div>`;
}

function cut(passage, line, side) {
  if (!passage || passage[1] <= line.start || passage[0] >= line.start + line.text.length) return -1;
  return Math.min(Math.max(passage[side] - line.start, 0), line.text.length);
}

const Line = memo(({ line, level, isBlank, from, to, find, isMarkdown, chunk }) => {
  if (isBlank) return html`<div class="line-blank"></div>`;
  const show = (text) => (isMarkdown ? withoutSyntax(text, find) : found(text, find));
  const className = level && isMarkdown ? `line heading-${level}` : "line";
  if (from < 0) return html`<div class=${className} data-chunk=${chunk}>${show(line)}</div>`;
  return html`<div class=${className} data-chunk=${chunk}>${show(line.slice(0, from))}<mark class="passage">${show(line.slice(from, to))}</mark>${show(line.slice(to))}</div>`;
});

/** Markdown's own marks stay in the text (offsets count them) but out of sight; what they make bold is bold. */
function withoutSyntax(text, find) {
  let isBold = false;
  return text.split(SYNTAX).map((part) => {
    if (!part) return null;
    if (part === "**") isBold = !isBold;
    if (SYNTAX_ONLY.test(part)) return html`<span class="syntax">${part}</span>`;
    return isBold ? html`<b>${found(part, find)}</b>` : found(part, find);
  });
}

function found(text, find) {
  if (!find) return text;
  const parts = [];
  const lower = text.toLowerCase();
  const needle = find.toLowerCase();
  let done = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, at + needle.length)) {
    parts.push(text.slice(done, at), html`<mark class="found">${text.slice(at, at + needle.length)}</mark>`);
    done = at + needle.length;
  }
  parts.push(text.slice(done));
  return parts;
}
