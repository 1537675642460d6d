// The conversation on the screen: its messages, asking, stopping, rating. One at a time; what streams belongs to it.
import { all, get, post } from "./api.js";
import { loadConversations } from "./lists.js";
import { announce, announceProgress } from "./live.js";
import { t } from "./i18n.js";
import { fromStored, withLive } from "./messages.js";
import { address, go, route } from "./router.js";
import { store } from "./store.js";
import * as stream from "./stream.js";

const EMPTY = { id: "", title: "", messages: [], state: "ready", error: null };

export const conversation = store(EMPTY);

let serial = 0;
const localId = () => `local-${++serial}`;

const running = (message) => message.role === "assistant" && (message.status === "running" || message.status === "sending");

/** The answer that is being written now, or undefined. */
export const runningAnswer = () => conversation.get().messages.findLast(running);

/** Show a conversation ("" = a new one). */
export async function open(id) {
  if (id === conversation.get().id && conversation.get().state === "ready" && (id || !conversation.get().messages.length)) return;
  for (const message of conversation.get().messages) if (running(message)) stream.leave(message.id);
  if (!id) return conversation.set({ ...EMPTY });
  conversation.set({ ...EMPTY, id, state: "loading" });
  try {
    const path = `/api/conversations/${encodeURIComponent(id)}`;
    const [head, rows] = await Promise.all([get(path), all(`${path}/messages`)]);
    if (conversation.get().id !== id) return;
    const messages = rows.map(fromStored);
    conversation.set({ id, title: head.title, messages, state: "ready", error: null });
    for (const message of messages) if (running(message)) stream.follow(message.id, onTurn(message.id));
  } catch (error) {
    if (conversation.get().id === id) conversation.set({ ...EMPTY, id, state: "error", error });
  }
}

/** Ask a question in the conversation on the screen. `choice`: `{model, knowledgeBases}` (ids; none = all). */
export function ask(text, choice) {
  const question = { id: localId(), role: "user", status: "complete", text, createdAt: new Date().toISOString() };
  const answer = { id: localId(), role: "assistant", status: "sending", text: "", citations: [], queue: null, createdAt: question.createdAt, choice };
  const place = conversation.get();
  conversation.set({ ...place, messages: [...place.messages, question, answer] });
  const payload = { message: text, model: choice.model, knowledge_bases: choice.knowledgeBases }; // none named = all, also where the conversation began with some
  if (place.id) payload.conversation_id = place.id;
  stream.ask(payload, {
    onStart: (ids) => started(ids, answer.id),
    onRefused: (error) => change(answer.id, (m) => ({ ...m, status: "failed", error: { ...error, message: error.message || t("error.network") } })),
    onChange: (turn) => onTurn(turn.messageId)(turn),
  });
}

function started(ids, answerId) {
  const place = conversation.get();
  if (!place.messages.some((message) => message.id === answerId)) return void loadConversations();
  const messages = place.messages.map((m) => (m.id === answerId ? { ...m, id: ids.message_id, status: "running" } : m));
  conversation.set({ ...place, id: ids.conversation_id, messages });
  if (route.get().view === "chat" && route.get().id !== ids.conversation_id) go(address.chat(ids.conversation_id), { replace: true });
  loadConversations();
}

const onTurn = (messageId) => (turn) => {
  change(messageId, (message) => withLive(message, turn));
  announceProgress(messageId, turn.answer ? turn.answer.answer : turn.text, turn.ended);
  if (turn.error) announce(turn.error.message);
  if (turn.ended) loadConversations();
};

function change(messageId, next) {
  conversation.update((place) => ({ ...place, messages: place.messages.map((m) => (m.id === messageId ? next(m) : m)) }));
}

/** Stop the running answer, if there is one. Gives whether there was. */
export function stop() {
  const message = runningAnswer();
  if (!message || message.status !== "running") return Boolean(message);
  stream.stop(message.id);
  return true;
}

/** Rate an answer; throws ApiError. */
export async function rate(message, rating, comment) {
  const body = comment ? { rating, comment } : { rating };
  await post(`/api/conversations/${encodeURIComponent(conversation.get().id)}/messages/${encodeURIComponent(message.id)}/feedback`, body);
  change(message.id, (m) => ({ ...m, rating }));
}

/** The question that an answer belongs to. */
export function questionOf(messageId) {
  const { messages } = conversation.get();
  const at = messages.findIndex((message) => message.id === messageId);
  return messages.slice(0, at).findLast((message) => message.role === "user");
}

/** Text of the last question, for editing it again. */
export const lastQuestion = () => conversation.get().messages.findLast((message) => message.role === "user")?.text ?? "";
