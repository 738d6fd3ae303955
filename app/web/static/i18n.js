// Chooses the page's language and keeps every text on it in that language, also after a switch.
// HTML names its texts with data-i18n, data-i18n-placeholder and so on; scripts call say().

import { recall, remember } from "./storage.js";
import { TEXTS } from "./texts.js";

const PLACES = ["text", "placeholder", "title", "aria-label", "data-note"];
const values = new WeakMap(); // element -> place -> the values in its text

let language = chooseLanguage();

function chooseLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wished = [asked, recall("language")].find((known) => Object.hasOwn(TEXTS, known ?? ""));
  // kept, so that an address with ?lang= also decides for the pages it leads to
  if (wished) remember("language", wished);
  return wished ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");
}

/** The text named `key` in the page's language, with `{name}` replaced by `params.name`. */
export function t(key, params = {}) {
  const formatted = (value) => (typeof value === "number" ? value.toLocaleString(language) : value);
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => formatted(params[name]));
}

/** Shows the text named `key` on `element` (or in one of its attributes), now and after each switch. */
export function say(element, key, params = {}, place = "text") {
  element.setAttribute(attributeOf(place), key);
  values.set(element, { ...values.get(element), [place]: params });
  show(element, place);
}

/** Leaves `element` to a text that has no translation, such as the server's. */
export function sayAsIs(element, text) {
  element.removeAttribute(attributeOf("text"));
  element.textContent = text;
}

/** Translates the page and makes `button` switch its language. */
export function startLanguage(button) {
  button.addEventListener("click", () => {
    language = language === "ko" ? "en" : "ko";
    remember("language", language);
    forgetAskedLanguage();
    showAll();
  });
  showAll();
}

function showAll() {
  document.documentElement.lang = language;
  for (const place of PLACES) {
    for (const element of document.querySelectorAll(`[${attributeOf(place)}]`)) show(element, place);
  }
}

function show(element, place) {
  const text = t(element.getAttribute(attributeOf(place)), values.get(element)?.[place]);
  if (place === "text") element.textContent = text;
  else element.setAttribute(place, text);
}

function attributeOf(place) {
  return place === "text" ? "data-i18n" : `data-i18n-${place}`;
}

// A ?lang= left in the address would win over the switch at the next reload.
function forgetAskedLanguage() {
  const address = new URL(location.href);
  address.searchParams.delete("lang");
  history.replaceState(history.state, "", address);
}
