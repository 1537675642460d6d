// Draws a picture of the graph on a canvas (or as SVG): nodes by type in shape and colour, links, names where there is room. Knows no events.
// Canvas 2D rather than WebGL: without a graphics card, as on many office machines and in remote desktops, 2,000 nodes take 28 ms a frame here and over 2 s there.
export const KINDS = 8;
const SHAPES = ["circle", "square", "diamond", "triangle", "hexagon"];
const NAME_CHARS = 14;
const MANY_LINKS = 600;
const FEW_NODES = 150;
const CLOSE = 0.5; // pixels a unit from which on a large picture is read rather than seen
const CELL = { width: 64, height: 32 };
const names = new Map();

export const shapeOf = (kind) => (kind < 0 ? "circle" : SHAPES[kind % SHAPES.length]);
export const colourOf = (kind) => (kind < 0 ? KINDS : kind % KINDS);
export const short = (name, most = NAME_CHARS) => {
  const letters = [...name.slice(0, 3 * most)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
};
export const radius = (degree) => Math.min(18, 5 + 1.5 * Math.log2(1 + degree));

/** Colours of the theme now, from custom properties. */
export function palette(element) {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    kinds: Array.from({ length: KINDS + 1 }, (_, at) => value(`kind-${at}`)), paper: value("paper"), ink: value("ink"), soft: value("ink-soft"), line: value("line-link"),
    accent: value("accent"), mark: value("highlight-line"), font: style.getPropertyValue("font-family"),
  };
}

/** The corners of a shape of radius 1; null for a circle. Areas are about equal. */
const CORNERS = {
  square: [[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]], diamond: [[0, -1.25], [1.1, 0], [0, 1.25], [-1.1, 0]],
  triangle: [[0, -1.25], [1.2, 0.85], [-1.2, 0.85]], hexagon: [[1.08, 0], [0.54, 0.94], [-0.54, 0.94], [-1.08, 0], [-0.54, -0.94], [0.54, -0.94]],
};

function outline(path, shape, x, y, r) {
  const corners = CORNERS[shape];
  if (!corners) {
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
    return;
  }
  corners.forEach(([dx, dy], at) => path[at ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
  path.closePath();
}

/** Points of a polygon for SVG; "" for a circle. */
export const points = (shape, x, y, r) => (CORNERS[shape] || []).map(([dx, dy]) => `${(x + dx * r).toFixed(1)},${(y + dy * r).toFixed(1)}`).join(" ");

/** `view`: `{x, y, scale}`, the point of the graph in the middle, and pixels a unit. */
export const project = (view, size, { x, y }) => ({ x: size.width / 2 + (x - view.x) * view.scale, y: size.height / 2 + (y - view.y) * view.scale });
export const unproject = (view, size, { x, y }) => ({ x: view.x + (x - size.width / 2) / view.scale, y: view.y + (y - size.height / 2) / view.scale });

/** The view in which all these places are seen. */
export function fitting(places, size) {
  if (!places.length || !size.width) return { x: 0, y: 0, scale: 1 };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of places) {
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  const scale = Math.min(1.6, (size.width - 120) / Math.max(right - left, 1), (size.height - 90) / Math.max(bottom - top, 1));
  return { x: (left + right) / 2, y: (top + bottom) / 2, scale: Math.max(0.02, scale) };
}

/** The size of a node on the screen: it grows less than the distance between nodes, so that neither looks lost. */
export const drawnRadius = (node, view) => Math.max(2, radius(node.degree) * Math.min(1.4, Math.max(0.2, view.scale ** 0.7)));

/** `scene`: `{nodes, links, places, kindOf, view, size, colours, ratio, selected, hovered, pinned, opened, onWay: {nodes, links}, isMoving}`. */
export function draw(context, scene) {
  const { size, ratio, colours, view, nodes, places } = scene;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, size.width, size.height);
  const at = new Map();
  for (const node of nodes) {
    const place = places.get(node.id);
    if (place) at.set(node.id, project(view, size, place));
  }
  const labelled = drawLinks(context, scene, at);
  drawNodes(context, scene, at);
  const taken = new Taken();
  drawNames(context, scene, at, taken);
  drawRelations(context, scene, labelled, taken);
}

const isNear = (scene, link) => link.a === scene.selected || link.b === scene.selected || link.a === scene.hovered || link.b === scene.hovered;
const inside = ({ x, y }, { width, height }, margin) => x > -margin && y > -margin && x < width + margin && y < height + margin;

function drawLinks(context, scene, at) {
  const { colours, links, size } = scene;
  const special = [];
  const plain = [];
  const isFew = links.length <= MANY_LINKS;
  const path = new Path2D();
  for (const link of links) {
    const [a, b] = [at.get(link.a), at.get(link.b)];
    if (!a || !b || (!inside(a, size, 0) && !inside(b, size, 0) && isFarOff(a, b, size))) continue;
    if (scene.onWay.links.has(link.key) || isNear(scene, link)) special.push(link);
    else {
      line(path, link, a, b);
      if (isFew) plain.push(link);
    }
  }
  context.lineWidth = 1;
  context.strokeStyle = colours.line;
  context.stroke(path);
  context.fillStyle = colours.line;
  for (const link of plain) arrows(context, scene, link, at);
  for (const link of special) {
    const isWay = scene.onWay.links.has(link.key);
    context.strokeStyle = context.fillStyle = isWay ? colours.mark : colours.accent;
    context.lineWidth = isWay ? 3 : 1.5;
    const own = new Path2D();
    line(own, link, at.get(link.a), at.get(link.b));
    context.stroke(own);
    if (isWay || special.length <= MANY_LINKS) arrows(context, scene, link, at);
  }
  return { special, plain, at };
}

const isFarOff = (a, b, { width, height }) => (a.x < 0 && b.x < 0) || (a.y < 0 && b.y < 0) || (a.x > width && b.x > width) || (a.y > height && b.y > height);

function line(path, link, a, b) {
  if (link.a === link.b) {
    path.moveTo(a.x, a.y);
    path.arc(a.x + 12, a.y - 12, 12, Math.PI * 0.75, Math.PI * 2.7);
    return;
  }
  path.moveTo(a.x, a.y);
  path.lineTo(b.x, b.y);
}

function arrows(context, scene, link, at) {
  if (link.a === link.b) return;
  const [isForth, isBack] = [link.triples.some((one) => one.tail.id === link.b), link.triples.some((one) => one.tail.id === link.a)];
  if (isForth) arrow(context, at.get(link.a), at.get(link.b), gap(scene, link.b));
  if (isBack) arrow(context, at.get(link.b), at.get(link.a), gap(scene, link.a));
}

const gap = (scene, id) => drawnRadius(scene.byId.get(id), scene.view) + 2;

function arrow(context, from, to, distance) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  if (length < distance + 12) return;
  const [ux, uy] = [dx / length, dy / length];
  const [tipX, tipY] = [to.x - ux * distance, to.y - uy * distance];
  context.beginPath();
  context.moveTo(tipX, tipY);
  context.lineTo(tipX - ux * 8 - uy * 3.5, tipY - uy * 8 + ux * 3.5);
  context.lineTo(tipX - ux * 8 + uy * 3.5, tipY - uy * 8 - ux * 3.5);
  context.fill();
}

function drawNodes(context, scene, at) {
  const { colours, nodes, size, view } = scene;
  const byColour = new Map();
  for (const node of nodes) {
    const place = at.get(node.id);
    if (!place || !inside(place, size, 24)) continue;
    const kind = scene.kindOf(node.type);
    const colour = colours.kinds[colourOf(kind)];
    if (!byColour.has(colour)) byColour.set(colour, new Path2D());
    outline(byColour.get(colour), shapeOf(kind), place.x, place.y, drawnRadius(node, view));
  }
  for (const [colour, path] of byColour) {
    context.fillStyle = colour;
    context.fill(path);
  }
  const ring = (id, colour, width, more) => {
    const [node, place] = [scene.byId.get(id), at.get(id)];
    if (!node || !place) return;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    outline(context, shapeOf(scene.kindOf(node.type)), place.x, place.y, drawnRadius(node, view) + more);
    context.stroke();
  };
  for (const id of scene.onWay.nodes) ring(id, colours.mark, 3, 3);
  for (const id of scene.pinned) ring(id, colours.soft, 1.5, 2.5);
  if (scene.hovered) ring(scene.hovered, colours.soft, 1.5, 4);
  if (scene.selected) ring(scene.selected, colours.accent, 2.5, 5);
}

/** Rectangles of the canvas that are taken, found by the cells that they touch. */
class Taken {
  cells = new Map();

  *near(left, top, right, bottom) {
    for (let column = Math.floor(left / CELL.width); column <= Math.floor(right / CELL.width); column += 1) {
      for (let row = Math.floor(top / CELL.height); row <= Math.floor(bottom / CELL.height); row += 1) yield column * 10_000 + row;
    }
  }

  /** Take a rectangle, unless any of it is taken. */
  take(left, top, width, height, isForced = false) {
    const [right, bottom] = [left + width, top + height];
    const keys = [...this.near(left, top, right, bottom)];
    const hits = ([l, t, r, b]) => left < r && l < right && top < b && t < bottom;
    if (!isForced && keys.some((key) => this.cells.get(key)?.some(hits))) return false;
    for (const key of keys) {
      if (this.cells.has(key)) this.cells.get(key).push([left, top, right, bottom]);
      else this.cells.set(key, [[left, top, right, bottom]]);
    }
    return true;
  }
}

function widthOf(context, text) {
  if (!names.has(text)) {
    if (names.size > 20_000) names.clear();
    names.set(text, context.measureText(text).width);
  }
  return names.get(text);
}

function drawNames(context, scene, at, taken) {
  const { colours, size, view } = scene;
  const always = new Set([scene.hovered, scene.selected, ...scene.onWay.nodes]);
  const most = scene.nodes.length <= MANY_LINKS ? 220 : view.scale < CLOSE ? 40 : 120;
  context.font = `12px ${colours.font}`;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = colours.paper;
  context.fillStyle = colours.ink;
  let written = 0;
  if (scene.nodes.length <= FEW_NODES) { // names keep off nodes where there are few; where there are many, nothing could be read at all
    for (const node of scene.nodes) {
      const [place, r] = [at.get(node.id), drawnRadius(node, view)];
      if (place) taken.take(place.x - r, place.y - r, 2 * r, 2 * r, true);
    }
  }
  for (const node of scene.byWeight) {
    const isForced = always.has(node.id);
    if (written >= most && !isForced) continue;
    const place = at.get(node.id);
    if (!place || !inside(place, size, 8)) continue;
    const text = node.id === scene.hovered || node.id === scene.selected ? short(node.name, 40) : short(node.name);
    const [width, r] = [widthOf(context, text), drawnRadius(node, view)];
    const aside = r + 5 + width / 2;
    const spots = [[0, r + 4], [0, -r - 16], [aside, -6], [-aside, -6]].map(([dx, dy]) => [place.x + dx, place.y + dy]);
    const isWhole = (x) => isForced || (x > width / 2 && x < size.width - width / 2); // a name cut off by the edge is left out
    const spot = spots.find(([x, y]) => isWhole(x) && taken.take(x - width / 2, y, width, 13, isForced));
    if (!spot) continue;
    written += 1;
    context.strokeText(text, ...spot);
    context.fillText(text, ...spot);
  }
}

/** What links say: those of the selected and hovered node and of the way; all of them where there are few. */
function drawRelations(context, scene, { special, plain, at }, taken) {
  if (scene.isMoving && scene.links.length > MANY_LINKS) return;
  context.font = `11px ${scene.colours.font}`;
  context.textBaseline = "middle";
  context.fillStyle = scene.colours.soft;
  let written = 0;
  for (const link of scene.links.length <= 120 ? [...special, ...plain] : special) {
    if (written >= 120) return;
    const [a, b] = [at.get(link.a), at.get(link.b)];
    const text = relationsOf(link);
    const width = widthOf(context, text);
    if (link.a !== link.b && Math.hypot(a.x - b.x, a.y - b.y) < width + 24) continue;
    const [x, y] = link.a === link.b ? [a.x + 24, a.y - 26] : [(a.x + b.x) / 2, (a.y + b.y) / 2];
    if (!inside({ x, y }, scene.size, 0) || !taken.take(x - width / 2, y - 6, width, 12)) continue;
    written += 1;
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
}

export const relationsOf = (link) => short([...new Set(link.triples.map((one) => one.relation))].join("、"), 16);

/** The node at a point of the screen, or null; of several the nearest. */
export function nodeAt(scene, point, slack = 6) {
  let best = null;
  let nearest = Infinity;
  for (const node of scene.nodes) {
    const place = scene.places.get(node.id);
    if (!place) continue;
    const { x, y } = project(scene.view, scene.size, place);
    const distance = Math.hypot(x - point.x, y - point.y) - drawnRadius(node, scene.view);
    if (distance < slack && distance < nearest) [best, nearest] = [node, distance];
  }
  return best;
}

/** The nearest node from one in the direction of an arrow key; null when there is none that way. */
export function nodeTowards(scene, id, [dx, dy]) {
  const here = scene.places.get(id);
  let best = null;
  let least = Infinity;
  for (const node of scene.nodes) {
    const place = scene.places.get(node.id);
    if (!place || node.id === id) continue;
    const along = (place.x - here.x) * dx + (place.y - here.y) * dy;
    const across = Math.abs((place.x - here.x) * dy) + Math.abs((place.y - here.y) * dx);
    if (along > 0 && along + 2 * across < least && across <= 2 * along) [best, least] = [node, along + 2 * across];
  }
  return best;
}
