// The rail on the left: new conversation, search, knowledge, and the conversations by day.
import { patch, remove } from "../core/api.js";
import { conversation } from "../core/conversation.js";
import { day, t, useWords } from "../core/i18n.js";
import { conversations, loadConversations, railOpen } from "../core/lists.js";
import { address, go, link, route } from "../core/router.js";
import { isAtLeast } from "../core/session.js";
import { useStore } from "../core/store.js";
import { html, memo, useState } from "../core/ui.js";
import { Confirm, Dialog, ErrorBox, IconButton, Menu, Skeleton } from "./controls.js";
import { Icon } from "./icons.js";
import { notifyError } from "./toasts.js";

export function Rail({ onSearch, isSheet, onClose }) {
  const words = useWords();
  const { view, id } = useStore(route);
  const leaveSheet = () => isSheet && onClose();
  return html`<nav class="rail" aria-label=${words("rail.label")} onClick=${(event) => event.target.closest("a") && leaveSheet()}>
    <div class="rail-head">
      <a class="brand" href="/" onClick=${link("/")}><img src=${new URL("../icon.svg", import.meta.url).href} alt="" width="24" height="24" />${words("brand")}</a>
      <${IconButton} icon=${isSheet ? "close" : "side"} label=${words("rail.hide")} onClick=${() => (isSheet ? onClose() : railOpen.set(false))} />
    </div>
    <a class="rail-action primary" href="/" onClick=${link("/")}><${Icon} name="add" />${words("rail.new")}</a>
    <button type="button" class="rail-action" onClick=${onSearch}><${Icon} name="search" />${words("rail.search")}<kbd>Ctrl K</kbd></button>
    <a class="rail-action" href="/knowledge" aria-current=${view === "knowledge" || view === "entries" ? "page" : undefined} onClick=${link("/knowledge")}>
      <${Icon} name="book" />${words("rail.knowledge")}
    </a>
    <a class="rail-action" href="/graph" aria-current=${view === "graph" ? "page" : undefined} onClick=${link("/graph")}>
      <${Icon} name="graph" />${words("rail.graph")}
    </a>
    <a class="rail-action" href="/models" aria-current=${view === "models" ? "page" : undefined} onClick=${link("/models")}>
      <${Icon} name="chip" />${words("rail.models")}
    </a>
    ${isAtLeast("administrator") && html`<a class="rail-action" href="/system" aria-current=${view === "system" ? "page" : undefined} onClick=${link("/system")}>
      <${Icon} name="pulse" />${words("rail.system")}
    </a>`}
    <${Conversations} selected=${view === "chat" ? id : ""} />
  </nav>`;
}

function Conversations({ selected }) {
  const words = useWords();
  const { state, rows, error } = useStore(conversations);
  if (state === "loading") return html`<${Skeleton} lines=${6} />`;
  if (state === "error") return html`<${ErrorBox} error=${error} onRetry=${loadConversations} />`;
  if (!rows.length) return html`<p class="rail-empty">${words("rail.empty")}</p>`;
  return html`<div class="rail-list">${groups(rows).map(([title, list]) => html`<section key=${title} aria-label=${title}>
    <h2>${title}</h2>
    <ul>${list.map((row) => html`<${ConversationRow} key=${row.id} id=${row.id} title=${row.title || words("rail.untitled")} isSelected=${row.id === selected} lang=${document.documentElement.lang} />`)}</ul>
  </section>`)}</div>`;
}

function groups(rows) {
  const byDay = new Map();
  for (const row of rows) {
    const name = day(row.updated_at || row.created_at);
    if (!byDay.has(name)) byDay.set(name, []);
    byDay.get(name).push(row);
  }
  return [...byDay];
}

const ConversationRow = memo(({ id, title, isSelected }) => {
  const target = address.chat(id);
  return html`<li class="rail-row">
    <a href=${target} aria-current=${isSelected ? "page" : undefined} title=${title} onClick=${link(target)}>${title}</a>
    <${RowMenu} id=${id} title=${title} />
  </li>`;
});

function RowMenu({ id, title }) {
  const [open, setOpen] = useState("");
  const items = [{ key: "rename", label: t("rail.rename") }, { key: "delete", label: t("rail.delete") }];
  const close = () => setOpen("");
  return html`<${Menu} label=${t("rail.more", { name: title })} items=${items} onPick=${setOpen} className="row-menu"><span aria-hidden="true">⋯</span><//>
    ${open === "rename" && html`<${Rename} id=${id} title=${title} onClose=${close} />`}
    ${open === "delete" && html`<${Confirm} title=${t("rail.delete")} text=${t("rail.deleteText", { name: title })} action=${t("delete")}
      onClose=${close} onConfirm=${() => { close(); deleteConversation(id); }} />`}`;
}

function Rename({ id, title, onClose }) {
  const submit = async (event) => {
    event.preventDefault();
    const next = new FormData(event.target).get("title").trim();
    onClose();
    if (!next || next === title) return;
    await attempt(() => patch(`/api/conversations/${encodeURIComponent(id)}`, { title: next }));
    loadConversations();
  };
  return html`<${Dialog} title=${t("rail.rename")} onClose=${onClose}>
    <form onSubmit=${submit}>
      <label class="field">${t("rail.title")}<input name="title" value=${title} maxlength="200" required /></label>
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${t("cancel")}</button><button class="button primary">${t("save")}</button></div>
    </form>
  <//>`;
}

async function deleteConversation(id) {
  await attempt(() => remove(`/api/conversations/${encodeURIComponent(id)}`));
  if (conversation.get().id === id) go("/", { replace: true });
  loadConversations();
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    notifyError(error);
  }
}
