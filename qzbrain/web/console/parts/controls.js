// Small controls: icon buttons, menus, dialogs, error boxes. Each has a label, a visible focus and works from the keyboard.
import { useWords } from "../core/i18n.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/ui.js";
import { Icon } from "./icons.js";

export const IconButton = ({ icon, label, onClick, pressed, className = "", ...rest }) =>
  html`<button type="button" class="icon-button ${className}" aria-label=${label} title=${label} aria-pressed=${pressed} onClick=${onClick} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;

/** A button that opens a list of choices. `items`: `{key, label, note?, icon?, checked?, disabled?, group?}`; `multiple` keeps it open. */
export function Menu({ label, children, items, onPick, multiple = false, className = "", align = "end" }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef(null);
  const close = (refocus) => {
    setOpen(false);
    if (refocus) root.current.querySelector("button").focus();
  };
  useEffect(() => {
    if (!isOpen) return undefined;
    const outside = (event) => root.current.contains(event.target) || close(false);
    document.addEventListener("pointerdown", outside);
    (root.current.querySelector('[aria-checked="true"]') || root.current.querySelector("[role^=menuitem]"))?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [isOpen]);
  const onKeyDown = (event) => isOpen && moveInMenu(event, root.current, close);
  return html`<div class="menu ${className}" ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class="menu-button" aria-haspopup="menu" aria-expanded=${isOpen} aria-label=${label} title=${label} onClick=${() => setOpen(!isOpen)}>
      ${children}
    </button>
    ${isOpen && html`<div class="menu-list menu-${align}" role="menu" aria-label=${label}>
      ${items.map((item) => html`<${MenuItem} item=${item} multiple=${multiple} onPick=${(key) => {
        onPick(key);
        if (!multiple) close(true);
      }} />`)}
    </div>`}
  </div>`;
}

function MenuItem({ item, multiple, onPick }) {
  if (item.heading) return html`<div class="menu-heading" role="presentation">${item.heading}</div>`;
  const role = item.checked === undefined ? "menuitem" : multiple ? "menuitemcheckbox" : "menuitemradio";
  return html`<button type="button" class="menu-item" role=${role} tabindex="-1" disabled=${item.disabled} aria-checked=${item.checked} onClick=${() => onPick(item.key)}>
    <span class="menu-check">${item.checked && html`<${Icon} name="check" />`}</span>
    <span class="menu-text"><span>${item.label}</span>${item.note && html`<small>${item.note}</small>`}</span>
  </button>`;
}

function moveInMenu(event, root, close) {
  const items = [...root.querySelectorAll("[role^=menuitem]:not(:disabled)")];
  const at = items.indexOf(document.activeElement);
  const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 };
  if (event.key in targets) {
    event.preventDefault();
    items.at(targets[event.key] % items.length)?.focus();
  } else if (event.key === "Escape") {
    event.preventDefault();
    event.stopPropagation();
    close(true);
  } else if (event.key === "Tab") close(false);
}

/** A modal dialog (the browser keeps the focus inside). Esc closes it at once: by itself the browser would do so a moment later, and lose the next key. */
export function Dialog({ title, onClose, children, className = "" }) {
  const words = useWords();
  const box = useRef(null);
  useLayoutEffect(() => { // before the next key comes: what is typed right after the shortcut belongs in here
    const before = document.activeElement;
    box.current.showModal();
    return () => before instanceof HTMLElement && before.isConnected && before.focus();
  }, []);
  const onClick = (event) => event.target === box.current && onClose();
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (event.isComposing) return;
    event.preventDefault();
    onClose();
  };
  return html`<dialog class="dialog ${className}" ref=${box} aria-label=${title} onClose=${onClose} onClick=${onClick} onKeyDown=${onKeyDown}>
    <div class="dialog-body">
      <header><h2>${title}</h2><${IconButton} icon="close" label=${words("close")} onClick=${onClose} /></header>
      ${children}
    </div>
  </dialog>`;
}

/** Ask before something goes away; `name` is the thing. */
export function Confirm({ title, text, action, onConfirm, onClose }) {
  const words = useWords();
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p class="dialog-text">${text}</p>
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose}>${words("cancel")}</button>
      <button type="button" class="button danger" onClick=${onConfirm}>${action}</button>
    </div>
  <//>`;
}

/** What went wrong, with the request id and a way on. */
export function ErrorBox({ error, onRetry }) {
  const words = useWords();
  return html`<div class="error-box" role="alert">
    <${Icon} name="warning" />
    <div>
      <p>${error.message}</p>
      ${error.requestId && html`<p class="quiet">${words("error.request", { id: error.requestId })}</p>`}
    </div>
    ${onRetry && html`<button type="button" class="button" onClick=${onRetry}>${words("retry")}</button>`}
  </div>`;
}

export const Skeleton = ({ lines = 4 }) =>
  html`<div class="skeleton" aria-hidden="true">${Array.from({ length: lines }, () => html`<div class="skeleton-line"></div>`)}</div>`;
