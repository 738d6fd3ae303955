// Hosts the stock socket.io-client instances of a fault run in one Node process, for js_clients.py.
//
// Usage: node clients.mjs <node_modules> <options>, options as JSON: {url, retries, ackTimeoutMs, intervalMs,
// unansweredMax, clients: [{name, room, nickname, transports}]}. Commands come in on stdin, reports go out on
// stdout, one JSON array a line. Each client connects at once; told to, it sends numbered messages by itself.
//
//   commands  ["send"]  ["stop"]  ["cut", name]  ["vanish", name, now]
//   reports   [number, at_s, name, kind, ...], numbered from 0, at_s of the monotonic clock:
//     "connected" sid recovered pid engine_sid    "disconnected" reason     "failed" message code
//     "sent" id    "acked" id error    "gave_up" id why    "received" id offset
//     "userlist" users    "named" nickname    "vanished"
//
// Nothing of the clients is changed. What an application adds is here: a client whose connection the server
// refused or ended (the stock client then stays away) connects again after a pause.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { io } = createRequire(import.meta.url)(join(process.argv[2], "socket.io-client"));
const options = JSON.parse(process.argv[3]);

const RECONNECT_DELAY_MS = 200;
const RECONNECT_DELAY_MAX_MS = 1000;
const CONNECT_TIMEOUT_MS = 4000;
// Somebody else has the nickname until the server has seen that the client's last connection is gone.
const REFUSED_PAUSE_MS = 500;
// A client sends up to this part sooner or later than its interval says.
const JITTER = 0.3;

const clients = new Map(); // name -> { name, socket, next, unanswered, told, doomed, leaving, timer }
let lines = [];
let reported = 0;

function report(name, kind, ...fields) {
  const atS = Number(process.hrtime.bigint()) / 1e9;
  if (lines.push(JSON.stringify([reported++, atS, name, kind, ...fields])) === 1) setImmediate(flush);
}

function flush() {
  process.stdout.write(lines.join("\n") + "\n");
  lines = [];
}

// A stock client hands out what came ahead of the CONNECT answer before it says that it is connected.
function tellConnected(client) {
  if (client.told) return;
  client.told = true;
  const { socket } = client;
  report(client.name, "connected", socket.id, socket.recovered === true, Boolean(socket._pid), socket.io.engine.id);
}

// Ends the connection without a goodbye on any layer, as a dead network does.
function cut({ socket }) {
  const transport = socket.io.engine?.transport;
  if (transport?.ws) transport.ws.terminate();
  else transport?.onClose();
}

function open({ name, room, nickname, transports }) {
  const socket = io(options.url, {
    forceNew: true,
    transports,
    auth: { recover: true, room, nickname },
    retries: options.retries,
    ackTimeout: options.ackTimeoutMs,
    reconnectionDelay: RECONNECT_DELAY_MS,
    reconnectionDelayMax: RECONNECT_DELAY_MAX_MS,
    timeout: CONNECT_TIMEOUT_MS,
  });
  const client = { name, socket, next: 0, unanswered: 0, told: false, doomed: false, leaving: false, timer: null };
  clients.set(name, client);
  watch(client);
}

function watch(client) {
  const { name, socket } = client;
  socket.on("connect", () => {
    tellConnected(client);
    if (client.leaving) cut(client);
  });
  socket.on("disconnect", (reason) => {
    client.told = false;
    report(name, "disconnected", reason);
    if (client.doomed) gone(client);
    else connectAgain(client);
  });
  socket.on("connect_error", (error) => {
    report(name, "failed", error.message, error.data?.code ?? "");
    connectAgain(client);
  });
  socket.onAny((event, data, offset) => {
    tellConnected(client);
    if (event === "broadcast_msg" && data.type === "message") report(name, "received", data.id, offset ?? null);
    else if (event === "userlist") report(name, "userlist", data.users);
    else if (event === "changename") report(name, "named", data.nickname);
  });
}

function connectAgain({ socket }) {
  if (!socket.active) setTimeout(() => socket.connect(), REFUSED_PAUSE_MS);
}

function gone(client) {
  clearTimeout(client.timer);
  client.socket.disconnect();
  clients.delete(client.name);
  report(client.name, "vanished");
}

function send(client) {
  const { name, socket } = client;
  const id = `${name}:${client.next++}`;
  client.unanswered += 1;
  report(name, "sent", id);
  socket.emit("send_msg", { to: "ALL", msg: id, id }, (error, answer) => {
    client.unanswered -= 1;
    if (error) report(name, "gave_up", id, error.message);
    else report(name, "acked", id, answer?.ok ? "" : (answer?.error?.code ?? JSON.stringify(answer)));
  });
}

function sendSoon(client) {
  const waitMs = options.intervalMs * (1 + JITTER * (2 * Math.random() - 1));
  client.timer = setTimeout(() => {
    if (client.unanswered < options.unansweredMax) send(client);
    sendSoon(client);
  }, waitMs);
}

const commands = {
  send() {
    for (const client of clients.values()) sendSoon(client);
  },
  stop() {
    for (const client of clients.values()) clearTimeout(client.timer);
  },
  cut(name) {
    cut(clients.get(name));
  },
  // For good: now, or when its connection ends by itself.
  vanish(name, now) {
    const client = clients.get(name);
    clearTimeout(client.timer);
    client.doomed = true;
    client.leaving = now;
    client.socket.io.reconnection(false);
    if (now && client.socket.connected) cut(client);
  },
};

const input = createInterface({ input: process.stdin, crlfDelay: Infinity });
input.on("line", (line) => {
  const [command, ...args] = JSON.parse(line);
  commands[command](...args);
});
// The run is over, however it ended.
input.on("close", () => process.exit(0));

options.clients.forEach(open);
