// One room: its picture large, findings over it, and whether it holds its budget.
import * as api from "./api.js";
import { draw } from "./draw.js";
import { clock, english, listed, ltr, number, percent, phrase, piece, put, t, translate } from "./text.js";
import { player, plays } from "./video.js";

/** A picture waits this long for its own findings; then it is shown with the last before it that are young enough. */
const HOLD_MS = 100;
/** Decoded pictures that may wait. */
const MAX_WAITING = 4;
/** Pictures that are being decoded. */
const MAX_UNDECODED = 4;
/** Results that are remembered. */
const MAX_RESULTS = 256;
/** Without a picture for so long, the last one is no longer shown as if it were live. */
const FROZEN_MS = 1000;

translate();
const room = decodeURIComponent(location.pathname.split("/").pop());
const byId = (id) => document.getElementById(id);
const [stage, picture, overlay] = ["stage", "picture", "findings"].map(byId);
document.title = `${room} · endort`;
byId("name").textContent = room;

let info = null;
/** The run that what is shown belongs to; null while the room has none. */
let run = null;
let connected = false;
let showFindings = true;
let lastShown = 0;
/** Who the reader is, once the server has said so. */
let me = null;
let operator = false;
/** Pictures that are decoded and not shown yet, oldest first. */
const waiting = [];
/** What is known about frames, by number and by time: their findings, or null where there will be none. */
const known = new Map();
/** The results among that, oldest first: they come in the order of their frames. */
const results = [];
/** The newest finding that has a thumbnail on the page. */
let newest = -1;
let decoding = Promise.resolve();
let undecoded = 0;
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
  if (known.size > 2 * MAX_RESULTS) known.delete(known.keys().next().value);
}

function forget() {
  known.clear();
  results.length = 0;
}

/** Another run begins, or none goes on: nothing that was seen in the one before, perhaps of another patient, stays. */
function begin(id) {
  if (run === id) return;
  run = id;
  forget();
  waiting.splice(0).forEach((old) => old.bitmap.close());
  for (const canvas of [picture, overlay]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  lastShown = 0;
  [stage.dataset.frame, stage.dataset.findingsFrame, stage.dataset.findings] = [-1, -1, 0];
  newest = -1;
  byId("thumbnails").replaceChildren();
  byId("count").textContent = "";
  byId("now").textContent = "–";
  setBar("fill", 0);
}

/**
 * What is known about a picture, `undefined` as long as nothing is: of one of a video, by its time to the nearest
 * millisecond or its neighbours. Where a later frame has its result, an earlier one without will get none.
 */
function own({ frame_id, pts_ms }) {
  const last = results.at(-1);
  if (frame_id !== undefined) {
    const found = known.get(frame_id);
    return found === undefined && frame_id < last?.frame_id ? null : found;
  }
  const ms = Math.round(pts_ms);
  const found = [ms, ms - 1, ms + 1].map((ms) => known.get(`${ms} ms`)).find(Boolean);
  return found ?? (pts_ms < last?.pts_ms ? null : undefined);
}

/** The last result before a picture, unless it is too old for it. */
function before({ pts_ms }) {
  const last = results.findLast((result) => result.pts_ms <= pts_ms);
  return info && last && pts_ms - last.pts_ms <= info.max_latency_ms ? last : null;
}

function onMessage(message) {
  switch (message.type) {
    case "result":
      // The source was opened again, and its frames are counted anew.
      if (message.frame_id <= results.at(-1)?.frame_id) forget();
      learn(message.frame_id, message);
      learn(`${Math.round(message.pts_ms)} ms`, message);
      results.push(message);
      if (results.length > MAX_RESULTS) results.shift();
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
  // A browser that decodes more slowly than pictures come shows fewer, not older ones.
  if (undecoded === MAX_UNDECODED) return;
  undecoded += 1;
  const arrived = performance.now();
  const decoded = createImageBitmap(picture);
  const of = run;
  decoding = decoding.then(async () => {
    const bitmap = await decoded;
    if (of !== run) return bitmap.close();
    waiting.push({ ...announced, bitmap, arrived });
    while (waiting.length > MAX_WAITING) waiting.shift().bitmap.close();
  }).catch(() => {}).finally(() => {
    undecoded -= 1;
  });
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
  // A page that nobody sees plays nothing; a browser would collect its video.
  const wanted = info && api.goesOn(info) && !document.hidden ? `${info.stream_id} ${best}` : null;
  if (wanted === watched) return;
  watched = wanted;
  way = wanted && best;
  stage.dataset.way = way ?? "";
  unwatch();
  unwatch = () => {};
  connected = false;
  screen.stop();
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

/**
 * The picture to show now, if the oldest need not wait any longer. The newest that is ready would pass over those that the
 * AI skips: that it did is known only with the next result, when that one's picture is ready too. Where several have waited
 * too long, the screen is slower than the pictures, and older ones are let go.
 */
function next(now) {
  const late = (waits) => waits && now - waits.arrived > HOLD_MS;
  while (late(waiting[1])) waiting.shift().bitmap.close();
  const [oldest] = waiting;
  if (!oldest) return null;
  const ready = own(oldest) !== undefined || late(oldest) || waiting.length === MAX_WAITING || info?.ai_off;
  return ready ? waiting.shift() : null;
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
    const drawn = info?.ai_off ? null : found ?? before(shown);
    const detections = drawn?.detections ?? [];
    // Where the size changes on the way, the video's is said only once.
    draw(overlay, showFindings ? detections : [], drawn?.width ?? width, drawn?.height ?? height);
    stage.dataset.frame = shown.frame_id ?? found?.frame_id ?? -1;
    stage.dataset.findingsFrame = drawn?.frame_id ?? -1;
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
  const fresh = run !== value.stream_id;
  const withheld = value.withheld > (fresh ? 0 : info.withheld);
  begin(value.stream_id);
  info = value;
  for (const state of document.querySelectorAll(".state")) {
    state.hidden = false;
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
  if (fresh || !source.value) source.value = info.source;
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

/** Takes back how the room fares, which nobody can say now; `words` stand in for it. */
function unsay(words) {
  for (const state of document.querySelectorAll(".state")) state.hidden = true;
  byId("recording").hidden = true;
  byId("detail").textContent = byId("detail").title = "";
  put(byId("runs"), []);
  const [headline, why] = byId("no-picture").children;
  put(headline, [t("noPicture")]);
  put(why, [words]);
  for (const figure of document.querySelectorAll(".budget dd")) figure.textContent = "–";
  for (const mark of ["fill", "p95", "p99"]) setBar(mark, 0);
  for (const verdict of document.querySelectorAll(".verdict")) {
    verdict.textContent = words;
    verdict.dataset.held = "";
  }
  byId("bar").ariaLabel = words;
}

/** The bar ends a quarter beyond the limit. */
function setBar(mark, ms) {
  if (!info) return;
  const share = Math.min(100, (ms / (info.max_latency_ms * 1.25)) * 100);
  byId("bar").querySelector(`.${mark}`).style.setProperty("--at", `${share}%`);
}

/** Asks who the reader is, until the server has said so. */
async function know() {
  me ??= await api.whoAmI().catch(() => null);
  operator = me?.role === "operate";
}

async function refresh() {
  try {
    const before = told;
    const [answer] = await Promise.all([api.streams().catch(() => null), know()]);
    const found = answer?.rooms.find((other) => other.room === room);
    if (found) {
      // What the room said meanwhile is newer.
      if (told === before) setInfo(found);
    } else if (answer) {
      unsay("");
      begin(null);
      info = null;
      watch();
      byId("ai-off").hidden = true;
      byId("start").hidden = !operator;
      byId("stop").hidden = true;
    } else {
      connected = false;
      unsay(t("offline"));
    }
    document.body.classList.toggle("offline", !connected && !document.hidden && (!info || api.goesOn(info)));
    // Thumbnails can wait for the next time.
    if (found?.findings) await refreshFindings().catch(() => {});
  } finally {
    setTimeout(refresh, 1000);
  }
}

async function refreshFindings() {
  const of = run;
  const { findings } = await api.findings(room);
  // Another run has begun meanwhile.
  if (of !== run) return;
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
  if (confirm(t("stopSure", { room }))) api.stop(room).catch((error) => alert(error.message));
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

document.addEventListener("visibilitychange", watch);

requestAnimationFrame(present);
refresh();
