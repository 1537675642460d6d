// Beside the conversation: a wrong answer is corrected into a curated entry, in force at once and kept as a regression question.
import { get } from "../core/api.js";
import { conversation, questionOf, rate } from "../core/conversation.js";
import { correctAnswer, EMPTY } from "../core/entries.js";
import { useWords } from "../core/i18n.js";
import { baseTitle, knowledgeBases } from "../core/lists.js";
import { address, link } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { IconButton } from "./controls.js";
import { Conflicts } from "./entry_conflicts.js";
import { EntryForm } from "./entry_form.js";
import { Icon } from "./icons.js";
import { notify, notifyError } from "./toasts.js";

const MARKS = /\s?\[\d{1,3}\]/g;

/** The answer without the marks of its sources, which mean nothing in an entry. */
const bare = (text) => text.replace(MARKS, "");

export function CorrectionPane({ message, onClose }) {
  const words = useWords();
  const [made, setMade] = useState(null);
  const box = useRef(null);
  useEffect(() => box.current.focus({ preventScroll: true }), [made]);
  return html`<aside class="pane" aria-label=${words("correct.title")} tabindex="-1" ref=${box} onKeyDown=${(event) => {
    if (made && event.key === "Escape") onClose();
  }}>
    <header class="pane-head"><h2>${words("correct.title")}</h2>
      ${made && html`<${IconButton} icon="close" label=${words("close")} onClick=${onClose} />`}</header>
    <div class="pane-body">${made ? html`<${Done} made=${made} />` : html`<${Correcting} message=${message} onMade=${setMade} onClose=${onClose} />`}</div>
  </aside>`;
}

function Correcting({ message, onMade, onClose }) {
  const words = useWords();
  const { rows } = useStore(knowledgeBases);
  const [picked, setPicked] = useState("");
  const likely = useLikelyBase(message, rows);
  const kb = picked || likely;
  const asked = questionOf(message.id)?.text ?? "";
  const save = async (_changed, approve, form) => {
    const { answer, question, source } = form;
    const body = { answer, source, approve, ...(kb && { knowledge_base: kb }), ...(question.trim() !== asked.trim() && { question }) };
    onMade({ entry: await correctAnswer(conversation.get().id, message.id, body), kb });
  };
  return html`<p class="path">${words("correct.text")}</p>
    <${EntryForm} draftKey=${`answer:${message.id}`} before=${EMPTY} start=${{ question: asked, answer: bare(message.text) }} save=${save} onLeave=${onClose}
      isShort saveLabel=${words("correct.propose")} approveLabel=${words("correct.save")} approveFirst>
      ${rows.length > 1 && html`<label class="field">${words("correct.base")}<select name="kb" value=${kb} onChange=${(event) => setPicked(event.target.value)}>
        ${!likely && html`<option value="">${words("correct.baseAuto")}</option>`}
        ${rows.map((base) => html`<option key=${base.id} value=${base.name} selected=${base.name === kb}>${baseTitle(base)}</option>`)}</select></label>`}
    <//>
    <${Comment} message=${message} onClose=${onClose} />`;
}

/** Name of the knowledge base of the first source that the answer used, else the only one there is; "" while that is not known. */
function useLikelyBase(message, rows) {
  const [name, setName] = useState("");
  const documentId = message.citations.find((citation) => citation.cited)?.document_id;
  useEffect(() => {
    if (documentId) get(`/api/documents/${encodeURIComponent(documentId)}`).then((row) => setName(row.knowledge_base), () => {});
  }, [documentId]);
  return name || (rows.length === 1 ? rows[0].name : "");
}

function Done({ made: { entry, kb } }) {
  const words = useWords();
  const target = kb && address.entries(kb, { entry: entry.id });
  const state = !entry.in_force ? "correct.proposed" : "correct.inForce";
  return html`<div role="status"><p class="done"><${Icon} name="check" />${words(state)}</p><p class="path">${words("correct.kept")}</p></div>
    <p class="done-question" dir="auto">${entry.question}</p>
    ${target && html`<p><a class="button" href=${target} onClick=${link(target)}><${Icon} name="entry" />${words("entry.openIt")}</a></p>`}
    <${Conflicts} kb=${kb} rows=${entry.conflicts} />`;
}

/** For who does not know what would have been right: what is wrong, in a sentence. */
function Comment({ message, onClose }) {
  const words = useWords();
  const submit = async (event) => {
    event.preventDefault();
    const comment = new FormData(event.target).get("comment").trim();
    if (!comment) return;
    try {
      await rate(message, "down", comment);
      notify(words("feedback.thanks"));
      onClose();
    } catch (error) {
      notifyError(error);
    }
  };
  return html`<form class="comment" onSubmit=${submit}>
    <p class="path">${words("correct.unknown")}</p>
    <label class="field">${words("feedback.what")}<input name="comment" maxlength="2000" autocomplete="off" /></label>
    <button class="button">${words("feedback.send")}</button>
  </form>`;
}
