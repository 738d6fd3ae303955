// The Node contender of `make bench`: socket.io with @socket.io/redis-adapter, and the kit's little chat.
//
// PORT, REDIS_SOCKET (a unix socket) and KEY_PREFIX come from the environment. What clients send and get
// is in ../chat.py; no rosters, no announcements and no validation, which is less than the kit does.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { PORT, REDIS_SOCKET, KEY_PREFIX } = process.env;

const http = createServer((request, response) => response.end("ready"));
const io = new Server(http, {
  transports: ["websocket"], // the bench speaks nothing else
  serveClient: false,
  // permessage-deflate is off by default
});

// Since version 6 the client gives each command 5 s by default, with a timer each. An overloaded server would end
// with an error nobody catches, and the timers cost time.
const publisher = createClient({ socket: { path: REDIS_SOCKET }, commandOptions: { timeout: 0 } });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);
io.adapter(createAdapter(publisher, subscriber, { key: KEY_PREFIX }));

io.on("connection", (socket) => {
  let room;
  let nickname;

  socket.on("joinroom", (fields, acknowledge) => {
    ({ room, nickname } = fields);
    socket.join(room);
    acknowledge?.({ ok: true });
  });

  socket.on("send_msg", ({ to, msg }, acknowledge) => {
    io.to(room).emit("broadcast_msg", { msg: `${nickname} : ${msg}`, type: "message", nickname, to });
    acknowledge?.({ ok: true });
  });
});

io.of("/echo").on("connection", (socket) => {
  socket.emit("toclient", { msg: "Welcome !" });

  socket.on("fromclient", ({ msg }, acknowledge) => {
    io.of("/echo").emit("toclient", { msg });
    acknowledge?.({ ok: true });
  });
});

http.listen(Number(PORT), "127.0.0.1");
