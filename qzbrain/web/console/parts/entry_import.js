// Entries from a file: chosen or dropped, tried first (what would be made, changed, skipped, refused), then taken in.
import { importEntries } from "../core/entries.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox } from "./controls.js";
import { Conflicts } from "./entry_conflicts.js";
import { Icon } from "./icons.js";
import { notify } from "./toasts.js";

const SHOWN = 100;
export const ACCEPT = ".xlsx,.xls,.csv,.tsv,.jsonl,.json,.txt";

/** Let the reader choose a file of entries. */
export function chooseEntries(onFile) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ACCEPT;
  input.onchange = () => input.files.length && onFile(input.files[0]);
  input.click();
}

/** `first`: the file that was dropped, or null. */
export function ImportDialog({ kb, first, onDone, onClose }) {
  const words = useWords();
  const [file, setFile] = useState(first);
  const [state, setState] = useState({});
  const [approve, setApprove] = useState(false);
  const send = async (dryRun) => {
    setState((now) => ({ plan: dryRun ? null : now.plan, sent: 0, isTaking: !dryRun }));
    try {
      const told = await importEntries(kb, file, { dryRun, approve }, (sent) => setState((now) => ({ ...now, sent })));
      setState(dryRun ? { plan: told } : { result: told });
      if (dryRun) return;
      notify(words("entry.imported", { created: number(told.created), updated: number(told.updated) }));
      onDone();
    } catch (error) {
      setState({ error, plan: dryRun ? null : state.plan });
    }
  };
  useEffect(() => void (file && send(true)), [file]);
  const told = state.result || state.plan;
  const count = state.plan ? state.plan.created + state.plan.updated : 0;
  return html`<${Dialog} title=${words(state.result ? "entry.importDone" : "entry.import")} onClose=${onClose} className="wide-dialog">
    ${!state.result && html`<p class="dialog-text">${words("entry.importText")}</p>
      <div class="import-file" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => {
        event.preventDefault();
        event.stopPropagation();
        if (event.dataTransfer.files.length) setFile(event.dataTransfer.files[0]);
      }}>
        <button type="button" class="button" disabled=${state.isTaking} onClick=${() => chooseEntries(setFile)}><${Icon} name="upload" />${words(file ? "entry.importOther" : "entry.importChoose")}</button>
        <span class="upload-name" dir="auto">${file ? file.name : words("entry.importDrop")}</span>
      </div>`}
    ${state.sent !== undefined && html`<p class="path" role="status">${words(state.sent < 1 ? "entry.importSending" : state.isTaking ? "entry.importTaking" : "entry.importTrying")}</p>
      <progress max="1" value=${state.sent < 1 ? state.sent : undefined} aria-label=${file.name}></progress>`}
    ${state.error && html`<${ErrorBox} error=${state.error} onRetry=${() => send(!state.plan)} />`}
    ${told && html`<${Told} kb=${kb} told=${told} />`}
    ${state.plan && !state.result && count > 0 && html`<label class="check"><input type="checkbox" checked=${approve} onChange=${(event) => setApprove(event.target.checked)} />${words("entry.importApprove")}</label>`}
    <div class="dialog-actions">
      <button type="button" class="button ${state.result ? "primary" : ""}" onClick=${onClose}>${words(state.result ? "close" : "cancel")}</button>
      ${!state.result && html`<button type="button" class="button primary" disabled=${!count || state.isTaking} onClick=${() => send(false)}>${words("entry.importTake", { n: number(count) })}</button>`}
    </div>
  <//>`;
}

function Told({ kb, told }) {
  const words = useWords();
  const figures = ["created", "updated", "skipped"].map((key) => words(`entryImport.${key}`, { n: number(told[key]) }));
  return html`<div class="told" role="status">
    <p>${words(told.dry_run ? "entry.importWould" : "entry.importDid")}${figures.join(words("list.comma"))}${words("stop.mark")}</p>
    ${told.errors.length > 0 && html`<section aria-label=${words("entry.importErrors", { n: number(told.errors.length) })}><h3 class="problem">${words("entry.importErrors", { n: number(told.errors.length) })}</h3>
      <ul class="row-errors" tabindex="0" aria-label=${words("entry.importErrors", { n: number(told.errors.length) })}>${told.errors.slice(0, SHOWN).map((one, at) => html`<li key=${at}><b>${words("entry.row", { n: one.row })}</b> ${one.message}</li>`)}
        ${told.errors.length > SHOWN && html`<li>${words("entry.importMore", { n: number(told.errors.length - SHOWN) })}</li>`}</ul></section>`}
    <${Conflicts} kb=${kb} rows=${told.conflicts.slice(0, SHOWN)} />
  </div>`;
}
