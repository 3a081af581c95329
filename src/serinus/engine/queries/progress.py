"""The progress of a canary step, and when it can pass at the present rate of requests. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from serinus.core.disturbance import WORDS_AFTER, Cause
from serinus.core.errors import SerinusError, Unavailable
from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Phase, Rollout
from serinus.engine.queries.traffic import ENOUGH, present
from serinus.engine.world import World
from serinus.judge.wording import duration, figure
from serinus.resources import MetricProgress, Progress

RECENT_SECONDS = 360.0
"""The longest period over which the present rate is measured. While the step is younger than that and has few requests,
the rate is that of the step."""
SILENT_SECONDS = 30.0
"""The time without a request after which the text says so."""
MOST = 0.5
"""The share of requests that are set aside from which on the text names them as the reason."""
DATED_SECONDS = 43_200.0
"""The distance from which on a time of day is given with its date."""


@dataclass(frozen=True, slots=True)
class _Seen:
    arm: ArmCounts
    set_aside: Mapping[str, int]
    """Requests to both arms in this step that do not count, by cause."""
    of_model: int
    """Requests to the model within the window, counted or not."""
    of_canary: int
    seconds: float
    elapsed: float
    starved: bool

    @property
    def rate(self) -> float:
        """Requests per second to the canary that count."""
        aside = sum(self.arm.set_aside.values())
        asked = self.arm.requests + aside
        counted = self.arm.requests / asked if asked else 1.0
        return counted * self.of_canary / self.seconds if self.seconds > 0.0 else 0.0


def progress(world: World, rollout: Rollout) -> Progress | None:
    """Returns the progress of the present canary step. None: the rollout is not in the canary phase."""
    plan, status = rollout.plan, rollout.status
    if plan is None or status.phase is not Phase.CANARY or not rollout.steps:
        return None
    step, record, now = plan.steps[status.step], rollout.steps[-1], world.clock.now()
    elapsed = max(record.elapsed(now), 0.0)
    assessment = record.assessment
    left = {
        metric["name"]: metric.get("needs")
        for metric in (assessment.metrics if assessment else ())
        if metric["state"] not in ("cleared", "not judged")
    }
    try:
        seen = _seen(world, rollout, elapsed)
    except SerinusError as error:
        seen, trouble = None, error.message
    answered = seen.arm.answered if seen else 0
    short = max(step.minimum_requests - answered, 0)
    known = assessment is not None and all(needs is not None for needs in left.values())
    requests_left = max([short, *(needs or 0 for needs in left.values())]) if known else None
    rate = seen.rate if seen else 0.0
    seconds_left = _seconds_left(requests_left, rate, step.minimum_seconds - elapsed)
    ends = status.since + timedelta(seconds=record.away_by(now) + 2 * step.maximum_seconds)
    if status.suspended:
        text = ""  # It waits for a person, as the hold says.
    elif seen is None:
        text = trouble
    else:
        text = _text(seen, seconds_left, now, ends)
    return Progress(
        answered=answered,
        minimum_requests=step.minimum_requests,
        seconds=elapsed,
        minimum_seconds=step.minimum_seconds,
        per_second=rate,
        requests_left=requests_left,
        seconds_left=seconds_left,
        ready_at=_at(now, seconds_left),
        set_aside=seen.set_aside if seen else {},
        not_counted=_not_counted(seen.set_aside) if seen else "",
        metrics={
            name: MetricProgress(requests_left=needs, clear_at=_at(now, _seconds_left(needs, rate, 0.0)))
            for name, needs in left.items()
        },
        text=text,
    )


def _seen(world: World, rollout: Rollout, elapsed: float) -> _Seen:
    assert rollout.candidate is not None
    split, canary = rollout.steps[-1].split, rollout.candidate.id
    counts = world.log.counts(split)
    if counts is None:
        raise Unavailable("the prediction log has no counts for this step yet")
    arm = counts.get(canary, ArmCounts(canary))
    recent = present(world.log, rollout.model, min(elapsed, RECENT_SECONDS), canary)
    disturbance = world.log.disturbance(rollout.model)
    aside: dict[str, int] = {}
    for one in counts.values():
        for cause, many in one.set_aside.items():
            aside[cause] = aside.get(cause, 0) + many
    asked = {name: one.requests + sum(one.set_aside.values()) for name, one in counts.items()}
    starved = disturbance is not None and disturbance.cause is Cause.STARVED
    starved = starved or aside.get(Cause.STARVED, 0) > MOST * sum(asked.values())
    if recent is None or (recent.requests.get(canary, 0) < ENOUGH and elapsed < RECENT_SECONDS):
        return _Seen(arm, aside, sum(asked.values()), asked.get(canary, 0), elapsed, elapsed, starved)
    of_canary = recent.requests.get(canary, 0)
    return _Seen(arm, aside, sum(recent.requests.values()), of_canary, recent.seconds, elapsed, starved)


def _seconds_left(requests: int | None, rate: float, at_least: float) -> float | None:
    if requests is None or (requests > 0 and rate <= 0.0):
        return None
    return max(requests / rate if requests else 0.0, at_least, 0.0)


def _at(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _text(seen: _Seen, seconds_left: float | None, now: datetime, ends: datetime) -> str:
    if seen.starved:
        return "all processors of this machine are in use by other processes, so requests are not counted"
    if seen.of_model == 0:
        return "no traffic reaches this model" if seen.elapsed >= SILENT_SECONDS else ""
    if seen.of_canary == 0:
        return "no request reaches the canary" if seen.elapsed >= SILENT_SECONDS else ""
    rate = f"at {figure(seen.rate)} requests/s to the canary"
    if seconds_left is None:
        return f"{rate}, it cannot be estimated yet how long the step takes"
    if seconds_left == 0.0:
        return ""
    at = now + timedelta(seconds=seconds_left)
    text = f"about {duration(seconds_left)} left {rate}, until {moment(at, now)}"
    late = f", but the step ends without a verdict at {moment(ends, now)}" if at > ends else ""
    return text + late


def _not_counted(set_aside: Mapping[str, int]) -> str:
    """Returns a text such as `1,240 requests do not count: 900 while Serinus restarted, 340 while a release was
    activated`."""
    found = {cause: many for cause, many in set_aside.items() if many}
    if not found:
        return ""
    total = sum(found.values())
    parts = [f"{many:,} {WORDS_AFTER[Cause(cause)]}" for cause, many in found.items()]
    return f"{total:,} {'request does' if total == 1 else 'requests do'} not count: {', '.join(parts)}"


def moment(at: datetime, now: datetime) -> str:
    """Returns the time as `14:32 UTC`, with the date where it is not near."""
    far = abs((at - now).total_seconds()) >= DATED_SECONDS
    return f"{at:%Y-%m-%d %H:%M} UTC" if far else f"{at:%H:%M} UTC"
