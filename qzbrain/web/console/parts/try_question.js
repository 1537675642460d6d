// Try a question on one knowledge base: the hits with their scores by source, so that an operator sees why.
import { post } from "../core/api.js";
import { useWords } from "../core/i18n.js";
import { plainQuote } from "../core/messages.js";
import { address, link } from "../core/router.js";
import { html, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "./controls.js";

const percent = (value) => `${Math.round(value * 100)}%`;

export function TryQuestion({ base }) {
  const words = useWords();
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    const query = new FormData(event.target).get("query").trim();
    if (!query) return;
    setState({ isBusy: true });
    try {
      setState({ result: await post("/api/search", { query, knowledge_bases: [base.id], top_k: 8 }) });
    } catch (error) {
      setState({ error });
    }
  };
  return html`<section class="try" aria-label=${words("try.title")}>
    <h3>${words("try.title")}</h3>
    <form onSubmit=${submit} class="try-form"><input name="query" aria-label=${words("try.label")} placeholder=${words("try.label")} autocomplete="off" maxlength="20000" />
      <button class="button">${words("try.search")}</button></form>
    ${state.isBusy && html`<${Skeleton} lines=${5} />`}
    ${state.error && html`<${ErrorBox} error=${state.error} />`}
    ${state.result && html`<${Result} result=${state.result} />`}
  </section>`;
}

function Result({ result }) {
  const words = useWords();
  const head = words(result.answerable ? "try.answerable" : "try.unanswerable", { confidence: percent(result.confidence), ms: result.took_ms.toFixed(1) });
  return html`<p class="path">${head}</p>
    ${result.degraded.map((part) => html`<p class="path problem">${part.reason}</p>`)}
    <ol class="cards">${result.hits.map((hit) => html`<li key=${hit.chunk_id}><${Hit} hit=${hit} /></li>`)}</ol>`;
}

function Hit({ hit }) {
  const words = useWords();
  const target = address.document(hit.document_id, hit.start, hit.end);
  const scores = Object.entries(hit.sources).map(([source, { rank, score }]) => `${words(`source.${source}`)} #${rank} ${score.toFixed(2)}`);
  return html`<a class="card" href=${target} onClick=${link(target)}>
    <span class="card-head"><span class="number">${hit.rank}</span><b>${hit.title || hit.document}</b><span class="tag">${percent(hit.confidence)}</span></span>
    <span class="path">${[...hit.heading_path.slice(-2), hit.page && words("source.page", { n: hit.page })].filter(Boolean).join(" › ")}</span>
    <span class="card-quote">${plainQuote(hit.text)}</span>
    <span class="path">${scores.join(" · ")}</span>
  </a>`;
}
