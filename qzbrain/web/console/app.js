// The console's frame: rail, top bar, the view of the address, the sources beside it.
import { conversation } from "./core/conversation.js";
import { useWords } from "./core/i18n.js";
import { railOpen, startLists, theme } from "./core/lists.js";
import { closeCorrection, closeSource, openCorrection, openSource } from "./core/pane.js";
import { go, route } from "./core/router.js";
import { loadSession, session } from "./core/session.js";
import { useStore } from "./core/store.js";
import { connect } from "./core/stream.js";
import { html, render, useEffect, useState } from "./core/ui.js";
import { KeysHelp, useKeys } from "./parts/keys.js";
import { lazy } from "./parts/lazy.js";
import { Palette } from "./parts/palette.js";
import { Rail } from "./parts/rail.js";
import { SourcesPane } from "./parts/sources.js";
import { Toasts } from "./parts/toasts.js";
import { Topbar } from "./parts/topbar.js";
import { chooseFiles, UploadLayer } from "./parts/upload.js";
import { ChatView } from "./views/chat.js";
import { documentTitle, DocumentView } from "./views/document.js";
import { KnowledgeView } from "./views/knowledge.js";
import { ModelsView } from "./views/models.js";

const narrow = window.matchMedia("(max-width: 860px)");
const EntriesView = lazy(() => import("./views/entries.js").then((module) => module.EntriesView));
const CorrectionPane = lazy(() => import("./parts/correction.js").then((module) => module.CorrectionPane));
const GraphView = lazy(() => import("./views/graph.js").then((module) => module.GraphView));
const AccountView = lazy(() => import("./views/account.js").then((module) => module.AccountView));
const UsersView = lazy(() => import("./views/users.js").then((module) => module.UsersView));
const SystemView = lazy(() => import("./views/system.js").then((module) => module.SystemView));
const Gate = lazy(() => import("./views/gate.js").then((module) => module.Gate));
const VIEWS = { account: AccountView, chat: ChatView, documents: DocumentView, entries: EntriesView, graph: GraphView, knowledge: KnowledgeView, models: ModelsView, system: SystemView, users: UsersView };
/** Pages for who is not signed in. */
const OUTSIDE = ["setup", "password"];

function useNarrow() {
  const [isNarrow, setNarrow] = useState(narrow.matches);
  useEffect(() => {
    const listener = () => setNarrow(narrow.matches);
    narrow.addEventListener("change", listener);
    return () => narrow.removeEventListener("change", listener);
  }, []);
  return isNarrow;
}

function useTitle(view) {
  const words = useWords();
  const { title, messages } = useStore(conversation);
  const openDocument = useStore(documentTitle);
  const names = { account: words("account.title"), users: words("users.title"), chat: title || messages.find((m) => m.role === "user")?.text || words("rail.new"), documents: openDocument || words("document.page"), entries: words("entry.page"), graph: words("rail.graph"), knowledge: words("rail.knowledge"), models: words("rail.models"), system: words("system.title") };
  const name = names[view] ?? words("missing.title");
  useEffect(() => {
    document.title = `${name.slice(0, 80)} · ${words("brand")}`;
  });
  return name;
}

function Frame() {
  const words = useWords();
  const { view } = useStore(route);
  const isNarrow = useNarrow();
  const isRailKept = useStore(railOpen);
  const [isSheetOpen, setSheet] = useState(false);
  const [dialog, setDialog] = useState("");
  const onSearch = () => setDialog("search");
  const onKeys = () => setDialog("keys");
  useKeys({ onSearch, onKeys });
  useStore(conversation);
  const source = view === "chat" ? openSource() : null;
  const corrected = view === "chat" && !source ? openCorrection() : null;
  const isRailShown = isNarrow ? isSheetOpen : isRailKept;
  const title = useTitle(view);
  const View = VIEWS[view] || Missing;
  const closeSheets = () => {
    setSheet(false);
    closeSource();
  };
  return html`<div class="frame ${isRailShown ? "" : "rail-hidden"} ${source || corrected ? "with-pane" : ""}" onKeyDown=${(e) => e.key === "Escape" && isSheetOpen && setSheet(false)}>
    <a class="skip" href="#main">${words("skip")}</a>
    ${isRailShown && html`<${Rail} onSearch=${onSearch} isSheet=${isNarrow} onClose=${() => setSheet(false)} />`}
    <div class="center">
      <${Topbar} title=${title} isRailShown=${isRailShown && !isNarrow} onKeys=${onKeys} onRail=${() => (isNarrow ? setSheet(true) : railOpen.set(true))} />
      <div class="middle"><${View} onUpload=${() => chooseFiles()} />${source && html`<${SourcesPane} source=${source} />`}
        ${corrected && html`<${CorrectionPane} key=${corrected.id} message=${corrected} onClose=${closeCorrection} />`}</div>
    </div>
    ${isNarrow && (isSheetOpen || source || corrected) && html`<div class="veil" onClick=${closeSheets}></div>`}
    ${dialog === "search" && html`<${Palette} onClose=${() => setDialog("")} onKeys=${onKeys} />`}
    ${dialog === "keys" && html`<${KeysHelp} onClose=${() => setDialog("")} />`}
    <${UploadLayer} /><${Toasts} />
  </div>`;
}

function Missing() {
  const words = useWords();
  return html`<main class="work page" id="main"><div class="empty"><p>${words("missing.text")}</p>
    <button type="button" class="button primary" onClick=${() => go("/")}>${words("rail.new")}</button></div></main>`;
}

function Console() {
  const { view } = useStore(route);
  const { signed_in: isSignedIn, must_change: mustChange } = useStore(session);
  return isSignedIn && !mustChange && !OUTSIDE.includes(view) ? html`<${Frame} />` : html`<${Gate} view=${view} />`;
}

function applyTheme(value) {
  if (value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

theme.subscribe(applyTheme);
applyTheme(theme.get());
loadSession().then(({ signed_in: isSignedIn, must_change: mustChange }) => {
  render(html`<${Console} />`, document.getElementById("app"));
  if (!isSignedIn || mustChange || OUTSIDE.includes(route.get().view)) return;
  startLists();
  requestAnimationFrame(() => setTimeout(connect));
});
