// What an answer took its time for: its parts with a bar each, unfolded under the answer, and the stages of the search.
import { milliseconds, useWords } from "../core/i18n.js";
import { html } from "../core/ui.js";

const PARTS = ["search", "graph", "evidence", "queue", "engine", "streaming", "check", "compose", "other"];
const STAGES = ["references", "words", "facts", "embed", "vectors", "graph", "fill", "rerank"];

export function Timing({ message }) {
  const words = useWords();
  const timings = message.timings || {}; // one that failed has none
  const total = timings.total_ms;
  if (!total) return null;
  const parts = PARTS.filter((part) => timings[`${part}_ms`] > 0);
  const stages = STAGES.filter((stage) => timings[`search_${stage}_ms`] > 0);
  const first = timings.first_token_ms;
  return html`<details class="timing"><summary>${words("timing.title", { time: milliseconds(total) })}</summary>
    ${first > 0 && html`<p class="path">${words("timing.first", { time: milliseconds(first) })}</p>`}
    <dl>${parts.map((part) => html`<div key=${part}><dt>${words(`timing.${part}`)}</dt><dd><${Bar} share=${timings[`${part}_ms`] / total} /><span>${milliseconds(timings[`${part}_ms`])}</span></dd>
      ${part === "search" && stages.length > 0 && html`<dd class="timing-stages">${stages.map((stage) => words(`timing.of.${stage}`, { time: milliseconds(timings[`search_${stage}_ms`]) })).join(words("comma"))}</dd>`}
    </div>`)}</dl>
  </details>`;
}

const Bar = ({ share }) => html`<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect width=${Math.min(100, Math.max(0.5, share * 100))} height="6" /></svg>`;
