// The way to the server.
const API = "/api/v1/realtime";
/** A server that has not answered for so long is gone: one that vanished without a word would be waited for for minutes. */
const PATIENCE_MS = 5000;

/** Asks the server. Only what changes something (with `options`) may take its time. */
async function call(path, options) {
  const response = await fetch(path, options ?? { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (response.status === 401) location.reload();
  const body = response.status === 204 ? null : await response.json();
  if (!response.ok) throw new Error(body?.detail ?? response.statusText);
  return body;
}

const post = (path, body) =>
  call(API + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const streams = () => call(API + "/video/streams");
export const findings = (room) => call(`${API}/rooms/${room}/findings`);
export const thumbnail = (room, id) => `${API}/rooms/${room}/findings/${id}`;
export const start = (wanted) => post("/video/start-stream", wanted);
export const stop = (room) => post("/video/stop-stream", { room });
export const whoAmI = () => call("/session");
export const signOut = () => call("/session", { method: "DELETE" });

/** Whether a room's run goes on. `failed` alone does not tell: where it was the AI that failed, pictures go on. */
export const goesOn = ({ state, figures }) => state !== "stopped" && (state !== "failed" || figures.fps > 0);

/** The code that the server closes with once a room has ended. */
const ENDED = 1000;

/**
 * Watches a room until its run ends, connecting again with growing pauses. A page that the reader has left does not watch,
 * and does again if the browser kept it and the reader comes back.
 * `on.message(message)` gets texts, `on.picture(announced, blob)` pictures with the text before them,
 * `on.video(announced, bytes)` the beginning of a video and `on.piece(bytes)` what follows it.
 */
export function watch(room, parameters, on) {
  let pause = 500;
  let socket = null;
  let again;
  const connect = () => {
    const query = new URLSearchParams({ room, ...parameters });
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const own = new WebSocket(`${scheme}//${location.host}${API}/video/stream?${query}`, ["endort"]);
    socket = own;
    socket.binaryType = "arraybuffer";
    let announced = null;
    socket.addEventListener("open", () => {
      pause = 500;
    });
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") {
        if (announced?.type === "picture") on.picture(announced, new Blob([data]));
        else if (announced) on.video(announced, data);
        else on.piece?.(data);
        announced = null;
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "picture" || message.type === "video") announced = message;
      else on.message?.(message);
    });
    socket.addEventListener("close", ({ code }) => {
      // A page that was kept hears of what it closed only when it comes back.
      if (socket !== own) return;
      on.closed?.();
      if (code === ENDED) removeEventListener("pageshow", back);
      else again = setTimeout(connect, pause);
      pause = Math.min(pause * 2, 8000);
    });
  };
  const leave = () => {
    clearTimeout(again);
    socket?.close();
    socket = null;
  };
  const back = ({ persisted }) => {
    if (persisted && !socket) connect();
  };
  addEventListener("pagehide", leave);
  addEventListener("pageshow", back);
  connect();
  return () => {
    removeEventListener("pagehide", leave);
    removeEventListener("pageshow", back);
    leave();
  };
}
