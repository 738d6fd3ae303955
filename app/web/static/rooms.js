// The list of rooms that exist, asked for again and again while the page is looked at.

import { say } from "./i18n.js";
import { reconcile } from "./keyed.js";

const REFRESH_MS = 4000;
const TIMEOUT_MS = 8000;

/** The page of a room, or "" for a name that an address cannot hold: browsers resolve "/.." themselves. */
export function addressOf(room) {
  const name = room.normalize("NFKC").trim();
  return ["", ".", ".."].includes(name) ? "" : `/${encodeURIComponent(name)}`;
}

/** Keeps `parts.list` fresh; `parts.note` tells what the list itself cannot. */
export async function watchRooms(parts) {
  if (!document.hidden) await refresh(parts);
  setTimeout(() => watchRooms(parts), REFRESH_MS);
}

async function refresh({ list, note }) {
  try {
    const answer = await fetch("/rooms.json", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(`expected the list of rooms, got status ${answer.status}`);
    const { rooms, truncated } = await answer.json();
    show(list, rooms);
    tell(note, rooms.length ? truncated && "moreRooms" : "noRooms");
  } catch (error) {
    console.warn(error); // the old list stays, and the next round tries again
    tell(note, "roomsFailed");
  }
}

function show(list, rooms) {
  const members = new Map(rooms.map((each) => [each.room, each.members]));
  for (const [room, item] of reconcile(list, members.keys(), build)) {
    say(item.querySelector(".members"), "memberCount", { count: members.get(room) });
  }
}

function tell(note, key) {
  note.hidden = !key;
  if (key) say(note, key);
}

function build(room) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  const name = document.createElement("span");
  const members = document.createElement("span");
  item.dataset.room = room;
  link.href = addressOf(room);
  name.className = "name";
  name.textContent = room;
  members.className = "members";
  link.append(name, members);
  item.append(link);
  return item;
}
