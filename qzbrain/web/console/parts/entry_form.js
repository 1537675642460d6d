// The form of a curated entry: question, other ways to ask, answer with its preview, source, dates, level. Ctrl-Enter saves, Esc leaves (and asks when something was changed).
import { fromForm, LEVELS, toForm } from "../core/entries.js";
import { useWords } from "../core/i18n.js";
import { Markdown } from "../core/markdown.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/ui.js";
import { Confirm, ErrorBox } from "./controls.js";

const PREVIEW_AFTER_MS = 120;
const none = () => null;
const drafts = new Map(); // what was typed and not saved, by `draftKey`: going elsewhere and coming back loses nothing

/** `save(fields, approve, form)` gets the changed fields and may throw ApiError. `start`: what is filled in though `before` has it not. `isShort`: only question, answer and source. */
export function EntryForm({ draftKey, before, start, save, onLeave, saveLabel, approveLabel, approveFirst = false, isShort = false, children }) {
  const words = useWords();
  const clean = toForm(before);
  const initial = start ? { ...clean, ...start } : clean;
  const [form, setForm] = useState(() => drafts.get(draftKey) || initial);
  const [state, setState] = useState({ error: null, isBusy: false, isAsking: false });
  const box = useRef(null);
  const isChanged = Object.keys(form).some((name) => form[name] !== initial[name]);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  useEffect(() => {
    if (isChanged) drafts.set(draftKey, form);
    else drafts.delete(draftKey);
  }, [form]);
  const submit = async (approve) => {
    if (state.isBusy) return;
    if (!form.answer.trim()) {
      setState({ ...state, error: { message: words("entry.answerNeeded") } });
      return void box.current.querySelector("[name=answer]").focus();
    }
    setState({ error: null, isBusy: true, isAsking: false });
    try {
      await save(fromForm(form, clean), approve, form);
      drafts.delete(draftKey);
    } catch (error) {
      setState({ error, isBusy: false, isAsking: false });
    }
  };
  const discard = () => {
    drafts.delete(draftKey);
    onLeave();
  };
  const leave = () => (isChanged ? setState({ ...state, isAsking: true }) : discard());
  useFormKeys(box, () => submit(approveFirst), leave);
  useUnloadGuard(isChanged);
  const button = (approve, label) => html`<button type=${approve === approveFirst ? "submit" : "button"} class="button ${approve === approveFirst ? "primary" : ""}" disabled=${state.isBusy}
    onClick=${approve === approveFirst ? undefined : () => submit(approve)}>${label}</button>`;
  return html`<form class="entry-form" ref=${box} noValidate onSubmit=${(event) => {
      event.preventDefault();
      submit(approveFirst);
    }}>
    ${children}
    <label class="field">${words("entry.question")}<textarea name="question" rows="2" maxlength="2000" dir="auto" value=${form.question} onInput=${set("question")}></textarea></label>
    <div class="entry-answer">
      <label class="field">${words("entry.answer")}<textarea name="answer" rows="10" maxlength="50000" dir="auto" required value=${form.answer} onInput=${set("answer")}></textarea></label>
      <${Preview} text=${form.answer} />
    </div>
    ${!isShort && html`<div class="entry-pair">
      <label class="field">${words("entry.variants")}<textarea name="variants" rows="3" dir="auto" value=${form.variants} onInput=${set("variants")} placeholder=${words("entry.onePerLine")}></textarea></label>
      <label class="field">${words("entry.negatives")}<textarea name="negatives" rows="3" dir="auto" value=${form.negatives} onInput=${set("negatives")} placeholder=${words("entry.onePerLine")}></textarea></label>
    </div>`}
    <label class="field">${words("entry.source")}<input name="source" maxlength="2000" autocomplete="off" dir="auto" value=${form.source} onInput=${set("source")} /></label>
    ${!isShort && html`<div class="entry-few">
      <label class="field">${words("entry.validFrom")}<input type="date" name="valid_from" max="9999-12-31" value=${form.valid_from} onInput=${set("valid_from")} /></label>
      <label class="field">${words("entry.validUntil")}<input type="date" name="valid_until" max="9999-12-31" value=${form.valid_until} onInput=${set("valid_until")} /></label>
      <label class="field">${words("entry.level")}<select name="level" value=${form.level} onChange=${set("level")}>
        ${LEVELS.map((level) => html`<option key=${level} value=${level} selected=${level === form.level}>${words(`level.${level}`)}</option>`)}</select></label>
    </div>`}
    ${state.error && html`<${ErrorBox} error=${state.error} />`}
    <div class="form-actions">
      <span class="path"><kbd>Ctrl Enter</kbd> ${words("save")} · <kbd>Esc</kbd> ${words("entry.leave")}</span>
      <button type="button" class="button" onClick=${leave}>${words("cancel")}</button>
      ${approveFirst ? [button(false, saveLabel), button(true, approveLabel)] : [button(true, approveLabel), button(false, saveLabel)]}
    </div>
    ${state.isAsking && html`<${Confirm} title=${words("entry.leaveTitle")} text=${words("entry.leaveText")} action=${words("entry.discard")}
      onClose=${() => setState({ ...state, isAsking: false })} onConfirm=${discard} />`}
  </form>`;
}

/** Drawn a moment after the last key, so that a long answer does not slow the typing. */
function Preview({ text }) {
  const words = useWords();
  const [shown, setShown] = useState(text);
  useEffect(() => {
    const timer = setTimeout(setShown, PREVIEW_AFTER_MS, text);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<section class="entry-preview" aria-label=${words("entry.preview")}><p class="path">${words("entry.preview")}</p>
    <div dir="auto">${shown.trim() ? html`<${EntryText} text=${shown} />` : html`<p class="quiet">${words("entry.previewEmpty")}</p>`}</div></section>`;
}

/** An entry's answer, drawn as answers are. */
export const EntryText = ({ text }) => html`<${Markdown} text=${text} cite=${none} doubt=${none} />`;

function useFormKeys(box, save, leave) {
  const latest = useRef(null);
  latest.current = { save, leave };
  useLayoutEffect(() => {
    const listener = (event) => {
      const isHere = box.current.contains(event.target) || box.current.closest(".pane, main").contains(event.target) || event.target === document.body;
      if (event.isComposing || event.defaultPrevented || !isHere || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") latest.current.leave();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && box.current.contains(event.target)) latest.current.save();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", listener, true);
    return () => document.removeEventListener("keydown", listener, true);
  }, []);
}

function useUnloadGuard(isChanged) {
  useEffect(() => {
    if (!isChanged) return undefined;
    const guard = (event) => event.preventDefault();
    window.addEventListener("beforeunload", guard);
    return () => window.removeEventListener("beforeunload", guard);
  }, [isChanged]);
}
