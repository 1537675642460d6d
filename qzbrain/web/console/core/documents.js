// Documents and their stored text, as the source pane and the document page need them. The last few texts are kept.
import { ApiError, get, upload } from "./api.js";
import { utf16Indices } from "./codepoints.js";
import { t } from "./i18n.js";
import { useEffect, useState } from "./ui.js";

const KEPT = 8;
const kept = new Map();

/** `{document, text}`; throws ApiError. */
export function loadDocument(id) {
  if (!kept.has(id)) {
    const path = `/api/documents/${encodeURIComponent(id)}`;
    const loading = Promise.all([get(path), get(`${path}/content`)]).then(([document, content]) => ({ document, text: content.text }));
    loading.catch(() => kept.delete(id));
    kept.set(id, loading);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(id);
}

/** For components: `[loaded, retry, renew]`; `loaded` is null at first, then as `loadDocument` gives it, or `{error}`. `renew` reads it anew in place. */
export function useDocument(id) {
  const [loaded, setLoaded] = useState(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setLoaded(null);
    loadDocument(id).then((result) => isCurrent && setLoaded(result), (error) => isCurrent && setLoaded({ error }));
    return () => (isCurrent = false);
  }, [id, attempt]);
  const renew = async () => {
    kept.delete(id);
    setLoaded(await loadDocument(id));
  };
  return [loaded, () => setAttempt(attempt + 1), renew];
}

export const fileAddress = (id) => `/api/documents/${encodeURIComponent(id)}/file`;

export const isMarkdown = (row) => row.mime_type === "text/markdown" || /\.(md|markdown)$/i.test(row.name);

/** Send a document's own file again: the server tries one that failed once more. Throws ApiError. */
export async function sendAgain(row) {
  const reply = await fetch(fileAddress(row.id));
  if (!reply.ok) throw new ApiError(t("error.http", { status: reply.status }), { status: reply.status, requestId: reply.headers.get("X-Request-Id") });
  await upload(row.knowledge_base, new File([await reply.blob()], row.name), () => {});
}

/** UTF-16 `[start, end)` of a passage given in code points, or null when it lies outside the text. */
export function passageIn(text, start, end) {
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start) return null;
  const [from, to] = utf16Indices(text, [start, end]);
  return from < to ? [from, to] : null;
}

/** `[from, to)` of the stretch to show: the passage with `around` characters on both sides, widened to whole lines where they are near. */
export function stretch(text, passage, around) {
  const [start, end] = passage || [0, 0];
  const from = Math.max(0, start - around);
  const to = Math.min(text.length, end + around);
  const lineStart = text.lastIndexOf("\n", from - 1) + 1;
  const lineEnd = text.indexOf("\n", to);
  return [from - lineStart < around ? lineStart : from, lineEnd >= 0 && lineEnd - to < around ? lineEnd : to];
}

/** Lines of `text[from:to]` as `{start, text, level, isBlank}`; `level` is a Markdown heading's depth, else 0. */
export function linesOf(text, from, to) {
  const lines = [];
  let start = from;
  for (const line of text.slice(from, to).split("\n")) {
    lines.push({ start, text: line, level: /^(#{1,6})\s/.exec(line)?.[1].length ?? 0, isBlank: !line.trim() });
    start += line.length + 1;
  }
  return lines;
}
