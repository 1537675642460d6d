// Top right: knowledge bases in use, model in use with its state, language, theme.
import { connection } from "../core/stream.js";
import { lang, useWords } from "../core/i18n.js";
import { go } from "../core/router.js";
import { isAtLeast, session, signOut } from "../core/session.js";
import { baseTitle, chosenBases, chosenModel, knowledgeBases, models, theme } from "../core/lists.js";
import { useStore } from "../core/store.js";
import { html } from "../core/ui.js";
import { IconButton, Menu } from "./controls.js";
import { Icon } from "./icons.js";

export function Topbar({ title, onRail, isRailShown, onKeys }) {
  const words = useWords();
  return html`<header class="topbar">
    ${!isRailShown && html`<${IconButton} icon="menu" label=${words("rail.show")} onClick=${onRail} />`}
    <h1 title=${title}>${title}</h1>
    <${Connection} />
    <div class="topbar-tools">
      <${BasesMenu} /><${ModelMenu} /><${LanguageMenu} /><${ThemeMenu} />
      <${IconButton} icon="keyboard" label=${words("keys.title")} onClick=${onKeys} className="keys-button" />
      <${AccountMenu} />
    </div>
  </header>`;
}

function Connection() {
  const words = useWords();
  if (useStore(connection) !== "lost") return null;
  return html`<p class="lost" role="status"><${Icon} name="warning" />${words("connection.lost")}</p>`;
}

function BasesMenu() {
  const words = useWords();
  const { rows } = useStore(knowledgeBases);
  const chosen = useStore(chosenBases);
  const all = { key: "", label: words("bases.all"), checked: !chosen.length };
  const items = [all, ...rows.map((base) => ({ key: base.id, label: baseTitle(base), note: words("bases.count", { n: base.documents?.ready ?? 0 }), checked: chosen.includes(base.id) }))];
  const pick = (id) => chosenBases.update((ids) => (!id ? [] : ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id]));
  const names = rows.filter((base) => chosen.includes(base.id)).map(baseTitle);
  const summary = names.length === 0 ? words("bases.all") : names.length === 1 ? names[0] : words("bases.some", { n: names.length });
  return html`<${Menu} label=${words("bases.label", { name: summary })} items=${items} onPick=${pick} multiple className="wide-menu">
    <${Icon} name="book" /><span class="menu-caption">${summary}</span><${Icon} name="chevron" />
  <//>`;
}

function ModelMenu() {
  const words = useWords();
  const { rows } = useStore(models);
  const chosen = useStore(chosenModel);
  const row = rows.find((model) => model.name === chosen) || (chosen === "auto" && rows.find((model) => model.status === "ready"));
  const state = modelState(row, words);
  const items = [
    { key: "auto", label: words("model.auto"), note: words("model.autoNote"), checked: chosen === "auto" },
    ...rows.map((model) => ({ key: model.name, label: modelName(model.name, words), note: [modelState(model, words).text, model.reason].filter(Boolean).join(" · "), checked: chosen === model.name })),
  ];
  const caption = chosen === "auto" ? words("model.auto") : modelName(chosen, words);
  return html`<${Menu} label=${words("model.label", { name: caption, state: state.text })} items=${items} onPick=${chosenModel.set} className="wide-menu">
    <span class="dot dot-${state.kind}"></span><span class="menu-caption">${caption}</span>${state.queued > 0 && html`<small class="count">${state.text}</small>`}<${Icon} name="chevron" />
  <//>`;
}

/** Name of a model for people. */
export const modelName = (name, words) => (name === "extractive" ? words("model.extractive") : name);

function modelState(model, words) {
  if (!model) return { kind: "away", text: words("model.away"), queued: 0 };
  const queued = model.queued || 0;
  if (model.status === "ready" && queued) return { kind: "busy", text: words("model.queued", { n: queued }), queued };
  const kinds = { ready: "ready", starting: "busy", draining: "busy", stopped: "asleep", failed: "away" };
  const kind = kinds[model.status] || "away";
  return { kind, text: words(`model.${model.status === "starting" || model.status === "draining" ? model.status : kind}`), queued };
}

function LanguageMenu() {
  const words = useWords();
  const items = [{ key: "zh", label: "中文", checked: lang.get() === "zh" }, { key: "en", label: "English", checked: lang.get() === "en" }];
  return html`<${Menu} label=${words("language")} items=${items} onPick=${lang.set}><${Icon} name="globe" /><//>`;
}

function ThemeMenu() {
  const words = useWords();
  const chosen = useStore(theme);
  const items = ["system", "light", "dark"].map((key) => ({ key, label: words(`theme.${key}`), checked: chosen === key }));
  return html`<${Menu} label=${words("theme")} items=${items} onPick=${theme.set}><${Icon} name="contrast" /><//>`;
}

function AccountMenu() {
  const words = useWords();
  const { accounts, user } = useStore(session);
  if (!accounts || !user) return null;
  const name = user.display_name || user.username;
  const items = [
    { heading: `${words(`role.${user.role}`)} · ${words(`level.${user.clearance}`)}` },
    { key: "/account", label: words("account.title") },
    ...(isAtLeast("administrator") ? [{ key: "/users", label: words("users.title") }] : []),
    { key: "out", label: words("account.signOut") },
  ];
  return html`<${Menu} label=${words("account.menu", { name })} items=${items} className="account-menu" onPick=${(key) => (key === "out" ? signOut() : go(key))}>
    <${Icon} name="person" /><span class="menu-caption">${name}</span>
  <//>`;
}
