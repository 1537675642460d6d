// The models: what they are for, whether they are up, how busy; start, stop, swap and try those of this machine.
import { post } from "../core/api.js";
import { duration, number, useWords } from "../core/i18n.js";
import { allModels, loadModels } from "../core/lists.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Confirm, ErrorBox, Menu, Skeleton } from "../parts/controls.js";
import { notify, notifyError } from "../parts/toasts.js";
import { modelName } from "../parts/topbar.js";

const LOOK_AGAIN_MS = 1000;
const DOTS = { ready: "ready", starting: "running", draining: "running", failed: "failed", stopped: "stopped" };

export function ModelsView() {
  const words = useWords();
  const { state, rows, error } = useStore(allModels);
  useEffect(() => {
    loadModels();
    const timer = setInterval(() => document.hidden || loadModels(), LOOK_AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-wide">
    <header class="page-head"><h2>${words("models.title")}</h2></header>
    ${state === "loading" && html`<${Skeleton} lines=${6} />`}
    ${error && html`<${ErrorBox} error=${error} onRetry=${loadModels} />`}
    ${state === "ready" && html`<${ModelTable} rows=${rows} />`}
    ${state === "ready" && !rows.some((row) => row.kind === "chat" && row.engine !== "extractive") && html`<p class="empty">${words("models.none")} <code>qzbrain model pull</code></p>`}
  </div></main>`;
}

function ModelTable({ rows }) {
  const words = useWords();
  const [asked, setAsked] = useState(null);
  const act = async (action, row, body = {}) => {
    setAsked(null);
    try {
      const reply = await post(`/api/models/${encodeURIComponent(row.name)}/${action}`, body);
      if (action === "probe") notify(reply.ok ? words("models.probed", { name: row.name, ms: number(Math.round(reply.took_ms)) }) : reply.reason);
    } catch (error) {
      notifyError(error);
    }
    loadModels();
  };
  const pick = (action, row) => (action === "stop" || action === "swap" ? setAsked({ action, row }) : act(action, row));
  const heads = ["models.name", "models.engine", "models.state", "models.devices", "models.use"];
  return html`<div class="table-scroll"><table class="documents models">
    <thead><tr>${heads.map((key) => html`<th key=${key} scope="col">${words(key)}</th>`)}<th><span class="hidden">${words("models.actions")}</span></th></tr></thead>
    <tbody>${rows.map((row) => html`<${ModelRow} key=${row.name} row=${row} onPick=${pick} />`)}</tbody>
  </table></div>
  ${asked && html`<${Confirm} title=${words(`models.${asked.action}`)} text=${words(`models.${asked.action}Text`, { name: asked.row.name })}
    action=${words(`models.${asked.action}`)} onClose=${() => setAsked(null)} onConfirm=${() => act(asked.action, asked.row)} />`}`;
}

function ModelRow({ row, onPick }) {
  const words = useWords();
  const devices = !row.local ? "" : row.devices ? `GPU ${row.devices}` : "CPU";
  const use = row.slots ? words("models.slots", { used: number(row.in_use), slots: number(row.slots) }) : "";
  const items = actions(row).map((key) => ({ key, label: words(`models.${key}`) }));
  return html`<tr>
    <td class="cell-name">${modelName(row.name, words)}<small>${words(`models.kind.${row.kind}`)}${row.context ? ` · ${words("models.context", { n: number(row.context) })}` : ""}</small></td>
    <td>${row.engine}</td>
    <td class="cell-state"><${ModelState} row=${row} /></td>
    <td>${devices}</td>
    <td>${use}${row.queued > 0 && html`<br />${words("model.queued", { n: number(row.queued) })}`}</td>
    <td class="cell-actions">${items.length > 0 && html`<${Menu} label=${words("models.more", { name: row.name })} items=${items} onPick=${(key) => onPick(key, row)}>
      <span aria-hidden="true">⋯</span><//>`}</td>
  </tr>`;
}

function ModelState({ row }) {
  const words = useWords();
  const name = row.asleep ? "asleep" : row.status === "failed" ? "away" : row.status === "stopped" ? "stopped" : row.status;
  const notes = [
    row.answered_by && words("models.answeredBy", { name: row.answered_by }),
    row.status === "starting" && row.expected_s > 0 && words("models.expected", { time: duration(row.expected_s) }),
    row.reason.replace(/[。.]$/, "") !== words(`model.${name}`) && row.reason,
    row.restarts > 0 && words("models.restarts", { n: number(row.restarts) }),
  ].filter(Boolean);
  return html`<span class="state state-${DOTS[row.status] || "stopped"}">${words(`model.${name}`)}</span>${notes.map((note) => html`<small class="model-note">${note}</small>`)}`;
}

/** What can be done with a model now; one whose engine is elsewhere can only be tried. */
function actions(row) {
  if (row.engine === "extractive") return [];
  if (!row.local) return ["probe"];
  if (row.status === "stopped") return row.kind === "chat" && !row.on_demand ? ["start", "swap"] : ["start"];
  return row.status === "ready" ? ["probe", "stop"] : row.status === "failed" ? ["start", "stop"] : ["stop"];
}
