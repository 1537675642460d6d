// Making several entities one: chosen by hand, or suggested and then accepted or dismissed; and undoing it.
import { decideSuggestion, getSuggestions, mergeEntities } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox, IconButton, Skeleton } from "./controls.js";
import { EntitySearch } from "./graph_search.js";
import { notifyError } from "./toasts.js";

/** Choose what is merged into `keep`, and say so once more; `onDone({id, text})`. */
export function MergeDialog({ kb, keep, onDone, onClose }) {
  const words = useWords();
  const [chosen, setChosen] = useState([]);
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const names = chosen.map((one) => one.name).join(words("graph.comma"));
  const merge = async () => {
    setError(null);
    setBusy(true);
    try {
      const { merge_id: id } = await mergeEntities(kb, keep.id, chosen.map((one) => one.id));
      onDone({ id, text: words("graph.merged", { names: names.slice(0, 120), name: keep.name.slice(0, 60) }) });
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${words("graph.mergeTitle", { name: keep.name.slice(0, 60) })} onClose=${onClose}>
    <p class="dialog-text">${words("graph.mergeText", { name: keep.name.slice(0, 120) })}</p>
    <${EntitySearch} id="merge-find" kb=${kb} label=${words("graph.mergeFind")} autofocus without=${[keep.id, ...chosen.map((one) => one.id)]} onPick=${(one) => setChosen([...chosen, one])} />
    ${chosen.length > 0 && html`<ul class="chosen" aria-label=${words("graph.mergeChosen")}>${chosen.map((one) => html`<li key=${one.id}><span dir="auto">${one.name}</span>${one.type && html`<span class="tag">${one.type}</span>`}
      <small class="path">${words("graph.triples", { n: number(one.degree) })}</small><${IconButton} icon="close" label=${words("graph.mergeWithout", { name: one.name })} onClick=${() => setChosen(chosen.filter((other) => other !== one))} /></li>`)}</ul>`}
    ${error && html`<${ErrorBox} error=${error} />`}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button>
      <button type="button" class="button danger" disabled=${!chosen.length || isBusy} onClick=${merge}>${chosen.length ? words("graph.mergeGo", { n: number(chosen.length) }) : words("graph.accept")}</button></div>
  <//>`;
}

/** Suggested merges that nobody has decided yet. `onDone({id, text})` after each that was accepted. */
export function Suggestions({ kb, onDone, onSelect, onClose }) {
  const words = useWords();
  const [state, setState] = useState({});
  const load = () => getSuggestions(kb).then((found) => setState({ rows: found?.data || [] }), (error) => setState({ error }));
  useEffect(() => void load(), [kb]);
  const decide = async (row, verdict) => {
    try {
      const { merge_id: id } = await decideSuggestion(kb, row.id, verdict);
      setState((now) => ({ rows: now.rows.filter((other) => other.id !== row.id) }));
      const names = row.merge.map((one) => one.name).join(words("graph.comma"));
      if (verdict === "accept") onDone({ id, text: words("graph.merged", { names: names.slice(0, 120), name: row.keep.name.slice(0, 60) }) });
    } catch (error) {
      notifyError(error);
    }
  };
  const entity = (one) => html`<button type="button" class="link-button" dir="auto" onClick=${() => onSelect(one.id)}>${one.name}</button>${one.type && html`<span class="tag">${one.type}</span>`}`;
  return html`<${Dialog} title=${words("graph.suggestions")} onClose=${onClose} className="wide-dialog">
    ${state.error && html`<${ErrorBox} error=${state.error} onRetry=${load} />`}
    ${!state.rows && !state.error && html`<${Skeleton} lines=${5} />`}
    ${state.rows?.length === 0 && html`<p class="empty">${words("graph.suggestionsNone")}</p>`}
    <ul class="suggestions">${state.rows?.map((row) => html`<li key=${row.id} class="card">
      <div class="suggestion-names">${row.merge.map((one) => html`<span key=${one.id} class="suggestion-names">${entity(one)}</span>`)}<span class="path">${words("graph.suggestionInto")}</span>${entity(row.keep)}</div>
      <p class="path">${row.reason}${typeof row.score === "number" && ` · ${Math.round(row.score * 100)}%`}</p>
      <div class="suggestion-tools"><button type="button" class="button small primary" onClick=${() => decide(row, "accept")}>${words("graph.accept")}</button>
        <button type="button" class="button small" onClick=${() => decide(row, "dismiss")}>${words("graph.dismiss")}</button></div></li>`)}</ul>
  <//>`;
}
