// Runs before the first paint, so that a chosen theme or language never flashes over the system's. A classic script: modules run later.
(() => {
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const value = (key) => { try { return JSON.parse(stored(key)); } catch { return null; } };
  const theme = value("qzbrain.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const lang = value("qzbrain.lang") || (/^en\b/i.test(navigator.language) ? "en" : "zh");
  document.documentElement.lang = lang === "en" ? "en" : "zh-CN";
})();
