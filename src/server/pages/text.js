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

/** The words for `key`, with `{name}` replaced. */
export function t(key, values = {}) {
  const text = words[key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

const decimals = [0, 1].map((digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }));
/** A number as the reader writes it. */
export const number = (value, digits = 0) => decimals[digits].format(value);
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
