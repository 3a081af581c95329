"""The expected duration of a canary, from the present traffic of the model. Pure except for `measured`, which reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serinus.core.errors import SerinusError
from serinus.core.rollout import ModelState, Policy, Step
from serinus.core.routing import WHOLE
from serinus.engine.queries.entities import OFTEN, entities_before, without_any
from serinus.engine.queries.traffic import present
from serinus.engine.world import World
from serinus.judge.required import BASE_RATES, clean, required
from serinus.judge.wording import about, duration, figure
from serinus.spec import load, planning
from serinus.spec.checking import Lines, contradictions
from serinus.spec.schema import ModelDeployment, Rare

LEAST_REQUESTS = 1_000
"""The number of the champion's requests from which on its own error rate is used."""
LEAST_ERRORS = 10
LONG = 3600.0
"""The duration in seconds from which on a faster way is suggested."""
FASTER = 0.5
"""The largest share of the duration that a suggestion may take."""
OFFERS: tuple[tuple[int, ...], ...] = ((1000, 5000), (2500, 5000), (5000,))
"""The weights of the steps that are suggested, the most careful first, each with its least number of requests."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The traffic of a model."""

    per_second: float
    """Requests per second, or the average of the last hour where there are few."""
    errors: float | None
    """The share of the champion's requests that failed. None: there are too few."""
    requests: int = 0
    """The number of requests behind `errors`."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """The estimate of one step."""

    step: Step
    needs: Mapping[str, float]
    """Requests of the canary until it is cleared, by metric, for a release as good as the champion. Infinite: never."""
    requests: float
    """Requests of the canary until the step passes."""
    per_second: float
    """Requests to the canary per second."""

    @property
    def slowest(self) -> str:
        """The metric that takes longest, or another condition of the step."""
        name = max(self.needs, key=lambda metric: self.needs[metric], default="")
        if not name or self.requests <= self.step.minimum_requests:
            return f"its minimum of {self.step.minimum_requests:,} requests"
        return name

    @property
    def seconds(self) -> float:
        """The expected duration. Infinite: the step can never pass."""
        return max(self.step.minimum_seconds, self.requests / self.per_second if self.per_second else math.inf)

    @property
    def patience(self) -> float:
        """Seconds until the step ends without a verdict, including the extension."""
        return 2 * self.step.maximum_seconds


def measured(world: World, state: ModelState) -> Measured | None:
    """Returns the traffic by the prediction log. None: the log does not answer."""
    try:
        recent = present(world.log, state.model)
        totals = world.log.totals().get(state.champion.id) if state.champion else None
    except SerinusError:
        return None
    per_second = recent.per_second if recent else 0.0
    if totals is None or totals.requests < LEAST_REQUESTS:
        return Measured(per_second, None)
    return Measured(per_second, totals.errors / totals.requests, totals.requests)


def estimates(
    policy: Policy, steps: Sequence[Step], rates: Mapping[str, float], per_second: float
) -> list[StepEstimate]:
    """Returns an estimate of each step. `per_second` are the requests to the model as a whole."""
    found: list[StepEstimate] = []
    for step, requests in zip(steps, clean(policy, steps, rates), strict=True):
        last = len(found) == len(steps) - 1
        before = sum(one.requests for one in found) if last else None
        needs = {one.metric: one.to_clear for one in required(policy, step.weight, rates, before=before)}
        found.append(StepEstimate(step, needs, requests, per_second * step.weight / WHOLE))
    return found


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice on a deployment."""

    estimate: str = ""
    """The expected duration of the canary, and what would make it shorter."""
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] | None = None
    """The same as JSON values: `per_second`, `steps` (`traffic`, `requests`, `seconds`, `slowest`) and `seconds`."""


NO_ADVICE = Advice()


def told(world: World, state: ModelState, text: str, source: str) -> Advice:
    """Returns the advice on a deployment by the spec `text`. Warnings call the spec `source`."""
    spec, lines = load(text, source=source, model=state.model), Lines(text, source)
    advice = advise(spec, lines, state, measured(world, state))
    few = () if state.champion is None else _few(spec, lines, entities_before(world.store, state.model))
    return replace(advice, warnings=(*contradictions(spec, lines), *advice.warnings, *few))


def advise(spec: ModelDeployment, lines: Lines, state: ModelState, seen: Measured | None) -> Advice:
    """Returns the advice on a canary beside the champion in `state`. Empty where there will be none."""
    policy, steps = planning.policy(spec), planning.steps(spec)
    if state.champion is None or not steps or seen is None:
        return NO_ADVICE
    if seen.per_second == 0.0:
        where = lines.say(("rollout", "steps"), f"no request has reached {state.model} in the last hour")
        return Advice(
            warnings=(f"{where}: a canary cannot be judged without traffic, and would be aborted in the end",)
        )
    rates = {**BASE_RATES, "alerts": spec.alerts.budget}
    found = estimates(policy, steps, rates, seen.per_second)
    warnings = (*_unreachable(found, lines), *_misplaced(spec, seen, lines))
    total = sum(one.seconds for one in found)
    parts = ", ".join(f"{_time(one.seconds)} at {_share(one.step.weight)}" for one in found)
    takes = f"the canary of a version as good as the champion takes {_time(total)}"
    text = f"At {_rate(seen.per_second)} {takes}: {parts}.{_slowest(found[0])}"
    if total >= LONG:
        text += _offers(policy, steps, rates, seen.per_second, total)
    return Advice(text, warnings, _details(seen, found, total))


def _unreachable(found: Sequence[StepEstimate], lines: Lines) -> Iterator[str]:
    """Yields a warning for each step that ends without a verdict at this traffic."""
    for index, one in enumerate(found):
        if one.seconds <= one.patience:
            continue
        field = "requests" if one.slowest.startswith("its minimum") else "at_most"
        need = (
            f"{about(one.requests)} requests of the canary"
            if math.isfinite(one.requests)
            else "no number of requests is enough"
        )
        yield lines.say(
            ("rollout", "steps", index, field),
            f"at the present {_rate(one.per_second)} to the canary the step takes {_time(one.seconds)} "
            f"({need}, for {one.slowest}), but it ends without a verdict after {duration(one.patience)}",
        )


def _misplaced(spec: ModelDeployment, seen: Measured, lines: Lines) -> Iterator[str]:
    """Yields warnings about error budgets.

    A budget that the champion itself exceeds never clears a version that is as good. A large one clears a version whose
    rate is unacceptable compared with the champion's.
    """
    watch, rate = spec.watch.errors, seen.errors
    if rate is None or rate * seen.requests < LEAST_ERRORS:
        return
    fails = f"the {100 * rate:.2g}% that the champion itself fails of its {seen.requests:,} requests"
    if rate >= watch.budget:
        text = f"is less than {fails}: a version as good as the champion does not pass the canary"
    elif watch.budget > max(watch.bad * rate, Rare().budget):  # The default is small enough.
        text = f"is more than {watch.bad:g} times {fails}: it clears a version whose rate 'bad' calls unacceptable"
    else:
        return
    yield lines.say(("watch", "errors", "budget"), f"{100 * watch.budget:g}% {text}")


def _few(spec: ModelDeployment, lines: Lines, entities: int | None) -> Iterator[str]:
    """Yields a warning where there are so few entities that the canary may have none."""
    steps = planning.steps(spec)
    if not steps or entities is None:
        return
    none = without_any(entities, steps[0].weight / WHOLE)
    if none >= OFTEN:
        many = "1 entity" if entities == 1 else f"{entities} entities"
        yield lines.say(
            ("rollout", "steps", 0, "traffic"),
            f"in the last canary {many} asked, and {_share(steps[0].weight)} of them are none in {none:.0%} of all "
            "rollouts: the canary then waits for ten minutes, until another share is drawn. A larger share of the "
            "first step makes that rarer",
        )


def _slowest(first: StepEstimate) -> str:
    name = max(first.needs, key=lambda metric: first.needs[metric])
    seconds = first.needs[name] / first.per_second
    if math.isinf(seconds):
        return ""
    return f" At {_share(first.step.weight)} the slowest metric, {name}, clears in {_time(seconds)}."


def _offers(policy: Policy, steps: Sequence[Step], rates: Mapping[str, float], per_second: float, total: float) -> str:
    """Returns the most careful and the fastest suggestion in words. Empty: none saves enough time."""
    ways = {
        weights: sum(one.seconds for one in estimates(policy, [_offered(steps, w) for w in weights], rates, per_second))
        for weights in OFFERS
    }
    worth = [weights for weights, seconds in ways.items() if seconds <= FASTER * total]
    if not worth:
        return ""
    fastest = min(worth, key=lambda weights: ways[weights])
    chosen = [worth[0]] if worth[0] == fastest else [worth[0], fastest]
    told = ", or ".join(f"`rollout.steps: [{_written(weights)}]` takes {_time(ways[weights])}" for weights in chosen)
    return f" To decide sooner, give the version a larger share in the spec: {told}."


def _written(weights: Sequence[int]) -> str:
    return ", ".join(f"{{traffic: {_share(w)}, requests: {planning.LEAST_OF_CANDIDATE}}}" for w in weights)


def _offered(steps: Sequence[Step], weight: int) -> Step:
    return replace(steps[0], weight=weight, minimum_requests=planning.LEAST_OF_CANDIDATE)


def _details(seen: Measured, found: Sequence[StepEstimate], total: float) -> Mapping[str, Any]:
    steps = [
        {
            "traffic": one.step.weight / WHOLE,
            "requests": math.ceil(one.requests) if math.isfinite(one.requests) else None,
            "seconds": one.seconds if math.isfinite(one.seconds) else None,
            "slowest": one.slowest,
            "metrics": {name: math.ceil(n) if math.isfinite(n) else None for name, n in one.needs.items()},
        }
        for one in found
    ]
    return {"per_second": seen.per_second, "steps": steps, "seconds": total if math.isfinite(total) else None}


def _share(weight: int) -> str:
    return f"{100 * weight / WHOLE:g}%"


def _rate(per_second: float) -> str:
    """Returns the rate as `1 request/s`, or for lower ones `30 requests/min` or `12 requests/h`."""
    for number, unit in ((per_second, "s"), (per_second * 60, "min")):
        if number >= 0.995:
            return _requests(number, unit)
    return _requests(per_second * 3600, "h")


def _requests(number: float, unit: str) -> str:
    text = figure(number)
    return f"{text} request{'' if text == '1' else 's'}/{unit}"


def _time(seconds: float) -> str:
    return f"about {duration(seconds)}" if math.isfinite(seconds) else "for ever"
