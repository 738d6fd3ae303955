// Opens a Socket.IO namespace, keeps it open, and shows its state. What travels on it is others' work; what was
// missed while a connection was broken the server sends again (connection state recovery).

import { io } from "/socket.io/socket.io.esm.min.js";
import { hideRefusal, showRefusal, showState } from "./state.js";

// The stock client retries after a broken transport, and only then. What the server ended or refused is
// retried here, slower each time, since a server that says no rarely changes its mind within a second.
const RETRY_FIRST_MS = 1000;
const RETRY_LAST_MS = 30_000;

// Longer than the 15 s a node repeats an append for (APPEND_TIMEOUT_S), so that a late success is not
// called a failure.
const ACK_TIMEOUT_MS = 20_000;

/**
 * `auth()` is asked at every connect. `mend(code, message)` hears of a refusal and returns true when it
 * changed what `auth` gives, so that another try at once is worth it.
 */
export function connect(namespace, { auth = () => ({}), mend = () => false } = {}) {
  const socket = io(namespace, { auth: (give) => give({ recover: true, ...auth() }) });
  const retry = retrier(socket);

  socket.on("connect", () => {
    hideRefusal();
    showState("online");
  });
  socket.on("disconnect", (reason) => {
    showState("offline");
    if (reason === "io server disconnect") retry.later();
  });
  socket.on("connect_error", (error) => {
    showState("offline");
    if (socket.active) return; // the transport failed, and the stock client tries again
    const { code = "", message = error.message } = error.data ?? {};
    if (mend(code, message)) {
      socket.connect();
      return;
    }
    showRefusal(message, retry.now);
    retry.later();
  });
  leaveWithPage(socket);
  return socket;
}

function retrier(socket) {
  let delay_ms = RETRY_FIRST_MS;
  let timer = 0;
  let reset = 0;
  const now = () => {
    clearTimeout(timer);
    socket.connect();
  };
  const later = () => {
    clearTimeout(timer);
    clearTimeout(reset);
    timer = setTimeout(now, delay_ms * (0.5 + Math.random() / 2)); // spread, as many pages retry at once
    delay_ms = Math.min(delay_ms * 2, RETRY_LAST_MS);
  };
  // Only a connection that lasts counts as mended; one that the server ends at once does not.
  socket.on("connect", () => {
    reset = setTimeout(() => (delay_ms = RETRY_FIRST_MS), RETRY_LAST_MS);
  });
  return { now, later };
}

// Says goodbye at once, so that a reload finds its nickname free; a page kept for "back" returns.
function leaveWithPage(socket) {
  addEventListener("pagehide", () => socket.disconnect());
  addEventListener("pageshow", (event) => event.persisted && socket.connect());
}

/** Sends an event; gives the server's acknowledgement, or rejects when none can come any more. */
export function request(socket, event, payload) {
  return socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, payload);
}
