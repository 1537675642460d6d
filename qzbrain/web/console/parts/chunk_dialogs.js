// What was done to a chunk, word by word, with undo; and how other chunk sizes would cut the document, side by side.
import { chunkHistory, previewSizes, undoEdit } from "../core/chunks.js";
import { dateTime, number, useWords } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { Dialog, ErrorBox, Skeleton } from "./controls.js";

const KINDS = { text: "chunk.kindText", disable: "chunk.kindDisable", enable: "chunk.kindEnable" };

export function ChunkHistory({ id, chunk, onClose, onChanged }) {
  const words = useWords();
  const [edits, setEdits] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    chunkHistory(id, chunk).then(setEdits, setError);
  }, []);
  const undo = async (edit) => {
    try {
      await undoEdit(id, edit.number);
      onClose();
      await onChanged();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title=${words("chunk.history", { n: chunk.ordinal + 1 })} onClose=${onClose} className="dialog-wide">
    ${error && html`<${ErrorBox} error=${error} />`}
    ${!edits && !error && html`<${Skeleton} />`}
    ${edits && !edits.length && html`<p class="dialog-text">${words("chunk.untouched")}</p>`}
    ${edits?.map((edit) => html`<article class="edit" key=${edit.number}>
      <p class="path">${[words(KINDS[edit.kind]), edit.author, dateTime(edit.created_at), edit.note].filter(Boolean).join(" · ")}</p>
      ${edit.kind === "text" && html`<p class="diff">${edit.diff.map(({ op, text }) =>
        op === "insert" ? html`<ins>${text}</ins>` : op === "delete" ? html`<del>${text}</del>` : text)}</p>`}
      <button type="button" class="button small" onClick=${() => undo(edit)}>${words("chunk.undo", { n: edit.number })}</button>
    </article>`)}
  <//>`;
}

export function SizesPreview({ id, onClose }) {
  const words = useWords();
  const [chars, setChars] = useState("400");
  const [overlap, setOverlap] = useState("80");
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const onSubmit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      setFound(await previewSizes(id, Number(chars), Number(overlap)));
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return html`<${Dialog} title=${words("chunk.preview")} onClose=${onClose} className="dialog-wide">
    <form class="sizes" onSubmit=${onSubmit}>
      <label class="field">${words("chunk.chars")}<input type="number" min="50" max="8000" required value=${chars} onInput=${(event) => setChars(event.target.value)} /></label>
      <label class="field">${words("chunk.overlap")}<input type="number" min="0" max="4000" required value=${overlap} onInput=${(event) => setOverlap(event.target.value)} /></label>
      <button class="button primary" disabled=${isBusy}>${words("chunk.compare")}</button>
    </form>
    ${error && html`<${ErrorBox} error=${error} />`}
    ${found && html`<div class="compared"><${Cut} title=${words("chunk.now")} cut=${found.now} /><${Cut} title=${words("chunk.then")} cut=${found.then} /></div>`}
  <//>`;
}

function Cut({ title, cut }) {
  const words = useWords();
  return html`<section aria-label=${title}><h3>${title}</h3>
    <p class="path">${words("chunk.figures", { n: number(cut.count), mean: number(Math.round(cut.mean_chars)) })}</p>
    <ol class="chunk-list">${cut.chunks.map((chunk) => html`<li class="chunk" key=${chunk.start}>${chunk.text}</li>`)}</ol></section>`;
}
