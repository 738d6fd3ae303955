// The list of members: ourselves first, the others by name, each a button that picks whom to whisper to.

import { say } from "./i18n.js";
import { reconcile } from "./keyed.js";

const byName = new Intl.Collator(undefined, { numeric: true }).compare;

/**
 * `parts`: the elements list, counts (several), more and alone. `pick(nickname)` is called for a member chosen.
 */
export function createUsers(parts, pick) {
  let last = { users: [], count: 0, truncated: false };
  let me = "";

  const show = () => {
    const others = last.users.filter((name) => name !== me).sort(byName);
    // In a list cut short we may be missing, and are here all the same.
    const here = others.length < last.users.length || (last.truncated && me !== "");
    const keys = others.map((name) => `other ${name}`);
    if (here) keys.unshift(`me ${me}`);
    reconcile(parts.list, keys, (key) => build(key, pick));
    for (const place of parts.counts) place.textContent = last.count.toLocaleString();
    say(parts.more, "shownOf", { shown: last.users.length, count: last.count });
    parts.more.hidden = !last.truncated;
    parts.alone.hidden = !(here && last.count === 1);
  };
  return {
    update({ users, count = users.length, truncated = false }) {
      last = { users, count, truncated };
      show();
    },
    setMe(nickname) {
      me = nickname;
      show();
    },
  };
}

// The key says which of the two it is, so that a rename to or from "me" builds the element anew.
function build(key, pick) {
  const mine = key.startsWith("me ");
  const nickname = key.slice(key.indexOf(" ") + 1);
  const item = document.createElement("li");
  const name = document.createElement(mine ? "span" : "button");
  item.dataset.nickname = nickname;
  name.className = "user";
  name.textContent = nickname;
  item.append(name);
  if (mine) {
    item.dataset.own = "";
    say(name, "me", {}, "data-note");
    return item;
  }
  name.type = "button";
  say(name, "whisperTo", { name: nickname }, "title");
  name.addEventListener("click", () => pick(nickname));
  return item;
}
