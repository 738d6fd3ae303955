// The conversation on the page: adds entries in the order they come, follows the newest only for a reader
// who is there, and keeps the page from growing.

import { say } from "./i18n.js";

const SHOWN_MAX = 500;
const FLUSH_MS = 30; // one layout for a burst of messages, and no delay anyone sees
const AT_BOTTOM_PX = 48;
const HUES = 6; // colours for names in log.css

/** `log` scrolls and holds the entries; `jump` is the button that leads back to the newest. */
export function createMessages(log, jump) {
  const waiting = [];
  let timer = 0;
  let unread = 0;
  let following = true;
  let minute = "";

  const toBottom = () => {
    log.scrollTop = log.scrollHeight;
    following = true;
    unread = 0;
    jump.hidden = true;
  };
  const flush = () => {
    timer = 0;
    const entries = waiting.splice(0).slice(-SHOWN_MAX);
    log.append(...entries.map(build));
    while (log.childElementCount > SHOWN_MAX) log.firstElementChild.remove();
    if (following) return toBottom();
    unread += entries.length;
    say(jump, "toLatest", { count: unread });
    jump.hidden = false;
  };

  log.addEventListener("scroll", () => {
    following = log.scrollHeight - log.scrollTop - log.clientHeight < AT_BOTTOM_PX;
    if (following && unread) toBottom();
  });
  // A phone's keyboard or a growing send box takes height away; the newest stays in sight.
  new ResizeObserver(() => following && toBottom()).observe(log);
  jump.addEventListener("click", () => {
    toBottom();
    log.focus();
  });

  return {
    /** `entry`: type and text (or the key of one of ours), and where they apply nickname, own and
     * note, a key with params for what stands beside the text. */
    add(entry) {
      const now = new Date().toTimeString().slice(0, 5);
      waiting.push({ ...entry, time: now === minute ? "" : now });
      minute = now;
      timer ||= setTimeout(flush, FLUSH_MS);
    },
  };
}

function build({ text, key, type, nickname = "", own = false, note, time }) {
  const row = document.createElement("div");
  const words = document.createElement("p");
  row.className = "message";
  row.dataset.type = type;
  row.dataset.time = time; // drawn by log.css: the text stays the server's alone
  if (nickname) row.dataset.nickname = nickname;
  if (nickname) row.dataset.hue = hueOf(nickname);
  if (own) row.dataset.own = "";
  words.className = "text";
  if (key) say(words, key);
  else words.append(...withName(text, nickname));
  if (note) say(words, note.key, note.params, "data-note");
  row.append(words);
  return row;
}

// Sets the speaker's name apart inside the server's text, without changing a letter of it.
function withName(text, nickname) {
  const start = nickname ? text.indexOf(`${nickname} : `) : -1;
  if (start < 0) return [text];
  const name = document.createElement("b");
  name.textContent = nickname;
  return [text.slice(0, start), name, text.slice(start + nickname.length)];
}

function hueOf(nickname) {
  let sum = 0;
  for (const letter of nickname) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % HUES;
}
