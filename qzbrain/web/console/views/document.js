// A document at an address of its own: `/documents/ID?start=&end=` shows the passage highlighted in the whole text.
import { fileAddress, isMarkdown, passageIn, useDocument } from "../core/documents.js";
import { dateTime, number, size, useWords } from "../core/i18n.js";
import { address, link, route } from "../core/router.js";
import { store, useStore } from "../core/store.js";
import { html, useEffect, useMemo, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "../parts/controls.js";
import { DocumentText } from "../parts/document_text.js";
import { Icon } from "../parts/icons.js";
import { documentState } from "../parts/document_table.js";

/** Title of the document on the page, for the frame. */
export const documentTitle = store("");

const offset = (query, name) => (/^\d+$/.test(query.get(name) ?? "") ? Number(query.get(name)) : -1);

export function DocumentView() {
  const { id, query } = useStore(route);
  const [loaded, retry] = useDocument(id);
  const start = offset(query, "start");
  return html`<main class="work page" id="main" tabindex="-1"><div class="page-column">
    ${!loaded && html`<${Skeleton} lines=${10} />`}
    ${loaded?.error && html`<${ErrorBox} error=${loaded.error} onRetry=${retry} />`}
    ${loaded?.document && html`<${Reading} document=${loaded.document} text=${loaded.text} start=${start} end=${offset(query, "end")} />`}
  </div></main>`;
}

function Reading({ document: row, text, start, end }) {
  const words = useWords();
  const [find, setFind] = useState("");
  const [match, setMatch] = useState(null);
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
        <a class="button" href=${fileAddress(row.id)} download><${Icon} name="download" />${words("document.file")}</a>
      </div>
    </header>
    <${DocumentText} text=${text} passage=${match || cited} find=${find} isMarkdown=${isMarkdown(row)} />`;
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
