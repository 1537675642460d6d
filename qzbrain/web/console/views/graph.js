// The knowledge graph of a knowledge base: `/graph/KB?entity=ID…`. The address says what is shown; hiding, pinning and switches last as long as the page.
import { exportAddress, FORMATS, getOverview, getRelations, getStats, getSuggestions, readQuery, undoMerge, writeQuery } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { baseTitle, chosenBases, knowledgeBases, loadKnowledgeBases } from "../core/lists.js";
import { address, go, link, route } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useMemo, useState } from "../core/ui.js";
import { ErrorBox, Menu, Skeleton } from "../parts/controls.js";
import { GraphBoard } from "../parts/graph_board.js";
import { ImportTriples } from "../parts/graph_import.js";
import { MergeDialog, Suggestions } from "../parts/graph_merge.js";
import { Relations } from "../parts/graph_relations.js";
import { EntitySearch } from "../parts/graph_search.js";
import { Icon } from "../parts/icons.js";
import { notify, notifyError } from "../parts/toasts.js";
import { chooseFiles, dropTaker } from "../parts/upload.js";

export function GraphView() {
  const words = useWords();
  const { id } = useStore(route);
  const { state, rows, error } = useStore(knowledgeBases);
  const first = rows.find((row) => chosenBases.get().includes(row.id)) || rows[0];
  useEffect(() => {
    if (!id && first) go(address.graph(first.name), { replace: true });
  }, [id, first]);
  const base = rows.find((row) => row.name === id || row.id === id);
  return html`<main class="work page graph-page" id="main" tabindex="-1">
    ${state === "loading" && html`<div class="page-wide"><${Skeleton} lines=${8} /></div>`}
    ${state === "error" && html`<div class="page-wide"><${ErrorBox} error=${error} onRetry=${loadKnowledgeBases} /></div>`}
    ${state === "ready" && !base && (id || !first) && html`<div class="empty"><p>${id ? words("base.unknown", { name: id }) : words("base.none")}</p><a class="button" href="/knowledge" onClick=${link("/knowledge")}>${words("base.list")}</a></div>`}
    ${base && html`<${BaseGraph} base=${base} bases=${rows} key=${base.id} />`}
  </main>`;
}

/** `{stats, overview}` of a graph, `{error}`, or neither yet; read again when `version` grows. */
function useOutline(kb, version) {
  const [state, setState] = useState({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    Promise.all([getStats(kb), getOverview(kb)]).then(
      ([stats, overview]) => isCurrent && setState({ stats, overview }), (error) => isCurrent && setState((now) => ({ ...now, error })));
    return () => (isCurrent = false);
  }, [kb, version, attempt]);
  return [state, () => { setState({}); setAttempt(attempt + 1); }];
}

/** Which of the lists behind the menu this brain has, as the menu calls them; those whose routes are not there are left out. */
function useExtras(kb, version, isEmpty) {
  const words = useWords();
  const [extras, setExtras] = useState({});
  useEffect(() => {
    if (isEmpty) return undefined;
    let isCurrent = true;
    const note = (name) => (found) => isCurrent && found && setExtras((now) => ({ ...now, [name]: found }));
    getSuggestions(kb).then(note("suggestions"), () => {});
    getRelations(kb, { limit: 1 }).then(note("relations"), () => {});
    return () => (isCurrent = false);
  }, [kb, version, isEmpty]);
  return Object.entries(extras).map(([key, found]) => ({ key, label: words(`graphMore.${key}`, { n: number(found.total ?? 0) }) }));
}

function BaseGraph({ base, bases }) {
  const words = useWords();
  const { query } = useStore(route);
  const state = useMemo(() => readQuery(query), [query]);
  const [version, setVersion] = useState(0);
  const [dialog, setDialog] = useState(null); // {name, …}
  const [undoable, setUndoable] = useState(null); // {id, text}
  const [{ stats, overview, error }, retry] = useOutline(base.name, version);
  const isEmpty = stats?.entities === 0;
  const extras = useExtras(base.name, version, !stats || isEmpty);
  const move = (change, options) => go(address.graph(base.name, writeQuery({ ...state, ...change })), options);
  const changed = () => setVersion((n) => n + 1);
  const close = () => setDialog(null);
  useEffect(() => {
    dropTaker.set((files) => setDialog({ name: "import", file: files[0] }));
    return () => dropTaker.set(null);
  }, []);
  const undo = async () => {
    try {
      await undoMerge(base.name, undoable.id);
      notify(words("graph.undone"));
      setUndoable(null);
      changed();
    } catch (problem) {
      notifyError(problem);
    }
  };
  const select = (id) => {
    close();
    move({ entity: id, open: [...new Set([...state.open, id])] });
  };
  return html`<${Head} base=${base} bases=${bases} stats=${stats} extras=${extras} onAsk=${(name) => setDialog({ name, file: null })}
      onPick=${(entity) => move({ entity: entity.id, open: [entity.id], from: "", to: "" })} />
    ${undoable && html`<p class="undo-bar" role="status"><span dir="auto">${undoable.text}</span><button type="button" class="button small" onClick=${undo}>${words("graph.undo")}</button>
      <button type="button" class="link-button" onClick=${() => setUndoable(null)}>${words("close")}</button></p>`}
    ${error && html`<div class="page-wide"><${ErrorBox} error=${error} onRetry=${retry} /></div>`}
    ${!stats && !error && html`<div class="page-wide"><${Skeleton} lines=${8} /></div>`}
    ${isEmpty && html`<${Empty} base=${base} onImport=${() => setDialog({ name: "import", file: null })} />`}
    ${stats && !isEmpty && html`<${GraphBoard} base=${base} state=${state} overview=${overview} version=${version} move=${move} onMerge=${(keep) => setDialog({ name: "merge", keep })} />`}
    ${dialog?.name === "import" && html`<${ImportTriples} kb=${base.name} first=${dialog.file} onDone=${changed} onClose=${close} />`}
    ${dialog?.name === "merge" && html`<${MergeDialog} kb=${base.name} keep=${dialog.keep} onClose=${close} onDone=${(merged) => { close(); setUndoable(merged); changed(); }} />`}
    ${dialog?.name === "suggestions" && html`<${Suggestions} kb=${base.name} onDone=${(merged) => { setUndoable(merged); changed(); }} onSelect=${select} onClose=${close} />`}
    ${dialog?.name === "relations" && html`<${Relations} kb=${base.name} onClose=${close} />`}`;
}

function Head({ base, bases, stats, extras, onAsk, onPick }) {
  const words = useWords();
  const items = bases.map((row) => ({ key: row.name, label: baseTitle(row), note: row.title ? row.name : undefined, checked: row.id === base.id }));
  const formats = FORMATS.map((key) => ({ key, label: words(`graphFormat.${key}`) }));
  const save = (format) => Object.assign(document.createElement("a"), { href: exportAddress(base.name, format), download: `${base.name}-graph.${format === "cypher-csv" ? "csv" : format}` }).click();
  return html`<header class="graph-head">
    <div class="graph-title"><h2><${Menu} label=${words("graph.base", { name: baseTitle(base) })} items=${items} align="start" className="base-menu" onPick=${(name) => go(address.graph(name))}>
        <span class="menu-caption">${baseTitle(base)}</span><${Icon} name="chevron" /><//></h2>
      ${stats && html`<p class="figures">${words("graph.stats", { entities: number(stats.entities), triples: number(stats.triples), relations: number(stats.relations), mentions: number(stats.mentions) })}</p>`}</div>
    ${stats?.entities > 0 && html`<${EntitySearch} id="entity-find" kb=${base.name} label=${words("graph.find")} onPick=${onPick} />`}
    <div class="page-tools">
      <button type="button" class="button" onClick=${() => onAsk("import")}><${Icon} name="upload" />${words("graph.import")}</button>
      ${stats?.entities > 0 && html`<${Menu} label=${words("graph.export")} items=${formats} onPick=${save} className="button-menu"><${Icon} name="download" />${words("graph.export")}<//>`}
      ${extras.length > 0 && html`<${Menu} label=${words("graph.more")} items=${extras} onPick=${onAsk} className="button-menu"><span aria-hidden="true">⋯</span><//>`}
    </div>
  </header>`;
}

function Empty({ base, onImport }) {
  const words = useWords();
  return html`<div class="empty"><p>${words("graph.none")}</p><div class="empty-tools">
    <button type="button" class="button primary" onClick=${onImport}><${Icon} name="upload" />${words("graph.import")}</button>
    <button type="button" class="button" onClick=${() => chooseFiles(base.name)}><${Icon} name="document" />${words("upload.files")}</button></div></div>`;
}
