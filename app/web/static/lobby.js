// The lobby's page: no room and no join; the server names us when we connect.

import { startChat } from "./chat.js";
import { request } from "./connection.js";
import { recall } from "./storage.js";
import { toast } from "./toast.js";

const { socket, nickname } = startChat("/lobby", () => ({}));

// The lobby takes no nickname at connect, so a guest with a name of their own asks for it right after.
socket.on("new", async (guest) => {
  const wanted = recall("nickname");
  nickname.setCurrent(guest.nickname);
  if (!wanted || wanted === guest.nickname) return;
  const answer = await request(socket, "changename", { nickname: wanted }).catch(() => null);
  if (answer && !answer.ok) toast(answer.error.message);
});
