// The way between two entities: who is joined, and the chain that joins them.
import { chainOf, getEntity, MOST_HOPS } from "../core/graph.js";
import { useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { ErrorBox, IconButton } from "./controls.js";
import { EntitySearch } from "./graph_search.js";

/** `way`: `{found, data}` of the route, null while it is asked for, `{error}`; `onChange({from, to})`. */
export function Way({ kb, from, to, way, onChange, onSelect, version }) {
  const words = useWords();
  return html`<section class="way" aria-label=${words("graph.way")}>
    <div class="way-ends">
      <${End} id="way-from" kb=${kb} entity=${from} label=${words("graph.wayFromLabel")} version=${version} onPick=${(id) => onChange({ from: id })} onClear=${() => onChange({ from: "" })} />
      <${IconButton} icon="swap" label=${words("graph.waySwap")} onClick=${() => onChange({ from: to, to: from })} />
      <${End} id="way-to" kb=${kb} entity=${to} label=${words("graph.wayToLabel")} version=${version} onPick=${(id) => onChange({ to: id })} onClear=${() => onChange({ to: "" })} />
      <${IconButton} icon="close" label=${words("graph.wayClose")} onClick=${() => onChange({ from: "", to: "" })} />
    </div>
    ${from && to && html`<div class="way-told" role="status"><${Told} way=${way} from=${from} onSelect=${onSelect} /></div>`}
  </section>`;
}

function Told({ way, from, onSelect }) {
  const words = useWords();
  if (!way) return html`<p class="path">${words("graph.waySearching")}</p>`;
  if (way.error) return html`<${ErrorBox} error=${way.error} />`;
  if (!way.found) return html`<p class="path">${words("graph.wayNone", { n: MOST_HOPS })}</p>`;
  if (!way.data.length) return html`<p class="path">${words("graph.waySame")}</p>`;
  return html`<ol class="chain">${chainOf(way.data, from).map(({ entity, triple }) => html`<li key=${entity.id}>
    <button type="button" class="link-button" dir="auto" onClick=${() => onSelect(entity.id)}>${entity.name}</button>
    ${triple && html`<span class="chain-link"><span aria-hidden="true">${triple.head.id === entity.id ? "—" : "←"}</span><span dir="auto">${triple.relation}</span><span aria-hidden="true">${triple.head.id === entity.id ? "→" : "—"}</span>
      ${triple.head.id !== entity.id && html`<span class="hidden">${words("graph.backwards")}</span>`}</span>`}</li>`)}</ol>`;
}

function End({ id, kb, entity, label, onPick, onClear, version }) {
  const words = useWords();
  const [known, setKnown] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    setKnown(null);
    if (entity) getEntity(kb, entity).then((one) => isCurrent && setKnown(one), () => isCurrent && setKnown({ name: `#${entity}` }));
    return () => (isCurrent = false);
  }, [kb, entity, version]);
  if (!entity) return html`<${EntitySearch} id=${id} kb=${kb} label=${label} onPick=${(one) => onPick(one.id)} />`;
  return html`<span class="way-end"><small class="path">${label}</small><b dir="auto">${known?.name ?? "…"}</b><${IconButton} icon="close" label=${words("graph.wayClear", { name: known?.name ?? "" })} onClick=${onClear} /></span>`;
}
