// The chunks of a document beside its text: shown in place, edited (e, Ctrl-Enter, Esc), switched off and on, with their history.
import { editChunk } from "../core/chunks.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { ChunkHistory, SizesPreview } from "./chunk_dialogs.js";
import { Confirm, ErrorBox, IconButton, Skeleton } from "./controls.js";
import { Icon } from "./icons.js";

/** `chunks`: as `useChunks` gives them. `find`: only chunks that hold it. `onShow(chunk)`: mark its place in the text. `onChanged()`: the text is another. */
export function Chunks({ id, chunks, find, onShow, onChanged }) {
  const words = useWords();
  const [dialog, setDialog] = useState(null);
  const [isPreview, setPreview] = useState(false);
  const wanted = find.toLowerCase();
  const rows = chunks.rows?.filter((chunk) => !wanted || chunk.text.toLowerCase().includes(wanted));
  const changed = () => Promise.all([chunks.renew(), onChanged()]);
  return html`<section class="chunks" aria-label=${words("chunk.list")}>
    <header class="chunks-head"><h3>${words("chunk.list")}</h3>
      <button type="button" class="button small" onClick=${() => setPreview(true)}>${words("chunk.preview")}</button></header>
    ${chunks.error && html`<${ErrorBox} error=${chunks.error} onRetry=${chunks.renew} />`}
    ${!chunks.rows && !chunks.error && html`<${Skeleton} lines=${8} />`}
    ${rows && !rows.length && html`<p class="quiet">${words(find ? "chunk.noneFound" : "chunk.none")}</p>`}
    ${rows && html`<ol class="chunk-list">${rows.map((chunk) => html`<${Chunk} key=${chunk.ordinal} id=${id} chunk=${chunk} onShow=${onShow}
      onChanged=${changed} onHistory=${() => setDialog(chunk)} />`)}</ol>`}
    ${chunks.hasMore && html`<button type="button" class="button more" onClick=${chunks.more}>${words("chunk.more")}</button>`}
    ${dialog && html`<${ChunkHistory} id=${id} chunk=${dialog} onClose=${() => setDialog(null)} onChanged=${changed} />`}
    ${isPreview && html`<${SizesPreview} id=${id} onClose=${() => setPreview(false)} />`}
  </section>`;
}

function Chunk({ id, chunk, onShow, onChanged, onHistory }) {
  const words = useWords();
  const [isEditing, setEditing] = useState(false);
  const [error, setError] = useState(null);
  const box = useRef(null);
  const place = [words("chunk.number", { n: chunk.ordinal + 1 }), chunk.heading_path.at(-1), words("document.chars", { n: number(chunk.end - chunk.start) })];
  const change = async (values) => {
    setError(null);
    try {
      await editChunk(id, chunk, values);
      setEditing(false);
      await onChanged();
      box.current?.focus();
    } catch (failure) {
      setError(failure);
      if (failure.code === "chunk_changed") await onChanged(); // the editor keeps what was written; the text shows what is there now
    }
  };
  const onKeyDown = (event) => {
    if (event.key !== "e" || isEditing || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
    event.preventDefault();
    setEditing(true);
  };
  const left = () => {
    setEditing(false);
    box.current?.focus();
  };
  return html`<li class="chunk ${chunk.enabled ? "" : "chunk-off"}" tabindex="-1" ref=${box} onKeyDown=${onKeyDown}>
    <div class="chunk-head"><span class="path">${place.filter(Boolean).join(" · ")}${!chunk.enabled && html` · <b>${words("chunk.isOff")}</b>`}</span>
      ${!isEditing && html`<${IconButton} icon="pencil" label=${words("chunk.edit", { n: chunk.ordinal + 1 })} onClick=${() => setEditing(true)} />
      <${IconButton} icon=${chunk.enabled ? "stop" : "check"} label=${words(chunk.enabled ? "chunk.switchOff" : "chunk.switchOn", { n: chunk.ordinal + 1 })}
        onClick=${() => change({ enabled: !chunk.enabled })} />
      <${IconButton} icon="refresh" label=${words("chunk.history", { n: chunk.ordinal + 1 })} onClick=${onHistory} />`}</div>
    ${error && html`<${ErrorBox} error=${error} />`}
    ${isEditing ? html`<${Editor} chunk=${chunk} onSave=${change} onLeave=${left} />`
      : html`<button type="button" class="chunk-text" onClick=${() => onShow(chunk)}>${chunk.text}</button>`}
  </li>`;
}

function Editor({ chunk, onSave, onLeave }) {
  const words = useWords();
  const [text, setText] = useState(chunk.text);
  const [note, setNote] = useState("");
  const [asks, setAsks] = useState(false);
  const area = useRef(null);
  useEffect(() => area.current.focus(), []);
  const save = () => (text === chunk.text ? onLeave() : onSave({ text, note, if_text: chunk.text }));
  const leave = () => (text === chunk.text ? onLeave() : setAsks(true));
  const onKeyDown = (event) => {
    if (event.isComposing || asks) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="chunk-editor" onKeyDown=${onKeyDown}>
    <label class="field">${words("chunk.text")}<textarea ref=${area} rows="8" value=${text} maxlength="20000" onInput=${(event) => setText(event.target.value)}></textarea></label>
    <label class="field">${words("chunk.note")}<input value=${note} maxlength="2000" onInput=${(event) => setNote(event.target.value)} /></label>
    <div class="dialog-actions"><span class="quiet">Ctrl Enter</span>
      <button type="button" class="button" onClick=${leave}>${words("cancel")}</button>
      <button type="button" class="button primary" disabled=${!text.trim()} onClick=${save}><${Icon} name="check" />${words("chunk.save")}</button></div>
    ${asks && html`<${Confirm} title=${words("chunk.leave")} text=${words("chunk.leaveText", { n: chunk.ordinal + 1 })} action=${words("chunk.discard")}
      onConfirm=${onLeave} onClose=${() => setAsks(false)} />`}
  </div>`;
}
