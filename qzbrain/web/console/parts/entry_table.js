// The entries of one knowledge base: found by words, filtered by state, a page at a time.
import { deleteEntry, entryPages, entryState, entryTitle, exportEntries, FORMATS, STATUSES } from "../core/entries.js";
import { calendarDay, dateTime, useWords } from "../core/i18n.js";
import { baseTitle } from "../core/lists.js";
import { address, go, link, route } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, memo, useEffect, useLayoutEffect, useRef, useState } from "../core/ui.js";
import { Confirm, ErrorBox, IconButton, Menu, Skeleton } from "./controls.js";
import { ImportDialog } from "./entry_import.js";
import { Icon } from "./icons.js";
import { RegressionList } from "./regressions.js";
import { notify, notifyError } from "./toasts.js";
import { dropTaker } from "./upload.js";

const PAGE = 50;
const LOOK_AFTER_MS = 250;
const DOTS = { proposed: "pending", changed: "pending", approved: "ready", upcoming: "stopped", expired: "failed" };

export function EntryList({ base }) {
  const words = useWords();
  const { query } = useStore(route);
  const [q, status] = [query.get("q") || "", STATUSES.includes(query.get("status")) ? query.get("status") : ""];
  const [count, setCount] = useState(PAGE);
  const list = useEntries(base.name, q, status, count);
  const [importing, setImporting] = useState(null);
  const [doomed, setDoomed] = useState(null);
  const search = useRef(null);
  const make = () => go(address.entries(base.name, { entry: "new" }));
  const choose = (change) => go(address.entries(base.name, pick({ q, status, ...change })), { replace: true });
  useListKeys(base.name, search, make);
  useEffect(() => {
    dropTaker.set((files) => setImporting({ file: files[0] }));
    return () => dropTaker.set(null);
  }, []);
  const erase = async () => {
    setDoomed(null);
    try {
      await deleteEntry(base.name, doomed.id);
      notify(words("entry.deleted", { name: entryTitle(doomed).slice(0, 60) }));
    } catch (error) {
      notifyError(error);
    }
    list.reload();
  };
  const isEmpty = list.rows?.length === 0;
  return html`<${ListHead} base=${base} onMake=${make} onImport=${() => setImporting({ file: null })} />
    <div class="with-side"><div class="side-main">
      <${Filters} q=${q} status=${status} field=${search} onChoose=${choose} />
      ${list.error && html`<${ErrorBox} error=${list.error} onRetry=${list.reload} />`}
      ${!list.rows && !list.error && html`<${Skeleton} lines=${8} />`}
      ${isEmpty && (q || status ? html`<p class="empty">${words("entry.noneSuch")}</p>` : html`<${Empty} onMake=${make} onImport=${() => setImporting({ file: null })} />`)}
      ${list.rows?.length > 0 && html`<${Table} kb=${base.name} rows=${list.rows} onDelete=${setDoomed} />`}
      ${list.hasMore && html`<p><button type="button" class="button" onClick=${() => setCount(count + PAGE)}>${words("more")}</button></p>`}
    </div><${RegressionList} kb=${base.name} /></div>
    ${importing && html`<${ImportDialog} kb=${base.name} first=${importing.file} onDone=${list.reload} onClose=${() => setImporting(null)} />`}
    ${doomed && html`<${DeleteEntry} entry=${doomed} onClose=${() => setDoomed(null)} onConfirm=${erase} />`}`;
}

const pick = (query) => Object.fromEntries(Object.entries(query).filter(([, value]) => value));

/** Ask before an entry goes, by its name. */
export function DeleteEntry({ entry, onClose, onConfirm }) {
  const words = useWords();
  return html`<${Confirm} title=${words("entry.delete")} text=${words("entry.deleteText", { name: entryTitle(entry).slice(0, 120) })} action=${words("delete")} onClose=${onClose} onConfirm=${onConfirm} />`;
}

function ListHead({ base, onMake, onImport }) {
  const words = useWords();
  const home = address.knowledge(base.name);
  const save = async (format) => {
    try {
      const url = URL.createObjectURL(await exportEntries(base.name, format));
      const anchor = Object.assign(document.createElement("a"), { href: url, download: `${base.name}-entries.${format}` });
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      notifyError(error);
    }
  };
  const formats = FORMATS.map((key) => ({ key, label: words(`entryFormat.${key}`) }));
  return html`<header class="page-head with-tools">
    <div class="entry-head"><p class="path"><a href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a> › <a href=${home} onClick=${link(home)}>${baseTitle(base)}</a></p>
      <h2>${words("entry.page")}</h2><p class="path">${words("entry.what")}</p></div>
    <div class="page-tools">
      <button type="button" class="button primary" aria-keyshortcuts="n" onClick=${onMake}><${Icon} name="add" />${words("entry.make")}</button>
      <button type="button" class="button" onClick=${onImport}><${Icon} name="upload" />${words("entry.import")}</button>
      <${Menu} label=${words("entry.export")} items=${formats} onPick=${save} className="button-menu"><${Icon} name="download" />${words("entry.export")}<//>
    </div>
  </header>`;
}

function Filters({ q, status, field, onChoose }) {
  const words = useWords();
  const timer = useRef(0);
  const onInput = (event) => {
    clearTimeout(timer.current);
    const text = event.target.value.trim();
    timer.current = setTimeout(() => onChoose({ q: text }), LOOK_AFTER_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return html`<div class="entry-filters">
    <form class="find" role="search" onSubmit=${(event) => event.preventDefault()}><${Icon} name="search" /><input type="search" ref=${field} maxlength="500" defaultValue=${q}
      placeholder=${words("entry.search")} aria-label=${words("entry.search")} aria-keyshortcuts="/" onInput=${onInput} /></form>
    <div class="filters" role="group" aria-label=${words("state.filter")}>
      ${STATUSES.map((key) => html`<button type="button" key=${key} class="filter" aria-pressed=${status === key} onClick=${() => onChoose({ status: key })}>${words(key ? `entryState.${key}` : "state.all")}</button>`)}
    </div>
  </div>`;
}

function Empty({ onMake, onImport }) {
  const words = useWords();
  return html`<div class="empty"><p>${words("entry.none")}</p><p class="empty-tools">
    <button type="button" class="button primary" onClick=${onMake}>${words("entry.make")}</button> <button type="button" class="button" onClick=${onImport}>${words("entry.import")}</button></p></div>`;
}

function Table({ kb, rows, onDelete }) {
  const words = useWords();
  const heads = ["entry.question", "column.state", "entry.source", "entry.valid", "entry.versionShort", "entry.changed"];
  return html`<div class="table-scroll" tabindex="0" role="group" aria-label=${words("entry.table")}><table class="documents entries">
    <thead><tr>${heads.map((key) => html`<th key=${key} scope="col">${words(key)}</th>`)}<th><span class="hidden">${words("column.actions")}</span></th></tr></thead>
    <tbody>${rows.map((row) => html`<${Row} key=${row.id} kb=${kb} row=${row} onDelete=${onDelete} lang=${document.documentElement.lang} />`)}</tbody>
  </table></div>`;
}

const Row = memo(({ kb, row, onDelete }) => {
  const words = useWords();
  const target = address.entries(kb, { entry: row.id });
  const title = entryTitle(row);
  return html`<tr data-entry=${row.id}>
    <td class="cell-name"><a class="clamp" dir="auto" href=${target} title=${title.slice(0, 300)} onClick=${link(target)}>${title}</a></td>
    <td class="cell-state"><${EntryState} entry=${row} /></td>
    <td><span class="clamp cell-source" dir="auto">${row.source || "–"}</span></td>
    <td class="cell-valid">${validity(row, words)}</td>
    <td>${row.version}</td>
    <td>${dateTime(row.updated_at)}</td>
    <td class="cell-actions"><${IconButton} icon="trash" label=${words("document.deleteOne", { name: title.slice(0, 60) })} onClick=${() => onDelete(row)} /></td>
  </tr>`;
});

export function EntryState({ entry }) {
  const words = useWords();
  const state = entryState(entry);
  return html`<span class="state state-${DOTS[state]}">${words(`entryState.${state}`)}</span>`;
}

/** From when until when, in words. */
export function validity(entry, words) {
  const [from, until] = [entry.valid_from, entry.valid_until].map((iso) => iso && calendarDay(iso));
  if (from && until) return words("entry.fromUntil", { from, until });
  return from ? words("entry.from", { from }) : until ? words("entry.until", { until }) : words("entry.always");
}

/** `n` makes a new one, `/` goes to the search, `e` edits the one that has the focus. */
function useListKeys(kb, search, make) {
  useLayoutEffect(() => {
    const listener = (event) => {
      const isWriting = event.target.closest?.("input, textarea, select");
      if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || isWriting || document.querySelector("dialog[open]")) return;
      const id = event.target.closest?.("[data-entry]")?.dataset.entry;
      if (event.key === "n") make();
      else if (event.key === "/") search.current.focus();
      else if (event.key === "e" && id) go(address.entries(kb, { entry: id, edit: 1 }));
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", listener, true);
    return () => document.removeEventListener("keydown", listener, true);
  }, [kb]);
}

function useEntries(kb, q, status, count) {
  const [state, setState] = useState({ rows: null, hasMore: false, error: null });
  const latest = useRef(0);
  const load = async () => {
    const turn = ++latest.current;
    try {
      const page = await entryPages(kb, { q, status }, count);
      if (turn === latest.current) setState({ ...page, error: null });
    } catch (error) {
      if (turn === latest.current) setState((now) => ({ ...now, error }));
    }
  };
  useEffect(() => void load(), [kb, q, status, count]);
  return { ...state, reload: load };
}
