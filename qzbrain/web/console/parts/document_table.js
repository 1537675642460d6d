// The documents of one knowledge base: state with progress and reason, size, chunks, when; retry and delete.
import { get, post, remove } from "../core/api.js";
import { sendAgain } from "../core/documents.js";
import { dateTime, duration, number, size, useWords } from "../core/i18n.js";
import { loadKnowledgeBases } from "../core/lists.js";
import { address, link } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, memo, useCallback, useEffect, useRef, useState } from "../core/ui.js";
import { arrivals } from "../core/uploads.js";
import { Confirm, ErrorBox, IconButton, Skeleton } from "./controls.js";
import { Icon } from "./icons.js";
import { notify, notifyError } from "./toasts.js";
import { chooseFiles } from "./upload.js";

const PAGE = 100;
const LOOK_AGAIN_MS = 800;
const STATES = ["", "ready", "pending", "failed"];

const isOpen = (row) => row.status === "pending" || row.status === "running";

/** A document's state in words, with its progress while it is read. */
export function documentState(row, words) {
  if (row.status !== "running" || !row.progress?.total) return words(`state.${row.status}`);
  const { done, total, eta_s: left } = row.progress;
  return `${words("state.running")} ${number(done)}/${number(total)}${left > 0 ? ` · ${words("document.left", { time: duration(left) })}` : ""}`;
}

export function DocumentTable({ base }) {
  const words = useWords();
  const [status, setStatus] = useState("");
  const [count, setCount] = useState(PAGE);
  const list = useDocuments(base.id, status, count);
  const [doomed, setDoomed] = useState(null);
  const erase = async () => {
    const row = doomed;
    setDoomed(null);
    try {
      await remove(`/api/documents/${encodeURIComponent(row.id)}`);
      notify(words("document.deleted", { name: row.name }));
    } catch (error) {
      notifyError(error);
    }
    list.reload();
    loadKnowledgeBases();
  };
  const retry = useCallback(async (row) => {
    try {
      await sendAgain(row);
    } catch (error) {
      notifyError(error);
    }
    arrivals.update((n) => n + 1);
  }, []);
  const retryAll = async () => {
    try {
      await post(`/api/knowledge-bases/${encodeURIComponent(base.id)}/documents/retry`, {});
    } catch (error) {
      notifyError(error);
    }
    arrivals.update((n) => n + 1);
    loadKnowledgeBases();
  };
  return html`<div class="filters" role="group" aria-label=${words("state.filter")}>
      ${STATES.map((key) => html`<button type="button" key=${key} class="filter" aria-pressed=${status === key} onClick=${() => setStatus(key)}>
        ${words(key ? `state.${key}` : "state.all")} <span class="count">${number(counts(base, key))}</span></button>`)}
      ${status === "failed" && counts(base, "failed") > 0 && html`<button type="button" class="button" onClick=${retryAll}><${Icon} name="refresh" />${words("document.retryAll")}</button>`}
    </div>
    ${list.error && html`<${ErrorBox} error=${list.error} onRetry=${list.reload} />`}
    ${!list.rows && !list.error && html`<${Skeleton} lines=${6} />`}
    ${list.rows?.length === 0 && html`<${Empty} base=${base} isFiltered=${Boolean(status)} />`}
    ${list.rows?.length > 0 && html`<div class="table-scroll" tabindex="0" role="group" aria-label=${words("document.table")}><table class="documents">
      <thead><tr><th>${words("column.name")}</th><th>${words("column.state")}</th><th class="align-right">${words("column.size")}</th>
        <th class="align-right">${words("column.chunks")}</th><th>${words("column.changed")}</th><th><span class="hidden">${words("column.actions")}</span></th></tr></thead>
      <tbody>${list.rows.map((row) => html`<${Row} key=${row.id} row=${row} signature=${JSON.stringify([row.status, row.progress, row.waiting_for, row.chunks])} onDelete=${setDoomed} onRetry=${retry} lang=${document.documentElement.lang} />`)}</tbody>
    </table></div>`}
    ${list.hasMore && html`<p><button type="button" class="button" onClick=${() => setCount(count + PAGE)}>${words("more")}</button></p>`}
    ${doomed && html`<${Confirm} title=${words("document.delete")} text=${words("document.deleteText", { name: doomed.name })} action=${words("delete")} onClose=${() => setDoomed(null)} onConfirm=${erase} />`}`;
}

const counts = (base, key) => base.documents?.[key || "total"] ?? 0;

function Empty({ base, isFiltered }) {
  const words = useWords();
  if (isFiltered) return html`<p class="empty">${words("document.noneSuch")}</p>`;
  return html`<div class="empty"><p>${words("document.none")}</p><button type="button" class="button primary" onClick=${() => chooseFiles(base.name)}>${words("upload.files")}</button></div>`;
}

/** Rows of the table, looked at again while some of them are being read. */
function useDocuments(kb, status, count) {
  const [state, setState] = useState({ rows: null, hasMore: false, error: null });
  const arrived = useStore(arrivals);
  const latest = useRef(0);
  const load = async () => {
    const turn = ++latest.current;
    try {
      const page = await documentPages(kb, status, count);
      if (turn === latest.current) setState({ ...page, error: null });
      return page.rows.some(isOpen);
    } catch (error) {
      if (turn === latest.current) setState((now) => ({ ...now, error }));
      return false;
    }
  };
  useEffect(() => {
    let timer = 0;
    let isGone = false;
    const look = async (wasOpen) => {
      const stillOpen = await load();
      if (wasOpen && !document.hidden) loadKnowledgeBases();
      if (stillOpen && !isGone) timer = setTimeout(look, LOOK_AGAIN_MS, true);
    };
    look(false);
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [kb, status, count, arrived]);
  useEffect(() => setState({ rows: null, hasMore: false, error: null }), [kb, status]);
  return { ...state, reload: load };
}

async function documentPages(kb, status, count) {
  const rows = [];
  let after = null;
  do {
    const query = new URLSearchParams({ limit: PAGE, ...(status && { status }), ...(after && { after }) });
    const page = await get(`/api/knowledge-bases/${encodeURIComponent(kb)}/documents?${query}`);
    rows.push(...page.data);
    after = page.has_more ? page.next : null;
  } while (after && rows.length < count);
  return { rows, hasMore: Boolean(after) };
}

const Row = memo(({ row, onDelete, onRetry }) => {
  const words = useWords();
  const target = address.document(row.id);
  return html`<tr>
    <td class="cell-name">${row.status === "ready" ? html`<a href=${target} onClick=${link(target)}>${row.name}</a>` : row.name}
      ${row.title && !row.name.startsWith(row.title) && html`<small>${row.title}</small>`}</td>
    <td class="cell-state"><span class="state state-${row.status}">${documentState(row, words)}</span>
      ${row.status === "running" && row.progress?.total > 0 && html`<progress max=${row.progress.total} value=${row.progress.done} aria-label=${row.name}></progress>`}
      ${row.waiting_for && !row.reason && html`<small>${row.waiting_for.message}</small>`}
      ${row.reason && html`<p class="reason"><${Icon} name="warning" />${row.reason.message}</p>`}</td>
    <td class="align-right">${size(row.size_bytes)}</td>
    <td class="align-right">${row.status === "ready" ? number(row.chunks) : "–"}</td>
    <td>${dateTime(row.ready_at || row.created_at)}</td>
    <td class="cell-actions">
      ${row.status === "failed" && html`<${IconButton} icon="refresh" label=${words("document.retry", { name: row.name })} onClick=${() => onRetry(row)} />`}
      <${IconButton} icon="trash" label=${words("document.deleteOne", { name: row.name })} onClick=${() => onDelete(row)} />
    </td>
  </tr>`;
});
