// One entity beside the picture: what it is called, and its triples by relation, each with where it is said.
import { getEntity, getNeighbors, grouped } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { address, link } from "../core/router.js";
import { html, useEffect, useMemo, useState } from "../core/ui.js";
import { ErrorBox, IconButton, Skeleton } from "./controls.js";
import { KindSign } from "./graph_legend.js";
import { Icon } from "./icons.js";

const FIRST = 200;
const STEP = 200;
const MOST = 2000;
const FOLDED = 8;

/** `[entity, triples, error, more(relation), reload]` of an entity; `version` grows when the graph has changed. */
function useEntity(kb, id, version) {
  const [state, setState] = useState({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setState((now) => (now.entity?.id === id ? now : {}));
    Promise.all([getEntity(kb, id), getNeighbors(kb, id, { limit: FIRST })]).then(
      ([entity, triples]) => isCurrent && setState({ entity, triples }), (error) => isCurrent && setState({ error }));
    return () => (isCurrent = false);
  }, [kb, id, version, attempt]);
  const more = async (relation, loaded) => {
    const rows = await getNeighbors(kb, id, { relation, limit: Math.min(MOST, loaded + STEP) });
    setState((now) => ({ ...now, triples: [...now.triples, ...rows.filter((row) => !now.triples.some((one) => one.id === row.id))] }));
  };
  return [state.entity, state.triples, state.error, more, () => setAttempt(attempt + 1)];
}

/** `acts`: `{select, open, close, pin, hide, from, to, merge}`; `isOpen`, `isPinned`, `isShown`, `isPinnable`: how it stands in the picture. */
export function EntityPane({ kb, id, version, kindOf, acts, isOpen, isPinned, isShown, isPinnable }) {
  const words = useWords();
  const [entity, triples, error, more, reload] = useEntity(kb, id, version);
  const groups = useMemo(() => (entity ? grouped(entity, triples) : []), [entity, triples]);
  useEffect(() => {
    if (entity && entity.id !== id) acts.is(entity.id);
  }, [entity]);
  if (error) return html`<${ErrorBox} error=${error} onRetry=${reload} />`;
  if (!entity) return html`<${Skeleton} lines=${8} />`;
  return html`<div class="entity">
    <div class="entity-head"><${KindSign} kind=${kindOf(entity.type)} /><h3 dir="auto">${entity.name}</h3><${IconButton} icon="close" label=${words("graph.closeEntity")} onClick=${acts.leave} /></div>
    <p class="path"><span class="tag">${entity.type || words("graph.untyped")}</span> ${words("graph.triples", { n: number(entity.degree) })}</p>
    ${entity.aliases.length > 0 && html`<p class="path" dir="auto">${words("graph.aliases", { names: entity.aliases.join(words("graph.comma")) })}</p>`}
    <div class="entity-tools">
      <button type="button" class="button small ${isOpen ? "" : "primary"}" onClick=${isOpen ? acts.close : acts.open}>${words(isOpen ? "graph.collapse" : "graph.expand")}</button>
      <button type="button" class="button small" aria-pressed=${isPinned} disabled=${!isShown || !isPinnable} onClick=${acts.pin}>${words(isPinned ? "graph.unpin" : "graph.pin")}</button>
      <button type="button" class="button small" disabled=${!isShown} onClick=${acts.hide}>${words("graph.hide")}</button>
      <button type="button" class="button small" onClick=${acts.from}>${words("graph.wayFrom")}</button>
      <button type="button" class="button small" onClick=${acts.to}>${words("graph.wayTo")}</button>
      <button type="button" class="button small" onClick=${() => acts.merge(entity)}>${words("graph.merge")}</button>
    </div>
    ${groups.map((group) => html`<${Group} key=${group.key} group=${group} onSelect=${acts.select} onMore=${more} />`)}
  </div>`;
}

function Group({ group, onSelect, onMore }) {
  const words = useWords();
  const [shown, setShown] = useState(FOLDED);
  const [error, setError] = useState(null);
  const left = group.triples - Math.min(shown, group.rows.length);
  const isCut = group.rows.length >= MOST || shown >= MOST;
  const showMore = async () => {
    setError(null);
    try {
      if (shown >= group.rows.length) await onMore(group.relation, group.rows.length);
      setShown(shown + STEP);
    } catch (problem) {
      setError(problem);
    }
  };
  const label = words(group.direction === "out" ? "graph.groupOut" : "graph.groupIn", { relation: group.relation });
  return html`<section class="entity-group" aria-label=${label}>
    <h4><span dir="auto">${label}</span><small>${number(group.triples)}</small></h4>
    <ul>${group.rows.slice(0, shown).map(({ triple, other }) => html`<li key=${triple.id}>
      <button type="button" class="link-button" dir="auto" onClick=${() => onSelect(other.id)}>${other.name}</button>${other.type && html` <small class="path">${other.type}</small>`}
      <${Sources} rows=${triple.sources} /></li>`)}</ul>
    ${error && html`<${ErrorBox} error=${error} />`}
    ${left > 0 && !isCut && html`<button type="button" class="link-button more-button" onClick=${showMore}>${words("graph.nMore", { n: number(left) })}</button>`}
    ${left > 0 && isCut && html`<p class="path">${words("graph.tooMany", { n: number(left) })}</p>`}
  </section>`;
}

/** Where a triple is said: the quote with a way to the document, or the name of what was imported. */
export function Sources({ rows }) {
  const words = useWords();
  const [isAll, setAll] = useState(false);
  const shown = isAll ? rows : rows.slice(0, 1);
  return html`<ul class="sources-of">${shown.map((one, at) => html`<li key=${at}><${Source} one=${one} /></li>`)}
    ${rows.length > 1 && !isAll && html`<li><button type="button" class="link-button" onClick=${() => setAll(true)}>${words("graph.moreSources", { n: number(rows.length - 1) })}</button></li>`}</ul>`;
}

function Source({ one }) {
  const words = useWords();
  if (!one.document_id) return html`<span class="path" dir="auto">${one.source ? words("graph.sourceIs", { name: one.source }) : words("graph.imported")}</span>`;
  const target = address.document(one.document_id, one.start, one.end);
  return html`${one.quote && html`<q class="source-quote" dir="auto">${one.quote.slice(0, 400)}</q>`}
    <a class="source-link" href=${target} onClick=${link(target)}><${Icon} name="document" />${words("graph.openSource")}</a>${one.confidence < 1 && html` <small class="path">${Math.round(one.confidence * 100)}%</small>`}`;
}
