// The picture as a table: the same triples, for whoever reads rather than looks.
import { number, useWords } from "../core/i18n.js";
import { address, link } from "../core/router.js";
import { html, useMemo, useState } from "../core/ui.js";
import { KindSign } from "./graph_legend.js";

const PAGE = 200;

export function TripleTable({ links, kindOf, selected, onSelect }) {
  const words = useWords();
  const [count, setCount] = useState(PAGE);
  const rows = useMemo(() => links.flatMap((link) => link.triples), [links]);
  const end = (entity) => html`<td class="cell-name"><button type="button" class="link-button" aria-current=${entity.id === selected ? "true" : undefined} onClick=${() => onSelect(entity.id)}>
    <${KindSign} kind=${kindOf(entity.type)} /><span dir="auto">${entity.name}</span></button>${entity.type && html`<small>${entity.type}</small>`}</td>`;
  return html`<div class="graph-table table-scroll" tabindex="0" role="region" aria-label=${words("graph.tableLabel", { n: number(rows.length) })}><table class="documents">
    <caption class="hidden">${words("graph.tableLabel", { n: number(rows.length) })}</caption>
    <thead><tr>${["graph.head", "graph.relation", "graph.tail", "graph.source"].map((key) => html`<th key=${key} scope="col">${words(key)}</th>`)}</tr></thead>
    <tbody>${rows.slice(0, count).map((one) => html`<tr key=${one.id}>${end(one.head)}<td dir="auto">${one.relation}</td>${end(one.tail)}<td class="cell-source" dir="auto"><${SourceName} triple=${one} /></td></tr>`)}</tbody>
  </table>${rows.length > count && html`<p class="more"><button type="button" class="button" onClick=${() => setCount(count + PAGE)}>${words("graph.nMore", { n: number(rows.length - count) })}</button></p>`}</div>`;
}

function SourceName({ triple }) {
  const words = useWords();
  const [first] = triple.sources;
  if (!first) return null;
  if (!first.document_id) return first.source || words("graph.imported");
  const target = address.document(first.document_id, first.start, first.end);
  return html`<a href=${target} title=${first.quote.slice(0, 200)} onClick=${link(target)}>${words("graph.openSource")}</a>`;
}
