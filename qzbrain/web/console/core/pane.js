// Which source stands open beside the conversation, and which one is lit. Its address is `?source=MESSAGE.INDEX` (index 0 = the list).
import { conversation } from "./conversation.js";
import { address, go, route } from "./router.js";
import { store } from "./store.js";

/** `{messageId, index}` of the citation that the pointer or focus is on, or null. */
export const lit = store(null);

export const light = (messageId, index) => lit.set({ messageId, index });
export const unlight = () => lit.set(null);

/** `{message, index}` of the open pane, or null. */
export function openSource() {
  const [messageId, index] = (route.get().query.get("source") || "").split(".");
  const message = messageId && conversation.get().messages.find((candidate) => candidate.id === messageId);
  return message ? { message, index: Number(index) || 0 } : null;
}

const here = () => address.chat(conversation.get().id);

/** The answer that is being corrected beside the conversation, or null. Its address is `?correct=MESSAGE`. */
export function openCorrection() {
  const messageId = route.get().query.get("correct");
  return (messageId && conversation.get().messages.find((candidate) => candidate.id === messageId)) || null;
}

export const correct = (messageId) => go(`${here()}?correct=${encodeURIComponent(messageId)}`, { replace: Boolean(openSource()) });
export const closeCorrection = () => go(here(), { replace: true });

/** Open the pane: the list (index 0) or one passage. Stepping from source to source leaves no trail to go back through. */
export function showSource(messageId, index) {
  go(`${here()}?source=${encodeURIComponent(messageId)}.${index}`, { replace: Boolean(openSource()) });
}

/** Close it. Gives whether it was open. */
export function closeSource() {
  if (!openSource()) return false;
  go(here(), { replace: true });
  unlight();
  return true;
}

/** The next (1) or previous (-1) source of the open list, or of the last answer. */
export function stepSource(by) {
  const open = openSource();
  const message = open?.message || conversation.get().messages.findLast((m) => m.citations?.length);
  if (!message?.citations.length) return;
  const order = ordered(message.citations);
  const at = open ? order.findIndex((citation) => citation.index === open.index) : -1;
  const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : Math.min(Math.max(at + by, 0), order.length - 1);
  showSource(message.id, order[next].index);
}

/** Sources that the answer uses first, each part in the order of their numbers. */
export const ordered = (citations) => [...citations.filter((c) => c.cited), ...citations.filter((c) => !c.cited)];
