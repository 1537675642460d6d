// Where a question is written. Enter sends, Shift-Enter breaks the line, nothing is sent while an input method composes, ↑ brings the last question back.
import { ask, conversation, lastQuestion, runningAnswer, stop } from "../core/conversation.js";
import { useWords } from "../core/i18n.js";
import { chosenBases, chosenModel } from "../core/lists.js";
import { store, useStore } from "../core/store.js";
import { html, useEffect, useLayoutEffect, useRef } from "../core/ui.js";
import { IconButton } from "./controls.js";
import { Icon } from "./icons.js";

const MAX_CHARS = 20_000;
const MAX_HEIGHT_PX = 200;

/** What is being written; survives a change of view. */
export const draft = store("");

export function Composer({ onUpload }) {
  const words = useWords();
  const text = useStore(draft);
  useStore(conversation);
  const box = useRef(null);
  const isRunning = Boolean(runningAnswer());
  const hint = text.length > MAX_CHARS ? words("composer.long", { n: MAX_CHARS }) : "";
  useLayoutEffect(() => grow(box.current), [text]);
  useEffect(() => {
    if (window.matchMedia("(hover: hover)").matches) box.current.focus();
  }, [conversation.get().id]);
  const send = () => {
    const question = text.trim();
    if (!question || isRunning || text.length > MAX_CHARS) return;
    draft.set("");
    ask(question, { model: chosenModel.get(), knowledgeBases: chosenBases.get() });
  };
  const onKeyDown = (event) => {
    if (event.isComposing || event.keyCode === 229) return; // an input method is composing: the key is its own
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && !text && lastQuestion()) {
      event.preventDefault();
      draft.set(lastQuestion());
    }
  };
  return html`<form class="composer" onSubmit=${(event) => { event.preventDefault(); send(); }}>
    <div class="composer-box">
      <${IconButton} icon="upload" label=${words("upload.files")} onClick=${onUpload} />
      <textarea ref=${box} id="question" rows="1" value=${text} placeholder=${words("composer.placeholder")} aria-label=${words("composer.label")}
        aria-describedby="composer-hint" onInput=${(event) => draft.set(event.target.value)} onKeyDown=${onKeyDown}></textarea>
      ${isRunning
        ? html`<${IconButton} icon="stop" label=${words("stop")} onClick=${stop} className="stop" />`
        : html`<button class="icon-button send" aria-label=${words("send")} title=${words("send")} disabled=${!text.trim()}><${Icon} name="send" /></button>`}
    </div>
    <p id="composer-hint" class="composer-hint ${hint && "problem"}">${hint || words("composer.hint")}</p>
  </form>`;
}



function grow(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, MAX_HEIGHT_PX)}px`;
}
