// Search and jump: conversations, knowledge bases and what the console can do, by typing.
import { lang, useWords } from "../core/i18n.js";
import { baseTitle, conversations, knowledgeBases, theme } from "../core/lists.js";
import { address, go } from "../core/router.js";
import { isAtLeast } from "../core/session.js";
import { useStore } from "../core/store.js";
import { html, useState } from "../core/ui.js";
import { Dialog } from "./controls.js";
import { Icon } from "./icons.js";
import { chooseFiles } from "./upload.js";

const MOST = 30;

export function Palette({ onClose, onKeys }) {
  const words = useWords();
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const entries = usePlaces(words, onKeys).filter((entry) => matches(entry.label, query)).slice(0, MOST);
  const selected = Math.min(at, entries.length - 1);
  const run = (entry) => {
    onClose();
    entry.run();
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setAt((selected + step + entries.length) % Math.max(entries.length, 1));
    } else if (event.key === "Enter" && entries[selected]) {
      event.preventDefault();
      run(entries[selected]);
    }
  };
  return html`<${Dialog} title=${words("palette.title")} onClose=${onClose} className="palette">
    <input type="search" autofocus role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant=${entries.length ? `palette-${selected}` : undefined}
      aria-label=${words("palette.label")} placeholder=${words("palette.label")} value=${query} onKeyDown=${onKeyDown}
      onInput=${(event) => { setQuery(event.target.value); setAt(0); }} />
    <ul id="palette-list" role="listbox" aria-label=${words("palette.title")}>
      ${entries.map((entry, index) => html`<li key=${entry.key} id=${`palette-${index}`} role="option" aria-selected=${index === selected} onClick=${() => run(entry)}
        ref=${(element) => index === selected && element?.scrollIntoView({ block: "nearest" })}><${Icon} name=${entry.icon} />${entry.label}</li>`)}
    </ul>
    ${!entries.length && html`<p class="empty">${words("palette.none")}</p>`}
  <//>`;
}

const matches = (label, query) => query.toLowerCase().split(/\s+/).every((word) => label.toLowerCase().includes(word));

function usePlaces(words, onKeys) {
  const places = [
    { key: "new", icon: "add", label: words("rail.new"), run: () => go("/") },
    { key: "knowledge", icon: "book", label: words("rail.knowledge"), run: () => go("/knowledge") },
    { key: "graph", icon: "graph", label: words("rail.graph"), run: () => go("/graph") },
    { key: "models", icon: "chip", label: words("rail.models"), run: () => go("/models") },
    ...(isAtLeast("administrator") ? [{ key: "system", icon: "pulse", label: words("rail.system"), run: () => go("/system") }] : []),
    { key: "upload", icon: "upload", label: words("upload.files"), run: () => chooseFiles() },
    { key: "theme", icon: "contrast", label: words("palette.theme"), run: () => theme.update((now) => (now === "dark" ? "light" : "dark")) },
    { key: "lang", icon: "globe", label: words("palette.language"), run: () => lang.update((now) => (now === "zh" ? "en" : "zh")) },
    { key: "keys", icon: "keyboard", label: words("keys.title"), run: onKeys },
  ];
  const bases = useStore(knowledgeBases).rows.map((base) => ({ key: `b${base.id}`, icon: "book", label: baseTitle(base), run: () => go(address.knowledge(base.name)) }));
  const talks = useStore(conversations).rows.map((row) => ({ key: `c${row.id}`, icon: "chat", label: row.title || words("rail.untitled"), run: () => go(address.chat(row.id)) }));
  return [...places, ...bases, ...talks];
}
