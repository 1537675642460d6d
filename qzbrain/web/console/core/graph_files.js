// The picture as a file: PNG as it would be drawn, larger; SVG to be edited. The whole picture, not the part that is seen.
import { colourOf, draw, drawnRadius, fitting, points, project, relationsOf, shapeOf, short } from "./graph_scene.js";

const SVG = "http://www.w3.org/2000/svg";
const SIDE = { min: 900, max: 4000 };

function whole(scene) {
  const side = Math.max(SIDE.min, Math.min(SIDE.max, 60 * Math.sqrt(scene.nodes.length) * 2));
  const size = { width: Math.round(side * 1.4), height: Math.round(side) };
  const view = fitting(scene.nodes.map((node) => scene.places.get(node.id)).filter(Boolean), size);
  return { ...scene, size, view, hovered: null, isMoving: false };
}

export function pngOf(scene) {
  const drawn = whole(scene);
  const ratio = drawn.size.width > 2500 ? 1 : 2;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: drawn.size.width * ratio, height: drawn.size.height * ratio });
  draw(canvas.getContext("2d"), { ...drawn, ratio });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export function svgOf(scene) {
  const { colours, kindOf, links, nodes, onWay, places, size, view } = whole(scene);
  const at = (id) => project(view, size, places.get(id));
  const root = element("svg", { xmlns: SVG, width: size.width, height: size.height, viewBox: `0 0 ${size.width} ${size.height}`, "font-family": "sans-serif" });
  root.append(element("rect", { width: size.width, height: size.height, fill: colours.paper }));
  for (const link of links) {
    const [a, b] = [at(link.a), at(link.b)];
    const isWay = onWay.links.has(link.key);
    root.append(element("line", { x1: a.x.toFixed(1), y1: a.y.toFixed(1), x2: b.x.toFixed(1), y2: b.y.toFixed(1), stroke: isWay ? colours.mark : colours.line, "stroke-width": isWay ? 3 : 1 }));
    root.append(element("text", { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, "font-size": 10, fill: colours.soft, "text-anchor": "middle" }, relationsOf(link)));
  }
  for (const node of nodes) {
    const { x, y } = at(node.id);
    const [kind, r] = [kindOf(node.type), drawnRadius(node, view)];
    const [shape, fill] = [shapeOf(kind), colours.kinds[colourOf(kind)]];
    const drawn = shape === "circle" ? element("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: r.toFixed(1), fill }) : element("polygon", { points: points(shape, x, y, r), fill });
    drawn.append(element("title", {}, node.type ? `${node.name} (${node.type})` : node.name));
    root.append(drawn, element("text", { x: x.toFixed(1), y: (y + r + 14).toFixed(1), "font-size": 12, fill: colours.ink, "text-anchor": "middle" }, short(node.name)));
  }
  return new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" });
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (key !== "xmlns") made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** Have the browser save something under a name. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
