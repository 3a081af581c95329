// Asks, shows, and asks again: at every event, and every few seconds for what changes without one.

import { setNow, tick } from "./dom.js";
import { showEvents, showFleet, showFlight, showProcesses, showReleases, showStopped, showVerdict } from "./view.js";
import { person } from "./words.js";

const EVERY_MS = 2000;
const PAGE = { rollouts: 40, releases: 20 };
const pages = { rollouts: 1, releases: 1 }; // that are shown of each

async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) {
    location.replace("/login");
    return new Promise(() => {}); // the page is on its way
  }
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

// As many pages of a list as are shown, newest first; whether there are older ones, and what shows a page more.
async function listed(what) {
  const found = [];
  let page;
  do {
    const after = found.length ? `&after=${encodeURIComponent(found.at(-1).id)}` : "";
    page = await ask(`/v1/${what}?limit=${PAGE[what]}${after}`);
    found.push(...page);
  } while (page.length === PAGE[what] && found.length < PAGE[what] * pages[what]);
  const show = () => {
    pages[what] += 1;
    round();
  };
  return [found, { exist: page.length === PAGE[what], show }];
}

async function refresh() {
  const [status, flying, [rollouts, olderRollouts], [releases, olderReleases], events] = await Promise.all([
    ask("/v1/status"),
    ask("/v1/rollouts?in_flight=true&limit=200"),
    listed("rollouts"),
    listed("releases"),
    ask("/v1/events?limit=25"),
  ]);
  const known = new Set(rollouts.map((one) => one.id));
  setNow(status.now);
  showVerdict(status, [...rollouts, ...flying.filter((one) => !known.has(one.id))]);
  showFleet(status);
  showFlight(flying);
  showStopped(rollouts, 8 * pages.rollouts, olderRollouts);
  showReleases(releases, olderReleases);
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
