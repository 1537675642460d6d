// Keys of the whole console, and the list that `?` shows.
import { useWords } from "../core/i18n.js";
import { stop } from "../core/conversation.js";
import { closeSource, stepSource } from "../core/pane.js";
import { html, useLayoutEffect } from "../core/ui.js";
import { Dialog } from "./controls.js";

const KEYS = [
  ["/", "keys.search"], ["Ctrl K", "keys.search"], ["Enter", "keys.send"], ["Shift Enter", "keys.break"], ["↑", "keys.edit"],
  ["Esc", "keys.escape"], ["[", "keys.previous"], ["]", "keys.next"], ["?", "keys.title"],
  ["n", "keys.entryNew"], ["e", "keys.entryEdit"], ["Ctrl Enter", "keys.entrySave"],
];

const isWriting = (element) => element.closest?.("input, textarea, select, [contenteditable]");

/** Listen to the console's keys; `onSearch` and `onKeys` open their dialogs. */
export function useKeys({ onSearch, onKeys }) {
  useLayoutEffect(() => { // heard from when the frame is drawn
    const listener = (event) => {
      if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        onSearch();
      } else if (event.key === "Escape") escape(event);
      else if (!event.ctrlKey && !event.metaKey && !event.altKey && !isWriting(event.target)) plainKey(event, { onSearch, onKeys });
    };
    document.addEventListener("keydown", listener);
    return () => document.removeEventListener("keydown", listener);
  }, []);
}

function escape(event) {
  const inPane = event.target.closest?.(".pane");
  if (inPane ? closeSource() : stop() || closeSource()) event.preventDefault();
}

function plainKey(event, { onSearch, onKeys }) {
  const actions = { "/": onSearch, "?": onKeys, "[": () => stepSource(-1), "]": () => stepSource(1) };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
}

export function KeysHelp({ onClose }) {
  const words = useWords();
  return html`<${Dialog} title=${words("keys.title")} onClose=${onClose}>
    <dl class="keys">${KEYS.map(([key, meaning]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${words(meaning)}</dd></div>`)}</dl>
  <//>`;
}
