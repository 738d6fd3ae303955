// What was sent and is not acknowledged: shown when it takes long, kept with "try again" when it fails.

import { say, sayAsIs } from "./i18n.js";

const SHOWN_AFTER_MS = 600; // an ordinary send is acknowledged long before, and would only flicker

/** `deliver(payload)` sends and gives the acknowledgement; `edit(payload)` takes a failed message back. */
export function createOutbox(list, deliver, edit) {
  const attempt = async (item, payload) => {
    const show = () => item.isConnected || list.append(item);
    const late = setTimeout(show, SHOWN_AFTER_MS);
    setState(item, "sending", "sending");
    try {
      const answer = await deliver(payload);
      if (answer.ok) return item.remove();
      setState(item, "failed", null, answer.error.message);
    } catch (error) {
      // The two ways in which the stock client gives up on an acknowledgement.
      setState(item, "failed", /disconnected/.test(error.message) ? "disconnected" : "unsent");
    } finally {
      clearTimeout(late);
    }
    show();
  };
  return {
    send(payload) {
      const item = build(payload);
      // The same payload, message id included: a retry of what did arrive is then in the log once.
      onAction(item, "retry", () => attempt(item, payload));
      onAction(item, "edit", () => {
        item.remove();
        edit(payload);
      });
      onAction(item, "discard", () => item.remove());
      attempt(item, payload);
    },
  };
}

function setState(item, state, key, reason = "") {
  const words = item.querySelector(".reason");
  item.dataset.state = state;
  if (key) say(words, key);
  else sayAsIs(words, reason);
}

function onAction(item, name, action) {
  item.querySelector(`[data-action="${name}"]`).addEventListener("click", action);
}

function build({ msg, to = "ALL" }) {
  const item = document.createElement("li");
  const text = document.createElement("p");
  const reason = document.createElement("p");
  const actions = document.createElement("div");
  text.className = "text";
  text.textContent = msg;
  if (to !== "ALL") say(text, "whisperedTo", { name: to }, "data-note");
  reason.className = "reason";
  actions.className = "actions";
  actions.append(button("retry", "tryAgain"), button("edit", "edit"), button("discard", "discard"));
  item.append(text, reason, actions);
  return item;
}

function button(action, key) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "quiet";
  element.dataset.action = action;
  say(element, key);
  return element;
}
