"""The main job on one machine, in about three minutes. Nothing in it is staged: what happens is what the same code
does for anybody, and the account at the end is checked against what must be true.

    make demo               leaves everything running until Ctrl-C, to be looked at
    DEMO_EXIT=1 make demo   ends by itself; exit code 1 where anything was not as it should be
    DEMO_RATE=500 make demo replays 500 requests a second instead of what this machine can give

It measures the machine first. Where other processes use it, it asks for less and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import story
from demo.account import Account, check_champion, check_replay, outcome, print_account, say
from demo.machine import Pace, measured, settled
from demo.serinus import MODEL, Serinus
from examples.card_fraud.data import LABEL

HOME = story.ROOT / ".serinus-demo"
SPEC = story.SPECS / "model-deployment.yaml"


def main() -> int:
    serinus = Serinus(HOME)
    day = story.prepare_data()
    say("Setting up: an MLflow server, Envoy, the model host, the prediction log and Serinus itself, on this machine")
    story.begin_anew(serinus)
    began = time.monotonic()
    account = Account(measured())
    if account.machine.busy:
        say(f"{account.machine.why} Everything takes longer, and the latency gate allows 1 s instead of 100 ms")
    addresses = story.up(serinus, account, (), "no Docker, no root, no Kubernetes")
    try:
        tell(serinus, account, day, addresses)
        account.add("all of it", time.monotonic() - began, "after set-up")
        print_account(account)
        story.wait_for_the_reader(addresses)
    finally:
        serinus.shown("down")
    return 1 if account.wrong else 0


def tell(serinus: Serinus, account: Account, day: Path, addresses: Mapping[str, str]) -> None:
    say("A data scientist's script trains four models on the first day and registers them (examples/card_fraud)")
    seconds = story.train(addresses["mlflow_env"], "v1", "v2", "v3", "v4")
    account.add("four models trained and registered", seconds, "ordinary MLflow code")
    machine, spec = account.machine, HOME / SPEC.name
    spec.write_text(machine.spec(SPEC.read_text()))
    story.first(serinus, account, "--spec", str(spec))
    if account.wrong:
        return  # nothing is live, so there is nothing to ask and nothing to compare with
    pace = choose_pace(serinus, day, account)
    say(
        f"{pace.said} The second day is replayed in the order of time, again and again; the cards are synthetic "
        "(the set has none), and every pass brings fresh ones"
    )
    with story.replayed(serinus, day, pace.rate) as report:
        canaries(serinus, account)
    account.machine = min(account.machine, measured(), key=lambda one: one.share)
    check_replay(account, report, account.machine.failures_allowed(report["sent"]))
    check_agreement(serinus, account)


def choose_pace(serinus: Serinus, day: Path, account: Account) -> Pace:
    """What this machine keeps up with, or what DEMO_RATE says."""
    if asked := os.environ.get("DEMO_RATE"):
        return Pace(int(asked), f"DEMO_RATE asks for {int(asked):,} requests a second.")

    def replay(rate: int, limit: int) -> Mapping[str, Any]:
        words = ("replay", str(day), "--model", MODEL, "--rate", str(rate), "--limit", str(limit))
        report: Mapping[str, Any] = serinus.report(
            *words, "--entity", "entity", "--protocol", "invocations", "--label", LABEL
        )
        return report

    return settled(replay, account.machine)


def canaries(serinus: Serinus, account: Account) -> None:
    story.better(serinus, account)
    story.worse(serinus, account)
    say("The same trees from an export whose labels broke off after two hours")
    code, seconds = serinus.shown("deploy", f"{MODEL}@4", "--reason", "fresh labels")
    account.add("v4 is aborted at the gate", seconds, outcome(serinus, account, code, 1, "aborted", "gate"))


def check_agreement(serinus: Serinus, account: Account) -> None:
    """Routing, alias, Git and status say the same: the second version is live."""
    check_champion(serinus, account, "2")
    live = subprocess.run(
        ["git", "-C", str(HOME / "fleet"), "log", "--format=%an: %s"], capture_output=True, text=True, check=True
    )
    account.add("the fleet repository says who, what and why", 0.0, live.stdout.splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
