// Words and formats in the reader's language. Chinese and English lie in one file each with the same keys (a test compares them).
import en from "../lang/en.js";
import zh from "../lang/zh.js";
import { remembered, useStore } from "./store.js";

const WORDS = { zh, en };

export const lang = remembered("qzbrain.lang", /^en\b/i.test(navigator.language) ? "en" : "zh", (value) => value in WORDS);
lang.subscribe((value) => {
  document.documentElement.lang = value === "en" ? "en" : "zh-CN";
});

/** The sentence for `key` with `{name}` filled in. A key with forms `key.one` uses it where `values.n` is 1. */
export function t(key, values = {}) {
  const words = WORDS[lang.get()];
  const form = String(values.n) === "1" && `${key}.one` in words ? `${key}.one` : key;
  return (words[form] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** For components: renders again when the language changes. */
export function useWords() {
  useStore(lang);
  return t;
}

const locale = () => (lang.get() === "en" ? "en-GB" : "zh-CN");
const cache = new Map();

function formatter(kind, options) {
  const key = `${kind}|${locale()}|${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl[kind](locale(), options));
  return cache.get(key);
}

export const number = (value) => formatter("NumberFormat", {}).format(value);

/** 1.2 MB, 640 KB, 12 B: decimal units, as file managers and the CLI show them. */
export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const options = { style: "unit", unit: units[step], unitDisplay: "narrow", maximumFractionDigits: step > 1 ? 1 : 0 };
  return formatter("NumberFormat", options).format(bytes / 1000 ** step);
}

/** "3 秒", "2 min", "5 hr", "3 days": an expected or elapsed time. */
export function duration(seconds) {
  const [unit, length] = seconds < 90 ? ["second", 1] : seconds < 5400 ? ["minute", 60] : seconds < 172_800 ? ["hour", 3600] : ["day", 86_400];
  const value = Math.max(1, Math.round(seconds / length));
  return formatter("NumberFormat", { style: "unit", unit, unitDisplay: "short" }).format(value);
}

/** "340 毫秒", "1.2 s": how long something took. */
export function milliseconds(ms) {
  const unit = ms < 1000 ? "millisecond" : "second";
  const digits = ms < 10 || ms >= 1000 ? 1 : 0;
  return formatter("NumberFormat", { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format(unit === "second" ? ms / 1000 : ms);
}

const DAY_MS = 86_400_000;
const midnight = (time) => new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();

/** Day of a conversation: today, yesterday, or the date. */
export function day(iso) {
  const time = new Date(iso);
  const days = Math.round((midnight(new Date()) - midnight(time)) / DAY_MS);
  if (days <= 0) return t("day.today");
  if (days === 1) return t("day.yesterday");
  if (days < 7) return t("day.week");
  const options = time.getFullYear() === new Date().getFullYear() ? { month: "long" } : { year: "numeric", month: "long" };
  return formatter("DateTimeFormat", options).format(time);
}

/** Date and time, short. */
export function dateTime(iso) {
  return formatter("DateTimeFormat", { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hour12: false }).format(new Date(iso));
}

/** A calendar day with its year. */
export const calendarDay = (iso) => formatter("DateTimeFormat", { year: "numeric", month: "2-digit", day: "2-digit" }).format(new Date(iso));
