// Questions that corrections must go on answering: asked again on demand, each passed or failed.
import { getRegressions, runRegressions } from "../core/entries.js";
import { dateTime, number, useWords } from "../core/i18n.js";
import { address, link } from "../core/router.js";
import { html, useEffect, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "./controls.js";

export function RegressionList({ kb }) {
  const words = useWords();
  const [state, setState] = useState({ told: null, error: null, isBusy: false });
  const load = async (ask) => {
    setState((now) => ({ ...now, error: null, isBusy: ask === runRegressions }));
    try {
      setState({ told: await ask(kb), error: null, isBusy: false });
    } catch (error) {
      setState((now) => ({ ...now, error, isBusy: false }));
    }
  };
  useEffect(() => void load(getRegressions), [kb]);
  const rows = state.told?.data;
  return html`<section class="regressions" aria-label=${words("regression.title")}>
    <header class="side-head"><h3>${words("regression.title")}</h3>
      ${rows?.length > 0 && html`<button type="button" class="button small" disabled=${state.isBusy} onClick=${() => load(runRegressions)}>${words(state.isBusy ? "regression.running" : "regression.run")}</button>`}</header>
    ${!state.told && !state.error && html`<${Skeleton} lines=${3} />`}
    ${state.error && html`<${ErrorBox} error=${state.error} onRetry=${() => load(getRegressions)} />`}
    ${rows?.length === 0 && html`<p class="path">${words("regression.none")}</p>`}
    ${rows?.length > 0 && html`<p class="path" role="status">${words("regression.summary", { n: number(rows.length), passed: number(state.told.passed), failed: number(state.told.failed) })}</p>
      <ul class="cards">${rows.map((row) => html`<li key=${row.id}><${OneQuestion} kb=${kb} row=${row} /></li>`)}</ul>`}
  </section>`;
}

function OneQuestion({ kb, row }) {
  const words = useWords();
  const target = address.entries(kb, { entry: row.entry_id });
  const [dot, key] = row.passed === null ? ["stopped", "regression.never"] : row.passed ? ["ready", "regression.passed"] : ["failed", "regression.failed"];
  const why = row.passed === false && (row.result?.first ? words("regression.first", { name: row.result.first }) : words(row.result?.rank ? "regression.lower" : "regression.nothing"));
  return html`<a class="card" href=${target} onClick=${link(target)}>
    <span class="card-quote" dir="auto">${row.question}</span>
    <span class="card-head"><span class="state state-${dot}">${words(key)}</span>${row.run_at && html`<span class="path">${dateTime(row.run_at)}</span>`}</span>
    ${why && html`<span class="path" dir="auto">${why}</span>`}
  </a>`;
}
