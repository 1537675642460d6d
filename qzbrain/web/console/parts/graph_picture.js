// The node-link picture: a canvas that is moved by pointer, wheel, fingers and keys. What it shows comes in as props; positions and the view live here.
import { notify } from "./toasts.js";
import { pngOf, save, svgOf } from "../core/graph_files.js";
import { Layout } from "../core/graph_layout.js";
import { draw, fitting, nodeAt, nodeTowards, palette, unproject } from "../core/graph_scene.js";
import { number, useWords } from "../core/i18n.js";
import { announce } from "../core/live.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../core/ui.js";
import { IconButton, Menu } from "./controls.js";
import { Icon } from "./icons.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ZOOM = { min: 0.03, max: 6, step: 1.3 };
const SLOP = 4; // pixels that a click may tremble
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

/** All that moves the picture: the scene, its view, and how they react. Made once a picture. */
class Stage {
  constructor(canvas, told) {
    Object.assign(this, { canvas, told, frame: 0, isFollowing: true, pointers: new Map() });
    this.scene = {
      nodes: [], links: [], byId: new Map(), byWeight: [], size: { width: 0, height: 0 }, ratio: 1, view: { x: 0, y: 0, scale: 1 }, colours: palette(canvas),
      kindOf: () => -1, selected: "", hovered: null, pinned: new Set(), onWay: { nodes: new Set(), links: new Set() }, isMoving: false,
    };
    this.layout = new Layout({ onMove: (isDone) => this._moved(isDone), onState: (state) => told.onLayout(state) });
    Object.assign(this.scene, { places: this.layout.places, pinned: this.layout.pinned });
  }

  show({ nodes, links, kindOf, selected, onWay }) {
    const { scene } = this;
    const isOther = nodes !== scene.nodes || links !== scene.links;
    Object.assign(scene, { nodes, links, kindOf, selected, onWay });
    if (isOther) {
      scene.byId = new Map(nodes.map((node) => [node.id, node]));
      scene.byWeight = [...nodes].sort((a, b) => b.degree - a.degree || Number(a.id) - Number(b.id));
      if (!scene.byId.has(scene.hovered)) scene.hovered = null;
      this.isFollowing ||= !nodes.length;
      this.layout.show(nodes, links);
    }
    this.redraw();
  }

  _moved(isDone) {
    if (still.matches && isDone === false) return; // less motion asked for: only where it ends
    if (this.isFollowing) this.scene.view = this._fit();
    this.redraw();
  }

  _fit() {
    return fitting(this.scene.nodes.map((node) => this.scene.places.get(node.id)).filter(Boolean), this.scene.size);
  }

  fit() {
    this.isFollowing = true;
    this.scene.view = this._fit();
    this.redraw();
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const begun = performance.now();
      draw(this.canvas.getContext("2d", { alpha: false }), this.scene);
      this.told.onDrawn(performance.now() - begun);
    });
  }

  resize() {
    const { canvas, scene } = this;
    const { width, height } = canvas.parentElement.getBoundingClientRect();
    if (!width || !height) return;
    scene.size = { width, height };
    scene.ratio = Math.min(2, window.devicePixelRatio || 1);
    Object.assign(canvas, { width: Math.round(width * scene.ratio), height: Math.round(height * scene.ratio) });
    if (this.isFollowing) scene.view = this._fit();
    this.redraw();
  }

  zoom(by, at = { x: this.scene.size.width / 2, y: this.scene.size.height / 2 }) {
    const { scene } = this;
    this.isFollowing = false;
    const before = unproject(scene.view, scene.size, at);
    scene.view = { ...scene.view, scale: Math.min(ZOOM.max, Math.max(ZOOM.min, scene.view.scale * by)) };
    const after = unproject(scene.view, scene.size, at);
    scene.view.x += before.x - after.x;
    scene.view.y += before.y - after.y;
    this.redraw();
  }

  pan(dx, dy) {
    const { view } = this.scene;
    this.isFollowing = false;
    this.scene.view = { ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale };
    this.redraw();
  }

  hover(id) {
    if (id === this.scene.hovered) return;
    this.scene.hovered = id;
    this.canvas.classList.toggle("on-node", Boolean(id));
    this.redraw();
  }

  /** Bring a node into sight, if it is not. */
  reveal(id) {
    const { places, size, view } = this.scene;
    const place = places.get(id);
    if (!place) return;
    const x = size.width / 2 + (place.x - view.x) * view.scale;
    const y = size.height / 2 + (place.y - view.y) * view.scale;
    if (x < 30 || y < 30 || x > size.width - 30 || y > size.height - 30) this.pan(size.width / 2 - x, size.height / 2 - y);
  }

  pin(id, isPinned) {
    this.layout.pin(id, isPinned);
    this.redraw();
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (event.button > 0) return;
    const at = this.point(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, at);
    const node = this.pointers.size === 1 ? nodeAt(this.scene, at, event.pointerType === "touch" ? 14 : 6) : null;
    this.press = { at, node, isDrag: false };
  }

  move(event) {
    const at = this.point(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.hover(nodeAt(this.scene, at)?.id ?? null);
      return;
    }
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) this._pinch(before, at, event.pointerId);
    else this._drag(before, at);
  }

  _drag(before, at) {
    const { press, scene } = this;
    press.isDrag ||= Math.hypot(at.x - press.at.x, at.y - press.at.y) > SLOP;
    if (!press.isDrag) return;
    scene.isMoving = true;
    if (press.node) {
      this.isFollowing = false;
      const { x, y } = unproject(scene.view, scene.size, at);
      this.layout.place(press.node.id, x, y, true);
    } else this.pan(at.x - before.x, at.y - before.y);
  }

  _pinch(before, at, id) {
    this.press.isDrag = true;
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    this.zoom(Math.hypot(at.x - other.x, at.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y)), other);
  }

  up(event) {
    const { press, scene } = this;
    if (!this.pointers.delete(event.pointerId) || !press) return;
    scene.isMoving = false;
    if (press.isDrag && press.node) {
      const { x, y } = scene.places.get(press.node.id);
      this.layout.place(press.node.id, x, y, false);
      this.told.onPinned();
    } else if (!press.isDrag && press.node && event.type === "pointerup") this.told.onPick(press.node.id);
    this.redraw();
  }

  wheel(event) {
    event.preventDefault();
    this.scene.isMoving = true;
    clearTimeout(this.calm);
    this.calm = setTimeout(() => {
      this.scene.isMoving = false;
      this.redraw();
    }, 150);
    this.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) / 400), this.point(event));
  }

  end() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.calm);
    this.layout.end();
  }
}

/** `nodes` and `links` as `filtered` gives them; `onPick(id)` on a click or Enter; `stageRef` gets the Stage. */
export function GraphPicture({ name, nodes, links, kindOf, selected, onWay, onPick, onHide, onPinned, stageRef, isBusy }) {
  const words = useWords();
  const canvas = useRef(null);
  const stage = useRef(null);
  const latest = useRef({});
  const [layout, setLayout] = useState("still");
  latest.current = { onPick, onPinned, onHide };
  useLayoutEffect(() => {
    const made = new Stage(canvas.current, {
      onLayout: setLayout, onDrawn: (ms) => { canvas.current.dataset.drawn = ms.toFixed(1); },
      onPick: (id) => latest.current.onPick(id), onPinned: () => latest.current.onPinned(),
    });
    stage.current = stageRef.current = made;
    const wheel = (event) => made.wheel(event);
    canvas.current.addEventListener("wheel", wheel, { passive: false });
    const watch = new ResizeObserver(() => made.resize());
    watch.observe(canvas.current.parentElement);
    const recolour = () => {
      made.scene.colours = palette(canvas.current);
      made.redraw();
    };
    const theme = new MutationObserver(recolour);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", recolour);
    made.resize();
    return () => {
      watch.disconnect();
      theme.disconnect();
      dark.removeEventListener("change", recolour);
      stageRef.current = null;
      made.end();
    };
  }, []);
  useLayoutEffect(() => {
    const other = stage.current.scene.selected !== selected;
    stage.current.show({ nodes, links, kindOf, selected, onWay });
    if (other && selected) stage.current.reveal(selected);
  }, [nodes, links, kindOf, selected, onWay]);
  const tell = (node) => announce(words("graph.nodeTold", { name: node.name, type: node.type || words("graph.untyped"), n: number(node.degree) }));
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const made = stage.current;
    const cursor = made.scene.byId.has(made.scene.hovered) ? made.scene.hovered : made.scene.byId.has(selected) ? selected : nodes[0]?.id;
    const isKnown = keyAction(event, made, cursor, latest.current, tell);
    if (!isKnown) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const files = ["png", "svg"].map((key) => ({ key, label: words(`graphPicture.${key}`) }));
  const store = async (kind) => {
    const { scene } = stage.current;
    save(kind === "png" ? await pngOf(scene) : svgOf(scene), `${name}-graph.${kind}`);
    notify(words("graph.saved"));
  };
  return html`<div class="graph-picture" data-layout=${layout} data-nodes=${nodes.length} data-links=${links.length} aria-busy=${isBusy}>
    <div class="graph-canvas"><canvas ref=${canvas} tabindex="0" role="application" aria-label=${words("graph.pictureLabel", { n: number(nodes.length), m: number(links.length) })}
      aria-describedby="graph-keys" onKeyDown=${onKeyDown} onPointerDown=${(e) => stage.current.down(e)} onPointerMove=${(e) => stage.current.move(e)}
      onPointerUp=${(e) => stage.current.up(e)} onPointerCancel=${(e) => stage.current.up(e)} onPointerLeave=${() => stage.current.hover(null)}></canvas></div>
    <p id="graph-keys" class="hidden">${words("graph.keys")}</p>
    <div class="graph-tools" role="toolbar" aria-label=${words("graph.tools")}>
      <${IconButton} icon="zoomIn" label=${words("graph.zoomIn")} onClick=${() => stage.current.zoom(ZOOM.step)} />
      <${IconButton} icon="zoomOut" label=${words("graph.zoomOut")} onClick=${() => stage.current.zoom(1 / ZOOM.step)} />
      <${IconButton} icon="fit" label=${words("graph.fit")} onClick=${() => stage.current.fit()} />
      <${IconButton} icon="freeze" label=${words("graph.freeze")} pressed=${layout === "frozen"} onClick=${() => stage.current.layout.freeze(layout !== "frozen")} />
      <${Menu} label=${words("graph.savePicture")} items=${files} onPick=${store}><${Icon} name="download" /><//>
    </div>
  </div>`;
}

function keyAction(event, stage, cursor, { onPick, onHide, onPinned }, tell) {
  const arrow = ARROWS[event.key];
  if (arrow && event.shiftKey) stage.pan(-60 * arrow[0], -60 * arrow[1]);
  else if (arrow && cursor) {
    const isAt = stage.scene.hovered === cursor || stage.scene.selected === cursor;
    const next = isAt ? nodeTowards(stage.scene, cursor, arrow) : stage.scene.byId.get(cursor);
    if (next) {
      stage.hover(next.id);
      stage.reveal(next.id);
      tell(next);
    }
  } else if ((event.key === "Enter" || event.key === " ") && cursor) onPick(cursor);
  else if (event.key === "+" || event.key === "=") stage.zoom(ZOOM.step);
  else if (event.key === "-") stage.zoom(1 / ZOOM.step);
  else if (event.key === "0") stage.fit();
  else if (event.key === "p" && cursor) {
    stage.pin(cursor, !stage.layout.pinned.has(cursor));
    onPinned();
  } else if (event.key === "Delete" && cursor) onHide(cursor);
  else return false;
  return true;
}
