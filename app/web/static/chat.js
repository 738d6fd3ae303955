// What the room and the lobby share: wires the socket's events to the parts of the page.

import { createComposer } from "./composer.js";
import { connect, request } from "./connection.js";
import { startLanguage } from "./i18n.js";
import { createMessages } from "./messages.js";
import { createNickname } from "./nickname.js";
import { createOutbox } from "./outbox.js";
import { createPanel } from "./panel.js";
import { createTarget } from "./target.js";
import { toast } from "./toast.js";
import { createUsers } from "./users.js";

const part = (id) => document.getElementById(id);

/** `options(nickname)` gives what connect() takes. Returns the socket and our nickname. */
export function startChat(namespace, options) {
  startLanguage(part("language"));
  const messages = createMessages(part("messages"), part("to-latest"));
  const panel = createPanel(part("people-toggle"), part("people"));
  const composer = createComposer(part("composer"), (msg) => {
    outbox.send({ to: target.value, msg, id: newId() });
  });
  const target = createTarget(part("target"), composer.setWhisper);
  const users = createUsers(
    {
      list: part("users"),
      counts: document.querySelectorAll(".count"),
      more: part("users-more"),
      alone: part("users-alone"),
    },
    (member) => {
      target.choose(member);
      panel.close();
      composer.focus();
    },
  );
  const nickname = createNickname(
    part("nickname-form"),
    (wanted) => request(socket, "changename", { nickname: wanted }),
    (mine) => {
      users.setMe(mine);
      target.setMe(mine);
    },
  );
  const outbox = createOutbox(
    part("outbox"),
    (payload) => request(socket, "send_msg", payload),
    ({ to, msg }) => {
      target.choose(to);
      composer.restore(msg);
    },
  );
  const socket = connect(namespace, options(nickname));

  markGaps(socket, messages);
  socket.on("changename", (event) => nickname.setCurrent(event.nickname));
  socket.on("userlist", (list) => {
    users.update(list);
    target.update(list);
  });
  socket.on("broadcast_msg", (event) => {
    if (event.type === "rename") followRename(event, nickname, target);
    messages.add(entryOf(event, nickname.current));
  });
  socket.on("error_msg", (error) => toast(error.message));
  return { socket, nickname };
}

function followRename({ old, nickname: renamed }, nickname, target) {
  if (old === nickname.current) nickname.setCurrent(renamed);
  target.renamed(old, renamed);
}

function entryOf({ msg, type, nickname, to }, me) {
  const own = nickname === me;
  const entry = { text: msg, type, nickname, own };
  if (type !== "whisper") return entry;
  return { ...entry, note: own ? { key: "whisperedTo", params: { name: to } } : { key: "onlyYou" } };
}

// After a break that the server did not bridge, says so ahead of the first thing that follows it.
function markGaps(socket, messages) {
  let broken = false;
  const mark = () => {
    if (broken && !socket.recovered) messages.add({ key: "gap", type: "gap" });
    broken = false;
  };
  socket.on("disconnect", () => (broken = true));
  socket.on("broadcast_msg", mark);
  socket.on("connect", mark);
}

// Not randomUUID(), which a page on plain http has only on localhost.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
