// The knowledge graph as the Graph page needs it: the API's routes, what an address says, and the picture that the loaded triples make.
import { get, patch, post, sendFile } from "./api.js";

export const FORMATS = ["csv", "jsonl", "graphml", "cypher-csv"];
export const DEPTHS = [1, 2, 3];
export const LIMITS = [50, 100, 300, 1000, 2000];
export const MOST_HOPS = 6;
const LIMIT = 100;
const MOST_OPEN = 60;

const root = (kb) => `/api/graph/${encodeURIComponent(kb)}`;
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== undefined));

export const getStats = (kb) => get(`${root(kb)}/stats`);
export const getOverview = (kb) => get(`${root(kb)}/overview`);
export const searchEntities = async (kb, q, limit = 12) => (await get(`${root(kb)}/search?${query({ q: q.slice(0, 200), limit })}`)).data;
export const getEntity = (kb, id) => get(`${root(kb)}/entities/${encodeURIComponent(id)}`);
export const getNeighbors = async (kb, id, { depth = 1, relation = "", limit = LIMIT } = {}) =>
  (await get(`${root(kb)}/neighbors?${query({ id, depth, relation, limit })}`)).data;
export const getPath = (kb, from, to) => get(`${root(kb)}/path?${query({ from, to, max_hops: MOST_HOPS })}`);
export const mergeEntities = (kb, keep, merge) => post(`${root(kb)}/merge`, { keep, merge });
export const undoMerge = (kb, id) => post(`${root(kb)}/merge/${encodeURIComponent(id)}/undo`);
export const exportAddress = (kb, format) => `${root(kb)}/export?format=${format}`;
export const importTriples = (kb, file, dryRun, onProgress) => sendFile(`${root(kb)}/import?dry_run=${Number(dryRun)}`, file, onProgress);

/** What a route says that this brain may not have: null then. */
async function optional(path) {
  try {
    return await get(path);
  } catch (error) {
    if (error.status === 404 || error.status === 405) return null;
    throw error;
  }
}

/** Merges that nobody has decided yet: `{data, total}`. */
export const getSuggestions = (kb) => optional(`${root(kb)}/suggestions?status=open`);
export const decideSuggestion = (kb, id, verdict) => post(`${root(kb)}/suggestions/${encodeURIComponent(id)}/${verdict}`);
/** A part of the relations, those of most triples first: `{data, has_more, next}`. */
export const getRelations = (kb, { limit = 200, after = "" } = {}) => optional(`${root(kb)}/relations?${query({ limit, after })}`);
export const setCues = (kb, id, cues) => patch(`${root(kb)}/relations/${encodeURIComponent(id)}`, { cues });

/** What an address of the page says: `entity` is looked at, the neighbours of `open` are shown, `from` and `to` are joined by a way. */
export function readQuery(search) {
  const entity = search.get("entity") || "";
  const open = (search.get("open") || entity).split(".").filter(Boolean).slice(0, MOST_OPEN);
  const among = (name, allowed, fallback) => (allowed.includes(Number(search.get(name))) ? Number(search.get(name)) : fallback);
  return {
    entity, open, depth: among("depth", DEPTHS, 1), limit: among("limit", LIMITS, LIMIT), relation: search.get("relation") || "",
    from: search.get("from") || "", to: search.get("to") || "", show: search.get("show") === "table" ? "table" : "picture",
  };
}

/** The other way round: only what differs from an empty page is told. */
export function writeQuery(state) {
  const open = state.open.slice(-MOST_OPEN).join(".");
  const told = {
    entity: state.entity, open: open === state.entity ? "" : open, depth: state.depth === 1 ? "" : state.depth, limit: state.limit === LIMIT ? "" : state.limit,
    relation: state.relation, from: state.from, to: state.to, show: state.show === "table" ? "table" : "",
  };
  return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== ""));
}

/** Nodes and links of triples: `{nodes: Map(id → entity), links: Map(key → {key, a, b, triples})}`; triples of one pair make one link. */
export function pictureOf(triples, entities = []) {
  const nodes = new Map(entities.map((one) => [one.id, one]));
  const links = new Map();
  const seen = new Set();
  for (const triple of triples) {
    if (seen.has(triple.id)) continue;
    seen.add(triple.id);
    for (const end of [triple.head, triple.tail]) if (!nodes.has(end.id)) nodes.set(end.id, end);
    const [a, b] = Number(triple.head.id) <= Number(triple.tail.id) ? [triple.head.id, triple.tail.id] : [triple.tail.id, triple.head.id];
    const key = `${a}.${b}`;
    if (!links.has(key)) links.set(key, { key, a, b, triples: [] });
    links.get(key).triples.push(triple);
  }
  return { nodes, links };
}

/** What is left of a picture: without hidden nodes, types and relations that were switched off, and nodes that then hang on nothing. `kept` stay. */
export function filtered({ nodes, links }, { hidden, offTypes, offRelations, kept }) {
  const stays = (id) => !hidden.has(id) && (kept.has(id) || !offTypes.has(nodes.get(id).type));
  const linksLeft = [];
  const hangs = new Set();
  for (const link of links.values()) {
    if (!stays(link.a) || !stays(link.b)) continue;
    const triples = offRelations.size ? link.triples.filter((one) => !offRelations.has(one.relation)) : link.triples;
    if (!triples.length) continue;
    linksLeft.push(triples === link.triples ? link : { ...link, triples });
    hangs.add(link.a).add(link.b);
  }
  const nodesLeft = [...nodes.values()].filter((one) => stays(one.id) && (hangs.has(one.id) || kept.has(one.id)));
  return { nodes: nodesLeft, links: linksLeft };
}

/** How many entities of each type and triples of each relation a picture has, most first: `[[name, count]…]`. */
export function counts({ nodes, links }) {
  const types = new Map();
  const relations = new Map();
  const add = (map, key) => map.set(key, (map.get(key) || 0) + 1);
  for (const node of nodes.values()) add(types, node.type);
  for (const link of links.values()) for (const triple of link.triples) add(relations, triple.relation);
  const sorted = (map) => [...map].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return { types: sorted(types), relations: sorted(relations) };
}

/** An entity's triples by relation and direction, in the order of its counts, also those of which none is loaded. */
export function grouped(entity, triples) {
  const groups = entity.relations.map((one) => ({ ...one, key: `${one.direction} ${one.relation}`, rows: [] }));
  const byKey = new Map(groups.map((group) => [group.key, group]));
  for (const triple of triples) {
    const direction = triple.head.id === entity.id ? "out" : "in";
    if (direction === "in" && triple.tail.id !== entity.id) continue;
    const group = byKey.get(`${direction} ${triple.relation}`);
    if (group) group.rows.push({ triple, other: direction === "out" ? triple.tail : triple.head });
  }
  return groups;
}

/** The entities of a way in their order, `from` first: `[{entity, triple}]`, `triple` leads to the next. */
export function chainOf(triples, from) {
  const chain = [];
  let at = from;
  for (const triple of triples) {
    const [here, next] = triple.head.id === at ? [triple.head, triple.tail] : [triple.tail, triple.head];
    chain.push({ entity: here, triple });
    at = next.id;
  }
  const last = triples.at(-1);
  if (last) chain.push({ entity: last.head.id === at ? last.head : last.tail, triple: null });
  return chain;
}
