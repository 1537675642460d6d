// What the frame shows beside the work: conversations, knowledge bases, models; and what the reader chose of them.
import { all, get } from "./api.js";
import { remembered, store } from "./store.js";

const MODELS_EVERY_MS = 15_000;

export const conversations = store({ state: "loading", rows: [], error: null });
export const knowledgeBases = store({ state: "loading", rows: [], error: null });
export const models = store({ state: "loading", rows: [], error: null });
/** All of them, embedders and rerankers too; `models` are those that answer. */
export const allModels = store({ state: "loading", rows: [], error: null });

/** Model for the next question; `auto` is the first healthy one. */
export const chosenModel = remembered("qzbrain.model", "auto", (value) => typeof value === "string");
/** Ids of the knowledge bases for the next question; none = all. */
export const chosenBases = remembered("qzbrain.bases", [], Array.isArray);
export const railOpen = remembered("qzbrain.rail", true, (value) => typeof value === "boolean");
export const theme = remembered("qzbrain.theme", "system", (value) => ["system", "light", "dark"].includes(value));

const loader = (target, fetchRows) => async () => {
  try {
    target.set({ state: "ready", rows: await fetchRows(), error: null });
  } catch (error) {
    target.update((now) => ({ ...now, state: now.rows.length ? "ready" : "error", error }));
  }
};

export const loadConversations = loader(conversations, () => all("/api/conversations", 500));
export const loadKnowledgeBases = loader(knowledgeBases, async () => {
  const rows = await all("/api/knowledge-bases");
  const known = new Set(rows.map((row) => row.id));
  chosenBases.update((ids) => (ids.every((id) => known.has(id)) ? ids : ids.filter((id) => known.has(id))));
  return rows;
});
const loadAllModels = loader(allModels, async () => (await get("/api/models")).data);

export async function loadModels() {
  await loadAllModels();
  const { state, rows, error } = allModels.get();
  models.set({ state, rows: rows.filter((one) => one.kind === "chat"), error });
}

/** Load all lists, and look at the models' state from time to time while the page is seen. */
export function startLists() {
  loadConversations();
  loadKnowledgeBases();
  loadModels();
  setInterval(() => document.hidden || loadModels(), MODELS_EVERY_MS);
}

/** Name of a knowledge base for people. */
export const baseTitle = (base) => base.title || base.name;
