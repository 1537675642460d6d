// Answers over Socket.IO. One live turn per running answer; a lost connection is taken up again at the last sequence number,
// so that no character is lost or doubled. Knows nothing of what is on the screen.
import { io } from "../vendor/socket.io-client-4.8.4/socket.io.js";
import { lang } from "./i18n.js";
import { store } from "./store.js";

const ACK_TIMEOUT_MS = 20_000;

/** `connecting` at first, then `connected`, or `lost` while it is being taken up again. */
export const connection = store("connecting");

const live = new Map();
let socket = null;

function dispatch(event, payload) {
  live.get(payload?.message_id)?.take(event, payload);
}

/** Connect, once. Called after the first paint. */
export function connect() {
  if (socket) return socket;
  socket = io({ transports: ["websocket"], query: { lang: lang.get() }, reconnectionDelay: 300, reconnectionDelayMax: 3000, randomizationFactor: 0.3, timeout: 8000 });
  socket.on("connect", () => {
    connection.set("connected");
    for (const turn of live.values()) turn.resume();
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io client disconnect") return; // ours, to speak another language
    connection.set("lost");
    if (reason === "io server disconnect") socket.connect();
  });
  lang.subscribe((chosen) => {
    socket.io.opts.query = { lang: chosen };
    socket.disconnect().connect(); // answers that run are taken up again
  });
  socket.on("connect_error", () => connection.set("lost"));
  for (const event of ["queued", "sources", "delta", "done", "error"]) socket.on(`chat:${event}`, (payload) => dispatch(event, payload));
  window.addEventListener("online", () => socket.connected || socket.connect());
  return socket;
}

/** Ask. `onStart(ids)` once it is accepted, `onRefused(error)` when not; then `onChange(turn)` at most once a frame until `turn.ended`. */
export function ask(payload, { onStart, onRefused, onChange }) {
  connect()
    .timeout(ACK_TIMEOUT_MS)
    .emit("chat", payload, (failed, reply) => {
      if (failed) return onRefused({ code: "network", message: "" });
      if (reply?.error) return onRefused(reply.error);
      onStart(reply);
      live.set(reply.message_id, new LiveTurn(reply.message_id, onChange));
    });
}

/** Follow an answer that runs already (another tab, or this page before a reload), from its start. */
export function follow(messageId, onChange) {
  if (live.has(messageId)) return;
  const turn = new LiveTurn(messageId, onChange);
  live.set(messageId, turn);
  if (connect().connected) turn.resume();
}

/** Stop watching an answer; it goes on at the server until its listeners' time is up. */
export const leave = (messageId) => live.delete(messageId);

export function stop(messageId) {
  connect().emit("chat:stop", { message_id: messageId });
}

class LiveTurn {
  constructor(messageId, onChange) {
    Object.assign(this, { messageId, onChange, text: "", nextSeq: 0, citations: null, queue: null, answer: null, error: null, ended: false });
    this.isDrawing = false;
    this.isAsking = false;
  }

  resume() {
    socket.timeout(ACK_TIMEOUT_MS).emit("chat:resume", { message_id: this.messageId, after_seq: this.nextSeq - 1 }, (failed, reply) => {
      if (!failed && reply?.error && !this.ended) this.take("error", reply.error);
    });
  }

  take(event, payload) {
    if (this.ended) return;
    if (event === "queued") this.queue = { position: payload.position, etaS: payload.eta_s };
    else if (event === "sources") this.citations = payload.citations;
    else if (event === "delta") this.takeDelta(payload);
    else if (event === "done") this.end({ answer: payload });
    else this.end({ error: { code: payload.code, message: payload.message } });
    this.draw();
  }

  takeDelta({ seq, text }) {
    if (seq < this.nextSeq) return; // replayed, and here already
    if (seq > this.nextSeq) return this.askAgain(); // something in between is missing
    this.text += text;
    this.nextSeq = seq + 1;
    this.isAsking = false;
  }

  askAgain() {
    if (this.isAsking) return;
    this.isAsking = true;
    this.resume();
  }

  end(result) {
    Object.assign(this, result, { ended: true });
    live.delete(this.messageId);
  }

  draw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    const now = () => {
      this.isDrawing = false;
      this.onChange(this);
    };
    if (document.hidden) setTimeout(now, 200); // no frames come in a hidden tab
    else requestAnimationFrame(now);
  }
}
