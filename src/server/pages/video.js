// A room's H.264, in pieces of MP4, at its live edge; each picture is handed on with its time.

/** Seconds behind the newest picture: from the first on it is played faster, from the second on it is jumped to. */
const LATE = 0.15;
const LOST = 0.8;
const FASTER = 1.15;
/** Where a jump lands, in seconds before the newest picture. */
const EDGE = 0.05;
/** Seconds of what was shown that stay in memory, and what must have gathered before they are let go. */
const KEPT = 2;
const TRIMMED_FROM = 6;

/** Whether this browser plays video of this media type in pieces, and tells its pictures' times. */
export const plays = (type) =>
  Boolean(type && globalThis.MediaSource?.isTypeSupported(type) && HTMLVideoElement.prototype.requestVideoFrameCallback);

/**
 * Plays into `element`. `on.picture(pts_ms)` is called for each picture as it appears, `on.failed()` once it cannot go on.
 */
export function player(element, on) {
  let buffer = null;
  let queue = [];
  let origin = 0;
  let failed = false;

  const fail = () => {
    if (!failed) on.failed();
    failed = true;
  };

  function pump() {
    if (failed || !buffer || buffer.updating || !queue.length) return;
    const pieces = queue;
    queue = [];
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
    pieces.reduce((at, piece) => {
      whole.set(new Uint8Array(piece), at);
      return at + piece.byteLength;
    }, 0);
    try {
      buffer.appendBuffer(whole);
    } catch {
      fail();
    }
  }

  function follow() {
    const { buffered } = element;
    if (!buffered.length) return;
    const last = buffered.length - 1;
    const [start, end] = [buffered.start(last), buffered.end(last)];
    const behind = end - element.currentTime;
    if (behind > LOST || element.currentTime < start) element.currentTime = Math.max(start, end - EDGE);
    element.playbackRate = behind > LATE ? FASTER : 1;
    if (element.paused) element.play().catch(() => {});
    const old = element.currentTime - KEPT;
    if (!buffer.updating && element.currentTime - buffered.start(0) > TRIMMED_FROM) buffer.remove(0, old);
  }

  const seen = (_, { mediaTime }) => {
    if (buffer) on.picture(origin + mediaTime * 1000);
    element.requestVideoFrameCallback(seen);
  };
  element.requestVideoFrameCallback(seen);
  element.addEventListener("error", fail);

  return {
    /** A video begins (anew): what the server announced, and the bytes before all pictures. */
    begin({ media_type, origin_ms }, head) {
      const source = new MediaSource();
      URL.revokeObjectURL(element.src);
      [buffer, queue, origin, failed] = [null, [head], origin_ms, false];
      element.src = URL.createObjectURL(source);
      source.addEventListener("sourceopen", () => {
        try {
          buffer = source.addSourceBuffer(media_type);
        } catch {
          fail();
          return;
        }
        buffer.addEventListener("updateend", () => {
          if (source.readyState !== "open" || failed) return;
          follow();
          pump();
        });
        buffer.addEventListener("error", fail);
        pump();
      }, { once: true });
    },
    /** The next picture. */
    push(piece) {
      queue.push(piece);
      pump();
    },
    /** Milliseconds between the newest picture that has arrived and the one that is shown. */
    behind() {
      const { buffered, currentTime } = element;
      return buffered.length ? (buffered.end(buffered.length - 1) - currentTime) * 1000 : 0;
    },
    stop() {
      [buffer, queue] = [null, []];
      URL.revokeObjectURL(element.src);
      element.removeAttribute("src");
      element.load();
    },
  };
}
