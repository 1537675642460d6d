// The installation: what it is and how it runs, and the doctor's checks by the manual's steps, each with what to do.
import { get } from "../core/api.js";
import { dateTime, duration, lang, number, size, useWords } from "../core/i18n.js";
import { announce } from "../core/live.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useState } from "../core/ui.js";
import { ErrorBox, IconButton, Skeleton } from "../parts/controls.js";
import { Icon } from "../parts/icons.js";
import { notify } from "../parts/toasts.js";

const ORDER = ["fail", "warn", "ok", "skip"];
const STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 9];

export function SystemView() {
  const words = useWords();
  const language = useStore(lang);
  const [{ report, error, busy }, set] = useState({ report: null, error: null, busy: true });
  const [only, setOnly] = useState("");
  const look = async () => {
    set((now) => ({ ...now, busy: true, error: null }));
    try {
      const found = await get("/api/system/doctor");
      set({ report: found, error: null, busy: false });
      announce(summary(found.checks, words));
    } catch (failure) {
      set((now) => ({ ...now, error: failure, busy: false }));
    }
  };
  useEffect(() => void look(), [language]); // what was found is told in the reader's language
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-wide system">
    <header class="page-head with-tools"><h2>${words("system.title")}</h2>
      <div class="page-tools"><button type="button" class="button" disabled=${busy} onClick=${look}><${Icon} name="refresh" />${words(busy ? "system.looking" : "system.again")}</button></div>
    </header>
    ${error && html`<${ErrorBox} error=${error} onRetry=${look} />`}
    ${!report && busy && html`<${Skeleton} lines=${10} />`}
    ${report && html`<div class="system-top"><${Facts} system=${report.system} /><${Parts} disk=${report.system.disk} /></div>
      <${Processes} rows=${report.system.processes} />
      <${Checks} checks=${report.checks} only=${only} onOnly=${setOnly} busy=${busy} />`}
  </div></main>`;
}

const count = (checks, status) => checks.filter((one) => one.status === status).length;

const summary = (checks, words) =>
  ORDER.filter((status) => count(checks, status)).map((status) => words(`system.count.${status}`, { n: number(count(checks, status)) })).join(words("system.comma"));

function Facts({ system }) {
  const words = useWords();
  const { disk, queue } = system;
  const share = disk.total_bytes ? Math.round((1 - disk.free_bytes / disk.total_bytes) * 100) : 0;
  const rows = [
    ["version", `qzbrain ${system.version} · ${words("system.schema", { n: system.schema })} · Python ${system.python}`],
    ["uptime", system.started_at ? words("system.since", { time: duration(system.uptime_s), at: dateTime(system.started_at * 1000) }) : words("system.notHere")],
    ["parts", ["database", "index", "broker"].map((part) => words(`system.${part}.${system[part]}`)).join(" · ")],
    ["queue", queue ? words("system.jobs", { pending: number(queue.pending), running: number(queue.running), failed: number(queue.failed) }) : "–"],
    ["disk", words("system.free", { free: size(disk.free_bytes), total: size(disk.total_bytes), share: number(share) })],
  ];
  return html`<section class="panel" aria-label=${words("system.facts")}><h3>${words("system.facts")}</h3>
    <dl class="facts-list">${rows.map(([key, value]) => html`<dt key=${key}>${words(`system.${key}`)}</dt><dd>${value}</dd>`)}</dl>
  </section>`;
}

function Parts({ disk }) {
  const words = useWords();
  const rows = disk.parts.filter((part) => part.bytes > 0).slice(0, 6);
  return html`<section class="panel" aria-label=${words("system.data")}><h3>${words("system.data")}</h3>
    <p class="path system-path">${disk.path} · ${disk.complete ? "" : "≥ "}${size(disk.bytes)}</p>
    <dl class="facts-list">${rows.map((part) => html`<dt key=${part.name}>${part.name}</dt><dd>${size(part.bytes)}</dd>`)}</dl>
  </section>`;
}

function Processes({ rows }) {
  const words = useWords();
  if (!rows.length) return null;
  const heads = ["process", "state", "pid", "running", "memory"];
  return html`<section class="panel" aria-label=${words("system.processes")}><h3>${words("system.processes")}</h3>
    <div class="table-scroll"><table class="documents plain-table">
      <thead><tr>${heads.map((key) => html`<th key=${key} scope="col">${words(`system.${key}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.name}>
        <td>${one.name}</td>
        <td><span class="state state-${one.state === "running" ? "ready" : one.needed ? "failed" : "stopped"}">${words(one.state === "running" ? "system.up" : one.needed ? "system.down" : "system.idle")}</span></td>
        <td>${one.pid || "–"}</td><td>${one.pid ? duration(Math.max(1, one.uptime_s)) : "–"}</td><td>${one.memory_bytes ? size(one.memory_bytes) : "–"}</td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}

function Checks({ checks, only, onOnly, busy }) {
  const words = useWords();
  const shown = only ? checks.filter((one) => one.status === only) : checks;
  return html`<section aria-label=${words("system.checks")} aria-busy=${busy}><h3 class="system-heading">${words("system.checks")}</h3>
    <div class="filters" role="group" aria-label=${words("state.filter")}>
      ${["", ...ORDER].map((status) => html`<button key=${status} type="button" class="filter" aria-pressed=${only === status} onClick=${() => onOnly(status)}>
        ${status ? words(`system.count.${status}`, { n: number(count(checks, status)) }) : words("state.all")}</button>`)}
    </div>
    ${STEPS.map((step) => [step, shown.filter((one) => one.step === step)]).filter(([, list]) => list.length).map(([step, list]) => html`<section key=${step} class="step-checks" aria-labelledby=${`step-${step}`}>
      <h4 id=${`step-${step}`}>${words("system.stepTitle", { n: step, name: words(`system.step${step}`) })}</h4>
      <ul>${list.map((one) => html`<${CheckRow} key=${one.id} check=${one} />`)}</ul>
    </section>`)}
    ${!shown.length && html`<p class="empty">${words("system.none")}</p>`}
  </section>`;
}

function CheckRow({ check }) {
  const words = useWords();
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(check.next);
      notify(words("copied"));
    } catch {
      notify(words("copy.refused"));
    }
  };
  const isWanting = check.status === "fail" || check.status === "warn";
  return html`<li class="finding finding-${check.status}">
    <span class="finding-mark"><${Icon} name=${MARKS[check.status]} /><span class="hidden">${words(`system.status.${check.status}`)}</span></span>
    <div class="finding-body"><p><strong>${check.title}</strong><span class="finding-evidence">${check.evidence}</span></p>
      ${isWanting && check.next && html`<div class="finding-next"><code>${check.next}</code><${IconButton} icon="copy" label=${words("system.copyNext", { name: check.title })} onClick=${copy} /></div>`}
    </div>
  </li>`;
}

const MARKS = { ok: "check", warn: "warning", fail: "close", skip: "minus" };
