// Whom the next message is for: everybody, or one member. A member who left stays chosen and is marked:
// falling back to everybody would tell all what was meant for one.

import { say, sayAsIs } from "./i18n.js";
import { reconcile } from "./keyed.js";

const ALL = "ALL";

/** `changed(nickname)` is called with the member chosen, or with "" for everybody. */
export function createTarget(select, changed) {
  let members = [];
  let complete = true;
  let me = "";
  let chosen = ALL;

  const show = () => {
    const others = members.filter((name) => name !== me);
    const missing = chosen !== ALL && !others.includes(chosen);
    const keys = [ALL, ...others, ...(missing ? [chosen] : [])];
    const options = reconcile(select, keys, option);
    // A list cut short says nothing about who has left.
    for (const [name, element] of options) label(element, name, missing && complete && name === chosen);
    select.value = chosen;
  };
  const choose = (nickname) => {
    chosen = nickname;
    show();
    changed(chosen === ALL ? "" : chosen);
  };
  select.addEventListener("change", () => choose(select.value));
  show();

  return {
    get value() {
      return chosen;
    },
    choose,
    update({ users, truncated = false }) {
      members = users;
      complete = !truncated;
      show();
    },
    setMe(nickname) {
      me = nickname;
      show();
    },
    /** Follows a member to a new nickname. */
    renamed(old, nickname) {
      if (chosen === old) choose(nickname);
    },
  };
}

function option(name) {
  const element = document.createElement("option");
  element.value = name;
  return element;
}

function label(element, name, gone) {
  if (name === ALL) say(element, "everyone");
  else if (gone) say(element, "gone", { name });
  else sayAsIs(element, name);
}
