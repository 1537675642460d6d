// A document at an address of its own: `/documents/ID?start=&end=` shows the passage highlighted in the whole text.
import { useChunks } from "../core/chunks.js";
import { utf16Indices } from "../core/codepoints.js";
import { fileAddress, isMarkdown, passageIn, useDocument } from "../core/documents.js";
import { dateTime, number, size, useWords } from "../core/i18n.js";
import { address, link, route } from "../core/router.js";
import { store, useStore } from "../core/store.js";
import { html, useEffect, useMemo, useState } from "../core/ui.js";
import { Chunks } from "../parts/chunks.js";
import { ErrorBox, Skeleton } from "../parts/controls.js";
import { DocumentText } from "../parts/document_text.js";
import { Icon } from "../parts/icons.js";
import { documentState } from "../parts/document_table.js";

/** Title of the document on the page, for the frame. */
export const documentTitle = store("");

const roomy = window.matchMedia("(min-width: 1101px)");
const offset = (query, name) => (/^\d+$/.test(query.get(name) ?? "") ? Number(query.get(name)) : -1);

export function DocumentView() {
  const { id, query } = useStore(route);
  const [loaded, retry, renew] = useDocument(id);
  const start = offset(query, "start");
  const [isWide, setWide] = useState(start < 0 && roomy.matches);
  return html`<main class="work page" id="main" tabindex="-1"><div class=${isWide ? "page-wide" : "page-column"}>
    ${!loaded && html`<${Skeleton} lines=${10} />`}
    ${loaded?.error && html`<${ErrorBox} error=${loaded.error} onRetry=${retry} />`}
    ${loaded?.document && html`<${Reading} document=${loaded.document} text=${loaded.text} start=${start} end=${offset(query, "end")}
      isWide=${isWide} onWide=${setWide} onChanged=${renew} />`}
  </div></main>`;
}

function Reading({ document: row, text, start, end, isWide, onWide, onChanged }) {
  const words = useWords();
  const [find, setFind] = useState("");
  const [match, setMatch] = useState(null);
  const chunks = useChunks(row.id, isWide);
  const edges = useMemo(() => edgesOf(text, isWide ? chunks.rows : null), [text, chunks.rows, isWide]);
  const cited = useMemo(() => passageIn(text, start, end), [text, start, end]);
  useEffect(() => {
    documentTitle.set(row.title || row.name);
    return () => documentTitle.set("");
  }, [row]);
  const onFind = (event) => {
    setFind(event.target.value.trim());
    setMatch(null);
  };
  const findNext = (event) => {
    event.preventDefault();
    setMatch(nextMatch(text, find, match));
  };
  return html`<header class="page-head">
      <${DocumentHead} row=${row} />
      <div class="page-tools">
        <form class="find" role="search" onSubmit=${findNext}><${Icon} name="search" /><input type="search" placeholder=${words("document.find")}
          aria-label=${words("document.find")} onInput=${onFind} /></form>
        <button type="button" class="button" aria-pressed=${isWide} onClick=${() => onWide(!isWide)}><${Icon} name="side" />${words("chunk.list")}</button>
        <a class="button" href=${fileAddress(row.id)} download><${Icon} name="download" />${words("document.file")}</a>
      </div>
    </header>
    ${row.edits.lost > 0 && html`<p class="quiet" role="note">${words("chunk.lost", { n: row.edits.lost })}</p>`}
    <div class=${isWide ? "with-chunks" : ""}>
      <${DocumentText} text=${text} passage=${match || cited} find=${find} isMarkdown=${isMarkdown(row)} edges=${edges} />
      ${isWide && html`<${Chunks} id=${row.id} chunks=${chunks} find=${find} onChanged=${onChanged}
        onShow=${(chunk) => setMatch(passageIn(text, chunk.start, chunk.end))} />`}
    </div>`;
}

/** Where chunks begin: their numbers by the start of their line in the text. */
function edgesOf(text, rows) {
  const found = new Map();
  const starts = utf16Indices(text, (rows || []).map((chunk) => chunk.start));
  for (const [index, start] of starts.entries()) {
    const line = text.lastIndexOf("\n", start - 1) + 1;
    found.set(line, [found.get(line), rows[index].ordinal + 1].filter(Boolean).join(" "));
  }
  return found;
}

function DocumentHead({ row }) {
  const words = useWords();
  const home = address.knowledge(row.knowledge_base);
  const facts = [row.name, documentState(row, words), size(row.size_bytes), words("document.chars", { n: number(row.chars) }),
    row.pages && words("document.pages", { n: row.pages }), words("document.chunks", { n: number(row.chunks) }), dateTime(row.created_at)];
  return html`<p class="path"><a href=${home} onClick=${link(home)}>${row.knowledge_base}</a></p>
    <h2>${row.title || row.name}</h2>
    <p class="path">${facts.filter(Boolean).join(" · ")}</p>`;
}

/** `[start, end)` of the next place of `find` after `match`, from the start again after the last; null when there is none. */
function nextMatch(text, find, match) {
  if (!find) return null;
  const lower = text.toLowerCase();
  const needle = find.toLowerCase();
  const at = lower.indexOf(needle, match ? match[1] : 0);
  const found = at >= 0 ? at : lower.indexOf(needle);
  return found >= 0 ? [found, found + needle.length] : null;
}
