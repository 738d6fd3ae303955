// Short notes about what went wrong, spoken by screen readers at once. They go by themselves.

import { say } from "./i18n.js";

const SHOWN_MS = 8000;

/** Shows `text`, or keeps it up longer when it is up already: a failure may be told twice, by an
 * acknowledgement and by an `error_msg`. */
export function toast(text) {
  const list = document.getElementById("toasts");
  const shown = [...list.children].find((note) => note.firstChild.textContent === text);
  shown?.remove();
  const note = shown ?? build(text);
  list.append(note);
  clearTimeout(note.timer);
  note.timer = setTimeout(() => note.remove(), SHOWN_MS);
}

function build(text) {
  const note = document.createElement("div");
  const words = document.createElement("p");
  const close = document.createElement("button");
  note.className = "toast";
  words.textContent = text;
  close.type = "button";
  close.className = "quiet";
  say(close, "close");
  close.addEventListener("click", () => note.remove());
  note.append(words, close);
  return note;
}
