// The work area of the Graph page: the picture or its table, what filters it, the way between two, and the entity beside it.
import { counts, DEPTHS, filtered, getNeighbors, getPath, LIMITS, pictureOf } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useMemo, useRef, useState } from "../core/ui.js";
import { ErrorBox } from "./controls.js";
import { EntityPane } from "./graph_entity.js";
import { KindSign, Legend } from "./graph_legend.js";
import { GraphPicture } from "./graph_picture.js";
import { TripleTable } from "./graph_table.js";
import { Way } from "./graph_way.js";
import { Icon } from "./icons.js";

const KEPT = 200;
const NONE = { nodes: new Set(), links: new Set() };

/** Triples round the open entities: `{triples, isBusy, error, isCut(id), retry}`. What was loaded once is kept until the graph changes. */
function useTriples(kb, { open, depth, relation, limit }, version) {
  const kept = useRef(new Map());
  const [, redraw] = useState(0);
  const [error, setError] = useState(null);
  const keyOf = (id) => [version, id, depth, relation, limit].join(" ");
  const load = () => {
    setError(null);
    for (const id of open) {
      const key = keyOf(id);
      if (kept.current.has(key)) continue;
      kept.current.set(key, null);
      if (kept.current.size > KEPT) kept.current.delete(kept.current.keys().next().value);
      getNeighbors(kb, id, { depth, relation, limit }).then((rows) => kept.current.set(key, rows), (problem) => {
        kept.current.delete(key);
        setError(problem);
      }).finally(() => redraw((n) => n + 1));
    }
  };
  const wanted = open.map(keyOf).join();
  useEffect(load, [kb, wanted]);
  const loaded = open.map((id) => kept.current.get(keyOf(id)));
  const shape = loaded.map((rows) => (rows ? rows.length : "-")).join();
  const triples = useMemo(() => loaded.flatMap((rows) => rows || []), [wanted, shape]);
  return { triples, isBusy: !error && loaded.some((rows) => !rows), error, retry: load, cut: open.filter((id) => kept.current.get(keyOf(id))?.length >= limit) };
}

function useWay(kb, from, to, version) {
  const [way, setWay] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    setWay(null);
    if (from && to) getPath(kb, from, to).then((found) => isCurrent && setWay(found), (error) => isCurrent && setWay({ error }));
    return () => (isCurrent = false);
  }, [kb, from, to, version]);
  return way;
}

/** A switch of one member of a Set in a state. */
const toggled = (set, key) => {
  const next = new Set(set);
  if (!next.delete(key)) next.add(key);
  return next;
};

export function GraphBoard({ base, state, overview, version, move, onMerge }) {
  const words = useWords();
  const [hidden, setHidden] = useState(new Set());
  const [off, setOff] = useState({ types: new Set(), relations: new Set() });
  const [, redraw] = useState(0);
  const [stage, side] = [useRef(null), useRef(null)];
  const kb = base.name;
  const around = useTriples(kb, state, version);
  const way = useWay(kb, state.from, state.to, version);
  const kinds = useMemo(() => new Map(overview.types.filter((one) => one.type).map((one, at) => [one.type, at])), [overview]);
  const kindOf = useMemo(() => (type) => kinds.get(type) ?? -1, [kinds]);
  const picture = useMemo(() => pictureOf([...around.triples, ...(way?.data || [])]), [around.triples, way]);
  const kept = useMemo(() => new Set([state.entity, ...state.open, state.from, state.to]), [state]);
  const shown = useMemo(() => filtered(picture, { hidden, offTypes: off.types, offRelations: off.relations, kept }), [picture, hidden, off, kept]);
  const found = useMemo(() => counts(picture), [picture]);
  const onWay = useMemo(() => {
    const links = pictureOf(way?.data || []);
    return way?.data?.length ? { nodes: new Set(links.nodes.keys()), links: new Set(links.links.keys()) } : NONE;
  }, [way]);
  const select = (id) => move(picture.nodes.has(id) ? { entity: id } : { entity: id, open: [...state.open, id] });
  const open = (id) => move({ entity: id, open: [...state.open.filter((one) => one !== id), id] });
  const pick = (id) => (id === state.entity && !state.open.includes(id) ? open(id) : select(id));
  const hide = (id) => {
    setHidden(new Set(hidden).add(id));
    if (id === state.entity) move({ entity: "", open: state.open.filter((one) => one !== id) });
  };
  const pinned = stage.current?.layout.pinned;
  const acts = {
    select, open: () => open(state.entity), close: () => move({ open: state.open.filter((one) => one !== state.entity) }), leave: () => move({ entity: "", open: state.open }),
    pin: () => { stage.current?.pin(state.entity, !pinned.has(state.entity)); redraw((n) => n + 1); }, hide: () => hide(state.entity),
    from: () => move({ from: state.entity }), to: () => move({ to: state.entity }), merge: onMerge,
    is: (id) => move({ entity: id, open: state.open.map((one) => (one === state.entity ? id : one)) }, { replace: true }),
  };
  const isTable = state.show === "table";
  const isBare = !picture.nodes.size && !around.isBusy;
  return html`<div class="graph-body"><div class="graph-main">
      <${Bar} state=${state} overview=${overview} hidden=${hidden} move=${move} onShowAll=${() => setHidden(new Set())} />
      ${(state.from || state.to) && html`<${Way} kb=${kb} from=${state.from} to=${state.to} way=${way} version=${version} onChange=${move} onSelect=${select} />`}
      ${around.error && html`<${ErrorBox} error=${around.error} onRetry=${around.retry} />`}
      ${isTable ? html`<${TripleTable} links=${shown.links} kindOf=${kindOf} selected=${state.entity} onSelect=${select} />`
        : html`<div class="graph-frame ${isBare ? "graph-bare" : ""}"><${GraphPicture} name=${kb} nodes=${shown.nodes} links=${shown.links} kindOf=${kindOf} selected=${state.entity} onWay=${onWay} isBusy=${around.isBusy}
            onPick=${pick} onHide=${hide} onPinned=${() => redraw((n) => n + 1)} stageRef=${stage} />
          ${isBare && html`<p class="graph-hint">${words("graph.start")}</p>`}
          ${picture.nodes.has(state.entity) && html`<button type="button" class="button small graph-down" onClick=${() => side.current.scrollIntoView({ block: "start" })}>
            <span class="entity-name" dir="auto">${picture.nodes.get(state.entity).name}</span><${Icon} name="chevron" /></button>`}
          ${around.cut.length > 0 && html`<p class="graph-cut">${words(state.limit < LIMITS.at(-1) ? "graph.cut" : "graph.cutAtMost", { n: number(state.limit) })}</p>`}</div>`}
      <${Legend} types=${found.types} relations=${found.relations} kindOf=${kindOf} offTypes=${off.types} offRelations=${off.relations}
        onToggle=${(what, name) => setOff({ ...off, [what]: toggled(off[what], name) })} />
    </div>
    <aside class="graph-side" ref=${side} aria-label=${words(state.entity ? "graph.entity" : "graph.overview")}>
      ${state.entity ? html`<${EntityPane} kb=${kb} id=${state.entity} version=${version} kindOf=${kindOf} acts=${acts} key=${state.entity}
          isOpen=${state.open.includes(state.entity)} isPinned=${Boolean(pinned?.has(state.entity))} isShown=${shown.nodes.some((one) => one.id === state.entity)} isPinnable=${!isTable} />`
        : html`<${Overview} overview=${overview} kindOf=${kindOf} onSelect=${(id) => move({ entity: id, open: [...state.open, id] })} />`}
    </aside></div>`;
}

function Bar({ state, overview, hidden, move, onShowAll }) {
  const words = useWords();
  const select = (name, label, options, value) => html`<label class="bar-field"><span class="path">${label}</span><select value=${String(value)} onChange=${(event) => move({ [name]: name === "relation" ? event.target.value : Number(event.target.value) })}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${String(key) === String(value)}>${text}</option>`)}</select></label>`;
  const relations = [["", words("graph.allRelations")], ...overview.relations.map((one) => [one.relation, `${one.relation} (${number(one.triples)})`])];
  return html`<div class="graph-bar">
    ${select("depth", words("graph.depth"), DEPTHS.map((n) => [n, words("graph.hops", { n })]), state.depth)}
    ${select("relation", words("graph.relation"), relations, state.relation)}
    ${select("limit", words("graph.limit"), LIMITS.map((n) => [n, number(n)]), state.limit)}
    ${hidden.size > 0 && html`<button type="button" class="button small" onClick=${onShowAll}>${words("graph.showHidden", { n: number(hidden.size) })}</button>`}
    ${(state.open.length > 0 || state.entity) && html`<button type="button" class="button small" onClick=${() => move({ entity: "", open: [], from: "", to: "" })}>${words("graph.clear")}</button>`}
    <div class="graph-show" role="group" aria-label=${words("graph.showAs")}>${["picture", "table"].map((show) => html`<button key=${show} type="button" class="filter" aria-pressed=${state.show === show} onClick=${() => move({ show })}>
      <${Icon} name=${show === "picture" ? "graph" : "table"} />${words(`graphShow.${show}`)}</button>`)}</div>
  </div>`;
}

/** What the graph is about, and where to begin. */
function Overview({ overview, kindOf, onSelect }) {
  const words = useWords();
  return html`<div class="entity">
    <section><h3>${words("graph.hubs")}</h3><ul class="hubs">${overview.entities.map((one) => html`<li key=${one.id}><button type="button" class="link-button" onClick=${() => onSelect(one.id)}>
      <${KindSign} kind=${kindOf(one.type)} /><span dir="auto">${one.name}</span></button><small>${number(one.degree)}</small></li>`)}</ul></section>
    <section><h3>${words("graph.types")}</h3><ul class="hubs">${overview.types.slice(0, 20).map((one) => html`<li key=${one.type}><span><${KindSign} kind=${kindOf(one.type)} />${one.type || words("graph.untyped")}</span><small>${number(one.entities)}</small></li>`)}</ul></section>
    <section><h3>${words("graph.relations")}</h3><ul class="hubs">${overview.relations.slice(0, 20).map((one) => html`<li key=${one.relation}><span dir="auto">${one.relation}</span><small>${number(one.triples)}</small></li>`)}</ul></section>
  </div>`;
}
