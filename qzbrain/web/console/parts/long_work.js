// Work that goes on in the background: a dialog that follows a job, and what begins one: a pack written, a pack taken in, other chunk sizes.
import { get, patch, post, sendFile } from "../core/api.js";
import { number, useWords } from "../core/i18n.js";
import { loadKnowledgeBases } from "../core/lists.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox } from "./controls.js";

const LOOK_MS = 700;

async function job(id) {
  let after = "";
  for (;;) {
    const page = await get(`/api/jobs?limit=100${after && `&after=${encodeURIComponent(after)}`}`);
    const found = page.data.find((one) => one.id === id);
    if (found || !page.has_more) return found || null;
    after = page.next;
  }
}

/** The job as it is now, looked at until it has ended; null before the first look. */
export function useJob(id) {
  const [state, setState] = useState({ row: null, error: null });
  useEffect(() => {
    if (!id) return undefined;
    let timer = 0;
    let gone = false;
    const look = async () => {
      try {
        const row = await job(id);
        if (gone) return;
        setState({ row, error: null });
        if (row && (row.status === "done" || row.status === "failed" || row.status === "cancelled")) {
          loadKnowledgeBases();
          return;
        }
      } catch (error) {
        if (!gone) setState((before) => ({ ...before, error }));
      }
      if (!gone) timer = setTimeout(look, LOOK_MS);
    };
    look();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [id]);
  return state;
}

function Followed({ id, done }) {
  const words = useWords();
  const { row, error } = useJob(id);
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (row?.status === "failed" || row?.status === "cancelled") return html`<p class="problem" role="alert">${row.reason?.message || words("work.cancelled")}</p>`;
  if (row?.status === "done") return html`<div role="status">${done(row)}</div>`;
  const { done: at = 0, total = 0 } = row?.progress || {};
  return html`<div role="status"><p>${words("work.running")}${total > 0 && ` ${number(at)} / ${number(total)}`}</p>
    <progress max=${total || 1} value=${total ? at : undefined} aria-label=${words("work.running")}></progress><p class="path">${words("work.goesOn")}</p></div>`;
}

/** Write the knowledge base into a pack, then offer it. */
export function ExportPack({ base, onClose }) {
  const words = useWords();
  const [id, setId] = useState("");
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    try {
      setId((await post(`/api/knowledge-bases/${encodeURIComponent(base.id)}/export`, { originals: form.has("originals"), vectors: form.has("vectors") })).job_id);
    } catch (problem) {
      setError(problem);
    }
  };
  const file = `/api/knowledge-bases/${encodeURIComponent(base.id)}/export/${id}`;
  return html`<${Dialog} title=${words("pack.export")} onClose=${onClose}>
    ${id ? html`<${Followed} id=${id} done=${() => html`<p>${words("pack.written")}</p><p><a class="button primary" href=${file} download>${words("pack.fetch")}</a></p>`} />`
      : html`<form onSubmit=${submit}><p>${words("pack.exportText")}</p>
        <fieldset class="choices"><legend class="hidden">${words("pack.export")}</legend>
          <label><input type="checkbox" name="originals" defaultChecked />${words("pack.originals")}</label>
          <label><input type="checkbox" name="vectors" defaultChecked />${words("pack.vectors")}</label></fieldset>
        ${error && html`<${ErrorBox} error=${error} />`}
        <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button><button class="button primary">${words("pack.write")}</button></div></form>`}
  <//>`;
}

/** Take a pack in under its own name or another. */
export function ImportPack({ onClose }) {
  const words = useWords();
  const [id, setId] = useState("");
  const [sent, setSent] = useState(-1);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const name = form.get("name").trim();
    setError(null);
    setSent(0);
    try {
      setId((await sendFile(`/api/knowledge-bases/import${name && `?name=${encodeURIComponent(name)}`}`, form.get("pack"), setSent)).job_id);
    } catch (problem) {
      setError(problem);
      setSent(-1);
    }
  };
  return html`<${Dialog} title=${words("pack.import")} onClose=${onClose}>
    ${id ? html`<${Followed} id=${id} done=${(row) => html`<p>${words("pack.taken", { name: row.result?.knowledge_base || "" })}</p>`} />`
      : html`<form onSubmit=${submit}><p>${words("pack.importText")}</p>
        <label class="field">${words("pack.file")}<input type="file" name="pack" accept=".qzkb" required /></label>
        <label class="field">${words("pack.name")}<input name="name" maxlength="64" autocomplete="off" /></label>
        ${sent >= 0 && html`<progress max="1" value=${sent} aria-label=${words("pack.sending")}></progress>`}
        ${error && html`<${ErrorBox} error=${error} />`}
        <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button>
          <button class="button primary" disabled=${sent >= 0}>${words("pack.take")}</button></div></form>`}
  <//>`;
}

/** Cut all documents of a knowledge base anew. */
export function Rechunk({ base, onClose }) {
  const words = useWords();
  const [id, setId] = useState("");
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const sizes = { chunk_chars: Number(form.get("chunk_chars")), overlap_chars: Number(form.get("overlap_chars")) };
    try {
      const reply = await patch(`/api/knowledge-bases/${encodeURIComponent(base.id)}`, sizes);
      loadKnowledgeBases();
      if (reply.job_id) setId(reply.job_id);
      else onClose();
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<${Dialog} title=${words("rechunk.title")} onClose=${onClose}>
    ${id ? html`<${Followed} id=${id} done=${(row) => html`<p>${words("rechunk.done", { n: number(row.result?.documents ?? 0) })}</p>`} />`
      : html`<form onSubmit=${submit}><p>${words("rechunk.text")}</p>
        <label class="field">${words("rechunk.chunk")}<input type="number" name="chunk_chars" min="50" max="8000" required defaultValue=${base.chunk_chars} /></label>
        <label class="field">${words("rechunk.overlap")}<input type="number" name="overlap_chars" min="0" max="4000" required defaultValue=${base.overlap_chars} /></label>
        ${error && html`<${ErrorBox} error=${error} />`}
        <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button><button class="button primary">${words("rechunk.go")}</button></div></form>`}
  <//>`;
}
