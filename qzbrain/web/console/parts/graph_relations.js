// The graph's relations and the words by which a question is known to ask for one, in each direction.
import { getRelations, setCues } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox, Skeleton } from "./controls.js";
import { notify } from "./toasts.js";

const parts = (text) => [...new Set(text.split(/[、，,;；\n]/).map((one) => one.trim()).filter(Boolean))];

export function Relations({ kb, onClose }) {
  const words = useWords();
  const [state, setState] = useState({});
  const [edited, setEdited] = useState("");
  const load = (rows = [], after = "") => getRelations(kb, { after }).then(
    (found) => setState({ rows: [...rows, ...(found?.data || [])], next: found?.next }), (error) => setState((now) => ({ ...now, error })));
  useEffect(() => void load(), [kb]);
  const save = async (row, cues) => {
    await setCues(kb, row.id, cues);
    setState((now) => ({ ...now, rows: now.rows.map((other) => (other.id === row.id ? { ...other, cues } : other)) }));
    setEdited("");
    notify(words("graph.cuesSaved", { name: row.name }));
  };
  return html`<${Dialog} title=${words("graph.relationList")} onClose=${onClose} className="wide-dialog">
    <p class="dialog-text">${words("graph.cuesText")}</p>
    ${state.error && html`<${ErrorBox} error=${state.error} onRetry=${() => load(state.rows, state.next || "")} />`}
    ${!state.rows && !state.error && html`<${Skeleton} lines=${5} />`}
    <ul class="relation-list">${state.rows?.map((row) => html`<li key=${row.id}><div class="relation-head"><b dir="auto">${row.name}</b><small class="path">${words("graph.triples", { n: number(row.count) })}</small>
        <button type="button" class="link-button" aria-expanded=${edited === row.id} onClick=${() => setEdited(edited === row.id ? "" : row.id)}>${words("graph.cuesEdit", { name: row.name })}</button></div>
      ${edited === row.id ? html`<${CueForm} row=${row} onSave=${(cues) => save(row, cues)} onLeave=${() => setEdited("")} />` : html`<${Cues} cues=${row.cues} />`}</li>`)}</ul>
    ${state.next && html`<button type="button" class="button more-relations" onClick=${() => load(state.rows, state.next)}>${words("graph.moreRelations")}</button>`}
  <//>`;
}

function Cues({ cues }) {
  const words = useWords();
  return ["forward", "inverse"].map((direction) => cues[direction].length > 0 && html`<p key=${direction} class="path" dir="auto">${words(`cues.${direction}`)}${words("graph.colon")}${cues[direction].join(words("graph.comma"))}</p>`);
}

function CueForm({ row, onSave, onLeave }) {
  const words = useWords();
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    try {
      await onSave({ forward: parts(form.get("forward")), inverse: parts(form.get("inverse")) });
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form onSubmit=${submit}>${["forward", "inverse"].map((direction) => html`<label key=${direction} class="field">${words(`cues.${direction}`)}
      <input name=${direction} autocomplete="off" maxlength="1000" defaultValue=${row.cues[direction].join("、")} /></label>`)}
    ${error && html`<${ErrorBox} error=${error} />`}
    <div class="dialog-actions"><button type="button" class="button small" onClick=${onLeave}>${words("cancel")}</button><button class="button small primary">${words("save")}</button></div></form>`;
}
