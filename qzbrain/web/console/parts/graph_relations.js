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
  const load = () => getRelations(kb).then((rows) => setState({ rows: rows || [] }), (error) => setState({ error }));
  useEffect(() => void load(), [kb]);
  const save = async (row, cues) => {
    await setCues(kb, row.id, cues);
    setState((now) => ({ rows: now.rows.map((other) => (other.id === row.id ? { ...other, cues } : other)) }));
    setEdited("");
    notify(words("graph.cuesSaved", { name: nameOf(row) }));
  };
  return html`<${Dialog} title=${words("graph.relationList")} onClose=${onClose} className="wide-dialog">
    <p class="dialog-text">${words("graph.cuesText")}</p>
    ${state.error && html`<${ErrorBox} error=${state.error} onRetry=${load} />`}
    ${!state.rows && !state.error && html`<${Skeleton} lines=${5} />`}
    <ul class="relation-list">${state.rows?.map((row) => html`<li key=${row.id}><div class="relation-head"><b dir="auto">${nameOf(row)}</b>${row.triples !== undefined && html`<small class="path">${words("graph.triples", { n: number(row.triples) })}</small>`}
        <button type="button" class="link-button" aria-expanded=${edited === row.id} onClick=${() => setEdited(edited === row.id ? "" : row.id)}>${words("graph.cuesEdit", { name: nameOf(row) })}</button></div>
      ${edited === row.id ? html`<${CueForm} row=${row} onSave=${(cues) => save(row, cues)} onLeave=${() => setEdited("")} />` : html`<${Cues} cues=${row.cues} />`}</li>`)}</ul>
  <//>`;
}

const nameOf = (row) => row.name ?? row.relation ?? row.label;
const cue = (cues, direction) => cues?.[direction] || [];

function Cues({ cues }) {
  const words = useWords();
  return ["forward", "inverse"].map((direction) => cue(cues, direction).length > 0 && html`<p key=${direction} class="path" dir="auto">${words(`cues.${direction}`)}${words("graph.colon")}${cue(cues, direction).join(words("graph.comma"))}</p>`);
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
      <input name=${direction} autocomplete="off" maxlength="1000" defaultValue=${cue(row.cues, direction).join("、")} /></label>`)}
    ${error && html`<${ErrorBox} error=${error} />`}
    <div class="dialog-actions"><button type="button" class="button small" onClick=${onLeave}>${words("cancel")}</button><button class="button small primary">${words("save")}</button></div></form>`;
}
