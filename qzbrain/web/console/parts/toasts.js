// Short notices at the foot of the page: what was done, or what went wrong in something that has no place of its own.
import { useWords } from "../core/i18n.js";
import { announce } from "../core/live.js";
import { store, useStore } from "../core/store.js";
import { html } from "../core/ui.js";
import { IconButton } from "./controls.js";

const NOTICE_MS = 4000;
const ERROR_MS = 12_000;
const notices = store([]);
let serial = 0;

const dismiss = (id) => notices.update((list) => list.filter((notice) => notice.id !== id));

function show(notice, lifetimeMs) {
  const id = ++serial;
  notices.update((list) => [...list.slice(-2), { id, ...notice }]);
  announce(notice.text);
  setTimeout(() => dismiss(id), lifetimeMs);
}

export const notify = (text) => show({ text }, NOTICE_MS);
export const notifyError = (error) => show({ text: error.message, requestId: error.requestId, isError: true }, ERROR_MS);

export function Toasts() {
  const words = useWords();
  return html`<div class="toasts">
    ${useStore(notices).map((notice) => html`<div key=${notice.id} class="toast ${notice.isError ? "toast-error" : ""}">
      <p>${notice.text}${notice.requestId && html`<small>${words("error.request", { id: notice.requestId })}</small>`}</p>
      <${IconButton} icon="close" label=${words("close")} onClick=${() => dismiss(notice.id)} />
    </div>`)}
  </div>`;
}
