"""What a deployment means for the rollout and for serving, in core's values."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from serinus.core.release import CacheSettings, Scale, ServingSettings
from serinus.core.rollout import Policy, Step, Tolerance
from serinus.core.routing import WHOLE
from serinus.spec.hours import ALWAYS, warm_hours
from serinus.spec.schema import ModelDeployment, Rare, Ratio, RolloutStep
from serinus.spec.serving import NO_SCORE, Batch, Cache

LEAST_OF_CANDIDATE = 5_000
"""Just under the 5,100 clean requests that clear an error budget of 0.1%, so that the minimum seldom adds a wait."""
LEAST_OF_MODEL = 40_000
"""Of the model as a whole, within a step: a larger share must also have been seen over more of the day's mix."""


def policy(spec: ModelDeployment) -> Policy:
    """What the judge goes by."""
    watch = spec.watch
    return Policy(
        errors=_rare(watch.errors),
        fallbacks=_rare(watch.fallbacks),
        missing=_rare(watch.missing),
        slow=_ratio(watch.slow),
        alerts=_ratio(watch.alerts) if watch.alerts and spec.serving.score != NO_SCORE else None,
        alpha=watch.alpha,
        beta=watch.beta,
    )


def steps(spec: ModelDeployment) -> tuple[Step, ...]:
    """The canary's steps, growing; promotion follows the last."""
    return tuple(
        Step(
            weight=round(step.traffic * WHOLE),
            minimum_requests=_minimum(step),
            minimum_seconds=step.for_.total_seconds(),
            maximum_seconds=step.at_most.total_seconds(),
        )
        for step in spec.rollout.steps
    )


def settings(spec: ModelDeployment) -> ServingSettings:
    """How a release of it answers. `one_at_a_time` follows from what the gates find, and is not set here."""
    serving = spec.serving
    return ServingSettings(
        timeout_ms=round(serving.timeout.total_seconds() * 1000),
        fallback_score=serving.fallback.score if serving.fallback else None,
        max_body_bytes=serving.max_body,
        score_output=None if serving.score == NO_SCORE else serving.score,
        cache=CacheSettings(serving.cache.ttl.total_seconds()) if serving.cache else None,
        batch_delay_ms=serving.batch.delay.total_seconds() * 1000 if serving.batch else 0.0,
        batch_rows=(serving.batch or Batch()).rows,
        max_waiting=serving.max_waiting,
        unlogged=serving.unlogged,
        scored=serving.score != NO_SCORE,
        protocols=serving.protocols,
        rows=serving.rows,
    )


def behaves_alike(spec: ModelDeployment, present: ServingSettings) -> bool:
    """Whether a release with these settings answers as the spec says. `one_at_a_time` is no matter of the spec."""
    return replace(settings(spec), one_at_a_time=present.one_at_a_time) == present


def scale(spec: ModelDeployment) -> Scale:
    """What a release of it gets."""
    serving = spec.serving
    return Scale(
        max_workers=serving.workers,
        keep_warm=serving.warm == ALWAYS,
        warm_hours=() if serving.warm == ALWAYS else tuple(map(warm_hours, serving.warm)),
        memory_limit_bytes=serving.memory,
        cpu_limit=serving.cpu,
        cache_bytes=(serving.cache or Cache()).size,
    )


SCALE = frozenset({"serving.workers", "serving.warm", "serving.memory", "serving.cpu", "serving.cache.size"})
"""The fields that say it."""


def compiles(spec: ModelDeployment) -> bool:
    """Whether a release of it is to be compiled where that is proven to change nothing."""
    return spec.serving.compile == "auto" and spec.serving.rows == "each"


def approval_required(spec: ModelDeployment) -> bool:
    """Whether it asks that somebody else approves. The model's policy may ask for that, too."""
    return spec.rollout.approval == "required"


def slow_ms(spec: ModelDeployment) -> float | None:
    """From how many milliseconds on an answer is slow; None: the champion's p99 when the canary starts."""
    over = spec.watch.slow.over
    return over.total_seconds() * 1000 if over else None


def watched_for(spec: ModelDeployment) -> float:
    """Seconds after its promotion for which a release is watched; 0: it is not."""
    return spec.watch.after.total_seconds()


def rolls_back(spec: ModelDeployment) -> bool:
    """Whether a release that does worse after its promotion is rolled back; else it is told."""
    return spec.watch.on_degradation == "rollback"


def matures(spec: ModelDeployment) -> timedelta:
    """How old a prediction is when its outcome is taken as final."""
    return spec.alerts.matures


def accepts(spec: ModelDeployment) -> frozenset[str]:
    """For `Plan.accepts`."""
    return frozenset(spec.gates.accept)


def _minimum(step: RolloutStep) -> int:
    return step.requests or max(LEAST_OF_CANDIDATE, round(LEAST_OF_MODEL * step.traffic))


def _rare(rare: Rare) -> Tolerance:
    return Tolerance(rare.ok, rare.bad, rare.budget)


def _ratio(ratio: Ratio) -> Tolerance:
    return Tolerance(ratio.ok, ratio.bad)
