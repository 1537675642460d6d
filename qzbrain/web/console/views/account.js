// One's own account: who one is, password, one-time codes, sessions, API keys.
import { get, post, remove } from "../core/api.js";
import { dateTime, useWords } from "../core/i18n.js";
import { baseTitle, knowledgeBases } from "../core/lists.js";
import { loadSession, session } from "../core/session.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Confirm, Dialog, ErrorBox, Skeleton } from "../parts/controls.js";
import { notify, notifyError } from "../parts/toasts.js";
import { requireSame } from "./gate.js";

export function AccountView() {
  const words = useWords();
  const { user, accounts } = useStore(session);
  if (!accounts) return html`<main class="work page" id="main"><div class="empty"><p>${words("account.off")} <code>QZBRAIN_ACCOUNTS=on</code></p></div></main>`;
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-column">
    <header class="page-head"><h2>${words("account.title")}</h2></header>
    <section class="panel"><dl class="facts-list">
      <dt>${words("gate.name")}</dt><dd>${user.username}</dd>
      <dt>${words("users.role")}</dt><dd>${words(`role.${user.role}`)}</dd>
      <dt>${words("users.clearance")}</dt><dd>${words(`level.${user.clearance}`)}</dd>
      <dt>${words("users.groups")}</dt><dd>${user.groups.map((one) => one.name).join("、") || "—"}</dd>
    </dl></section>
    <${PasswordPanel} /><${CodePanel} user=${user} /><${SessionPanel} /><${KeyPanel} />
  </div></main>`;
}

function PasswordPanel() {
  const words = useWords();
  const [isOpen, setOpen] = useState(false);
  const change = async ({ old, password, again }) => {
    requireSame(password, again, words);
    await post("/api/session/password", { old, new: password });
    setOpen(false);
    notify(words("account.changed"));
  };
  return html`<section class="panel"><h3>${words("gate.password")}</h3><p class="field-hint">${words("account.rules")}</p>
    <button type="button" class="button" onClick=${() => setOpen(true)}>${words("account.change")}</button>
    ${isOpen && html`<${Form} title=${words("account.change")} action=${words("save")} onClose=${() => setOpen(false)} send=${change}>
      <${Secret} label=${words("account.old")} name="old" /><${Secret} label=${words("account.new")} name="password" fresh /><${Secret} label=${words("account.again")} name="again" fresh />
    <//>`}</section>`;
}

function CodePanel({ user }) {
  const words = useWords();
  const [begun, setBegun] = useState(null); // {secret, uri}
  const [codes, setCodes] = useState(null);
  const [asked, setAsked] = useState("");
  const close = () => setAsked("");
  const begin = async ({ password }) => {
    setBegun(await post("/api/session/totp", { password }));
    setAsked("confirm");
  };
  const confirm = async ({ code }) => {
    setCodes((await post("/api/session/totp", { code })).recovery_codes);
    setBegun(null);
    close();
    await loadSession();
  };
  const end = async ({ password }) => {
    await remove("/api/session/totp", { password });
    setCodes(null);
    close();
    await loadSession();
  };
  return html`<section class="panel"><h3>${words("codes.title")}</h3><p>${words(user.totp ? "codes.on" : "codes.off")}</p>
    ${codes && html`<div class="shown-once" role="status"><p>${words("codes.recovery")}</p><code>${codes.join("  ")}</code></div>`}
    <div class="panel-tools"><button type="button" class="button" onClick=${() => setAsked(user.totp ? "end" : "begin")}>${words(user.totp ? "codes.end" : "codes.begin")}</button></div>
    ${asked === "begin" && html`<${Form} title=${words("codes.begin")} action=${words("codes.next")} onClose=${close} send=${begin}><${Secret} label=${words("gate.password")} name="password" /><//>`}
    ${asked === "confirm" && begun && html`<${Form} title=${words("codes.begin")} action=${words("codes.confirm")} onClose=${close} send=${confirm}>
      <p>${words("codes.enter")}</p><p class="shown-once"><code>${begun.secret}</code><a href=${begun.uri}>${words("codes.open")}</a></p>
      <label class="field">${words("gate.code")}<input name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required /></label><//>`}
    ${asked === "end" && html`<${Form} title=${words("codes.end")} action=${words("codes.end")} onClose=${close} send=${end}><${Secret} label=${words("gate.password")} name="password" /><//>`}
  </section>`;
}

function SessionPanel() {
  const words = useWords();
  const [list, reload] = useList("/api/session/all");
  const [isAsked, setAsked] = useState(false);
  const out = async () => {
    try {
      await remove("/api/session/all");
      location.assign("/");
    } catch (error) {
      notifyError(error);
    }
  };
  return html`<section class="panel"><h3>${words("sessions.title")}</h3>
    <${Rows} list=${list} reload=${reload} heads=${["sessions.where", "sessions.device", "sessions.seen"]} row=${(one) => html`<tr key=${one.id}>
      <td class="cell-name">${one.address || "—"}${one.current && html`<small>${words("sessions.this")}</small>`}</td><td>${device(one.agent)}</td><td>${dateTime(one.seen_at)}</td></tr>`} />
    <button type="button" class="button" onClick=${() => setAsked(true)}>${words("sessions.endAll")}</button>
    ${isAsked && html`<${Confirm} title=${words("sessions.endAll")} text=${words("sessions.endAllText")} action=${words("sessions.endAll")} onClose=${() => setAsked(false)} onConfirm=${out} />`}
  </section>`;
}

function KeyPanel() {
  const words = useWords();
  const { rows: bases } = useStore(knowledgeBases);
  const [list, reload] = useList("/api/api-keys");
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState("");
  const [gone, setGone] = useState(null);
  const make = async ({ name, right, base, expires }) => {
    const end = expires ? new Date(`${expires}T23:59:59`).toISOString() : null;
    setMade((await post("/api/api-keys", { name, right, knowledge_bases: base ? [base] : [], expires_at: end })).key);
    setMaking(false);
    reload();
  };
  const drop = async () => {
    setGone(null);
    try {
      await remove(`/api/api-keys/${encodeURIComponent(gone.id)}`);
    } catch (error) {
      notifyError(error);
    }
    reload();
  };
  return html`<section class="panel"><h3>${words("keys.api")}</h3><p class="field-hint">${words("keys.apiHint")}</p>
    ${made && html`<div class="shown-once" role="status"><p>${words("keys.once")}</p><code>${made}</code></div>`}
    <${Rows} list=${list} reload=${reload} heads=${["keys.name", "rights.right", "keys.expires", "keys.used", ""]} row=${(one) => html`<tr key=${one.id}>
      <td class="cell-name">${one.name}<small>${one.shown}…</small></td><td>${words(`right.${one.right}`)}</td><td>${one.expires_at ? dateTime(one.expires_at) : "—"}</td>
      <td>${one.used_at ? dateTime(one.used_at) : "—"}</td><td class="cell-actions"><button type="button" class="button" aria-label=${words("keys.endOf", { name: one.name })} onClick=${() => setGone(one)}>${words("delete")}</button></td></tr>`} />
    <button type="button" class="button" onClick=${() => setMaking(true)}>${words("keys.make")}</button>
    ${gone && html`<${Confirm} title=${words("delete")} text=${words("keys.endText", { name: gone.name })} action=${words("delete")} onClose=${() => setGone(null)} onConfirm=${drop} />`}
    ${isMaking && html`<${Form} title=${words("keys.make")} action=${words("keys.make")} onClose=${() => setMaking(false)} send=${make}>
      <label class="field">${words("keys.name")}<input name="name" maxlength="200" required autocomplete="off" /></label>
      <label class="field">${words("rights.right")}<select name="right">${["read", "write", "manage"].map((one) => html`<option value=${one}>${words(`right.${one}`)}</option>`)}</select></label>
      <label class="field">${words("bases.all")}<select name="base"><option value="">${words("bases.all")}</option>${bases.map((one) => html`<option value=${one.id}>${baseTitle(one)}</option>`)}</select></label>
      <label class="field">${words("keys.expires")}<input type="date" name="expires" /></label><//>`}
  </section>`;
}

/** "Chrome · Windows" of a browser's long name for itself. */
function device(agent) {
  const browser = /Edg|OPR|Firefox|Chrome|Safari/.exec(agent)?.[0] || agent.slice(0, 30);
  const system = /Windows|Android|iPhone|iPad|Mac OS X|Linux/.exec(agent)?.[0];
  return [browser, system].filter(Boolean).join(" · ") || "—";
}

/** A list of the API, and how to load it anew. */
export function useList(path) {
  const [list, setList] = useState({ state: "loading", rows: [], error: null });
  const load = () => get(path).then((body) => setList({ state: "ready", rows: body.data, error: null }), (error) => setList({ state: "error", rows: [], error }));
  useEffect(() => void load(), [path]);
  return [list, load];
}

/** A table of such a list. */
export function Rows({ list, reload, heads, row, empty }) {
  const words = useWords();
  if (list.state === "loading") return html`<${Skeleton} lines=${3} />`;
  if (list.state === "error") return html`<${ErrorBox} error=${list.error} onRetry=${reload} />`;
  if (!list.rows.length) return html`<p class="field-hint">${empty || "—"}</p>`;
  return html`<div class="table-scroll"><table class="documents plain-table"><thead><tr>${heads.map((key) => html`<th key=${key} scope="col">${key ? words(key) : html`<span class="hidden">${words("models.actions")}</span>`}</th>`)}</tr></thead>
    <tbody>${list.rows.map(row)}</tbody></table></div>`;
}

/** A dialog with a form; `send(fields)` returns a promise, and what it throws is shown. */
export function Form({ title, action, onClose, send, children }) {
  const words = useWords();
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await send(Object.fromEntries(new FormData(event.target)), event.target);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${submit}>${children}
    ${error && html`<${ErrorBox} error=${error} />`}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${words("cancel")}</button><button class="button primary" disabled=${isBusy}>${action}</button></div>
  </form><//>`;
}

const Secret = ({ label, name, fresh = false }) => html`<label class="field">${label}<input type="password" name=${name} autocomplete=${fresh ? "new-password" : "current-password"} maxlength="1000" required /></label>`;
