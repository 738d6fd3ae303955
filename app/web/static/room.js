// The page of one room: its name is the page's path, and joining happens within the connect.

import { startChat } from "./chat.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

const room = nameInPath();
document.getElementById("room-name").textContent = room;
document.title = room;

startChat("/", (nickname) => ({
  auth: () => (nickname.claimed ? { room, nickname: nickname.claimed } : { room }),
  // A nickname that is taken (often by our own last visit, not yet missed) is no reason to stay outside.
  mend(code, message) {
    if (!nickname.claimed || !code.includes("nickname")) return false;
    nickname.giveUp();
    toast(`${message} ${t("enteredUnnamed")}`);
    return true;
  },
}));

function nameInPath() {
  const path = location.pathname.slice(1);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // an address typed by hand, with a % that encodes nothing
  }
}
