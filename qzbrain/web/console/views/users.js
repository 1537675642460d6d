// Users and groups, for administrators.
import { all, patch, post, remove } from "../core/api.js";
import { dateTime, useWords } from "../core/i18n.js";
import { givableLevels } from "../core/session.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Confirm, Menu } from "../parts/controls.js";
import { Icon } from "../parts/icons.js";
import { notify, notifyError } from "../parts/toasts.js";
import { Form, Rows } from "./account.js";

const ROLES = ["reader", "editor", "manager", "administrator"];

export function UsersView() {
  const words = useWords();
  const [tab, setTab] = useState("users");
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-wide">
    <header class="page-head"><h2>${words("users.title")}</h2></header>
    <div class="tabs" role="tablist">${["users", "groups"].map((key) => html`<button type="button" role="tab" key=${key} aria-selected=${tab === key} onClick=${() => setTab(key)}>${words(`users.tab.${key}`)}</button>`)}</div>
    ${tab === "users" ? html`<${Users} />` : html`<${Groups} />`}
  </div></main>`;
}

function useAll(path) {
  const [list, setList] = useState({ state: "loading", rows: [], error: null });
  const load = () => all(path).then((rows) => setList({ state: "ready", rows, error: null }), (error) => setList({ state: "error", rows: [], error }));
  useEffect(() => void load(), [path]);
  return [list, load];
}

const here = (kind, one) => `/api/${kind}/${encodeURIComponent(one.id)}`;

function Users() {
  const words = useWords();
  const [list, reload] = useAll("/api/users");
  const [groups] = useAll("/api/groups");
  const [asked, setAsked] = useState(null); // {action, user}
  const [link, setLink] = useState(null);
  const close = () => setAsked(null);
  const save = async (fields, form) => {
    const chosen = [...form.querySelectorAll("input[name=group]:checked")].map((box) => box.value);
    const body = { display_name: fields.display_name, role: fields.role, clearance: fields.clearance, groups: chosen };
    if (asked.user) await patch(here("users", asked.user), body);
    else {
      const made = await post("/api/users", { ...body, username: fields.username });
      setLink({ name: made.username, ...(await post(`${here("users", made)}/link`)) });
    }
    close();
    reload();
  };
  const act = async (action, user) => {
    close();
    try {
      if (action === "link") setLink({ name: user.username, ...(await post(`${here("users", user)}/link`)) });
      else if (action === "signOut") notify(words("users.ended", { n: (await post(`${here("users", user)}/sign-out`)).ended }));
      else if (action === "delete") await remove(here("users", user));
      else await patch(here("users", user), { disabled: action === "disable" });
    } catch (error) {
      notifyError(error);
    }
    reload();
  };
  const pick = (action, user) => (["edit", "delete"].includes(action) ? setAsked({ action, user }) : act(action, user));
  return html`<div class="panel-tools"><button type="button" class="button primary" onClick=${() => setAsked({ action: "edit", user: null })}><${Icon} name="add" />${words("users.make")}</button></div>
    ${link && html`<div class="shown-once" role="status"><p>${words("users.linkText", { name: link.name })}</p><code>${link.url}</code></div>`}
    <${Rows} list=${list} reload=${reload} heads=${["gate.name", "users.role", "users.clearance", "users.groups", "users.last", ""]} row=${(one) => html`<tr key=${one.id}>
      <td class="cell-name">${one.username}<small>${[one.display_name, one.disabled && words("users.disabled"), one.external && words("users.external"), one.totp && words("codes.title")].filter(Boolean).join(" · ")}</small></td>
      <td>${words(`role.${one.role}`)}</td><td>${words(`level.${one.clearance}`)}</td><td>${one.groups.map((group) => group.name).join("、")}</td><td>${one.signed_in_at ? dateTime(one.signed_in_at) : "—"}</td>
      <td class="cell-actions"><${Menu} label=${words("models.more", { name: one.username })} onPick=${(key) => pick(key, one)}
        items=${["edit", "link", "signOut", one.disabled ? "enable" : "disable", "delete"].map((key) => ({ key, label: words(`users.${key}`) }))}><span aria-hidden="true">⋯</span><//></td></tr>`} />
    ${asked?.action === "edit" && html`<${UserForm} user=${asked.user} groups=${groups.rows} onClose=${close} send=${save} />`}
    ${asked?.action === "delete" && html`<${Confirm} title=${words("users.delete")} text=${words("users.deleteText", { name: asked.user.username })} action=${words("users.delete")} onClose=${close} onConfirm=${() => act("delete", asked.user)} />`}`;
}

function UserForm({ user, groups, onClose, send }) {
  const words = useWords();
  const mine = new Set((user?.groups || []).map((one) => one.id));
  const title = words(user ? "users.edit" : "users.make");
  return html`<${Form} title=${title} action=${words("save")} onClose=${onClose} send=${send}>
    ${!user && html`<label class="field">${words("gate.name")}<input name="username" maxlength="64" required autocomplete="off" autocapitalize="none" spellcheck=${false} /></label>`}
    <label class="field">${words("users.display")}<input name="display_name" maxlength="200" autocomplete="off" value=${user?.display_name || ""} /></label>
    <label class="field">${words("users.role")}<select name="role" aria-describedby="role-hint">${ROLES.map((one) => html`<option value=${one} selected=${one === (user?.role || "reader")}>${words(`role.${one}`)}</option>`)}</select></label>
    <p id="role-hint" class="field-hint">${words("users.roleHint")}</p>
    <label class="field">${words("users.clearance")}<select name="clearance">${givableLevels().map((one) => html`<option value=${one} selected=${one === (user?.clearance || "internal")}>${words(`level.${one}`)}</option>`)}</select></label>
    ${groups.length > 0 && html`<fieldset class="choices"><legend>${words("users.groups")}</legend>${groups.map((one) => html`<label key=${one.id}><input type="checkbox" name="group" value=${one.id} checked=${mine.has(one.id)} />${one.name}</label>`)}</fieldset>`}
  <//>`;
}

function Groups() {
  const words = useWords();
  const [list, reload] = useAll("/api/groups");
  const [asked, setAsked] = useState(null);
  const close = () => setAsked(null);
  const save = async ({ name, description }) => {
    if (asked.group) await patch(here("groups", asked.group), { name, description });
    else await post("/api/groups", { name, description });
    close();
    reload();
  };
  const drop = async () => {
    close();
    try {
      await remove(here("groups", asked.group));
    } catch (error) {
      notifyError(error);
    }
    reload();
  };
  return html`<div class="panel-tools"><button type="button" class="button primary" onClick=${() => setAsked({ action: "edit", group: null })}><${Icon} name="add" />${words("groups.make")}</button></div>
    <${Rows} list=${list} reload=${reload} empty=${words("groups.none")} heads=${["groups.name", "groups.members", ""]} row=${(one) => html`<tr key=${one.id}>
      <td class="cell-name">${one.name}<small>${one.description}</small></td><td>${one.members.map((user) => user.name).join("、") || "—"}</td>
      <td class="cell-actions"><${Menu} label=${words("models.more", { name: one.name })} items=${["edit", "delete"].map((key) => ({ key, label: words(`groups.${key}`) }))} onPick=${(action) => setAsked({ action, group: one })}><span aria-hidden="true">⋯</span><//></td></tr>`} />
    ${asked?.action === "edit" && html`<${Form} title=${words(asked.group ? "groups.edit" : "groups.make")} action=${words("save")} onClose=${close} send=${save}>
      <label class="field">${words("groups.name")}<input name="name" maxlength="64" required autocomplete="off" value=${asked.group?.name || ""} /></label>
      <label class="field">${words("groups.description")}<input name="description" maxlength="2000" autocomplete="off" value=${asked.group?.description || ""} /></label><//>`}
    ${asked?.action === "delete" && html`<${Confirm} title=${words("groups.delete")} text=${words("groups.deleteText", { name: asked.group.name })} action=${words("groups.delete")} onClose=${close} onConfirm=${drop} />`}`;
}
