// The API counts Unicode code points; JavaScript strings count UTF-16 units. They differ only where a text has astral characters.

const SURROGATE = /[\ud800-\udbff]/;

/** UTF-16 index of the code point at `offset` (an array of offsets in rising order gives an array; one pass over the text). */
export function utf16Indices(text, offsets) {
  if (!SURROGATE.test(text)) return offsets.map((offset) => Math.min(Math.max(offset, 0), text.length));
  const found = [];
  let index = 0;
  let points = 0;
  for (const offset of offsets) {
    while (points < offset && index < text.length) {
      index += text.codePointAt(index) > 0xffff ? 2 : 1;
      points += 1;
    }
    found.push(index);
  }
  return found;
}

/** Number of code points. */
export function codePoints(text) {
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
