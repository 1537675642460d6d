// A question, and an answer with its sources, its rung in words and what can be done with it.
import { duration, useWords } from "../core/i18n.js";
import { copyText, sourcePath, unsupportedSpans } from "../core/messages.js";
import { Markdown } from "../core/markdown.js";
import { light, lit, showSource, unlight } from "../core/pane.js";
import { useStore } from "../core/store.js";
import { html, memo, useMemo } from "../core/ui.js";
import { AnswerTools } from "./answer_tools.js";
import { GraphLink } from "./cited_facts.js";
import { Icon } from "./icons.js";
import { Timing } from "./timing.js";
import { modelName } from "./topbar.js";

const CHIPS = 4;

export const Question = memo(({ text }) => html`<article class="question"><p>${text}</p></article>`);

export const Answer = memo(({ message, isLast }) => {
  const words = useWords();
  const isRunning = message.status === "running" || message.status === "sending";
  return html`<article class="answer" aria-busy=${isRunning} aria-label=${words("answer.label")} data-message=${message.id}>
    <${SourceChips} message=${message} />
    ${isRunning && !message.text && html`<${Waiting} message=${message} />`}
    ${message.text && html`<${Text} message=${message} />`}
    ${message.status === "failed" && html`<p class="answer-problem" role="alert"><${Icon} name="warning" />${message.error?.message || words("answer.failed")}</p>`}
    ${!isRunning && html`<${Footer} message=${message} />`}
    ${!isRunning && html`<${Timing} message=${message} />`}
    ${!isRunning && html`<${AnswerTools} message=${message} isLast=${isLast} onCopy=${() => copyText(message, location.origin)} />`}
  </article>`;
});

function Waiting({ message }) {
  const words = useWords();
  const { queue } = message;
  if (queue) {
    const time = queue.etaS === null || queue.etaS === undefined ? "" : words("queue.eta", { time: duration(queue.etaS) });
    return html`<p class="waiting">${words("queue.position", { n: queue.position })}${time}</p>`;
  }
  return html`<p class="waiting">${words(message.citations.length ? "answer.writing" : "answer.searching")}</p>`;
}

function Text({ message }) {
  const words = useWords();
  const { text, citations, unsupported, id } = message;
  const numbers = useMemo(() => new Map(citations.map((citation) => [citation.index, citation])), [citations]);
  const spans = useMemo(() => unsupportedSpans(text, citations, unsupported), [text, citations, unsupported]);
  const cite = useMemo(() => (index) => numbers.has(index) && html`<${Mark} messageId=${id} citation=${numbers.get(index)} />`, [id, numbers]);
  const doubt = useMemo(() => (part) => html`<span class="unsupported" title=${words("answer.unsupported")}>${part}</span>`, [words]);
  return html`<${Markdown} text=${text} spans=${spans} cite=${cite} doubt=${doubt} />`;
}

/** A citation's number in the text. */
function Mark({ messageId, citation }) {
  const words = useWords();
  const on = () => light(messageId, citation.index);
  const label = words("source.open", { n: citation.index, name: citation.title || citation.document });
  return html`<button type="button" class="mark" aria-label=${label} title=${label} onMouseEnter=${on} onFocus=${on} onMouseLeave=${unlight} onBlur=${unlight}
    onClick=${() => showSource(messageId, citation.index)}>${citation.index}</button>`;
}

function SourceChips({ message }) {
  const words = useWords();
  const { citations, id } = message;
  if (!citations.length) return null;
  const cited = citations.filter((citation) => citation.cited);
  const shown = (cited.length ? cited : citations).slice(0, CHIPS);
  const rest = citations.length - shown.length;
  return html`<ul class="chips" aria-label=${words("source.list")}>
    ${shown.map((citation) => html`<li key=${citation.index}><${Chip} messageId=${id} citation=${citation} /></li>`)}
    ${rest > 0 && html`<li key="rest"><button type="button" class="chip chip-more" onClick=${() => showSource(id, 0)}>${words("source.more", { n: rest })}</button></li>`}
  </ul>`;
}

function Chip({ messageId, citation }) {
  const words = useWords();
  const at = useStore(lit);
  const isLit = at?.messageId === messageId && at.index === citation.index;
  const path = sourcePath(citation);
  return html`<button type="button" class="chip ${isLit ? "lit" : ""}" onClick=${() => showSource(messageId, citation.index)} title=${[citation.document, ...path].join(" › ")}>
    <span class="number">${citation.index}</span>
    <span class="chip-text"><b>${citation.title || citation.document}</b>${path.length > 0 && html`<span>${path.at(-1)}</span>`}
      ${citation.page && html`<span>${words("source.page", { n: citation.page })}</span>`}</span>
  </button>`;
}

function Footer({ message }) {
  const words = useWords();
  const cited = message.citations.filter((citation) => citation.cited);
  const checked = cited.length > 0 && cited.every((citation) => citation.supported === true);
  const doubtful = cited.filter((citation) => citation.supported === false).length;
  const parts = [];
  if (message.status === "stopped") parts.push(words("answer.stopped"));
  if (message.rung) parts.push(words(`rung.${message.rung}`, { model: modelName(message.model, words) }));
  if (cited.length && checked) parts.push(words("cited.checked", { n: cited.length }));
  else if (cited.length && doubtful) parts.push(words("cited.doubtful", { n: cited.length, m: doubtful }));
  else if (cited.length) parts.push(words("cited.count", { n: cited.length }));
  if (!parts.length) return null;
  const isPlain = (message.rung === "model" && message.citations.length > 0) || message.rung === "entry"; // its reason says nothing new
  const why = [isPlain ? "" : message.rungReason, ...message.degraded.map((part) => part.reason)].filter(Boolean);
  return html`<p class="rung rung-${message.rung || "none"}"><${Icon} name=${doubtful || message.status === "stopped" ? "warning" : "check"} />
    <span>${parts.join(words("comma"))}${words("stop.mark")}${why.length > 0 && html`<span class="why">${[...new Set(why)].join(" ")}</span>`}
    <${GraphLink} message=${message} /></span></p>`;
}

