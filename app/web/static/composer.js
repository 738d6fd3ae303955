// The send box: Enter sends, Shift+Enter breaks the line, and nothing typed is ever cut off or lost.

import { say } from "./i18n.js";

const LENGTH_MAX = 4000; // characters, as the server counts them
const COUNT_FROM = 3500;

/** `send(text)` gets what is to be sent. */
export function createComposer(form, send) {
  const input = form.querySelector("#message-input");
  const counter = form.querySelector("#counter");

  const left = () => LENGTH_MAX - [...input.value].length;
  const count = () => {
    counter.hidden = left() > LENGTH_MAX - COUNT_FROM;
    input.setAttribute("aria-invalid", String(left() < 0));
    if (left() < 0) say(counter, "charactersOver", { count: -left() });
    else say(counter, "charactersLeft", { count: left() });
  };
  input.addEventListener("input", count);
  input.addEventListener("keydown", (event) => {
    // While a Korean syllable is being composed, Enter finishes it and must not send half a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    input.focus();
    if (!input.value.trim() || left() < 0) return;
    send(input.value);
    input.value = "";
    count();
  });
  // Where a finger taps, taking the focus would open a keyboard over half the page.
  if (matchMedia("(pointer: fine)").matches) input.focus();

  return {
    focus: () => input.focus(),
    setWhisper(nickname) {
      form.toggleAttribute("data-whisper", Boolean(nickname));
      if (nickname) say(input, "whisperTo", { name: nickname }, "placeholder");
      else say(input, "messageToAll", {}, "placeholder");
    },
    /** Puts a text back, after what has been typed meanwhile. */
    restore(text) {
      input.value = [input.value, text].filter(Boolean).join("\n");
      count();
      input.focus();
    },
  };
}
