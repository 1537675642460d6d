// Who may what in a knowledge base, and its level: for who manages it.
import { all, get, put } from "../core/api.js";
import { useWords } from "../core/i18n.js";
import { baseTitle } from "../core/lists.js";
import { givableLevels, LEVELS } from "../core/session.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Form } from "../views/account.js";
import { Dialog, ErrorBox, IconButton, Skeleton } from "./controls.js";
import { notify } from "./toasts.js";

const EVERYONE = "everyone";

export function Rights({ base, onClose }) {
  const words = useWords();
  const [known, setKnown] = useState(null); // {grants, level, users, groups}
  const [error, setError] = useState(null);
  const path = `/api/knowledge-bases/${encodeURIComponent(base.id)}/rights`;
  const load = () => Promise.all([get(path), all("/api/users"), all("/api/groups")]).then(([rights, users, groups]) => setKnown({ ...rights, users, groups }), setError);
  useEffect(() => void load(), [path]);
  const title = words("rights.title", { name: baseTitle(base) });
  if (error) return html`<${Dialog} title=${title} onClose=${onClose}><${ErrorBox} error=${error} /><//>`;
  if (!known) return html`<${Dialog} title=${title} onClose=${onClose}><${Skeleton} lines=${4} /><//>`;
  const save = async (_fields, form) => {
    const grants = [...form.querySelectorAll(".grant-row")].map((row) => ({ [row.dataset.kind]: row.dataset.id, right: row.querySelector("select").value }));
    await put(path, { grants, level: form.elements.level.value });
    notify(words("rights.saved"));
    onClose();
  };
  return html`<${Form} title=${title} action=${words("save")} onClose=${onClose} send=${save}>
    <label class="field">${words("level.title")}<select name="level">${LEVELS.filter((one) => givableLevels().includes(one) || one === known.level).map((one) => html`<option value=${one} selected=${one === known.level}>${words(`level.${one}`)}</option>`)}</select></label>
    <p class="field-hint">${words("rights.levelHint")}</p>
    <${Grants} known=${known} />
  <//>`;
}

function Grants({ known }) {
  const words = useWords();
  const [grants, setGrants] = useState(known.grants.map((one) => ({ kind: one.group ? "group" : "user", id: one.id, name: one.group || one.user, right: one.right })));
  const has = (kind, id) => grants.some((one) => one.kind === kind && one.id === id);
  const choices = [
    ...(has("group", EVERYONE) ? [] : [{ kind: "group", id: EVERYONE, name: words("rights.everyone") }]),
    ...known.groups.filter((one) => !has("group", one.id)).map((one) => ({ kind: "group", id: one.id, name: `${words("rights.group")} ${one.name}` })),
    ...known.users.filter((one) => !has("user", one.id)).map((one) => ({ kind: "user", id: one.id, name: one.display_name ? `${one.username}（${one.display_name}）` : one.username })),
  ];
  const add = (event) => {
    const one = choices[Number(event.target.value)];
    event.target.value = "";
    if (one) setGrants([...grants, { ...one, right: "read" }]);
  };
  const shown = (one) => (one.id === EVERYONE ? words("rights.everyone") : one.kind === "group" && !one.name.startsWith(words("rights.group")) ? `${words("rights.group")} ${one.name}` : one.name);
  return html`<div class="grant-rows">${grants.map((one) => html`<div class="grant-row" key=${`${one.kind}${one.id}`} data-kind=${one.kind} data-id=${one.id}>
      <span>${shown(one)}</span>
      <select aria-label=${words("rights.of", { name: shown(one) })}>${["read", "write", "manage"].map((right) => html`<option value=${right} selected=${right === one.right}>${words(`right.${right}`)}</option>`)}</select>
      <${IconButton} icon="close" label=${words("rights.remove", { name: shown(one) })} onClick=${() => setGrants(grants.filter((other) => other !== one))} /></div>`)}
    ${!grants.length && html`<p class="field-hint">${words("rights.none")}</p>`}
    <label class="field">${words("rights.add")}<select onChange=${add}><option value="">${words("rights.choose")}</option>${choices.map((one, n) => html`<option key=${one.kind + one.id} value=${n}>${one.name}</option>`)}</select></label></div>`;
}
