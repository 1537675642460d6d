// Every view has an address. Paths: `/`, `/conversations/ID`, `/documents/ID?start=&end=`, `/knowledge`, `/knowledge/KB`, `/knowledge/KB/entries?entry=ID`, `/models`, `/system`, `/account`, `/users`, `/setup?token=`, `/password?token=`,
// `/graph/KB?entity=ID&open=ID.ID&depth=&relation=&from=&to=&show=table`.
import { store } from "./store.js";

function current() {
  const parts = location.pathname.split("/").filter(Boolean).map(decode);
  const query = new URLSearchParams(location.search);
  const [view = "chat", id = "", section = ""] = parts;
  if (view === "conversations") return { view: "chat", id, query };
  if (view === "knowledge" && section) return { view: section, id, query };
  return { view, id, query };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = store(current());
window.addEventListener("popstate", () => route.set(current()));

/** Go to an address of this console; `replace` leaves no step to go back to. */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.set(current());
}

export const address = {
  chat: (id = "") => (id ? `/conversations/${encodeURIComponent(id)}` : "/"),
  knowledge: (kb = "") => (kb ? `/knowledge/${encodeURIComponent(kb)}` : "/knowledge"),
  entries: (kb, query = {}) => {
    const search = new URLSearchParams(query).toString();
    return `/knowledge/${encodeURIComponent(kb)}/entries${search ? `?${search}` : ""}`;
  },
  graph: (kb = "", query = {}) => {
    const search = new URLSearchParams(query).toString();
    return `/graph${kb && `/${encodeURIComponent(kb)}`}${search && `?${search}`}`;
  },
  document: (id, start, end) => `/documents/${encodeURIComponent(id)}${start === undefined ? "" : `?start=${start}&end=${end}`}`,
};

/** Whether a click on a link is a plain one that this page may handle itself. */
export const isPlainClick = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

/** `onClick` for an in-page link. */
export const link = (target) => (event) => {
  if (!isPlainClick(event)) return;
  event.preventDefault();
  go(target);
};
