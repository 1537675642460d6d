// What changed between two texts, for people: Chinese by character, other scripts by word. Longest common subsequence (Wagner and Fischer, 1974). Pure.

const TOKEN = /\p{Script=Han}|[\p{L}\p{N}\p{M}]+|\s+|[^]/gu;
const MOST_CELLS = 4_000_000; // a larger comparison is made line by line, a still larger one is told as a whole

/** `[{kind: "same"|"out"|"in", text}]`, in reading order; what went stands before what came. */
export function diff(before, after) {
  if (before === after) return before ? [{ kind: "same", text: before }] : [];
  for (const split of [(text) => text.match(TOKEN) || [], (text) => text.split(/(?<=\n)/)]) {
    const parts = compare(split(before), split(after));
    if (parts) return joined(parts);
  }
  return joined([{ kind: "out", text: before }, { kind: "in", text: after }]);
}

function compare(a, b) {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const inner = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  if (!inner) return null;
  const same = (text) => ({ kind: "same", text });
  return [...a.slice(0, head).map(same), ...inner, ...a.slice(a.length - tail).map(same)];
}

function between(a, b) {
  if ((a.length + 1) * (b.length + 1) > MOST_CELLS) return null;
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width); // length of the longest common subsequence of a[i:] and b[j:]
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const parts = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      parts.push({ kind: "same", text: a[i] });
      i += 1;
      j += 1;
    } else if (i < a.length && (j === b.length || common[(i + 1) * width + j] >= common[i * width + j + 1])) parts.push({ kind: "out", text: a[i++] });
    else parts.push({ kind: "in", text: b[j++] });
  }
  return parts;
}

/** Neighbours of one kind as one; between two unchanged parts all that went stands before all that came. */
function joined(parts) {
  const runs = [];
  let out = "";
  let into = "";
  const flush = () => {
    if (out) runs.push({ kind: "out", text: out });
    if (into) runs.push({ kind: "in", text: into });
    out = into = "";
  };
  for (const { kind, text } of parts) {
    if (kind === "out") out += text;
    else if (kind === "in") into += text;
    else {
      flush();
      if (runs.at(-1)?.kind === "same") runs.at(-1).text += text;
      else runs.push({ kind, text });
    }
  }
  flush();
  return runs;
}
