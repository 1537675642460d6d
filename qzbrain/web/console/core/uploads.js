// Files on their way to a knowledge base: a few at a time, each with its own progress, and what became of it.
import { upload } from "./api.js";
import { loadKnowledgeBases } from "./lists.js";
import { store } from "./store.js";

const AT_ONCE = 3;

/** `{id, kb, name, sent (0..1), state: waiting|sending|done|failed, duplicate, error, file}`, newest first. */
export const uploads = store([]);
/** Grows whenever a file arrived at the server: tables look again. */
export const arrivals = store(0);

const waiting = [];
let active = 0;
let serial = 0;

const change = (id, fields) => uploads.update((list) => list.map((row) => (row.id === id ? { ...row, ...fields } : row)));

/** Send files (File objects) to a knowledge base (id or name). */
export function uploadFiles(kb, files) {
  const rows = [...files].map((file) => ({ id: ++serial, kb, file, name: file.name, sent: 0, state: "waiting", duplicate: false, error: null }));
  uploads.update((list) => [...rows, ...list]);
  waiting.push(...rows);
  pump();
}

export function again(row) {
  uploads.update((list) => list.filter((other) => other.id !== row.id));
  uploadFiles(row.kb, [row.file]);
}

export const clearFinished = () => uploads.update((list) => list.filter((row) => row.state === "waiting" || row.state === "sending"));

function pump() {
  while (active < AT_ONCE && waiting.length) {
    active += 1;
    send(waiting.shift()).finally(() => {
      active -= 1;
      pump();
    });
  }
}

async function send(row) {
  change(row.id, { state: "sending" });
  try {
    const [result] = await upload(row.kb, row.file, (sent) => change(row.id, { sent }));
    change(row.id, { state: "done", sent: 1, duplicate: Boolean(result?.duplicate) });
    arrivals.update((n) => n + 1);
    loadKnowledgeBases();
  } catch (error) {
    change(row.id, { state: "failed", error });
  }
}

/** All files of a drop, those inside dropped folders too. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = [];
  for (const entry of entries) await collect(entry, files);
  return files;
}

async function collect(entry, files) {
  if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  else {
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const child of some) await collect(child, files);
    }
  }
}
