// Asks, shows, and asks again: at every event, and every few seconds for what changes without one.

import { setNow, tick } from "./dom.js";
import { showEvents, showFleet, showFlight, showProcesses, showReleases, showStopped, showVerdict } from "./view.js";
import { person } from "./words.js";

const EVERY_MS = 2000;

async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) {
    location.replace("/login");
    return new Promise(() => {}); // the page is on its way
  }
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function refresh() {
  const [status, rollouts, releases, events] = await Promise.all([
    ask("/v1/status"),
    ask("/v1/rollouts?limit=40"),
    ask("/v1/releases"),
    ask("/v1/events?limit=25"),
  ]);
  setNow(status.now);
  showVerdict(status, rollouts);
  showFleet(status);
  showFlight(rollouts);
  showStopped(rollouts);
  showReleases(releases);
  showEvents(events);
  showProcesses(status);
}

let timer;
let asking = false;

async function round() {
  clearTimeout(timer);
  if (asking) return; // the one that is under way comes back by itself
  asking = true;
  try {
    if (!document.hidden) await refresh();
  } catch {
    lost();
  }
  asking = false;
  tick();
  timer = setTimeout(round, EVERY_MS);
}

function lost() {
  const api = { name: "the API", state: "not answering", reason: "what is below is as it was last seen" };
  showVerdict({ models: [], processes: [api], warnings: [] }, []);
}

async function begin() {
  const me = await ask("/v1/me").catch(() => null);
  document.getElementById("who").textContent = me ? `${person(me)} (${me.access})` : "";
  const leave = document.getElementById("leave");
  leave.hidden = false;
  leave.addEventListener("click", async () => {
    await fetch("/v1/session", { method: "DELETE" });
    location.replace("/login");
  });
  const stream = new EventSource("/v1/events/stream");
  stream.addEventListener("message", round);
  document.addEventListener("visibilitychange", round);
  await round();
}

begin();
