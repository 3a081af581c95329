"""The meaning of a deployment for the rollout and for serving, as values of `core`."""

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
"""The least number of requests of the candidate in a step. It is just below the 5,100 requests without an error that
clear an error budget of 0.1%, so that it seldom prolongs a step."""
LEAST_OF_MODEL = 40_000
"""The least number of requests of the model in a step, so that a larger share is seen for a longer part of the day."""


def policy(spec: ModelDeployment) -> Policy:
    """Returns the policy of the judge."""
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
    """Returns the steps of the canary, with growing shares. The promotion follows the last one."""
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
    """Returns how a release of this deployment answers. `one_at_a_time` depends on the gates and is not set here."""
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
    """Whether a release with the settings `present` answers as the spec says, apart from `one_at_a_time`."""
    return replace(settings(spec), one_at_a_time=present.one_at_a_time) == present


def scale(spec: ModelDeployment) -> Scale:
    """Returns the scale of a release of this deployment."""
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
"""The fields that determine the scale."""


def compiles(spec: ModelDeployment) -> bool:
    """Whether a release is compiled where that is proven to change no answer."""
    return spec.serving.compile == "auto" and spec.serving.rows == "each"


def approval_required(spec: ModelDeployment) -> bool:
    """Whether the spec requires the approval of another person. The policy of the model may require it as well."""
    return spec.rollout.approval == "required"


def slow_ms(spec: ModelDeployment) -> float | None:
    """Returns the latency in milliseconds above which an answer is slow. None: the champion's p99 when the canary
    starts."""
    over = spec.watch.slow.over
    return over.total_seconds() * 1000 if over else None


def watched_for(spec: ModelDeployment) -> float:
    """Returns for how many seconds a release is watched after its promotion. 0: it is not."""
    return spec.watch.after.total_seconds()


def rolls_back(spec: ModelDeployment) -> bool:
    """Whether a release that degrades after its promotion is rolled back. Otherwise it is only reported."""
    return spec.watch.on_degradation == "rollback"


def matures(spec: ModelDeployment) -> timedelta:
    """Returns the age of a prediction from which on its outcome is final."""
    return spec.alerts.matures


def accepts(spec: ModelDeployment) -> frozenset[str]:
    """Returns the value of `Plan.accepts`."""
    return frozenset(spec.gates.accept)


def _minimum(step: RolloutStep) -> int:
    return step.requests or max(LEAST_OF_CANDIDATE, round(LEAST_OF_MODEL * step.traffic))


def _rare(rare: Rare) -> Tolerance:
    return Tolerance(rare.ok, rare.bad, rare.budget)


def _ratio(ratio: Ratio) -> Tolerance:
    return Tolerance(ratio.ok, ratio.bad)
