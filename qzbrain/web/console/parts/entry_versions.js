// The versions of an entry, each with what it changed.
import { getVersions } from "../core/entries.js";
import { diff } from "../core/diff.js";
import { calendarDay, dateTime, useWords } from "../core/i18n.js";
import { html, memo, useEffect, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "./controls.js";

const FIELDS = ["question", "answer", "variants", "negatives", "source", "valid_from", "valid_until", "level"];
const LABELS = { question: "entry.question", answer: "entry.answer", variants: "entry.variants", negatives: "entry.negatives", source: "entry.source", valid_from: "entry.validFrom", valid_until: "entry.validUntil", level: "entry.level" };

export function EntryVersions({ kb, entry }) {
  const words = useWords();
  const [rows, setRows] = useState(null);
  const [error, setError] = useState(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setError(null);
    getVersions(kb, entry.id).then((found) => isCurrent && setRows(found), (problem) => isCurrent && setError(problem));
    return () => (isCurrent = false);
  }, [kb, entry.id, entry.version, attempt]);
  return html`<section class="versions" aria-label=${words("entry.versions")}>
    <h3>${words("entry.versions")}</h3>
    ${error && html`<${ErrorBox} error=${error} onRetry=${() => setAttempt(attempt + 1)} />`}
    ${!rows && !error && html`<${Skeleton} lines=${3} />`}
    ${rows && html`<ol>${rows.map((row, at) => html`<li key=${row.version}><${Version} row=${row} before=${rows[at + 1]} inForce=${row.version === entry.approved_version} isOpen=${at === 0 && rows.length > 1} lang=${document.documentElement.lang} /></li>`)}</ol>`}
  </section>`;
}

const Version = memo(({ row, before, inForce, isOpen }) => {
  const words = useWords();
  const head = html`<b>${words("entry.version", { n: row.version })}</b> <span class="path">${[row.author, dateTime(row.created_at)].join(" · ")}</span>
    ${inForce && html`<span class="tag">${words("entry.versionApproved")}</span>`}`;
  if (!before) return html`<p class="version-first">${head} <span class="path">${words("entry.versionFirst")}</span></p>`;
  const changed = FIELDS.map((name) => [name, shown(row[name], name, words), shown(before[name], name, words)]).filter(([, now, then]) => now !== then);
  return html`<details open=${isOpen}><summary>${head}</summary>
    <dl class="changes">${changed.map(([name, now, then]) => html`<div key=${name}><dt>${words(LABELS[name])}</dt><dd dir="auto"><${Changes} before=${then} after=${now} /></dd></div>`)}</dl>
  </details>`;
});

function shown(value, name, words) {
  if (Array.isArray(value)) return value.join("\n");
  if (name === "level") return words(`level.${value}`);
  return value && name.startsWith("valid_") ? calendarDay(value) : value || "";
}

function Changes({ before, after }) {
  const tags = { same: "span", out: "del", in: "ins" };
  return diff(before, after).map(({ kind, text }) => html`<${tags[kind]}>${text}<//>`);
}
