// One room: its picture large, findings over it, and whether it holds its budget.
import * as api from "./api.js";
import { draw } from "./draw.js";
import { clock, english, listed, ltr, number, percent, phrase, piece, put, t, translate } from "./text.js";
import { player, plays } from "./video.js";

/** A picture waits this long for its own findings; then it is shown with the latest that are young enough. */
const HOLD_MS = 100;
/** Decoded pictures that may wait. */
const MAX_WAITING = 4;
/** Without a picture for so long, the last one is no longer shown as if it were live. */
const FROZEN_MS = 1000;

translate();
const room = decodeURIComponent(location.pathname.split("/").pop());
const byId = (id) => document.getElementById(id);
const [stage, picture, overlay] = ["stage", "picture", "findings"].map(byId);
document.title = `${room} · endort`;
byId("name").textContent = room;

let info = null;
let connected = false;
let showFindings = true;
let lastShown = 0;
let operator = false;
/** Pictures that are decoded and not shown yet, oldest first. */
const waiting = [];
/** What is known about frames, by number and by time: their findings, or null where there will be none. */
const known = new Map();
let latest = { frame: -1, pts: -Infinity, detections: [] };
let decoding = Promise.resolve();
/** How pictures come: as "fmp4" where room and browser can, else as "jpeg". */
let way = null;
let unwatch = () => {};
/** Which run of the room is watched, and how; null while none is. */
let watched = null;
/** How often the room said by WebSocket how it fares. */
let told = 0;
let videoFailed = false;
/** What the server announced of the video that plays. */
let video = null;

function learn(key, value) {
  known.set(key, value);
  if (known.size > 512) known.delete(known.keys().next().value);
}

/** What is known about a picture: of one of a video, by its time to the nearest millisecond or its neighbours. */
function own({ frame_id, pts_ms }) {
  if (frame_id !== undefined) return known.get(frame_id);
  const ms = Math.round(pts_ms);
  return [ms, ms - 1, ms + 1].map((ms) => known.get(`${ms} ms`)).find((found) => found);
}

function onMessage(message) {
  switch (message.type) {
    case "result":
      learn(message.frame_id, message);
      learn(`${Math.round(message.pts_ms)} ms`, message);
      if (message.frame_id > latest.frame) {
        latest = { frame: message.frame_id, pts: message.pts_ms, detections: message.detections };
      }
      byId("now").replaceChildren(ltr(`${number(message.processing_time_ms, 1)} ms`));
      setBar("fill", message.processing_time_ms);
      break;
    case "dropped":
      learn(message.frame_id, null);
      break;
    case "room":
      told += 1;
      setInfo(message);
      break;
  }
}

function onPicture(announced, picture) {
  const arrived = performance.now();
  const decoded = createImageBitmap(picture);
  decoding = decoding.then(async () => {
    const bitmap = await decoded;
    waiting.push({ ...announced, bitmap, arrived });
    while (waiting.length > MAX_WAITING) waiting.shift().bitmap.close();
  }).catch(() => {});
}

const screen = player(byId("video"), {
  picture: (pts_ms) => {
    if (way === "fmp4") onPicture({ pts_ms, width: video.width, height: video.height }, byId("video"));
  },
  failed: () => {
    videoFailed = true;
    watch();
  },
});

/** Has pictures come in the best way that there is now; none, of a room that is over. */
function watch() {
  const best = plays(info?.video) && !videoFailed ? "fmp4" : "jpeg";
  const wanted = info && api.goesOn(info) ? `${info.stream_id} ${best}` : null;
  if (wanted === watched) return;
  watched = wanted;
  way = wanted && best;
  stage.dataset.way = way ?? "";
  unwatch();
  unwatch = () => {};
  connected = false;
  if (way !== "fmp4") screen.stop();
  if (!way) return;
  unwatch = api.watch(room, way === "fmp4" ? { video: "fmp4" } : { pictures: "jpeg" }, {
    message: (message) => {
      connected = true;
      onMessage(message);
    },
    picture: onPicture,
    video: (announced, head) => {
      video = announced;
      screen.begin(announced, head);
    },
    piece: (piece) => screen.push(piece),
    closed: () => {
      connected = false;
    },
  });
}

/** The newest picture that is ready to be shown; older ones are let go. */
function next(now) {
  for (let index = waiting.length - 1; index >= 0; index--) {
    const candidate = waiting[index];
    if (own(candidate) !== undefined || now - candidate.arrived > HOLD_MS || info?.ai_off) {
      waiting.splice(0, index).forEach((old) => old.bitmap.close());
      return waiting.shift();
    }
  }
  return null;
}

function present(now) {
  const shown = next(now);
  if (shown) {
    const { bitmap, width, height } = shown;
    for (const canvas of [picture, overlay]) {
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    }
    picture.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    const found = own(shown);
    const young = info && shown.pts_ms - latest.pts <= info.max_latency_ms;
    const detections = info?.ai_off ? [] : found?.detections ?? (young ? latest.detections : []);
    draw(overlay, showFindings ? detections : [], width, height);
    stage.dataset.frame = shown.frame_id ?? found?.frame_id ?? -1;
    stage.dataset.findingsFrame = found?.frame_id ?? latest.frame;
    stage.dataset.findings = detections.length;
    stage.dataset.ptsMs = shown.pts_ms;
    stage.dataset.behindMs = way === "fmp4" ? screen.behind() : 0;
    lastShown = now;
  }
  const frozen = now - lastShown > FROZEN_MS;
  byId("no-picture").hidden = lastShown > 0 && !frozen;
  requestAnimationFrame(present);
}

function setInfo(value) {
  if (info && info.stream_id !== value.stream_id) {
    known.clear();
    latest = { frame: -1, pts: -Infinity, detections: [] };
  }
  const withheld = value.withheld > (info?.withheld ?? 0);
  info = value;
  for (const state of document.querySelectorAll(".state")) {
    state.dataset.state = info.state;
    state.textContent = t(`state.${info.state}`);
  }
  byId("detail").textContent = byId("detail").title = info.detail ?? "";
  const recording = byId("recording");
  const recorded = info.recording?.state;
  recording.hidden = !["recording", "failed"].includes(recorded);
  recording.dataset.state = recorded;
  put(recording, recording.hidden ? [] : phrase(`recording.${recorded}`, { detail: english(info.recording.detail ?? "") }));
  put(byId("runs"), listed([
    ltr(`${info.model} · ${info.runtime}`),
    piece(t("since", { time: clock(info.since_ms) })),
    piece(t("viewers", { count: number(info.viewers) })),
  ]));
  byId("ai-off").hidden = !info.ai_off;
  stage.dataset.aiOff = info.ai_off;
  const over = !api.goesOn(info);
  const [headline, why] = byId("no-picture").children;
  put(headline, [info.state === "starting" ? t("waiting") : `${t("noPicture")} · ${t(`state.${info.state}`)}`]);
  put(why, info.detail ? [english(info.detail)] : withheld ? [t("withheld")] : []);
  byId("stop").hidden = !operator || over;
  byId("start").hidden = !operator || !over;
  const source = byId("start").elements.source;
  if (!source.value) source.value = info.source;
  setFigures(info.figures);
  watch();
}

function setFigures(figures) {
  const recent = figures.recent_latency_ms;
  put(byId("p95"), [ltr(`${number(recent.p95, 1)} ms`)]);
  put(byId("p99"), [ltr(`${number(recent.p99, 1)} ms`)]);
  byId("fps").textContent = number(figures.fps, 1);
  byId("dropped").textContent = number(figures.frames_dropped);
  put(byId("violations"), [ltr(number(figures.violations)), " ", ltr(`(${percent(figures.violation_rate, 1)})`)]);
  setBar("p95", recent.p95);
  setBar("p99", recent.p99);
  const limit = number(info.max_latency_ms);
  const held = !info.ai_off && recent.p99 < info.max_latency_ms && figures.violation_rate <= 0.01;
  const words = info.ai_off ? t("aiOff") : recent.max ? t(held ? "held" : "missed", { limit }) : t("noFigures");
  for (const verdict of document.querySelectorAll(".verdict")) {
    verdict.textContent = words;
    verdict.dataset.held = info.ai_off || recent.max ? held : "";
  }
  byId("bar").ariaLabel = `${words}; P95 ${number(recent.p95)} ms, P99 ${number(recent.p99)} ms`;
}

/** The bar ends a quarter beyond the limit. */
function setBar(mark, ms) {
  if (!info) return;
  const share = Math.min(100, (ms / (info.max_latency_ms * 1.25)) * 100);
  byId("bar").querySelector(`.${mark}`).style.setProperty("--at", `${share}%`);
}

let newest = -1;
async function refresh() {
  try {
    const before = told;
    const found = (await api.streams()).rooms.find((other) => other.room === room);
    byId("state").hidden = !found;
    if (found) {
      // What the room said meanwhile is newer.
      if (told === before) setInfo(found);
    } else {
      info = null;
      watch();
      byId("start").hidden = !operator;
      byId("stop").hidden = true;
      byId("no-picture").querySelector("strong").textContent = t("noPicture");
    }
    if (found?.findings) await refreshFindings();
  } catch {
    connected = false;
  }
  document.body.classList.toggle("offline", !connected && (!info || api.goesOn(info)));
  setTimeout(refresh, 1000);
}

async function refreshFindings() {
  const { findings } = await api.findings(room);
  byId("count").textContent = number(info.findings);
  if (findings[0]?.id === newest) return;
  newest = findings[0]?.id ?? -1;
  byId("thumbnails").replaceChildren(...findings.slice(0, 12).map((finding) => {
    const item = document.createElement("li");
    const image = new Image();
    image.src = api.thumbnail(room, finding.id);
    image.alt = `${finding.label} ${Math.round(finding.score * 100)}%`;
    const words = document.createElement("span");
    words.append(...listed([ltr(percent(finding.score)), ltr(clock(finding.at_ms))]));
    item.append(image, words);
    return item;
  }));
}

const fullscreen = () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen());
function toggleFindings() {
  showFindings = !showFindings;
  byId("findings-toggle").ariaPressed = showFindings;
}
byId("fullscreen").addEventListener("click", fullscreen);
byId("findings-toggle").addEventListener("click", toggleFindings);
stage.addEventListener("dblclick", fullscreen);
addEventListener("keydown", (event) => {
  if (event.target.matches?.("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.code === "KeyF") fullscreen();
  if (event.code === "KeyO") toggleFindings();
  if (event.code === "KeyH") location.href = "/";
});
byId("stop").addEventListener("click", () => {
  if (confirm(t("stopSure", { room }))) api.stop(room);
});
const form = byId("start");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  try {
    await api.start({ room, ...wanted });
    location.reload();
  } catch (error) {
    const problem = form.querySelector(".problem");
    problem.textContent = error.message;
    problem.hidden = false;
  }
});

operator = (await api.whoAmI()).role === "operate";
await refresh();
requestAnimationFrame(present);
