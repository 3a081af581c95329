// What the documents mean, in words. No element is made here.

export const count = (n) => Math.round(n).toLocaleString("en");
export const percent = (share) => `${+(100 * share).toFixed(2)}%`;
export const ms = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
export const bytes = (value) => (value === null ? "–" : `${Math.round(value / 1e6)} MB`);

function number(value) {
  if (value === null || value === undefined) return "unknown";
  if (value >= 1e6) return "over a million";
  return value >= 100 ? count(value) : String(+value.toPrecision(2));
}

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

const DAY_MS = 86_400_000;

// Is anything wrong? {level, sentence, points}, a point {text, rollout?}. `now`: milliseconds.
export function verdict(status, rollouts, now) {
  const models = status.models.filter((m) => m.state === "trouble");
  const processes = status.processes.filter((p) => p.state !== "running");
  const wrong = [
    ...models.map((m) => `${m.model}: ${m.notes.join("; ") || "something is wrong"}`),
    ...processes.map((p) => `${p.name} is ${p.state.replaceAll("-", " ")}${p.reason ? `: ${p.reason}` : ""}`),
  ];
  const points = [...[...wrong, ...status.warnings].map((text) => ({ text })), ...lately(rollouts, now)];
  if (wrong.length) return { level: "bad", sentence: `Something is wrong: ${subjects(models, processes)}.`, points };
  if (status.warnings.length) {
    return { level: "warn", sentence: `${serving(status)}, with ${plural(status.warnings.length, "warning")}.`, points };
  }
  const starting = status.models.filter((m) => m.state === "starting");
  if (starting.length) {
    return { level: "still", sentence: `Starting: ${starting.map((m) => m.model).join(", ")}.`, points };
  }
  if (!status.models.length) return { level: "still", sentence: "All is well; nothing is deployed yet.", points };
  return { level: "good", sentence: `All is well: ${serving(status).toLowerCase()}.`, points };
}

// The last that Serinus itself aborted within a day: no trouble, because what was live stayed live, but somebody wonders.
function lately(rollouts, now) {
  return rollouts
    .filter((r) => r.status.phase === "aborted" && now - Date.parse(r.status.since) < DAY_MS)
    .filter((r) => !["operator", "superseded"].includes(r.status.cause))
    .slice(0, 3)
    .map((r) => ({ text: `${r.model} ${r.version} was aborted, because ${cause(r)}. The champion stayed live.`, rollout: r.id }));
}

function subjects(models, processes) {
  return [
    models.length ? `${plural(models.length, "model")} in trouble` : "",
    processes.length ? `${plural(processes.length, "process").replace("processs", "processes")} not running` : "",
  ]
    .filter(Boolean)
    .join(", ");
}

function serving(status) {
  const live = status.models.filter((m) => m.champion).length;
  const flying = status.models.filter((m) => m.rollout).length;
  const models = `${plural(live, "model")} ${live === 1 ? "is" : "are"} serving`;
  return flying ? `${models}, ${plural(flying, "rollout")} in flight` : models;
}

const CAUSES = {
  artifact: "its files cannot be used",
  environment: "its environment cannot be built",
  load: "it does not load",
  gate: "it did not pass the gates",
  judge: "the judge found it worse than the champion",
  patience: "the canary reached no verdict in time",
  crashes: "its workers crash again and again",
  operator: "a person ordered it",
  superseded: "another deployment took its place",
};

export const cause = (rollout) => CAUSES[rollout.status.cause] ?? "the reason is not known";

// The way of a rollout, and where it stands on it.
export function way(rollout) {
  const early = rollout.kind === "rollback" ? ["place"] : ["resolve", "build", "place", "gates"];
  const approval = rollout.plan?.approval_required ? ["approval"] : [];
  const steps = (rollout.plan?.steps ?? []).map((s) => `canary ${percent(s.weight / 10000)}`);
  const names = rollout.kind === "scale" ? [...approval, "scaling", "scaled"] : [...early, ...approval, ...steps, "promoted"];
  const { phase, step } = rollout.status;
  let at = names.indexOf(phase);
  if (phase === "canary") at = early.length + approval.length + step;
  if (phase === "promoting") at = names.length - 1;
  return names.map((name, i) => ({ name, state: i < at ? "done" : i === at ? "now" : "later" }));
}

// How far a canary step is towards its minimums: [{label, value, of}].
export function progress(rollout, now) {
  if (rollout.status.phase !== "canary" || !rollout.steps.length) return [];
  const record = rollout.steps.at(-1);
  const plan = rollout.plan.steps[record.index];
  const answered = Math.max(0, ...(record.assessment?.metrics ?? []).map((m) => m.canary?.of ?? 0));
  const seconds = Math.max(0, (now - new Date(record.started_at)) / 1000);
  return [
    { label: `${count(answered)} of at least ${count(plan.minimum_requests)} requests`, value: answered, of: plan.minimum_requests },
    { label: `${count(seconds)} s of at least ${count(plan.minimum_seconds)} s`, value: seconds, of: plan.minimum_seconds },
  ];
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

// What a metric still needs, and until when.
export function stillTakes(metric, progress) {
  const left = progress?.metrics[metric.name];
  if (!left) return "";
  if (left.requests_left === null) return "How many more requests it takes cannot be estimated yet.";
  const until = left.clear_at ? `, until ${new Date(left.clear_at).toLocaleString()}` : "";
  return `About ${count(left.requests_left)} more canary requests to clear${until}.`;
}

// What a canary waits for.
export function waiting(rollout) {
  const assessment = rollout.steps.at(-1)?.assessment;
  const told = [rollout.progress?.text, rollout.progress?.not_counted].filter(Boolean).map(sentence);
  if (rollout.status.hold) return [`Held: ${rollout.status.hold}.`, ...told].join(" ");
  if (told.length) return told.join(" ");
  if (assessment?.needs) return `Needs ${assessment.needs}.`;
  return assessment?.reason || rollout.status.reason || "";
}

export function evidence(metric) {
  if (metric.e_bad === undefined) return metric.summary;
  const against = `against it ${number(metric.e_bad)} (aborts at ${number(metric.bound_bad)})`;
  return metric.evidence ?? `${against}, for it ${number(metric.e_good)} (clears at ${number(metric.bound_good)})`;
}

export function ratio(metric) {
  if (metric.ratio === null || metric.ratio === undefined) return "–";
  const range = metric.ratio_high === null ? `from ${number(metric.ratio_low)}` : `${number(metric.ratio_low)} to ${number(metric.ratio_high)}`;
  return `${number(metric.ratio)} (${range})`;
}

const WAYS = { onnx: "ONNX graph", matrix: "predict on a matrix", direct: "direct predict", mlflow: "MLflow predict" };

// Whether a release runs: its state, with the number of workers where it has several.
export const runs = (text) => (["asleep", "scaled-to-zero"].includes(text) ? "scaled to zero" : text);

// By what a release answers.
export const servedBy = (way) => WAYS[way] ?? (way || "–");

export const events = (arm) => (arm ? `${count(arm.events)} of ${count(arm.of)}` : "–");

// What the outcomes say of the champion: of predictions that are old enough, and of younger ones.
export function outcomes(found) {
  if (!found) return [];
  const days = `${found.matures_days} days`;
  return [["matured", `more than ${days} ago`], ["young", `in the last ${days}, not final`]]
    .filter(([name]) => found[name])
    .map(([name, of]) => `Predictions ${of}: ${share("recall", found[name], "frauds")}, ${share("precision", found[name], "alerts")}`);
}

function share(name, found, all) {
  if (!found[name]) return `${name} unknown`;
  const range = `${percent(found[name].low)} to ${percent(found[name].high)}`;
  return `${name} ${percent(found[name].share)} (${range}; ${count(found.caught)} of ${count(found[all])} ${all})`;
}

// A token, with its owner where that is another.
export function person({ name, owner }) {
  return owner && owner !== name ? `${name} (${owner})` : name;
}
