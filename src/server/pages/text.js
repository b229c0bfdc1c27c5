// Words of the pages, in the reader's language.
import en from "./text-en.js";
import fa from "./text-fa.js";

const LANGUAGES = {
  en: { name: "English", direction: "ltr", words: en },
  fa: { name: "فارسی", direction: "rtl", words: fa },
};

const wanted = [localStorage.getItem("language"), ...navigator.languages.map((tag) => tag.split("-")[0])];
export const language = wanted.find((code) => code in LANGUAGES) ?? "en";
const { words, direction } = LANGUAGES[language];

const wording = (key) => words[key] ?? en[key] ?? key;
/** The words for `key`, with `{name}` replaced. */
export const t = (key, values = {}) => wording(key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
/** The same as nodes, for values that are elements. */
export const phrase = (key, values) => wording(key).split(/\{(\w+)\}/).map((part, index) => (index % 2 ? values[part] : part));

const isolate = (textContent, attributes) => Object.assign(document.createElement("bdi"), { textContent }, attributes);
/** Words that keep their own direction, whatever is written beside them. */
export const piece = (text) => isolate(text);
/** A figure with its unit, or a name: written from left to right. */
export const ltr = (text) => isolate(text, { dir: "ltr" });
/** What the server says, which is English. */
export const english = (text) => isolate(text, { dir: "ltr", lang: "en" });
/** Pieces one after the other, without those that are absent. */
export const listed = (pieces) => pieces.filter(Boolean).flatMap((piece, index) => (index ? [" · ", piece] : [piece]));

/** Puts nodes into an element, unless it says the same already: what is spoken aloud is spoken once. */
export function put(element, nodes) {
  const made = document.createElement("span");
  made.append(...nodes);
  if (element.textContent !== made.textContent) element.replaceChildren(...made.childNodes);
}

const decimals = [0, 1].map((digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }));
/** A number as the reader writes it. */
export const number = (value, digits = 0) => decimals[digits].format(value);
const percents = [0, 1].map((digits) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits }));
/** A share, as the reader writes it. */
export const percent = (share, digits = 0) => percents[digits].format(share);
/** A time of day. */
export const clock = (ms) => new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(ms);

/** Puts words on everything that asks for them, and offers the other languages. */
export function translate() {
  document.documentElement.lang = language;
  document.documentElement.dir = direction;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.ariaLabel = t(element.dataset.tLabel);
  const choice = document.getElementById("language");
  for (const [code, { name }] of Object.entries(LANGUAGES)) choice?.append(new Option(name, code, false, code === language));
  choice?.addEventListener("change", () => {
    localStorage.setItem("language", choice.value);
    location.reload();
  });
}
