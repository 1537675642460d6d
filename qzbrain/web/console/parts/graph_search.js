// A box in which an entity is found by typing: by name or alias, chosen with the arrow keys.
import { searchEntities } from "../core/graph.js";
import { number, useWords } from "../core/i18n.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { Icon } from "./icons.js";

const WAIT_MS = 150;

/** `onPick(entity)`; `without`: ids that are not offered; `id` must be its own on the page. */
export function EntitySearch({ id, kb, label, onPick, without = [], autofocus = false }) {
  const words = useWords();
  const [text, setText] = useState("");
  const [found, setFound] = useState(null); // null: nothing asked
  const [at, setAt] = useState(0);
  const [isOpen, setOpen] = useState(false);
  const root = useRef(null);
  useEffect(() => {
    const asked = text.trim();
    if (!asked) {
      setFound(null);
      return undefined;
    }
    let isCurrent = true;
    const timer = setTimeout(async () => {
      try {
        const rows = await searchEntities(kb, asked);
        if (isCurrent) setFound({ rows: rows.filter((row) => !without.includes(row.id)) });
      } catch (error) {
        if (isCurrent) setFound({ rows: [], error });
      }
      setAt(0);
    }, WAIT_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [text, kb]);
  useEffect(() => {
    const outside = (event) => root.current?.contains(event.target) || setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const rows = found?.rows || [];
  const selected = Math.min(at, rows.length - 1);
  const pick = (row) => {
    setText("");
    setFound(null);
    setOpen(false);
    onPick(row);
  };
  const onKeyDown = (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && rows.length) {
      event.preventDefault();
      setOpen(true);
      setAt((selected + step + rows.length) % rows.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (rows[selected]) pick(rows[selected]);
    } else if (event.key === "Escape" && isOpen && found) {
      event.preventDefault();
      event.stopPropagation();
      setOpen(false);
    } else if (event.key === "Tab") setOpen(false);
  };
  const isShown = isOpen && found !== null;
  return html`<div class="find entity-find" ref=${root}><${Icon} name="search" />
    <input id=${id} type="search" role="combobox" autocomplete="off" maxlength="200" aria-label=${label} placeholder=${label} aria-expanded=${isShown} aria-controls="${id}-list" aria-autocomplete="list"
      aria-activedescendant=${isShown && rows.length ? `${id}-${selected}` : undefined} value=${text} autofocus=${autofocus} onKeyDown=${onKeyDown} onFocus=${() => setOpen(true)}
      onInput=${(event) => { setText(event.target.value); setOpen(true); }} />
    <div class="find-list ${isShown ? "" : "find-closed"}">
      <ul id="${id}-list" role="listbox" aria-label=${label}>${isShown && rows.map((row, index) => html`<li key=${row.id} id=${`${id}-${index}`} role="option" aria-selected=${index === selected}
        onPointerDown=${(event) => event.preventDefault()} onClick=${() => pick(row)} ref=${(element) => index === selected && element?.scrollIntoView({ block: "nearest" })}>
        <span class="entity-name" dir="auto">${row.name}</span>${row.type && html`<span class="tag">${row.type}</span>`}<small>${words("graph.triples", { n: number(row.degree) })}</small></li>`)}</ul>
      ${isShown && !rows.length && html`<p class="path" role="status">${found.error ? found.error.message : words("graph.noneFound")}</p>`}
    </div>
  </div>`;
}
