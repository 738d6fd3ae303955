// Hosts many stock socket.io-client instances in one Node process, for js_client.py.
//
// Usage: node js_client.mjs <node_modules>. One JSON command per line comes in on stdin; lines of JSON, each
// an array of reports (a batch), go out on stdout. A report is an array: [kind, client id, ...]. Bytes travel
// as {"__bytes__": "<base64>"} both ways. It decides nothing and asserts nothing; js_client.py does.
//
//   ["connect", id, sid, recovered, transport]    ["transport", id, name]
//   ["disconnect", id, reason]                    ["connect_error", id, message, data]
//   ["event", id, name, args]                     ["ack", id, ref, error or null, args]
//   ["answer", id, ref, value]                    ["fault", id, what the driver itself could not do]

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { io } = createRequire(import.meta.url)(join(process.argv[2], "socket.io-client"));

// Reports of one turn of the loop leave together; a longer batch would make the reader wait.
const BATCH_MAX = 500;

const clients = new Map(); // id -> { socket, replies, withError }
let batch = [];
let flushing = false;

function report(...fields) {
  batch.push(fields);
  if (batch.length >= BATCH_MAX) flush();
  else if (!flushing) {
    flushing = true;
    setImmediate(flush);
  }
}

function flush() {
  flushing = false;
  if (batch.length === 0) return;
  const line = JSON.stringify(batch);
  batch = [];
  process.stdout.write(line + "\n");
}

function isBytes(value) {
  return value instanceof Uint8Array || value instanceof ArrayBuffer;
}

function hasBytes(value) {
  if (value === null || typeof value !== "object") return false;
  return isBytes(value) || Object.values(value).some(hasBytes);
}

function mapped(value, leaf) {
  const changed = leaf(value);
  if (changed !== value || value === null || typeof value !== "object") return changed;
  if (Array.isArray(value)) return value.map((each) => mapped(each, leaf));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, mapped(each, leaf)]));
}

function outgoing(value) {
  if (!hasBytes(value)) return value;
  return mapped(value, (each) =>
    isBytes(each) ? { __bytes__: Buffer.from(each).toString("base64") } : each,
  );
}

function incoming(value) {
  return mapped(value, (each) =>
    typeof each?.__bytes__ === "string" ? Buffer.from(each.__bytes__, "base64") : each,
  );
}

function numbered(template, n) {
  return mapped(template, (each) => (typeof each === "string" ? each.replaceAll("{n}", n) : each));
}

function watch(id, client) {
  const { socket } = client;
  socket.on("connect", () => {
    report("connect", id, socket.id, socket.recovered, socket.io.engine.transport.name);
  });
  socket.on("disconnect", (reason) => report("disconnect", id, reason));
  socket.on("connect_error", (error) => report("connect_error", id, error.message, error.data ?? null));
  socket.onAny((event, ...args) => {
    const last = args.at(-1);
    if (typeof last === "function") {
      args.pop();
      if (event in client.replies) last(...client.replies[event]);
    }
    report("event", id, event, outgoing(args));
  });
  socket.io.on("open", () => {
    socket.io.engine.on("upgrade", (transport) => report("transport", id, transport.name));
  });
}

function send(id, client, ref, event, args, timeoutMs) {
  const { socket } = client;
  const timed = typeof timeoutMs === "number";
  const target = timed ? socket.timeout(timeoutMs) : socket;
  if (ref === null) {
    target.emit(event, ...args);
    return;
  }
  // With a time limit or retries the stock client puts an error (or null) before the answer.
  const withError = client.withError || timed;
  target.emit(event, ...args, (...answer) => {
    const error = withError ? answer.shift() : null;
    report("ack", id, ref, error ? error.message : null, outgoing(answer));
  });
}

// Breaks the connection without a goodbye on any layer, as a dead network does.
function drop(socket) {
  const transport = socket.io.engine.transport;
  if (transport.ws) transport.ws.terminate();
  else transport.onClose();
}

const commands = {
  open(id, _, { url, namespace, options, replies }) {
    const settings = { forceNew: true, ...options, autoConnect: false };
    const socket = io(url + namespace, settings);
    const withError = Boolean(settings.retries) || settings.ackTimeout !== undefined;
    const client = { socket, replies: incoming(replies), withError };
    clients.set(id, client);
    watch(id, client);
    socket.connect();
  },
  emit(id, client, { ref, event, args, timeout_ms: timeoutMs }) {
    send(id, client, ref, event, incoming(args), timeoutMs);
  },
  emitMany(id, client, { ref, event, template, count }) {
    const args = incoming(template);
    for (let n = 0; n < count; n += 1) {
      send(id, client, ref === null ? null : ref + n, event, numbered(args, n));
    }
  },
  reply(_, client, { event, args }) {
    client.replies[event] = incoming(args);
  },
  connect: (_, client) => client.socket.connect(),
  disconnect: (_, client) => client.socket.disconnect(),
  engineClose: (_, client) => client.socket.io.engine.close(),
  drop: (_, client) => drop(client.socket),
  setAuth(_, client, { auth }) {
    client.socket.auth = auth;
  },
  state(id, { socket }, { ref }) {
    report("answer", id, ref, {
      connected: socket.connected,
      active: socket.active,
      recovered: socket.recovered,
      transport: socket.io.engine?.transport?.name ?? null,
      engine_sid: socket.io.engine?.id ?? null,
      unsent: socket.sendBuffer.length,
      pid: socket._pid ?? null,
      offset: socket._lastOffset ?? null,
    });
  },
  close(id, client) {
    client.socket.disconnect();
    client.socket.io.reconnection(false);
    clients.delete(id);
  },
};

const input = createInterface({ input: process.stdin, crlfDelay: Infinity });
input.on("line", (line) => {
  const { op, id, ...rest } = JSON.parse(line);
  try {
    if (op !== "open" && !clients.has(id)) throw new Error("no such client");
    commands[op](id, clients.get(id), rest);
  } catch (error) {
    report("fault", id, `${op}: ${error.stack}`);
  }
});
// The tests are gone, however they ended.
input.on("close", () => process.exit(0));
