"""All kinds of streams, by name."""

from __future__ import annotations

from collections.abc import Iterator

from serinus.core.rollout import Step
from simulation.kinds import BOTH, CANARY, CHAMPION, HEALTHY, Incident, Kind, Outcome

_ONE = (Step(2_500, 5_000, 20.0, 86_400.0),)
_LONG = tuple(Step(weight, 5_000, 120.0, 86_400.0) for weight in (500, 2_500, 5_000))
_WITH_ERRORS = {**HEALTHY, "errors": 2e-4}
_ARMS = {CHAMPION: "champion", CANARY: "canary"}


def _incident(
    event: str,
    arms: tuple[int, ...],
    seconds: float,
    rate: float = 1.0,
    start: tuple[float, float] = (20.0, 60.0),
    every: float = 0.0,
) -> tuple[Incident, ...]:
    return (Incident(event, arms, seconds, rate, start, every),)


def _plain() -> Iterator[Kind]:
    yield Kind("independent", "clean")
    yield Kind("independent, 50/s", "clean", rate=50.0, look=5.0, seconds=7_200.0)
    for share in (1e-4, 0.01, 0.3):
        outcome: Outcome = "honest" if share < 1e-3 else "clean"
        yield Kind(f"alerts {share:.2%}", outcome, champion={"slow": 0.01, "alerts": share})
    yield Kind("day curve", "clean", day=300.0, entities=20_000)
    yield Kind("half without an entity", "clean", rate=200.0, entities=2_000, nameless=0.5, seconds=1_500.0)
    yield Kind(
        "errors only without an entity",
        "honest",
        rate=200.0,
        entities=2_000,
        nameless=0.5,
        champion=_WITH_ERRORS,
        only_nameless=frozenset({"errors"}),
        seconds=900.0,
    )
    drifting = {"slow": 0.01, "alerts": 0.2}
    yield Kind("alerts 20 %, rates double", "honest", rate=200.0, entities=2_000, champion=drifting, drift=400.0)
    yield Kind("warm-up 30 s, steps of 120 s", "clean", warm_up=30.0, steps=_LONG)
    yield Kind("warm-up 90 s, steps of 120 s", "clean", warm_up=90.0, steps=_LONG, seconds=900.0)


def _entities() -> Iterator[Kind]:
    for size in (3, 20, 100):
        bursts = dict.fromkeys(("errors", "slow", "alerts"), size)
        name = f"bursts of {size}"
        yield Kind(name, "honest", entities=100_000, champion=_WITH_ERRORS, bursts=bursts, seconds=400.0)
    for number, tail in ((2, 0.0), (20, 0.0), (20, 0.9), (500, 0.0), (500, 0.6), (20_000, 0.9)):
        name = f"{number:,} entities, tail {tail:g}"
        yield Kind(name, "honest", rate=200.0, entities=number, tail=tail, seconds=900.0)
    for tail in (0.0, 0.9):
        yield Kind(f"500,000 entities, tail {tail:g}", "honest", entities=500_000, tail=tail)


def _stalls() -> Iterator[Kind]:
    for event in ("errors", "slow"):
        for arm, who in _ARMS.items():
            for seconds in (0.5, 2.0, 5.0):
                for rate in (10.0, 100.0, 1_000.0):
                    name = f"{event}, {who} stalls {seconds:g} s, {rate:,.0f}/s"
                    incidents = _incident(event, (arm,), seconds)
                    yield Kind(name, "honest", rate=rate, incidents=incidents, seconds=300.0)
        each = tuple(Incident(event, (arm,), 1.0, 1.0, (0.0, 60.0), 60.0) for arm in BOTH)
        yield Kind(f"{event}, each arm stalls 1 s once a minute", "honest", incidents=each)
    for seconds in (5.5, 7.0, 8.0):
        yield Kind(f"slow, canary stalls {seconds:g} s", "honest", incidents=_incident("slow", (CANARY,), seconds))


def _incidents() -> Iterator[Kind]:
    slow = _incident("slow", (CHAMPION,), 120.0, 0.6, (100.0, 600.0))
    long = (Step(500, 10**9, 600.0, 86_400.0),)
    name = "champion slow 120 s, 500 entities, 50/s"
    yield Kind(name, "honest", rate=50.0, entities=500, tail=0.6, incidents=slow, steps=long, seconds=1_800.0)
    for arms, who in (((CHAMPION,), "champion"), (BOTH, "both arms")):
        incidents = _incident("slow", arms, 120.0, 0.6)
        yield Kind(f"{who} slow 120 s, 500 entities", "honest", entities=500, tail=0.6, incidents=incidents)
    for seconds in (2.0, 20.0, 120.0):
        incidents = _incident("alerts", (CHAMPION,), seconds, 0.3)
        yield Kind(f"champion alerts 30 % for {seconds:g} s", "honest", incidents=incidents)
    incidents = _incident("alerts", (CHAMPION,), 20.0, 0.3)
    yield Kind("champion alerts 30 % for 20 s, 2,000 entities", "honest", entities=2_000, incidents=incidents)
    incidents = _incident("alerts", (CHAMPION,), 60.0, 0.05, every=300.0)
    yield Kind("champion alerts 5 % for 60 s every 300 s", "honest", incidents=incidents, seconds=1_200.0)
    yield Kind("both arms alert 30 % for 20 s", "honest", incidents=_incident("alerts", BOTH, 20.0, 0.3))


def _late() -> Iterator[Kind]:
    for seconds, who in (((30.0, 0.0), "champion"), ((0.0, 30.0), "canary")):
        yield Kind(f"{who}'s counts 30 s late", "clean", late=seconds, seconds=900.0)
        yield Kind(f"{who}'s counts in clumps of 30 s", "clean", clumps=seconds, seconds=900.0)
        slow = _incident("slow", BOTH, 20.0, 0.6)
        yield Kind(f"{who}'s counts 30 s late, both slow 20 s", "honest", late=seconds, incidents=slow)
        slow = _incident("slow", BOTH, 120.0, 0.6, (100.0, 160.0))
        yield Kind(f"{who}'s counts 30 s late, both slow 120 s", "honest", late=seconds, incidents=slow)
        fail = _incident("errors", BOTH, 20.0, 0.5)
        yield Kind(f"{who}'s counts in clumps of 30 s, both fail 20 s", "honest", clumps=seconds, incidents=fail)
        fail = _incident("errors", BOTH, 20.0, 0.5, (100.0, 160.0))
        yield Kind(f"{who}'s counts 30 s late, both fail 20 s", "honest", late=seconds, incidents=fail)


def _at_the_limit() -> Iterator[Kind]:
    for event in ("errors", "fallbacks", "missing"):
        champion = {**HEALTHY, event: 0.001}
        yield Kind(f"{event} at the budget", "unacceptable", champion=champion, steps=_ONE)
    for size in (3, 20, 100):
        yield Kind(
            f"errors at 3 times the budget, bursts of {size}",
            "unacceptable",
            entities=200_000,
            champion={**HEALTHY, "errors": 0.003},
            bursts={"errors": size},
            steps=_ONE,
            seconds=400.0,
        )
    for size in (3, 20):
        yield Kind(
            f"errors of the canary at 3 times the budget, bursts of {size}",
            "unacceptable",
            entities=200_000,
            canary={"errors": 0.003},
            bursts={"errors": size},
            steps=_ONE,
            seconds=400.0,
        )
    for event, rate in (("slow", 0.02), ("alerts", 0.01)):
        for size in (3, 20, 100):
            yield Kind(
                f"{event} x 2, bursts of {size}",
                "unacceptable",
                entities=100_000,
                canary={event: rate},
                bursts={event: size},
                steps=_ONE,
                seconds=400.0,
            )
    for number, tail in ((20, 0.0), (200, 0.0), (2_000, 0.6)):
        for name, canary in (("slow x 2", {"slow": 0.02}), ("alerts / 4", {"alerts": 0.00125})):
            kind = f"{name}, {number:,} entities, tail {tail:g}"
            yield Kind(kind, "unacceptable", rate=500.0, entities=number, tail=tail, canary=canary, steps=_ONE)
    for tail in (0.0, 0.9):
        name, sick = f"errors of few entities, tail {tail:g}", {"errors": 0.003}
        yield Kind(name, "unacceptable", rate=500.0, entities=20_000, tail=tail, sick=sick, steps=_ONE)
    few = {"slow": 0.01, "alerts": 1e-4}
    yield Kind("silent, where alerts are rare", "unacceptable", champion=few, canary={"alerts": 0.0}, steps=_ONE)


def _hidden() -> Iterator[Kind]:
    """Trouble of the champion, in which a bad canary looks good."""
    early = (5.0, 20.0)
    for seconds in (2.0, 20.0, 120.0):
        incidents = _incident("slow", (CHAMPION,), seconds, 0.6, early)
        name = f"slow x 2, champion slow {seconds:g} s"
        yield Kind(name, "unacceptable", canary={"slow": 0.02}, incidents=incidents, steps=_ONE, seconds=400.0)
    incidents = _incident("alerts", (CHAMPION,), 20.0, 0.3, early)
    name = "alerts x 2, champion alerts 30 % for 20 s"
    yield Kind(name, "unacceptable", canary={"alerts": 0.01}, incidents=incidents, steps=_ONE, seconds=400.0)
    incidents = _incident("alerts", (CANARY,), 20.0, 0.3, early)
    name = "silent but for 20 s of many alerts"
    yield Kind(name, "unacceptable", canary={"alerts": 0.0}, incidents=incidents, steps=_ONE, seconds=400.0)


def _harmful() -> Iterator[Kind]:
    faults = {
        "1 % errors": {"errors": 0.01},
        "0.3 % errors": {"errors": 0.003},
        "slow x 3": {"slow": 0.03},
        "alerts x 3": {"alerts": 0.015},
        "silent": {"alerts": 0.0},
    }
    for name, canary in faults.items():
        yield Kind(name, "harmful", canary=canary)
    yield Kind("slow x 2", "harmful", canary={"slow": 0.02}, steps=_ONE)
    yield Kind("alerts x 2", "harmful", canary={"alerts": 0.01}, steps=_ONE)
    yield Kind("alerts / 4", "harmful", canary={"alerts": 0.00125}, steps=_ONE)
    yield Kind("everything fails", "cut off", canary={"errors": 1.0})
    yield Kind("everything fails, 20 entities", "cut off", rate=50.0, entities=20, canary={"errors": 1.0}, steps=_ONE)


def _all() -> Iterator[Kind]:
    """Those first in which a promise is most at risk."""
    for group in (_at_the_limit, _hidden, _stalls, _late, _incidents, _entities, _plain, _harmful):
        yield from group()


KINDS: dict[str, Kind] = {kind.name: kind for kind in _all()}
