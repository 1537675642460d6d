// Places nodes by forces, away from the page: a classic worker, since d3's modules come as scripts that hang themselves on `self.d3`.
// In: {kind: "graph", serial, xy, fixed, links, alpha}, {kind: "place", index, x, y, isFixed}, {kind: "freeze"}, {kind: "run"}. Out: {serial, xy, isDone}.
importScripts(
  "../vendor/d3-dispatch-3.0.2/d3-dispatch.js", "../vendor/d3-timer-3.0.2/d3-timer.js", "../vendor/d3-quadtree-3.0.2/d3-quadtree.js",
  "../vendor/d3-force-3.0.1/d3-force.js",
);

const SLICE_MS = 40; // how often the page gets positions
const MANY = 600; // from here on steps are coarser, and fewer
const d3 = self.d3;
let simulation = null;
let serial = 0;
let timer = 0;
let isFrozen = false;

function make({ xy, fixed, links, alpha }) {
  const nodes = fixed.map((isFixed, index) => {
    const [x, y] = [xy[2 * index], xy[2 * index + 1]];
    return isFixed ? { x, y, fx: x, fy: y } : { x, y };
  });
  const isLarge = nodes.length > MANY;
  const joined = links.map(([source, target]) => ({ source, target }));
  simulation = d3.forceSimulation(nodes).stop()
    .force("charge", d3.forceManyBody().strength(isLarge ? -60 : -220).theta(isLarge ? 1.1 : 0.9).distanceMax(isLarge ? 500 : 900))
    .force("link", d3.forceLink(joined).distance(isLarge ? 40 : 90).iterations(1))
    .force("x", d3.forceX(0).strength(0.03)).force("y", d3.forceY(0).strength(isLarge ? 0.06 : 0.045))
    .alpha(alpha).alphaDecay(isLarge ? 0.035 : 0.028);
  if (!isLarge) simulation.force("collide", d3.forceCollide(16));
}

function tell(isDone) {
  const nodes = simulation.nodes();
  const xy = new Float32Array(2 * nodes.length);
  nodes.forEach((node, index) => xy.set([node.x, node.y], 2 * index));
  self.postMessage({ serial, xy, isDone }, [xy.buffer]);
}

function step() {
  timer = 0;
  if (!simulation) return;
  const end = performance.now() + SLICE_MS;
  do simulation.tick();
  while (performance.now() < end && simulation.alpha() > simulation.alphaMin());
  const isDone = simulation.alpha() <= simulation.alphaMin();
  tell(isDone);
  if (!isDone) go();
}

const go = () => { timer ||= isFrozen ? 0 : setTimeout(step); };

function halt() {
  clearTimeout(timer);
  timer = 0;
}

self.onmessage = ({ data }) => {
  if (data.kind === "graph") {
    halt();
    serial = data.serial;
    make(data);
    go();
  } else if (data.kind === "place" && simulation) {
    const node = simulation.nodes()[data.index];
    if (!node) return;
    Object.assign(node, { x: data.x, y: data.y, vx: 0, vy: 0, fx: data.isFixed ? data.x : null, fy: data.isFixed ? data.y : null });
    simulation.alpha(Math.max(simulation.alpha(), 0.12));
    go();
  } else if (data.kind === "freeze") {
    isFrozen = true;
    halt();
  } else if (data.kind === "run") {
    isFrozen = false;
    if (simulation) simulation.alpha(Math.max(simulation.alpha(), 0.3));
    go();
  }
};
