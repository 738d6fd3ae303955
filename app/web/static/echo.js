// The echo's page: what anybody sends comes back to everybody, without names.

import { createComposer } from "./composer.js";
import { connect, request } from "./connection.js";
import { startLanguage } from "./i18n.js";
import { createMessages } from "./messages.js";
import { createOutbox } from "./outbox.js";
import { toast } from "./toast.js";

const part = (id) => document.getElementById(id);

startLanguage(part("language"));
const messages = createMessages(part("messages"), part("to-latest"));
const composer = createComposer(part("composer"), (msg) => outbox.send({ msg }));
const outbox = createOutbox(
  part("outbox"),
  (payload) => request(socket, "fromclient", payload),
  ({ msg }) => composer.restore(msg),
);
const socket = connect("/echo");
socket.on("toclient", ({ msg }) => messages.add({ text: msg, type: "echo" }));
socket.on("error_msg", (error) => toast(error.message));
