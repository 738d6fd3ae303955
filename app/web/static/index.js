// The first page: takes a nickname and a room, and leads there.

import { startLanguage, t } from "./i18n.js";
import { addressOf, watchRooms } from "./rooms.js";
import { recall, remember } from "./storage.js";

const part = (id) => document.getElementById(id);

startLanguage(part("language"));
watchRooms({ list: part("rooms"), note: part("rooms-note") });

// Kept as it is typed, so that the links to rooms and to the lobby carry it as well.
part("nickname-input").value = recall("nickname");
part("nickname-input").addEventListener("input", ({ target }) => remember("nickname", target.value.trim()));

part("room-input").addEventListener("input", ({ target }) => target.setCustomValidity(""));
part("enter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = part("room-input");
  const address = addressOf(input.value);
  if (address) return location.assign(address);
  input.setCustomValidity(t("roomUnusable"));
  input.reportValidity();
});
