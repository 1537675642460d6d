// Knowledge bases and their documents: make one, put files in, watch them become ready, try a question.
import { post, remove } from "../core/api.js";
import { number, useWords } from "../core/i18n.js";
import { baseTitle, knowledgeBases, loadKnowledgeBases } from "../core/lists.js";
import { address, go, link, route } from "../core/router.js";
import { isAtLeast, session } from "../core/session.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Confirm, Dialog, ErrorBox, Menu, Skeleton } from "../parts/controls.js";
import { DocumentTable } from "../parts/document_table.js";
import { Icon } from "../parts/icons.js";
import { lazy } from "../parts/lazy.js";
import { notify, notifyError } from "../parts/toasts.js";
import { TryQuestion } from "../parts/try_question.js";
import { chooseFiles } from "../parts/upload.js";

const Rights = lazy(() => import("../parts/rights.js").then((module) => module.Rights));
const work = (name) => lazy(() => import("../parts/long_work.js").then((module) => module[name]));
const [ExportPack, ImportPack, Rechunk] = ["ExportPack", "ImportPack", "Rechunk"].map(work);

export function KnowledgeView() {
  const { id } = useStore(route);
  const { state, rows, error } = useStore(knowledgeBases);
  const [isMaking, setMaking] = useState(false);
  const [isTaking, setTaking] = useState(false);
  useEffect(() => void loadKnowledgeBases(), [id]);
  const base = rows.find((row) => row.name === id || row.id === id);
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-wide">
    ${state === "loading" && html`<${Skeleton} lines=${8} />`}
    ${state === "error" && html`<${ErrorBox} error=${error} onRetry=${loadKnowledgeBases} />`}
    ${state === "ready" && !id && html`<${BaseList} rows=${rows} onMake=${() => setMaking(true)} onTake=${() => setTaking(true)} />`}
    ${state === "ready" && id && (base ? html`<${BasePage} base=${base} key=${base.id} />` : html`<${Unknown} name=${id} />`)}
    ${isMaking && html`<${MakeBase} onClose=${() => setMaking(false)} />`}
    ${isTaking && html`<${ImportPack} onClose=${() => setTaking(false)} />`}
  </div></main>`;
}

function Unknown({ name }) {
  const words = useWords();
  return html`<div class="empty"><p>${words("base.unknown", { name })}</p><a class="button" href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a></div>`;
}

function BaseList({ rows, onMake, onTake }) {
  const words = useWords();
  const make = html`<button type="button" class="button primary" onClick=${onMake}><${Icon} name="add" />${words("base.make")}</button>`;
  const take = html`<button type="button" class="button" onClick=${onTake}><${Icon} name="upload" />${words("pack.import")}</button>`;
  return html`<header class="page-head with-tools"><h2>${words("base.list")}</h2><div class="page-tools">${isAtLeast("manager") && html`${take}${make}`}</div></header>
    ${!rows.length && html`<p class="empty">${words("base.none")}</p>`}
    <ul class="base-list">${rows.map((base) => {
      const target = address.knowledge(base.name);
      return html`<li key=${base.id}><a href=${target} onClick=${link(target)}><b>${baseTitle(base)}</b><span class="path">${base.name}</span>
        ${base.description && html`<p>${base.description}</p>`}<${BaseFigures} base=${base} /></a></li>`;
    })}</ul>`;
}

function BaseFigures({ base }) {
  const words = useWords();
  const { ready = 0, failed = 0, pending = 0 } = base.documents || {};
  const parts = [words("bases.count", { n: number(ready) }), words("document.chunks", { n: number(base.chunks) })];
  return html`<p class="figures">${parts.join(" · ")}
    ${pending > 0 && html`<span class="state state-running">${words("base.pending", { n: number(pending) })}</span>`}
    ${failed > 0 && html`<span class="state state-failed">${words("base.failed", { n: number(failed) })}</span>`}
    <${Meaning} manifest=${base.manifest || {}} /></p>`;
}

// How far the search by meaning is: nothing to say where it is complete, or where no embedder is wanted.
function Meaning({ manifest }) {
  const words = useWords();
  const { state, reason, progress } = manifest;
  if (state === "active" && !progress) return html`<span class="state">${words("base.meaning")}</span>`;
  if (state === "refused") return html`<span class="state state-failed" title=${reason?.message}>${words("base.meaningRefused")}</span>`;
  if (!progress && state !== "building") return null;
  const { done = 0, total = 0, rate_per_s: rate, eta_s: left } = progress || {};
  const parts = [words("base.meaningBuilding", { percent: total ? Math.floor((100 * done) / total) : 0 })];
  if (rate) parts.push(words("base.meaningRate", { n: number(rate), minutes: number(Math.max(1, Math.ceil((left || 0) / 60))) }));
  return html`<span class="state state-running" title=${reason?.message}>${reason ? words("base.meaningWaits") : parts.join(" · ")}</span>`;
}

function BasePage({ base }) {
  const words = useWords();
  const [asked, setAsked] = useState(""); // delete, export, rechunk, rights
  const isShared = useStore(session)?.accounts;
  const close = () => setAsked("");
  const entries = address.entries(base.name);
  const graph = address.graph(base.name);
  const erase = async () => {
    close();
    try {
      await remove(`/api/knowledge-bases/${encodeURIComponent(base.id)}`);
      notify(words("base.deleted", { name: baseTitle(base) }));
      go("/knowledge", { replace: true });
    } catch (error) {
      notifyError(error);
    }
    loadKnowledgeBases();
  };
  return html`<header class="page-head with-tools">
      <div><p class="path"><a href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a></p>
        <h2>${baseTitle(base)}</h2>${base.description && html`<p class="path">${base.description}</p>`}<${BaseFigures} base=${base} /></div>
      <div class="page-tools">
        <a class="button" href=${entries} onClick=${link(entries)}><${Icon} name="entry" />${words("entry.page")}</a>
        <a class="button" href=${graph} onClick=${link(graph)}><${Icon} name="graph" />${words("rail.graph")}</a>
        ${isAtLeast("editor") && html`<button type="button" class="button primary" onClick=${() => chooseFiles(base.name)}><${Icon} name="upload" />${words("upload.files")}</button>
        <button type="button" class="button" onClick=${() => chooseFiles(base.name, { folder: true })}><${Icon} name="folder" />${words("upload.folder")}</button>`}
        ${isAtLeast("manager") && html`<${Menu} label=${words("base.more")} items=${[...(isShared ? ["rights"] : []), "export", "rechunk", "delete"].map((key) => ({ key, label: words(`base.${key}`) }))} onPick=${setAsked}><span aria-hidden="true">⋯</span><//>`}
      </div>
    </header>
    <div class="with-side"><div class="side-main"><${DocumentTable} base=${base} /></div><${TryQuestion} base=${base} /></div>
    ${asked === "rights" && html`<${Rights} base=${base} onClose=${() => { close(); loadKnowledgeBases(); }} />`}
    ${asked === "export" && html`<${ExportPack} base=${base} onClose=${close} />`}
    ${asked === "rechunk" && html`<${Rechunk} base=${base} onClose=${close} />`}
    ${asked === "delete" && html`<${Confirm} title=${words("base.delete")} text=${words("base.deleteText", { name: baseTitle(base), n: number(base.documents?.total ?? 0) })}
      action=${words("delete")} onClose=${close} onConfirm=${erase} />`}`;
}

function MakeBase({ onClose }) {
  const words = useWords();
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const [name, title, description] = ["name", "title", "description"].map((field) => form.get(field).trim());
    try {
      await post("/api/knowledge-bases", { name, ...(title && { title }), ...(description && { description }) });
      await loadKnowledgeBases();
      onClose();
      go(address.knowledge(name));
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<${Dialog} title=${words("base.make")} onClose=${onClose}>
    <form onSubmit=${submit}>
      <label class="field">${words("base.name")}<input name="name" maxlength="64" required autocomplete="off" aria-describedby="base-name-hint" /></label>
      <p id="base-name-hint" class="path">${words("base.nameHint")}</p>
      <label class="field">${words("base.title")}<input name="title" maxlength="200" autocomplete="off" /></label>
      <label class="field">${words("base.description")}<textarea name="description" rows="2" maxlength="2000"></textarea></label>
      ${error && html`<${ErrorBox} error=${error} />`}
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button><button class="button primary">${words("base.make")}</button></div>
    </form>
  <//>`;
}
