// Where nodes stand. Positions live here by id, so that a node stays where it was when others come or go; a worker moves them.
const SPREAD = 60;

/** `onMove()` is called after each set of new positions, `onState("running" | "still" | "frozen")` when that changes. */
export class Layout {
  constructor({ onMove, onState }) {
    Object.assign(this, { onMove, onState, ids: [], pinned: new Set(), isFrozen: false, serial: 0 });
    this.places = new Map();
    this.worker = new Worker(new URL("../core/graph_worker.js", import.meta.url));
    this.worker.onmessage = ({ data }) => this._moved(data);
  }

  /** Show these nodes and links; those that stand somewhere stay near there, new ones begin beside a neighbour. */
  show(nodes, links) {
    const ids = nodes.map((node) => node.id);
    const known = new Set(ids);
    const isNew = ids.filter((id) => !this.places.has(id));
    const pairs = links.filter((link) => link.a !== link.b && known.has(link.a) && known.has(link.b));
    const shape = `${ids.join()};${pairs.length}`;
    if (shape === this.shape) return;
    this.shape = shape;
    this._begin(isNew, pairs);
    this.ids = ids;
    this.index = new Map(ids.map((id, at) => [id, at]));
    const share = ids.length ? isNew.length / ids.length : 0;
    this._send(pairs, isNew.length ? Math.max(0.35, Math.min(1, share * 1.5)) : 0.15);
  }

  _begin(isNew, pairs) {
    const near = new Map();
    for (const { a, b } of pairs) {
      if (this.places.has(a) && !near.has(b)) near.set(b, a);
      if (this.places.has(b) && !near.has(a)) near.set(a, b);
    }
    isNew.forEach((id, at) => { // on a spiral of the golden angle: no two on one spot, and the same each time
      const origin = this.places.get(near.get(id)) || { x: 0, y: 0 };
      const far = near.has(id) ? SPREAD + 6 * Math.sqrt(at) : 22 * Math.sqrt(at);
      this.places.set(id, { x: origin.x + far * Math.cos(at * 2.39996), y: origin.y + far * Math.sin(at * 2.39996) });
    });
  }

  _send(pairs, alpha) {
    const xy = new Float32Array(2 * this.ids.length);
    this.ids.forEach((id, at) => {
      const place = this.places.get(id);
      xy.set([place.x, place.y], 2 * at);
    });
    this.serial += 1;
    const message = {
      kind: "graph", serial: this.serial, xy, alpha, fixed: this.ids.map((id) => this.pinned.has(id)),
      links: pairs.map(({ a, b }) => [this.index.get(a), this.index.get(b)]),
    };
    this.worker.postMessage(message, [xy.buffer]);
    this.onMove();
    this.onState(!this.ids.length ? "still" : this.isFrozen ? "frozen" : "running");
  }

  _moved({ serial, xy, isDone }) {
    if (serial !== this.serial) return;
    this.ids.forEach((id, at) => {
      if (id === this.held) return;
      const place = this.places.get(id);
      place.x = xy[2 * at];
      place.y = xy[2 * at + 1];
    });
    this.onMove(isDone);
    this.onState(this.isFrozen ? "frozen" : isDone ? "still" : "running");
  }

  /** Put a node somewhere by hand; it is pinned there. `isHeld`: the hand is still on it. */
  place(id, x, y, isHeld) {
    this.held = isHeld ? id : null;
    Object.assign(this.places.get(id), { x, y });
    this.pin(id, true);
  }

  pin(id, isPinned) {
    if (isPinned) this.pinned.add(id);
    else this.pinned.delete(id);
    const place = this.places.get(id);
    if (!place || !this.index?.has(id)) return;
    this.worker.postMessage({ kind: "place", index: this.index.get(id), x: place.x, y: place.y, isFixed: isPinned });
    if (!this.isFrozen) this.onState("running");
    this.onMove();
  }

  freeze(isFrozen) {
    this.isFrozen = isFrozen;
    this.worker.postMessage({ kind: isFrozen ? "freeze" : "run" });
    this.onState(isFrozen ? "frozen" : "running");
  }

  end() {
    this.worker.terminate();
  }
}
