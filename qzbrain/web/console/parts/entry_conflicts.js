// What a saved entry contradicts: other entries with another answer, passages that say otherwise. Told, and hinders nothing.
import { useWords } from "../core/i18n.js";
import { plainQuote } from "../core/messages.js";
import { address, link } from "../core/router.js";
import { html } from "../core/ui.js";
import { Icon } from "./icons.js";

/** `rows`: conflicts as the API gives them, with `row` where they come from a file. */
export function Conflicts({ kb, rows }) {
  const words = useWords();
  if (!rows.length) return null;
  return html`<section class="conflicts" role="status" aria-label=${words("entry.conflicts", { n: rows.length })}>
    <h3><${Icon} name="warning" />${words("entry.conflicts", { n: rows.length })}</h3>
    <p class="path">${words("entry.conflictsNext")}</p>
    <ul class="cards">${rows.map((one, at) => html`<li key=${at}><${OneConflict} kb=${kb} one=${one} /></li>`)}</ul>
  </section>`;
}

function OneConflict({ kb, one }) {
  const words = useWords();
  const isEntry = one.kind === "entry";
  const target = isEntry ? address.entries(kb, { entry: one.entry_id }) : address.document(one.document_id, one.start, one.end);
  const name = isEntry ? one.question : one.document;
  const body = html`<span class="card-head"><span class="tag tag-warn">${words(isEntry ? "entry.conflictEntry" : "entry.conflictDocument")}</span><b dir="auto">${name}</b></span>
    ${one.row !== undefined && html`<span class="path">${words("entry.row", { n: one.row })}</span>`}
    <span class="card-quote" dir="auto">${plainQuote(one.quote)}</span>`;
  if (isEntry && !one.entry_id) return html`<div class="card">${body}</div>`;
  return html`<a class="card" href=${target} onClick=${link(target)}>${body}</a>`;
}
