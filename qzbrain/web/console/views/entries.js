// Curated entries of a knowledge base: `/knowledge/KB/entries` is the list, `?entry=ID` one of them, `?entry=new` or `&edit=1` its form.
import { approveEntry, changeEntry, conflictsOf, createEntry, deleteEntry, EMPTY, entryState, entryTitle, getEntry } from "../core/entries.js";
import { dateTime, useWords } from "../core/i18n.js";
import { baseTitle, knowledgeBases, loadKnowledgeBases } from "../core/lists.js";
import { address, go, link, route } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useLayoutEffect, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "../parts/controls.js";
import { Conflicts } from "../parts/entry_conflicts.js";
import { EntryForm, EntryText } from "../parts/entry_form.js";
import { DeleteEntry, EntryList, EntryState, validity } from "../parts/entry_table.js";
import { EntryVersions } from "../parts/entry_versions.js";
import { Icon } from "../parts/icons.js";
import { notify, notifyError } from "../parts/toasts.js";

export function EntriesView() {
  const words = useWords();
  const { id, query } = useStore(route);
  const { state, rows, error } = useStore(knowledgeBases);
  useEffect(() => void loadKnowledgeBases(), [id]);
  const base = rows.find((row) => row.name === id || row.id === id);
  const entryId = query.get("entry") || "";
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-wide">
    ${state === "loading" && html`<${Skeleton} lines=${8} />`}
    ${state === "error" && html`<${ErrorBox} error=${error} onRetry=${loadKnowledgeBases} />`}
    ${state === "ready" && !base && html`<div class="empty"><p>${words("base.unknown", { name: id })}</p><a class="button" href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a></div>`}
    ${base && !entryId && html`<${EntryList} base=${base} key=${base.id} />`}
    ${base && entryId === "new" && html`<${NewEntry} base=${base} />`}
    ${base && entryId && entryId !== "new" && html`<${EntryPage} base=${base} id=${entryId} isEditing=${query.has("edit")} key=${entryId} />`}
  </div></main>`;
}

function Trail({ base }) {
  const words = useWords();
  const [home, list] = [address.knowledge(base.name), address.entries(base.name)];
  return html`<p class="path"><a href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a> › <a href=${home} onClick=${link(home)}>${baseTitle(base)}</a> › <a href=${list} onClick=${link(list)}>${words("entry.page")}</a></p>`;
}

function NewEntry({ base }) {
  const words = useWords();
  const save = async (fields, approve) => {
    const made = await createEntry(base.name, { ...fields, approve });
    notify(words(made.in_force ? "entry.savedInForce" : "entry.saved"));
    go(address.entries(base.name, { entry: made.id }), { replace: true });
  };
  return html`<header class="page-head"><${Trail} base=${base} /><h2>${words("entry.make")}</h2></header>
    <${Focused}><${EntryForm} draftKey=${`new:${base.id}`} before=${EMPTY} save=${save} onLeave=${() => go(address.entries(base.name))} saveLabel=${words("save")} approveLabel=${words("entry.saveApprove")} /><//>`;
}

/** The form begins with its first field, before the next key comes: what is typed right after the shortcut belongs in there. */
function Focused({ children }) {
  useLayoutEffect(() => document.querySelector(".entry-form textarea")?.focus(), []);
  return children;
}

function EntryPage({ base, id, isEditing }) {
  const words = useWords();
  const [entry, setEntry] = useState(null);
  const [error, setError] = useState(null);
  const [isDoomed, setDoomed] = useState(false);
  const load = async () => {
    setError(null);
    try {
      setEntry(await getEntry(base.name, id));
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => void load(), [id]);
  const here = address.entries(base.name, { entry: id });
  const edit = () => go(address.entries(base.name, { entry: id, edit: 1 }));
  const back = () => go(address.entries(base.name));
  const save = async (fields, approve) => {
    const changed = await changeEntry(base.name, id, { ...fields, approve });
    setEntry(changed);
    notify(words(changed.in_force && changed.status === "approved" ? "entry.savedInForce" : "entry.saved"));
    go(here, { replace: true });
  };
  const approve = async () => {
    try {
      const approved = await approveEntry(base.name, id);
      setEntry(approved);
      notify(words(approved.in_force ? "entry.approvedInForce" : "entry.approvedLater"));
    } catch (problem) {
      notifyError(problem);
    }
  };
  const erase = async () => {
    setDoomed(false);
    try {
      await deleteEntry(base.name, id);
      notify(words("entry.deleted", { name: entryTitle(entry).slice(0, 60) }));
      back();
    } catch (problem) {
      notifyError(problem);
    }
  };
  useEntryKeys(!isEditing && entry ? { e: edit, n: () => go(address.entries(base.name, { entry: "new" })), Escape: back } : {});
  if (error) return html`<header class="page-head"><${Trail} base=${base} /></header><${ErrorBox} error=${error} onRetry=${load} />`;
  if (!entry) return html`<header class="page-head"><${Trail} base=${base} /></header><${Skeleton} lines=${8} />`;
  if (isEditing) {
    return html`<header class="page-head"><${Trail} base=${base} /><h2>${words("entry.edit")}</h2></header>
      <${Focused}><${EntryForm} draftKey=${entry.id} before=${entry} save=${save} onLeave=${() => go(here)} saveLabel=${words("save")} approveLabel=${words("entry.saveApprove")} /><//>`;
  }
  return html`<${EntryHead} base=${base} entry=${entry} onApprove=${approve} onEdit=${edit} onDelete=${() => setDoomed(true)} />
    <${Conflicts} kb=${base.name} rows=${conflictsOf(id)} />
    <div class="with-side"><div class="side-main"><div class="entry-text" dir="auto"><${EntryText} text=${entry.answer} /></div></div>
      <div class="entry-side"><${Questions} title="entry.variants" rows=${entry.variants} /><${Questions} title="entry.negatives" rows=${entry.negatives} /><${EntryVersions} kb=${base.name} entry=${entry} /></div></div>
    ${isDoomed && html`<${DeleteEntry} entry=${entry} onClose=${() => setDoomed(false)} onConfirm=${erase} />`}`;
}

function EntryHead({ base, entry, onApprove, onEdit, onDelete }) {
  const words = useWords();
  const facts = [
    entry.source && words("entry.sourceIs", { name: entry.source }), validity(entry, words), words(`level.${entry.level}`),
    words("entry.by", { name: entry.author }), entry.approver && words("entry.approvedBy", { name: entry.approver }), dateTime(entry.updated_at),
  ];
  return html`<header class="page-head with-tools">
    <div class="entry-head"><${Trail} base=${base} /><h2 class="entry-title" dir="auto">${entryTitle(entry)}</h2>
      <p class="figures"><${EntryState} entry=${entry} /><span>${facts.filter(Boolean).map((fact, at) => html`${at > 0 && " · "}<bdi>${fact}</bdi>`)}</span></p>
      ${entryState(entry) === "changed" && html`<p class="path">${words("entry.changedText", { n: entry.approved_version })}</p>`}</div>
    <div class="page-tools">
      ${entry.status === "proposed" && html`<button type="button" class="button primary" onClick=${onApprove}><${Icon} name="check" />${words("entry.approve")}</button>`}
      <button type="button" class="button" aria-keyshortcuts="e" onClick=${onEdit}><${Icon} name="pencil" />${words("entry.editShort")}</button>
      <button type="button" class="button" onClick=${onDelete}><${Icon} name="trash" />${words("delete")}</button>
    </div>
  </header>`;
}

function Questions({ title, rows }) {
  const words = useWords();
  if (!rows.length) return null;
  return html`<section aria-label=${words(title)}><h3>${words(title)}</h3><ul class="questions">${rows.map((row) => html`<li key=${row} dir="auto">${row}</li>`)}</ul></section>`;
}

function useEntryKeys(actions) {
  useLayoutEffect(() => {
    const listener = (event) => {
      const isWriting = event.target.closest?.("input, textarea, select");
      if (!(event.key in actions) || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || isWriting || document.querySelector("dialog[open], .menu-list")) return;
      event.preventDefault();
      actions[event.key]();
    };
    document.addEventListener("keydown", listener, true);
    return () => document.removeEventListener("keydown", listener, true);
  });
}
