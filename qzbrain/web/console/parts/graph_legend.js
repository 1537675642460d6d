// Types and relations of the picture with their counts: what shape and colour mean, and switches to leave some out.
import { colourOf, points, shapeOf } from "../core/graph_scene.js";
import { number, useWords } from "../core/i18n.js";
import { html, useState } from "../core/ui.js";

const SHOWN = 10;

/** The sign of a type: its shape in its colour. */
export function KindSign({ kind }) {
  const shape = shapeOf(kind);
  return html`<svg class="kind kind-${colourOf(kind)}" viewBox="-8 -8 16 16" aria-hidden="true" focusable="false">
    ${shape === "circle" ? html`<circle r="6" />` : html`<polygon points=${points(shape, 0, 0, 5.8)} />`}</svg>`;
}

/** `types` and `relations`: `[[name, count]…]`; `off…`: Sets of those left out; `onToggle(what, name)`. */
export function Legend({ types, relations, kindOf, offTypes, offRelations, onToggle }) {
  const words = useWords();
  if (!types.length) return null;
  return html`<div class="legend">
    <${Switches} title=${words("graph.types")} rows=${types} off=${offTypes} name=${(type) => type || words("graph.untyped")} sign=${(type) => html`<${KindSign} kind=${kindOf(type)} />`}
      onToggle=${(name) => onToggle("types", name)} />
    <${Switches} title=${words("graph.relations")} rows=${relations} off=${offRelations} name=${(relation) => relation} onToggle=${(name) => onToggle("relations", name)} />
  </div>`;
}

function Switches({ title, rows, off, name, sign, onToggle }) {
  const words = useWords();
  const [isAll, setAll] = useState(false);
  if (!rows.length) return null;
  const more = rows.length - SHOWN;
  return html`<div class="legend-row" role="group" aria-label=${title}><span class="path">${title}</span>
    ${rows.slice(0, isAll ? rows.length : SHOWN).map(([key, count]) => html`<button key=${key} type="button" class="switch" aria-pressed=${!off.has(key)} title=${words(off.has(key) ? "graph.showKind" : "graph.hideKind", { name: name(key) })}
      onClick=${() => onToggle(key)}>${sign?.(key)}<span class="switch-name" dir="auto">${name(key)}</span><small>${number(count)}</small></button>`)}
    ${more > 0 && html`<button type="button" class="switch switch-more" aria-expanded=${isAll} onClick=${() => setAll(!isAll)}>${isAll ? words("graph.fewer") : words("graph.nMore", { n: number(more) })}</button>`}
  </div>`;
}
