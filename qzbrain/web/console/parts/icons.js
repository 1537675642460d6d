// Icons as inline SVG: 20 × 20, drawn with the colour of the text round them; hidden from screen readers (their button has the label).
import { html } from "../core/ui.js";

const PATHS = {
  add: "M10 4v12M4 10h12",
  arrowLeft: "M12 4l-6 6 6 6",
  chip: "M6 6h8v8H6zM8 3v3M12 3v3M8 14v3M12 14v3M3 8h3M3 12h3M14 8h3M14 12h3",
  book: "M4 4.5c2.3-.9 4.3-.6 6 .8 1.7-1.4 3.7-1.7 6-.8v10.5c-2.3-.9-4.3-.6-6 .8-1.7-1.4-3.7-1.7-6-.8zM10 5.3v10.5",
  chat: "M4 4.5h12v9H9l-3.5 3v-3H4z",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  chevron: "M5.5 8l4.5 4.5L14.5 8",
  chevronUp: "M5.5 12L10 7.5l4.5 4.5",
  close: "M5 5l10 10M15 5L5 15",
  contrast: "M10 3a7 7 0 100 14 7 7 0 000-14zM10 3v14M10 6l4.5-1M10 9.5l6.5-1M10 13l6-1",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  document: "M5 3h7l3.5 3.5V17H5zM12 3v4h3.5",
  down: "M6 3.5v7.5l3.5 5.5c1.3 0 1.8-1 1.5-2.5l-.5-2.5H15c1 0 1.6-.9 1.3-1.9l-1.3-5c-.2-.7-.7-1.1-1.5-1.1zM6 3.5H3.5v7.5H6",
  download: "M10 3v9.5M6 9l4 4 4-4M4 16.5h12",
  entry: "M4 4h12v12H4zM7 8h6M7 11.5h4",
  external: "M8 4H4v12h12v-4M11 4h5v5M16 4l-7 7",
  folder: "M3 5h5l2 2h7v9H3z",
  globe: "M10 3a7 7 0 100 14 7 7 0 000-14zM3 10h14M10 3c2 2 3 4.3 3 7s-1 5-3 7c-2-2-3-4.3-3-7s1-5 3-7z",
  keyboard: "M2.5 5.5h15v9h-15zM5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 11.7h7",
  menu: "M3.5 5.5h13M3.5 10h13M3.5 14.5h13",
  model: "M6 6h8v8H6zM8 3v3M12 3v3M8 14v3M12 14v3M3 8h3M3 12h3M14 8h3M14 12h3",
  pencil: "M4 16l.8-3.5L13.5 3.8l2.7 2.7-8.7 8.7z",
  refresh: "M16 10a6 6 0 11-1.9-4.4M16 3.2v3.6h-3.6",
  search: "M9 3.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM13 13l4 4",
  send: "M10 16.5v-13M4.5 9L10 3.5 15.5 9",
  side: "M3 4.5h14v11H3zM8 4.5v11",
  stop: "M6 6h8v8H6z",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.8 10.5h7.4L14.5 6M8.5 9v5M11.5 9v5",
  up: "M6 16.5V9l3.5-5.5c1.3 0 1.8 1 1.5 2.5L10.5 8.5H15c1 0 1.6.9 1.3 1.9l-1.3 5c-.2.7-.7 1.1-1.5 1.1zM6 16.5H3.5V9H6",
  upload: "M10 13V3.5M6 7l4-4 4 4M4 16.5h12",
  warning: "M10 3.5l7 12.5H3zM10 8v4M10 14h.01",
};

export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
