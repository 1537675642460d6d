// A document's chunks over the API: read page by page, edited, switched off, undone, previewed.
import { get, patch, post } from "./api.js";
import { useEffect, useState } from "./ui.js";

const PAGE = 100;
const at = (id) => `/api/documents/${encodeURIComponent(id)}`;

export const editChunk = (id, chunk, change) => patch(`${at(id)}/chunks/${chunk.id}`, change);
export const chunkHistory = (id, chunk) => get(`${at(id)}/chunks/${chunk.id}/history`).then((reply) => reply.data);
export const undoEdit = (id, number) => post(`${at(id)}/edits/${number}/undo`);
export const previewSizes = (id, chars, overlap) => post(`${at(id)}/chunk-preview`, { chunk_chars: chars, overlap_chars: overlap });

/** For components: `{rows, hasMore, more, renew, error}`; `rows` is null until the first page is there. `renew` reads as many again. */
export function useChunks(id, isWanted) {
  const [state, setState] = useState({ rows: null, next: null, error: null });
  const read = async (most, before, from) => {
    const rows = [...before];
    let next = from;
    try {
      do {
        const page = await get(`${at(id)}/chunks?limit=${PAGE}${next ? `&after=${encodeURIComponent(next)}` : ""}`);
        rows.push(...page.data);
        next = page.has_more ? page.next : null;
      } while (next && rows.length < most);
      setState({ rows, next, error: null });
    } catch (error) {
      setState((last) => ({ ...last, error }));
    }
  };
  useEffect(() => {
    if (isWanted && !state.rows) read(PAGE, [], null);
  }, [id, isWanted]);
  return {
    ...state,
    hasMore: Boolean(state.next),
    more: () => read(state.rows.length + PAGE, state.rows, state.next),
    renew: () => read(state.rows?.length ?? PAGE, [], null),
  };
}
