// Values that several components share. A store holds one value; who uses it renders again when it changes.
import { useEffect, useState } from "./ui.js";

/** A value with listeners: `get()`, `set(value)`, `update(fn)`, `subscribe(fn)` → function that ends it. */
export function store(value) {
  const listeners = new Set();
  const self = {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    update: (change) => self.set(change(value)),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return self;
}

/** The value of a store, within a component. */
export function useStore(source) {
  const [, redraw] = useState(0);
  const shown = source.get();
  useEffect(() => {
    const end = source.subscribe(() => redraw((n) => n + 1));
    if (shown !== source.get()) redraw((n) => n + 1); // changed between this rendering and now, when nobody listened
    return end;
  }, [source]);
  return shown;
}

/** A store that this browser remembers under `key`. */
export function remembered(key, fallback, isValid = () => true) {
  const self = store(read(key, fallback, isValid));
  self.subscribe((value) => {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // Storage is full or refused (private window): the choice then lasts as long as the page.
    }
  });
  return self;
}

function read(key, fallback, isValid) {
  try {
    const value = JSON.parse(localStorage.getItem(key));
    return value !== null && isValid(value) ? value : fallback;
  } catch {
    return fallback;
  }
}
