// The sources beside the conversation: the numbered cards of an answer, or one passage at its place in the document.
import { fileAddress, isMarkdown, passageIn, useDocument } from "../core/documents.js";
import { useWords } from "../core/i18n.js";
import { plainQuote, sourcePath } from "../core/messages.js";
import { closeSource, lit, ordered, showSource, stepSource } from "../core/pane.js";
import { address, link } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useMemo, useRef } from "../core/ui.js";
import { CitedFacts } from "./cited_facts.js";
import { ErrorBox, IconButton, Skeleton } from "./controls.js";
import { DocumentText } from "./document_text.js";
import { Icon } from "./icons.js";

export function SourcesPane({ source }) {
  const words = useWords();
  const { message, index } = source;
  const citation = message.citations.find((candidate) => candidate.index === index);
  const box = useRef(null);
  useEffect(() => box.current.focus({ preventScroll: true }), [message.id]);
  return html`<aside class="pane" aria-label=${words("source.pane")} tabindex="-1" ref=${box}>
    <header class="pane-head">
      ${citation && html`<${IconButton} icon="arrowLeft" label=${words("source.back")} onClick=${() => showSource(message.id, 0)} />`}
      <h2>${citation ? words("source.at", { n: index, m: message.citations.length }) : words("source.all", { n: message.citations.length })}</h2>
      ${citation && html`<${Steps} message=${message} index=${index} />`}
      <${IconButton} icon="close" label=${words("source.close")} onClick=${closeSource} />
    </header>
    ${citation ? html`<${citation.document_id ? Passage : Fact} citation=${citation} />` : html`<${Cards} message=${message} />`}
  </aside>`;
}

function Steps({ message, index }) {
  const words = useWords();
  const order = ordered(message.citations).map((citation) => citation.index);
  return html`<${IconButton} icon="chevronUp" label=${words("source.previous")} disabled=${order[0] === index} onClick=${() => stepSource(-1)} />
    <${IconButton} icon="chevron" label=${words("source.next")} disabled=${order.at(-1) === index} onClick=${() => stepSource(1)} />`;
}

function Cards({ message }) {
  const words = useWords();
  const at = useStore(lit);
  const cited = message.citations.filter((citation) => citation.cited);
  const others = message.citations.filter((citation) => !citation.cited);
  const part = (title, list) => list.length > 0 && html`<section><h3>${title}</h3><ol class="cards">
    ${list.map((citation) => html`<li key=${citation.index}><${Card} citation=${citation} messageId=${message.id} isLit=${at?.messageId === message.id && at.index === citation.index} /></li>`)}
  </ol></section>`;
  return html`<div class="pane-body">${part(words("source.cited"), cited)}${part(words(cited.length ? "source.others" : "source.found"), others)}</div>`;
}

function Card({ citation, messageId, isLit }) {
  const words = useWords();
  return html`<button type="button" class="card ${isLit ? "lit" : ""}" onClick=${() => showSource(messageId, citation.index)}>
    <span class="card-head"><span class="number">${citation.index}</span><b>${citation.title || citation.document}</b>
      ${citation.supported === false && html`<span class="tag tag-warn">${words("source.unsupported")}</span>`}</span>
    <span class="path">${[...sourcePath(citation), citation.page && words("source.page", { n: citation.page })].filter(Boolean).join(" › ")}</span>
    <span class="card-quote">${plainQuote(citation.quote)}</span>
  </button>`;
}

function EntryLink({ document: row }) {
  const words = useWords();
  const target = address.entries(row.knowledge_base, { entry: row.entry_id });
  return html`<a href=${target} onClick=${link(target)}><${Icon} name="pencil" />${words("entry.openIt")}</a>`;
}

/** What was imported and is told in no text: there is no document to open. */
function Fact({ citation }) {
  return html`<div class="pane-body">
    <div class="passage-head"><p class="passage-title"><span class="number">${citation.index}</span><b>${citation.title || citation.document}</b></p></div>
    <${CitedFacts} citation=${citation} />
  </div>`;
}

function Passage({ citation }) {
  const words = useWords();
  const id = citation.document_id;
  const [loaded, retry] = useDocument(id);
  const passage = useMemo(() => (loaded?.text === undefined ? null : passageIn(loaded.text, citation.start, citation.end)), [loaded, citation]);
  const page = address.document(id, citation.start, citation.end);
  return html`<div class="pane-body">
    <div class="passage-head">
      <p class="passage-title"><span class="number">${citation.index}</span><b>${citation.title || citation.document}</b></p>
      <p class="path">${[...sourcePath(citation), citation.page && words("source.page", { n: citation.page })].filter(Boolean).join(" › ")}</p>
      ${citation.supported === false && html`<p class="path problem">${words("answer.unsupported")}</p>`}
      <p class="passage-links"><a href=${page} onClick=${link(page)}><${Icon} name="document" />${words("document.open")}</a>
        ${loaded?.document?.entry_id ? html`<${EntryLink} document=${loaded.document} />` : html`<a href=${fileAddress(id)} download><${Icon} name="download" />${words("document.file")}</a>`}</p>
    </div>
    <${CitedFacts} citation=${citation} />
    ${!loaded && html`<${Skeleton} lines=${8} />`}
    ${loaded?.error && html`<${ErrorBox} error=${loaded.error} onRetry=${retry} /><blockquote class="card-quote">${plainQuote(citation.quote)}</blockquote>`}
    ${loaded?.text !== undefined && html`<${DocumentText} text=${loaded.text} passage=${passage} isMarkdown=${isMarkdown(loaded.document)} />`}
  </div>`;
}
