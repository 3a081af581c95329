"""`python -m bench.soak --minutes 10`: many models under a Zipf load while releases are deployed and rolled back and
processes are killed.

Reports failed requests, memory over time and wrong answers (against scores that are computed offline). Exit code 1
where a request failed, an answer was wrong, or memory grew.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench import RESULTS
from bench.fleetcases import Watch
from bench.fleets import Small, directory_of, publish, small, wrong_answers, zipf
from bench.goals import conclude
from bench.openloop import OpenLoop
from bench.processes import DidNotStart
from bench.product import Installation
from bench.results import load

_ENVIRONMENTS = 8
_SETTLED = 0.25
"""Of the run: memory before that is not compared."""
_GROWTH = 1.10
_KILLED = ("host", "collector", "control")


@dataclass
class Account:
    """What happened."""

    models: int
    environments: int = _ENVIRONMENTS
    minutes: float = 0.0
    asked: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    acts: dict[str, int] = field(default_factory=dict)
    history: list[tuple[float, str]] = field(default_factory=list)
    """When (monotonic seconds) each act began and what it was, and every failed request."""
    mistakes: list[str] = field(default_factory=list)
    """Acts that did not do what they should."""
    pss_mb: list[float] = field(default_factory=list)
    at_most_mb: dict[str, float] = field(default_factory=dict)
    """Of what the most memory was made, by kind of process."""

    @property
    def growth(self) -> float:
        """Median memory of the last quarter of the run, as a ratio to that of the second quarter."""
        return growth(self.pss_mb)

    def facts(self) -> dict[str, Any]:
        """For the results; of the samples of the memory the median and the most."""
        kept = {name: value for name, value in asdict(self).items() if name not in ("pss_mb", "failed", "history")}
        failed = {"failed": sum(self.failed.values()), "failures": self.failed}
        most = round(max(self.pss_mb, default=0.0), 1)
        usual = round(statistics.median(self.pss_mb or [0.0]), 1)
        memory = {"most_pss_mb": most, "usual_pss_mb": usual, "growth": round(self.growth, 3)}
        return {**kept, **failed, **memory, "good": self.good}

    @property
    def good(self) -> bool:
        return not self.failed and not self.wrong and not self.mistakes and self.growth <= _GROWTH


def growth(pss_mb: Sequence[float]) -> float:
    """1.0 where there are too few samples to tell."""
    if len(pss_mb) < 8:
        return 1.0
    quarter = int(len(pss_mb) * _SETTLED)
    second, last = sorted(pss_mb[quarter : 2 * quarter]), sorted(pss_mb[-quarter:])
    return last[len(last) // 2] / second[len(second) // 2]


def main() -> int:
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped on the way out
    models = small(asked.models, _ENVIRONMENTS, uncompiled=range(1, _ENVIRONMENTS))
    account = Account(len(models), minutes=asked.minutes)
    with Installation("soak", up=("--memory", asked.memory)) as installation:
        publish(installation, models)
        _soak(installation, models, account, asked.minutes * 60, asked.rate, random.Random(asked.seed))  # noqa: S311
    _print(account)
    results = load(asked.results)
    results.facts["soak"] = account.facts()
    conclude(results, asked.results)
    return 0 if account.good else 1


def _soak(
    installation: Installation,
    models: list[Small],
    account: Account,
    seconds: float,
    rate: float,
    chance: random.Random,
) -> None:
    asks = zipf(models, 20_000)
    with Watch(installation) as watch, OpenLoop(installation.port, asks, rate, connections=64) as loop:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            _act(installation, models, account, chance)
            account.wrong += wrong_answers(installation, chance.sample(models, min(10, len(models))))
            time.sleep(chance.uniform(0.5, 3.0))
    account.wrong += wrong_answers(installation, models)
    account.asked = loop.report.answered + loop.report.failed
    account.failed = dict(loop.report.failures)
    account.history += [(one.ended, f"failed: {one.kind} {one.name}") for one in loop.report.first_failures]
    account.pss_mb = [round(value, 1) for value in watch.pss_mb]
    account.at_most_mb = watch.at_most()


def _act(installation: Installation, models: Sequence[Small], account: Account, chance: random.Random) -> None:
    """One deployment, rollback or kill. That the API is away after its process was killed is no mistake."""
    kind = chance.choices(("deploy", "rollback", "worker", "process"), (4, 2, 3, 1))[0]
    model = chance.choice(models)
    began = time.monotonic()
    try:
        if kind == "deploy":
            _deploy(installation, model)
        elif kind == "rollback":
            _roll_back(installation, model)
        elif kind == "worker":
            _kill(_a_worker(installation, chance))
        else:
            kind = chance.choice(_KILLED)
            _kill(installation.pid_of(kind))
    except httpx.TransportError:
        kind = f"{kind}, while the API was away"
        time.sleep(2)
    except (DidNotStart, httpx.HTTPStatusError) as error:
        account.mistakes.append(f"{kind} {model.name}: {str(error)[:300]}")
    account.acts[kind] = account.acts.get(kind, 0) + 1
    account.history.append((began, f"{kind} {model.name}" if kind in ("deploy", "rollback") else kind))


def _deploy(installation: Installation, model: Small) -> None:
    """The same weights again, as another version: what is right stays right."""
    version = installation.register(model.name, directory_of(model))
    with installation.api() as api:
        installation.ended(api, installation.order(api, model.name, version, model.spec()))


def _roll_back(installation: Installation, model: Small) -> None:
    """Where there is a release to go back to."""
    with installation.api() as api:
        shown = api.get(f"/v1/models/{model.name}")
        before = shown.json()["previous"] if shown.is_success else None
        if before is None:
            return
        wish = {"to": before["release"], "why": "soak"}  # by name, as it may be what was rolled back from
        answer = api.post(f"/v1/models/{model.name}/rollback", json=wish)
        if answer.status_code in (404, 409, 422):
            return
        installation.ended(api, answer.raise_for_status().json()["rollout"], 120)


def _a_worker(installation: Installation, chance: random.Random) -> int | None:
    pids = [one.pid for one in installation.workers().values() if one.pid]
    return chance.choice(pids) if pids else None


def _kill(pid: int | None) -> None:
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _print(account: Account) -> None:
    acts = ", ".join(f"{count} x {kind}" for kind, count in sorted(account.acts.items()))
    print(f"{account.models} models; {acts}")
    print(f"requests {account.asked:,}, failed {sum(account.failed.values())} {account.failed or ''}")
    print(f"wrong answers {account.wrong}")
    print(f"memory: last quarter / second quarter {account.growth:.2f}, most {max(account.pss_mb, default=0):,.0f} MB:")
    print("  " + ", ".join(f"{kind} {mb:,.0f}" for kind, mb in account.at_most_mb.items()))
    if account.failed:
        began = min(at for at, _ in account.history)
        for at, what in sorted(account.history):
            print(f"{at - began:7.1f} s  {what}")
    for line in account.mistakes:
        print(f"not as it should be: {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second over all models")
    parser.add_argument("--memory", default="5GiB", help="for all models; Serinus itself needs the rest of 6 GiB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="where it is added to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
