// Triples from a file: tried first (what would come in, which rows cannot), then taken in by a job whose progress is shown.
import { importTriples } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox } from "./controls.js";
import { Icon } from "./icons.js";
import { useJob } from "./long_work.js";

const SHOWN = 100;
const ACCEPT = ".csv,.tsv,.txt,.jsonl,.ndjson";

function chooseTriples(onFile) {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept: ACCEPT, onchange: () => input.files.length && onFile(input.files[0]) });
  input.click();
}

/** `first`: a dropped file, or null; `onDone` when triples came in. */
export function ImportTriples({ kb, first, onDone, onClose }) {
  const words = useWords();
  const [file, setFile] = useState(first);
  const [sending, setSending] = useState(null); // {dryRun, sent}
  const [error, setError] = useState(null);
  const [jobs, setJobs] = useState({ look: "", take: "" });
  const look = useJob(jobs.look);
  const take = useJob(jobs.take);
  const send = async (dryRun) => {
    setError(null);
    setJobs((now) => ({ look: dryRun ? "" : now.look, take: "" }));
    setSending({ dryRun, sent: 0 });
    try {
      const { job_id: id } = await importTriples(kb, file, dryRun, (sent) => setSending({ dryRun, sent }));
      setJobs((now) => ({ ...now, [dryRun ? "look" : "take"]: id }));
    } catch (problem) {
      setError({ problem, dryRun });
    }
    setSending(null);
  };
  useEffect(() => void (file && send(true)), [file]);
  const isTaken = jobs.take && take.row?.status === "done";
  useEffect(() => void (isTaken && onDone()), [isTaken]);
  const plan = jobs.look && look.row?.status === "done" ? look.row.result : null;
  const isBusy = sending || (jobs.take && !isOver(take.row)) || (jobs.look && !isOver(look.row));
  const count = plan?.triples ?? 0;
  return html`<${Dialog} title=${words(isTaken ? "graph.importDone" : "graph.import")} onClose=${onClose} className="wide-dialog">
    ${!jobs.take && html`<p class="dialog-text">${words("graph.importText")}</p>
      <div class="import-file" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => {
        event.preventDefault();
        event.stopPropagation();
        if (event.dataTransfer.files.length) setFile(event.dataTransfer.files[0]);
      }}>
        <button type="button" class="button" onClick=${() => chooseTriples(setFile)}><${Icon} name="upload" />${words(file ? "entry.importOther" : "entry.importChoose")}</button>
        <span class="upload-name" dir="auto">${file ? file.name : words("entry.importDrop")}</span>
      </div>`}
    ${sending && html`<p class="path" role="status">${words("entry.importSending")}</p><progress max="1" value=${sending.sent} aria-label=${file.name}></progress>`}
    ${error && html`<${ErrorBox} error=${error.problem} onRetry=${() => send(error.dryRun)} />`}
    ${!jobs.take && jobs.look && html`<${Running} state=${look} text=${words("entry.importTrying")} />`}
    ${jobs.take && html`<${Running} state=${take} text=${words("entry.importTaking")} />`}
    ${isTaken ? html`<${Told} result=${take.row.result} text="graph.importDid" />` : plan && html`<${Told} result=${plan} text="graph.importWould" />`}
    <div class="dialog-actions">
      <button type="button" class="button ${isTaken ? "primary" : ""}" onClick=${onClose}>${words(isTaken || jobs.take ? "close" : "cancel")}</button>
      ${!jobs.take && html`<button type="button" class="button primary" disabled=${!count || isBusy} onClick=${() => send(false)}>${count ? words("graph.importTake", { n: number(count) }) : words("graph.import")}</button>`}
    </div>
  <//>`;
}

const isOver = (row) => row && ["done", "failed", "cancelled"].includes(row.status);

function Running({ state, text }) {
  const words = useWords();
  const { row, error } = state;
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (row?.status === "failed" || row?.status === "cancelled") return html`<p class="problem" role="alert">${row.reason?.message || words("work.cancelled")}</p>`;
  if (row?.status === "done") return null;
  const { done = 0, total = 0 } = row?.progress || {};
  return html`<div role="status"><p class="path">${text}${total > 0 && ` ${words("graph.rowsOf", { n: number(done), m: number(total) })}`}</p>
    <progress max=${total || 1} value=${total ? done : undefined} aria-label=${text}></progress><p class="path">${words("work.goesOn")}</p></div>`;
}

function Told({ result, text }) {
  const words = useWords();
  const { errors } = result;
  const bad = words("graph.badRows", { n: number(errors.length) });
  return html`<div class="told" role="status">
    <p>${words(text, { triples: number(result.triples), entities: number(result.entities), relations: number(result.relations) })}</p>
    ${errors.length > 0 && html`<section aria-label=${bad}><h3 class="problem">${bad}</h3>
      <ul class="row-errors" tabindex="0" aria-label=${bad}>${errors.slice(0, SHOWN).map((one, at) => html`<li key=${at}><b>${words("entry.row", { n: number(one.row) })}</b> ${one.message}</li>`)}
        ${errors.length > SHOWN && html`<li>${words("entry.importMore", { n: number(errors.length - SHOWN) })}</li>`}</ul></section>`}
  </div>`;
}
