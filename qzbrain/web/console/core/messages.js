// A message as the pages show it, from what the API stores, streams or answers. Pure.
import { utf16Indices } from "./codepoints.js";

/** From a stored message row. */
export function fromStored(row) {
  const role = row.role;
  const base = { id: row.message_id || row.id, role, status: row.status || "complete", createdAt: row.created_at };
  if (role === "user") return { ...base, text: row.content ?? "" };
  return { ...base, ...answerFields(row), text: row.content ?? row.answer ?? "", rating: row.rating || "", error: row.error || null };
}

/** Fields of an answer object (or of a stored row that has them). */
export function answerFields(answer) {
  return {
    citations: answer.citations || [],
    unsupported: answer.unsupported || null,
    rung: answer.rung || "",
    rungReason: answer.rung_reason || "",
    confidence: answer.confidence ?? null,
    degraded: answer.degraded || [],
    model: answer.model || "",
    timings: answer.timings || {},
  };
}

/** The message with what a live turn has received so far. */
export function withLive(message, turn) {
  if (turn.error) return { ...message, status: "failed", text: turn.text, error: turn.error, queue: null };
  if (turn.answer) {
    const { answer } = turn;
    return { ...message, ...answerFields(answer), id: answer.message_id, status: answer.stopped ? "stopped" : "complete", text: answer.answer, queue: null };
  }
  return { ...message, status: "running", text: turn.text, citations: turn.citations || message.citations, queue: turn.text ? null : turn.queue };
}

const SENTENCE = /[^。！？!?\n]+(?:[。！？!?]+["”’」』）)]*|\n|$)(?:\s?\[\d{1,3}\])*/g;
const MARK = /\[(\d{1,3})\]/g;

/** Spans (UTF-16) of the sentences that their sources do not support: as the server gives them, else those all of whose citations failed. */
export function unsupportedSpans(text, citations, given) {
  if (given) return given.map((span) => utf16Indices(text, span));
  const verdict = new Map(citations.map((citation) => [citation.index, citation.supported]));
  if (![...verdict.values()].includes(false)) return [];
  const spans = [];
  for (const sentence of text.matchAll(SENTENCE)) {
    const marks = [...sentence[0].matchAll(MARK)].map((mark) => verdict.get(Number(mark[1])));
    if (marks.length && marks.every((supported) => supported === false)) spans.push([sentence.index, sentence.index + sentence[0].length]);
  }
  return spans;
}

/** The answer as plain text with its references below, for the clipboard. */
export function copyText(message, origin) {
  const cited = message.citations.filter((citation) => citation.cited);
  const lines = cited.map((c) => `[${c.index}] ${[c.title || c.document, ...sourcePath(c)].join(" › ")} ${new URL(c.url, origin).href}`);
  return lines.length ? `${message.text}\n\n${lines.join("\n")}` : message.text;
}

/** Heading path of a source without what repeats the document's title. */
export function sourcePath(citation) {
  const title = citation.title || citation.document;
  return (citation.heading_path || []).filter((heading) => heading !== title);
}

/** A passage without Markdown's marks, for cards of a few lines. */
export const plainQuote = (text) => text.replace(/\*\*|^#{1,6}\s+/gm, "").replace(/\s*\n\s*/g, " ").trim();
