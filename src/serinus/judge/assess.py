"""The verdict on a canary step: promote, continue, hold or abort. Pure: the same evidence gives the same verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serinus.core.evidence import Verdict
from serinus.core.rollout import Assessment, Policy, Step
from serinus.judge.against import Case, Look
from serinus.judge.breaker import Breaker
from serinus.judge.clearing import blind as blind_because
from serinus.judge.evidence import StepEvidence, first_in_step, problem_with, refused
from serinus.judge.memory import MetricMemory
from serinus.judge.metrics import METRICS, Metric, arms, tolerance_of
from serinus.judge.mixture import log_mismatch, worse
from serinus.judge.silences import Silences
from serinus.judge.weighing import Evidence, weigh
from serinus.judge.wording import about, as_json, duration, not_judged, verdict_against

MISMATCH = 0.001
"""The error probability of the check that the split in force is the one that was requested."""
REFUSED_RATIO, REFUSED_SHARE = 3.0, 0.01
"""A canary that refuses this many times the champion's share of requests, and at least `REFUSED_SHARE`, is put on
hold."""
WARM_UP, WARM_UP_SHARE = 120.0, 0.75
"""The warm-up time in seconds, and its largest share of the step's least time. Caches fill, libraries are loaded and
workers are added."""
PROPORTION = 2.0
"""The factor by which the new requests of the arms may deviate from the split and still be compared."""
AS_ONE = math.log(PROPORTION) + 1e-9
"""The logarithm of `PROPORTION`, rounded up, so that a factor of exactly two is within it."""


@dataclass(frozen=True, slots=True)
class _Memory:
    step: int
    elapsed: float
    """The time of the last look that was taken."""
    taken: StepEvidence | None
    """The counts of that look. None: there was none in this step."""
    metrics: Mapping[str, MetricMemory]
    breaker: Breaker
    silences: Silences = field(default_factory=Silences)

    def of(self, name: str) -> MetricMemory:
        return self.metrics.get(name, MetricMemory())

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "elapsed": self.elapsed,
            "taken": None if self.taken is None else self.taken.as_json(),
            "metrics": {name: memory.as_json() for name, memory in self.metrics.items()},
            "breaker": self.breaker.as_json(),
            "silences": self.silences.as_json(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any], step: int) -> _Memory:
        if "breaker" not in value:  # This is the first look, or an earlier version stored the last one.
            return _Memory(step, 0.0, None, {}, Breaker())
        metrics = {name: MetricMemory.from_json(one) for name, one in value["metrics"].items()}
        breaker = Breaker.from_json(value["breaker"])
        if value["step"] == step:
            taken = None if value["taken"] is None else StepEvidence.from_json(value["taken"])
            silences = Silences.from_json(value["silences"]) if "silences" in value else Silences()
            return _Memory(step, value["elapsed"], taken, metrics, breaker, silences)
        later = {name: memory.for_next_step() for name, memory in metrics.items()}
        return _Memory(step, 0.0, None, later, breaker.for_next_step())


def assess(
    policy: Policy,
    steps: Sequence[Step],
    index: int,
    history: Sequence[StepEvidence],
    now: StepEvidence,
    memory: Mapping[str, Any],
    elapsed: float,
    disturbed: str = "",
) -> Assessment:
    """Returns the assessment of step `index` by its evidence.

    - `history`: the evidence of the steps before it, as they ended.
    - `memory`: that of the last assessment, of this step or the one before. Empty at the first look.
    - `elapsed`: seconds since the step's split is in force.
    - `disturbed`: why requests are not counted at present, in words. Empty: they are.

    The result's `metrics` has one mapping for each metric. Its `memory` is an argument of the next call. Under `look`
    it holds everything that this assessment was computed from (see `reproduce`).
    """
    before = _Memory.from_json(memory, index)
    look = {
        "index": index,
        "elapsed": elapsed,
        "disturbed": disturbed,
        "history": [step.as_json() for step in history],
        "now": now.as_json(),
        "before": {name: value for name, value in memory.items() if name != "look"},
    }
    problem, silences = _problem(now, before), before.silences.after(now, elapsed)
    if problem is not None:
        wait = f"about {steps[index].minimum_requests:,} canary requests, once they are counted"
        memory = {**replace(before, silences=silences).as_json(), "look": look}
        problem = _not_counted(disturbed, problem)
        return Assessment(Verdict.HOLD, problem, memory=memory, needs=wait, suspend=bool(before.breaker.tripped))
    new = None
    if _of_one_time(now, before.taken):
        warm_up = min(WARM_UP, steps[index].minimum_seconds * WARM_UP_SHARE)
        new = Look(now, before.taken, elapsed, elapsed - before.elapsed, warm_up, silences.longest)
    weighed = _weigh(policy, len(steps), history, now, before, new)
    after = _Memory(
        index,
        before.elapsed if new is None else elapsed,
        before.taken if new is None else now,
        {**before.metrics, **{e.name: e.memory for e in weighed}},
        before.breaker.after(now, elapsed, silences.longest),
        silences,
    )
    metrics = _metrics(policy, weighed)
    verdict, reason, needs = _decide(steps[index], now, elapsed, weighed, metrics, after)
    if verdict in (Verdict.CONTINUE, Verdict.HOLD) and not after.breaker.tripped:
        reason = _not_counted(disturbed, reason)
    return Assessment(
        verdict, reason, metrics, {**after.as_json(), "look": look}, needs, suspend=bool(after.breaker.tripped)
    )


def _not_counted(disturbed: str, reason: str) -> str:
    return f"{disturbed}, so requests are not counted now; {reason}" if disturbed else reason


def _of_one_time(now: StepEvidence, taken: StepEvidence | None) -> bool:
    """Whether the counts of both arms since the last look belong to the same time and can be compared.

    Counts arrive late and in clumps. Only the numbers of requests are compared, with the split or the traffic of the
    step so far, so that waiting favours neither arm.
    """
    if now.canary is None or now.champion is None or not 0.0 < now.q < 1.0:
        return True
    canary, champion = now.canary.requests, now.champion.requests
    whole = canary / champion if champion else math.inf
    if taken is not None and taken.canary is not None and taken.champion is not None:
        canary, champion = canary - taken.canary.requests, champion - taken.champion.requests
    if canary == champion == 0:
        return True
    if canary == 0 or champion == 0:
        return False
    odds = now.q / (1.0 - now.q)
    return any(abs(math.log(canary / champion / one)) <= AS_ONE for one in (odds, whole))


def reproduce(policy: Policy, steps: Sequence[Step], stored: Assessment) -> Assessment:
    """Returns the assessment computed again from what was stored with it."""
    look = stored.memory["look"]
    history = [StepEvidence.from_json(step) for step in look["history"]]
    now = StepEvidence.from_json(look["now"])
    disturbed = look.get("disturbed", "")
    return assess(policy, steps, look["index"], history, now, look["before"], look["elapsed"], disturbed)


def _weigh(
    policy: Policy,
    stages: int,
    history: Sequence[StepEvidence],
    now: StepEvidence,
    before: _Memory,
    new: Look | None,
) -> list[Evidence]:
    weighed = []
    for metric in METRICS:
        tolerance = tolerance_of(metric, policy)
        if tolerance is not None:
            case = Case(metric, tolerance, policy, stages, history, now)
            weighed.append(weigh(case, before.of(metric.name), new))
    return weighed


def _metrics(policy: Policy, weighed: Sequence[Evidence]) -> tuple[Mapping[str, Any], ...]:
    judged = tuple(as_json(evidence) for evidence in weighed)
    absent = [metric.name for metric in METRICS if tolerance_of(metric, policy) is None]
    return judged + tuple(not_judged(name, "no alert threshold is known") for name in absent)


def _decide(
    step: Step,
    now: StepEvidence,
    elapsed: float,
    weighed: Sequence[Evidence],
    metrics: Sequence[Mapping[str, Any]],
    after: _Memory,
) -> tuple[Verdict, str, str]:
    """Returns verdict, reason and needs. Bad news has precedence, followed by anything that makes the comparison
    void."""
    breaker = after.breaker
    mismatch = None if breaker.tripped else _mismatch(now, after.silences)
    if mismatch is not None:
        return Verdict.HOLD, mismatch, "the traffic to be split as configured"
    # A fault that lasts for several windows is not a burst.
    if bad := [evidence for evidence in weighed if evidence.abort or (breaker.tripped and evidence.reaches_bound)]:
        worst = max(bad, key=lambda evidence: evidence.log_bad)
        return Verdict.ABORT, verdict_against(worst), ""
    if breaker.tripped:
        return Verdict.HOLD, f"its traffic was taken away: {breaker.tripped}", "a person to find out why it fails"
    still_open = {
        e.name: metric["needs"] for e, metric in zip(weighed, metrics[: len(weighed)], strict=True) if e.state == "open"
    }
    if (turned_away := _turns_away(now, weighed)) is not None:
        return Verdict.HOLD, turned_away, "a person to find out why the canary rejects them"
    missing = _minimums(step, now, elapsed)
    blind = {e.name: why for e in weighed if e.state == "open" and (why := blind_because(e.case))}
    needs = "; ".join([*missing, *_needs({n: many for n, many in still_open.items() if n not in blind}, now, elapsed)])
    if missing:
        return Verdict.CONTINUE, f"collecting evidence: {missing[0]}", needs
    if still_open:
        names = ", ".join(f"{name} ({blind[name]})" if name in blind else name for name in still_open)
        return Verdict.HOLD, f"no metric is shown to be worse than tolerated; still open: {names}", needs
    shown = ", ".join(evidence.name for evidence in weighed if evidence.state == "cleared")
    return Verdict.PROMOTE, f"within tolerance after {_answered(now):,} canary requests: {shown}", ""


def _needs(still_open: Mapping[str, int | None], now: StepEvidence, elapsed: float) -> list[str]:
    """Returns what the open metrics need, grouped by need, with the time that it takes at the present rate."""
    rate = _answered(now) / elapsed if elapsed > 0.0 else 0.0
    names: dict[str, list[str]] = {}
    for name, number in still_open.items():
        many = "more canary requests {}; how many cannot be estimated yet"
        if number is not None:
            time = (
                f" ({duration(number / rate)} at {f'{rate:,.0f}' if rate >= 1000.0 else f'{rate:.3g}'} requests/s)"
                if rate > 0.0
                else ""
            )
            many = f"{about(number)} more canary requests{time} {{}}"
        names.setdefault(many, []).append(name)
    return [many.format(f"to clear {', '.join(those)}") for many, those in names.items()]


def _answered(now: StepEvidence) -> int:
    return 0 if now.canary is None else now.canary.answered


def _minimums(step: Step, now: StepEvidence, elapsed: float) -> list[str]:
    missing = []
    if (short := step.minimum_requests - _answered(now)) > 0:
        more = "request" if short == 1 else "requests"
        missing.append(f"{short:,} more {more} answered by the canary (of at least {step.minimum_requests:,})")
    if (short_by := step.minimum_seconds - elapsed) > 0:
        more = "second" if math.ceil(short_by) == 1 else "seconds"
        missing.append(f"{math.ceil(short_by):,} more {more} (of at least {step.minimum_seconds:,.0f})")
    return missing


def _problem(now: StepEvidence, before: _Memory) -> str | None:
    """Returns why there is nothing to judge. None: there is."""
    canary, champion = now.canary, now.champion
    if canary is None:
        return "waiting for counts of the canary"
    if champion is None and now.q < 1.0:
        return "waiting for counts of the champion"
    for arm in (canary, champion):
        if arm is not None and (wrong := problem_with(arm)):
            return f"the counts are inconsistent: {wrong}"
    if canary.requests == 0:
        return f"no request has reached the canary{_none_of_its_share(now)}"
    if champion is not None and champion.requests == 0 and now.q < 1.0:
        return "no request has reached the champion to compare with"
    if before.taken is not None and any(_went_back(metric, now, before.taken) for metric in METRICS):
        return "the counts are inconsistent: they were higher at the last look"
    return None


def _none_of_its_share(now: StepEvidence) -> str:
    """Returns a sentence where so few entities have sent requests that the canary's share may have none of them."""
    entities = 0 if now.champion is None else now.champion.first_in_step.get("entities", 0)
    if not entities or (1.0 - now.q) ** entities < MISMATCH:
        return ""
    those = (
        "the one entity that has asked is not"
        if entities == 1
        else f"none of the {entities} entities that have asked is"
    )
    return f": {those} among the {100.0 * now.q:g}% of entities that it gets"


def _went_back(metric: Metric, now: StepEvidence, taken: StepEvidence) -> bool:
    present, past = arms(metric, now), arms(metric, taken)
    if present is None or past is None:
        return False
    return any(
        first_in_step(new, metric.event) < first_in_step(old, metric.event) or new.requests < old.requests
        for new, old in zip(present[:2], past[:2], strict=True)
    )


def _mismatch(now: StepEvidence, silences: Silences) -> str | None:
    """Returns a sentence where the share of distinct entities is not the one that was requested (sample-ratio check).

    Where counts were late, the last entities of one arm are missing. The entities since then must show the mismatch as
    well.
    """
    if now.canary is None or now.champion is None or not 0.0 < now.q < 1.0:
        return None
    canary = now.canary.first_in_step.get("entities", 0)
    champion = now.champion.first_in_step.get("entities", 0)
    late = silences.entities
    for found in ((canary, champion), (canary - late[1], champion - late[0])):
        if min(found) < 0 or log_mismatch(*found, now.q) < math.log(1.0 / MISMATCH):
            return None
    seen = canary / (canary + champion)
    share = f"{seen:.2%} instead of the configured {now.q:.2%}"
    return f"the canary receives {canary:,} of {canary + champion:,} entities, {share}"


def _turns_away(now: StepEvidence, weighed: Sequence[Evidence]) -> str | None:
    """Returns a sentence where the canary refuses ordinary requests as mistakes of the caller.

    Refusals are not counted by entity, so one faulty client can cause them. They lead to a hold and never to an abort.
    """
    if now.canary is None or now.champion is None or not 0.0 < now.q < 1.0:
        return None
    canary, champion = refused(now.canary), refused(now.champion)
    share = canary / now.canary.requests
    if share < REFUSED_SHARE or worse(now.q, REFUSED_RATIO).log_e(canary, champion) < math.log(weighed[0].bound_bad):
        return None
    return (
        f"the canary rejects {canary:,} of {now.canary.requests:,} requests as invalid (HTTP 4xx), "
        f"the champion {champion:,} of {now.champion.requests:,}"
    )
