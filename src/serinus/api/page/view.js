// From documents to elements, a function a section.

import { details, h, now, show, state, table, when } from "./dom.js";
import { bytes, cause, count, events, evidence, ms, outcomes, percent, person, progress, ratio, runs, servedBy, stillTakes, verdict, waiting, way } from "./words.js";

const key = JSON.stringify;
const code = (text) => h("code", {}, text);
const empty = (...content) => h("p", { class: "empty" }, content);

export function showVerdict(status, rollouts) {
  const { level, sentence, points } = verdict(status, rollouts, now());
  document.title = level === "bad" ? "(!) Serinus" : "Serinus";
  document.getElementById("verdict").className = `verdict ${level}`;
  show("verdict", key([sentence, points]), () => [
    h("h1", {}, sentence),
    points.length ? h("ul", {}, points.map(point)) : null,
  ]);
}

function point({ text, rollout }) {
  return h("li", {}, text, rollout ? [" ", h("a", { href: `#${rollout}` }, "Why?")] : null);
}

export function showFleet(status) {
  const columns = [["Model"], ["State"], ["Champion"], ["Requests, 5 min", true], ["Errors", true], ["p99", true], ["Notes"]];
  const rows = () =>
    status.models.map((m) => {
      const live = m.traffic.find((t) => t.release === m.champion?.release);
      return [
        h("span", { class: "whole" }, m.model),
        state(m.state),
        m.champion ? [h("span", { class: "id" }, m.champion.release), m.champion.since ? h("small", {}, when(m.champion.since)) : null] : "none",
        count(live?.requests ?? 0),
        count(live?.errors ?? 0),
        ms(live?.p99_ms ?? null),
        notes(m),
      ];
    });
  show("fleet", key([status.models]), () =>
    status.models.length
      ? table("Models, what is live of each, and its traffic", columns, rows())
      : empty("Nothing is deployed yet. Register a model in MLflow, then ", code("serinus deploy MODEL@VERSION"), "."),
  );
}

function notes(model) {
  const lines = [...model.notes, ...(model.watch ? [model.watch.summary] : []), ...outcomes(model.outcomes)];
  return lines.length ? lines.map((line) => h("div", {}, line)) : "–";
}

export function showFlight(rollouts) {
  const flying = rollouts.filter((r) => !["promoted", "aborted", "retired", "scaled"].includes(r.status.phase));
  document.getElementById("flight-section").hidden = !flying.length;
  const second = flying.some((r) => r.status.phase === "canary") ? Math.floor(now() / 1000) : 0;
  show("flight", key([flying, second]), () => flying.map(card));
}

function card(rollout) {
  const steps = way(rollout).map(({ name, state: where }) =>
    h("li", { class: where, "aria-current": where === "now" ? "step" : null }, name),
  );
  const metrics = rollout.steps.at(-1)?.assessment?.metrics ?? [];
  const stopping = rollout.status.phase === "aborting";
  return h(
    "article",
    { class: "card", "aria-label": `Rollout ${rollout.id}` },
    title(rollout),
    stopping ? h("p", { class: "why" }, `Being aborted: ${rollout.status.reason}`) : h("ol", { class: "way" }, steps),
    progress(rollout, now()).map(({ label, value, of }) =>
      h("div", { class: "progress" }, h("progress", { max: of || 1, value: Math.min(value, of || 1), "aria-label": label }), h("span", {}, label)),
    ),
    h("p", {}, waiting(rollout)),
    metrics.length ? metricTable(metrics, rollout.progress) : null,
    gates(rollout),
    rollout.notes.length ? details(`${rollout.id}-notes`, "Notes", h("ul", {}, rollout.notes.map((n) => h("li", {}, n)))) : null,
  );
}

function title(rollout) {
  const verb = { rollback: "back to", scale: "scale of" }[rollout.kind] ?? "";
  const why = rollout.why ? `: ${rollout.why}` : "";
  return h(
    "header",
    {},
    h("h3", {}, `${rollout.model} ${verb} ${rollout.version}`.replace("  ", " ")),
    h(
      "span",
      { class: "quiet" },
      `${rollout.id}, requested by ${person(rollout.actor)}`,
      why,
      ", ",
      when(rollout.created_at),
      rollout.approved_by ? `, approved by ${person(rollout.approver ?? { name: rollout.approved_by })}` : "",
    ),
  );
}

function metricTable(metrics, progress) {
  const columns = [["Metric"], ["State"], ["Canary", true], ["Champion", true], ["Ratio", true], ["What was observed"]];
  const rows = metrics.map((m) => [m.name, state(m.state === "bad" ? "aborted" : m.state), events(m.canary), events(m.champion), ratio(m), observed(m, progress)]);
  return h("div", { class: "wide" }, table("What the judge sees of each metric", columns, rows));
}

function observed(metric, progress) {
  const needs = stillTakes(metric, progress);
  if (metric.e_bad === undefined) return metric.summary;
  return [
    h("div", {}, `${metric.summary}.`),
    needs ? h("div", {}, needs) : null,
    h("small", {}, `Evidence: ${evidence(metric)}`),
  ];
}

function gates(rollout) {
  if (!rollout.gates.length) return null;
  const outcomes = ["fail", "inconclusive", "pass"]
    .map((word) => [word, rollout.gates.filter((g) => g.outcome === word).length])
    .filter(([, n]) => n)
    .map(([word, n]) => `${n} ${word}`);
  const list = rollout.gates.map((g) =>
    h("li", {}, state(g.outcome), " ", h("b", {}, g.gate), ` ${g.summary}`, raw(`${rollout.id}-${g.gate}`, g.evidence)),
  );
  return details(`${rollout.id}-gates`, `Gates: ${outcomes.join(", ")}`, h("ul", { class: "gates" }, list));
}

function raw(name, value) {
  if (!value || !Object.keys(value).length) return null;
  return details(name, "evidence", h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2)));
}

export function showStopped(rollouts, most, older) {
  const all = rollouts.filter((r) => r.status.phase === "aborted");
  const stopped = all.slice(0, most);
  const more = all.length > most || older.exist;
  show("stopped", key([stopped, more]), () => [
    stopped.length ? stopped.map(stoppedCard) : empty("No rollout was aborted lately."),
    more ? olderButton("stopped", "Older rollouts", older.show) : null,
  ]);
}

function olderButton(name, text, older) {
  const button = h("button", { type: "button", "data-key": `older-${name}` }, text);
  button.addEventListener("click", older);
  return button;
}

function stoppedCard(rollout) {
  const steps = rollout.steps.map((s) => {
    const share = percent(s.weight / 10000);
    const metrics = s.assessment?.metrics ?? [];
    return h("div", {}, h("h4", {}, `Canary at ${share}`), h("p", {}, s.assessment?.reason ?? "no figures"), metrics.length ? metricTable(metrics) : null);
  });
  return h(
    "article",
    { id: rollout.id, class: "card stopped", "aria-label": `Aborted rollout ${rollout.id}` },
    title(rollout),
    h("p", { class: "why" }, h("b", {}, `Aborted, because ${cause(rollout)}. `), rollout.status.reason),
    h("p", { class: "quiet" }, when(rollout.status.since), " · ", code(`serinus explain ${rollout.id}`)),
    gates(rollout),
    steps.length ? details(`${rollout.id}-steps`, "Canary steps", steps) : null,
  );
}

export function showReleases(releases, older) {
  const columns = [["Release"], ["State"], ["Runs"], ["Served by"], ["Memory", true], ["Made"]];
  const rows = () => releases.map((r) => [h("span", { class: "id" }, r.id), releaseState(r), runs(r.runs), servedBy(r.way), bytes(r.memory_bytes), when(r.created_at)]);
  show("releases", key([releases, older.exist]), () => [
    releases.length
      ? table("Releases, newest first", columns, rows())
      : empty("None yet: a release is made when a version has its environment."),
    older.exist ? olderButton("releases", "Older releases", older.show) : null,
  ]);
}

function releaseState(release) {
  if (release.champion) return state("champion");
  if (release.phase === "aborted") return state("aborted");
  if (release.phase === "promoted") return state("former champion");
  return state(release.phase ? "in flight" : "known");
}

export function showEvents(list) {
  show("events", key(list), () =>
    list.length
      ? h("ol", { class: "events" }, list.toReversed().map((e) => h("li", {}, when(e.at), h("b", {}, e.model), h("span", {}, e.text))))
      : empty("Nothing has happened yet. Events appear here by themselves."),
  );
}

export function showProcesses(status) {
  const columns = [["Process"], ["State"], ["Since"], ["Restarts", true], ["Last ended because"]];
  const rows = () => status.processes.map((p) => [p.name, state(p.state), when(p.since * 1000), count(p.restarts), p.reason || "–"]);
  show("processes", key(status.processes), () =>
    status.processes.length
      ? table("Processes of this installation", columns, rows())
      : empty("No process is recorded. ", code("serinus up"), " starts them."),
  );
}
