// Shows how the connection is doing: the state beside the page's name, and why the server refused us.

import { say, sayAsIs } from "./i18n.js";

/** `state` is "online" or "offline"; the page itself begins with "connecting". */
export function showState(state) {
  const place = document.getElementById("state");
  if (place.dataset.state === state) return; // a live region set again is read out again
  place.dataset.state = state;
  say(place, state);
}

/** Says why we are not in, with a button that tries again before the page does so by itself. */
export function showRefusal(reason, retry) {
  const banner = document.getElementById("refused");
  banner.hidden = false;
  say(banner.querySelector("p"), "refused", { reason });
  banner.querySelector("button").onclick = retry;
}

export function hideRefusal() {
  const banner = document.getElementById("refused");
  banner.hidden = true;
  sayAsIs(banner.querySelector("p"), "");
}
