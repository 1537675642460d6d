// Uploading from anywhere: the chosen or dropped files, the knowledge base they go to, and how far they are.
import { useWords } from "../core/i18n.js";
import { baseTitle, chosenBases, knowledgeBases } from "../core/lists.js";
import { address, go, route } from "../core/router.js";
import { store, useStore } from "../core/store.js";
import { html, useEffect, useState } from "../core/ui.js";
import { again, clearFinished, droppedFiles, uploadFiles, uploads } from "../core/uploads.js";
import { Dialog, IconButton } from "./controls.js";
import { Icon } from "./icons.js";

const asked = store(null); // files that wait for the reader to say where they go

/** A page that takes dropped files itself: a function of them, or null. */
export const dropTaker = store(null);

/** Let the reader choose files; they go to `kb`, or to the one that the reader then names. */
export function chooseFiles(kb = "", { folder = false } = {}) {
  const input = document.createElement("input");
  input.type = "file";
  input.multiple = true;
  input.webkitdirectory = folder;
  input.onchange = () => input.files.length && place([...input.files], kb);
  input.click();
}

function place(files, kb) {
  const target = kb || (route.get().view === "knowledge" && route.get().id);
  if (target) uploadFiles(target, files);
  else asked.set(files);
}

/** Drop area over the whole page, the question where files go, and the list of what is being sent. */
export function UploadLayer() {
  return html`<${DropArea} /><${WhereTo} /><${UploadList} />`;
}

function DropArea() {
  const words = useWords();
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const over = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event) => event.relatedTarget === null && setOver(false);
    const drop = async (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      const files = await droppedFiles(event.dataTransfer);
      if (files.length) (dropTaker.get() || place)(files, "");
    };
    const events = { dragenter: over, dragover: over, dragleave: leave, drop };
    for (const [name, listener] of Object.entries(events)) window.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(events)) window.removeEventListener(name, listener);
    };
  }, []);
  return isOver && html`<div class="drop-area"><p><${Icon} name="upload" />${words("upload.drop")}</p></div>`;
}

function WhereTo() {
  const words = useWords();
  const files = useStore(asked);
  const { rows } = useStore(knowledgeBases);
  if (!files) return null;
  const close = () => asked.set(null);
  const preferred = chosenBases.get()[0];
  const submit = (event) => {
    event.preventDefault();
    const kb = new FormData(event.target).get("kb");
    close();
    uploadFiles(kb, files);
    go(address.knowledge(kb));
  };
  return html`<${Dialog} title=${words("upload.where", { n: files.length })} onClose=${close}>
    <form onSubmit=${submit}>
      <fieldset class="choices"><legend class="hidden">${words("upload.where", { n: files.length })}</legend>
        ${rows.map((base, at) => html`<label key=${base.id}><input type="radio" name="kb" value=${base.name} required defaultChecked=${preferred ? base.id === preferred : at === 0} />${baseTitle(base)}</label>`)}
      </fieldset>
      <div class="dialog-actions"><button type="button" class="button" onClick=${close}>${words("cancel")}</button>
        <button class="button primary" disabled=${!rows.length}>${words("upload.send")}</button></div>
    </form>
  <//>`;
}

function UploadList() {
  const words = useWords();
  const rows = useStore(uploads);
  if (!rows.length) return null;
  const open = rows.filter((row) => row.state === "waiting" || row.state === "sending").length;
  return html`<section class="upload-list" aria-label=${words("upload.list")}>
    <header><h2>${open ? words("upload.open", { n: open }) : words("upload.ended", { n: rows.length })}</h2>
      <${IconButton} icon="close" label=${words("close")} onClick=${clearFinished} /></header>
    <ul>${rows.slice(0, 50).map((row) => html`<li key=${row.id}>
      <span class="upload-name" title=${row.name}>${row.name}</span>
      ${row.state === "sending" && html`<progress max="1" value=${row.sent} aria-label=${row.name}></progress>`}
      ${row.state === "waiting" && html`<small>${words("upload.waiting")}</small>`}
      ${row.state === "done" && html`<small>${words(row.duplicate ? "upload.duplicate" : "upload.done")}</small>`}
      ${row.state === "failed" && html`<small class="problem">${row.error.message}</small><button type="button" class="button small" onClick=${() => again(row)}>${words("retry")}</button>`}
    </li>`)}</ul>
  </section>`;
}
