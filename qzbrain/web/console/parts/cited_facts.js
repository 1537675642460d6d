// What the knowledge graph says by a source: each fact, what the imported file named as its source, and the way to its entity on the Graph page.
import { useWords } from "../core/i18n.js";
import { address, link } from "../core/router.js";
import { html } from "../core/ui.js";
import { Icon } from "./icons.js";

const MOST = 12;
const pageOf = (fact) => address.graph(fact.knowledge_base, { entity: fact.head_id });

/** The facts of a citation; nothing for a passage that a search found. */
export function CitedFacts({ citation }) {
  const words = useWords();
  const facts = citation.facts || [];
  if (!facts.length) return null;
  const rest = facts.length - MOST;
  return html`<section class="cited-facts" aria-label=${words("fact.list")}><h3>${words("fact.list")}</h3><ul>
    ${facts.slice(0, MOST).map((fact) => html`<li key=${`${fact.head_id}.${fact.relation}.${fact.tail_id}`}>
      <a href=${pageOf(fact)} onClick=${link(pageOf(fact))}>${fact.head}</a> — ${fact.relation} — <span>${fact.tail}</span>
      ${fact.source && html`<span class="path">${words("graph.sourceIs", { name: fact.source })}</span>`}</li>`)}
    ${rest > 0 && html`<li key="rest" class="path">${words("graph.nMore", { n: rest })}</li>`}
  </ul>${!citation.document_id && html`<p class="path">${words("fact.noText")}</p>`}</section>`;
}

/** From an answer to the Graph page, with what it begins with in the middle. */
export function GraphLink({ message }) {
  const words = useWords();
  const fact = message.citations.find((citation) => citation.cited && citation.facts?.length)?.facts[0];
  if (message.rung !== "graph" || !fact) return null;
  return html`<a class="graph-link" href=${pageOf(fact)} onClick=${link(pageOf(fact))}><${Icon} name="graph" />${words("fact.showGraph")}</a>`;
}
