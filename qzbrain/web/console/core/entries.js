// Curated entries as the pages need them: the API's routes, an entry's state in words' keys, dates of a form, what a save found against it.
import { blob, get, patch, post, remove, sendFile } from "./api.js";

const PAGE = 50;

export const LEVELS = ["public", "internal", "confidential", "secret", "top_secret"];
export const STATUSES = ["", "proposed", "approved", "upcoming", "expired"];
export const FORMATS = ["xlsx", "csv", "jsonl"];
export const EMPTY = { question: "", answer: "", variants: [], negatives: [], source: "", valid_from: null, valid_until: null, level: "internal" };

const root = (kb) => `/api/knowledge-bases/${encodeURIComponent(kb)}`;
const one = (kb, id) => `${root(kb)}/entries/${encodeURIComponent(id)}`;

export const getEntry = (kb, id) => get(one(kb, id));
export const getVersions = async (kb, id) => (await get(`${one(kb, id)}/versions`)).data;
export const createEntry = async (kb, fields) => remember(await post(`${root(kb)}/entries`, fields));
export const changeEntry = async (kb, id, fields) => remember(await patch(one(kb, id), fields));
export const approveEntry = async (kb, id) => remember(await post(`${one(kb, id)}/approve`));
export const deleteEntry = (kb, id) => remove(one(kb, id));
export const exportEntries = (kb, format) => blob(`${root(kb)}/entries/export?format=${format}`);
export const getRegressions = (kb) => get(`${root(kb)}/regressions`);
export const runRegressions = (kb) => post(`${root(kb)}/regressions/run`);

export const correctAnswer = async (conversationId, messageId, fields) =>
  remember(await post(`/api/conversations/${encodeURIComponent(conversationId)}/messages/${encodeURIComponent(messageId)}/correct`, fields));

/** Send a file of entries; with `dryRun` nothing changes and the reply says what would. */
export const importEntries = (kb, file, { dryRun, approve }, onProgress) =>
  sendFile(`${root(kb)}/entries/import?dry_run=${Number(dryRun)}&approve=${Number(approve)}`, file, onProgress);

/** The first `count` entries (or a few more) that match, newest first: `{rows, hasMore}`. */
export async function entryPages(kb, { q, status }, count) {
  const rows = [];
  let after = null;
  do {
    const query = new URLSearchParams({ limit: PAGE, ...(q && { q }), ...(status && { status }), ...(after && { after }) });
    const page = await get(`${root(kb)}/entries?${query}`);
    rows.push(...page.data);
    after = page.has_more ? page.next : null;
  } while (after && rows.length < count);
  return { rows, hasMore: Boolean(after) };
}

const found = new Map(); // entry id → what its last save contradicts; the API tells it only then

function remember(entry) {
  found.set(entry.id, entry.conflicts);
  return entry;
}

export const conflictsOf = (id) => found.get(id) || [];

/** `proposed`, `changed` (a newer version waits, the approved one answers), `upcoming`, `expired` or `approved`. */
export function entryState(entry, now = new Date()) {
  if (entry.status === "proposed") return entry.in_force ? "changed" : "proposed";
  if (entry.valid_until && new Date(entry.valid_until) <= now) return "expired";
  return entry.valid_from && new Date(entry.valid_from) > now ? "upcoming" : "approved";
}

/** The question, or how the text begins. */
export const entryTitle = (entry) => entry.question || entry.answer.trim().split("\n", 1)[0].replace(/^[\s#*>`-]+/, "").slice(0, 200);

const two = (value) => String(value).padStart(2, "0");

/** Value of a date field for a moment, in the reader's time zone. */
export function dayOf(iso) {
  const time = iso ? new Date(iso) : null;
  return time ? `${String(time.getFullYear()).padStart(4, "0")}-${two(time.getMonth() + 1)}-${two(time.getDate())}` : "";
}

/** The first moment of a date field's day, or with `isEnd` its last; null for none. */
export function momentOf(day, isEnd) {
  if (!day) return null;
  const [year, month, date] = day.split("-").map(Number);
  const time = isEnd ? new Date(year, month - 1, date, 23, 59, 59, 999) : new Date(year, month - 1, date);
  return time.toISOString();
}

/** What a form holds of an entry: lists as lines, moments as days. */
export const toForm = (fields) => ({
  question: fields.question, answer: fields.answer, variants: fields.variants.join("\n"), negatives: fields.negatives.join("\n"),
  source: fields.source, valid_from: dayOf(fields.valid_from), valid_until: dayOf(fields.valid_until), level: fields.level,
});

/** What the API is sent: the fields in which the form differs from `before`, so that a time of day set elsewhere stays as it is. */
export function fromForm(form, before) {
  const fields = {};
  for (const [name, value] of Object.entries(form)) {
    if (value === before[name]) continue;
    if (name === "variants" || name === "negatives") fields[name] = value.split("\n").map((line) => line.trim()).filter(Boolean);
    else if (name === "valid_from" || name === "valid_until") fields[name] = momentOf(value, name === "valid_until");
    else fields[name] = value;
  }
  return fields;
}
