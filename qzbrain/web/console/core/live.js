// What screen readers are told: answers once a sentence, and what went well or wrong.
const told = new Map();

function region() {
  return document.getElementById("live");
}

export function announce(text) {
  const element = region();
  if (element) element.textContent = text;
}

/** Tell the sentences of a growing answer that are complete and not yet told. */
export function announceProgress(messageId, text, ended) {
  const from = told.get(messageId) ?? 0;
  const rest = text.slice(from);
  const end = ended ? rest.length : lastSentenceEnd(rest);
  const sentences = rest.slice(0, end).replace(/\[\d{1,3}\]/g, "");
  if (sentences.trim()) announce(sentences); // a mark alone, at the end, would silence what was just told
  if (ended) told.delete(messageId);
  else if (end > 0) told.set(messageId, from + end);
}

function lastSentenceEnd(text) {
  let end = 0;
  for (const match of text.matchAll(/[。！？!?\n]|\.(?=\s)/g)) end = match.index + 1;
  return end;
}
