// All rooms at a glance.
import * as api from "./api.js";
import { clock, english, listed, ltr, number, piece, put, t, translate } from "./text.js";

translate();
const list = document.getElementById("rooms");
const cards = new Map();

function card(info) {
  const link = document.createElement("a");
  link.className = "card";
  link.href = `/rooms/${info.room}`;
  link.innerHTML = `<div class="thumb"><canvas></canvas><b class="ai-mark" dir="ltr" hidden>AI OFF</b></div>
    <h2><bdi class="name"></bdi> <span class="state"></span></h2><p class="figures"></p><p class="quiet"></p>`;
  list.append(link);
  return { link, id: info.stream_id, close: null };
}

/** Has a card show the room's pictures. */
function watch(link, room) {
  const canvas = link.querySelector("canvas");
  return api.watch(room, { pictures: "jpeg", picture_fps: 4 }, {
    picture: async (_, blob) => {
      const bitmap = await createImageBitmap(blob);
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
    },
  });
}

function show(info) {
  let shown = cards.get(info.room);
  if (shown && shown.id !== info.stream_id) {
    shown.close?.();
    shown.link.remove();
    shown = undefined;
  }
  if (!shown) cards.set(info.room, (shown = card(info)));
  const live = api.goesOn(info);
  shown.link.classList.toggle("over", !live);
  if (live) {
    shown.close ??= watch(shown.link, info.room);
  } else {
    shown.close?.();
    shown.close = null;
  }
  const find = (selector) => shown.link.querySelector(selector);
  const { figures } = info;
  const over = figures.recent_latency_ms.p99 > info.max_latency_ms;
  find(".name").textContent = info.room;
  const state = find(".state");
  state.dataset.state = info.state;
  state.textContent = t(`state.${info.state}`);
  find(".ai-mark").hidden = !info.ai_off;
  const p = (value) => `${number(value)} ms`;
  put(find(".figures"), listed([
    piece(`${number(figures.fps, 1)} ${t("fps")}`),
    ltr(`P95 ${p(figures.recent_latency_ms.p95)}`),
    ltr(`P99 ${p(figures.recent_latency_ms.p99)} / ${p(info.max_latency_ms)}${over ? " ⚠" : ""}`),
    piece(`${t("dropped")} ${number(figures.frames_dropped)}`),
    piece(`${t("recent")} ${number(info.findings)}`),
  ]));
  put(find(".quiet"), listed([
    piece(t("since", { time: clock(info.since_ms) })),
    ltr(info.source),
    info.detail && english(info.detail),
  ]));
}

let me = null;
/** Offers what the reader may do, once the server has said who that is. */
async function know() {
  me ??= await api.whoAmI().catch(() => null);
  if (!me) return;
  form.hidden = me.role !== "operate";
  signOut.hidden = !me.session;
}

async function refresh() {
  const offline = document.getElementById("offline");
  try {
    const [{ rooms }] = await Promise.all([api.streams(), know()]);
    rooms.forEach(show);
    for (const [name, shown] of cards) {
      if (rooms.some((info) => info.room === name)) continue;
      shown.close?.();
      shown.link.remove();
      cards.delete(name);
    }
    document.getElementById("none").hidden = rooms.length > 0;
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
  setTimeout(refresh, 1000);
}

const form = document.getElementById("start");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = form.querySelector(".problem");
  const wanted = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  try {
    await api.start(wanted);
    location.href = `/rooms/${wanted.room}`;
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
});

const signOut = document.getElementById("sign-out");
signOut.addEventListener("click", () => api.signOut().then(() => location.reload()));
refresh();
