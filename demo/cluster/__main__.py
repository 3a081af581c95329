"""The main job on a Kubernetes cluster, in at most ten minutes. Models run in pods that Argo CD brings from Git; the
engine runs on this machine. Nothing in it is staged, and the account at the end is checked against what must be true.

    make demo-cluster               leaves everything running until Ctrl-C, to be looked at
    DEMO_EXIT=1 make demo-cluster   ends by itself; exit code 1 where anything was not as it should be
    DEMO_RATE=40 make demo-cluster  replays 40 requests a second instead of 60

It runs on the lab (docs/lab.md), which root starts where it does not run.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import story
from demo.account import Account, check_champion, check_replay, print_account, say
from demo.cluster import person
from demo.cluster.lab import ARGO_CD, NAME, Lab, running
from demo.cluster.person import Person
from demo.machine import measured
from demo.serinus import MODEL, Serinus

DIRECTORY = story.ROOT / ".serinus-demo-cluster"
SPEC = story.SPECS / "on-the-lab.yaml"
RATE = 60
"""Requests a second. The lab answers some 100, and two releases of the model run beside each other."""
EVERY = 20
"""Of so many rows of the second day one is replayed, so that a pass takes two minutes and has all hours."""
ROLLBACK_SECONDS = 120.0
SYNCED_SECONDS = 60.0
CALM_SECONDS = 60.0


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was begun is undone on the way out
    serinus = Serinus(DIRECTORY / "home")
    try:
        day = story.prepare_data(EVERY)
        story.begin_anew(serinus)
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        began = time.monotonic()
        account = Account(measured())
        with running() as lab:
            account.add(
                "the cluster is there", time.monotonic() - began, "Kubernetes, Argo CD, a registry, a Git server"
            )
            try:
                addresses = begin(lab, serinus, account)
                tell(lab, serinus, account, day, addresses)
                account.add("all of it", time.monotonic() - began, "the start of the cluster included")
                print_account(account)
                story.wait_for_the_reader(addresses)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C would leave a part of it.
                serinus.shown("down")
    except KeyboardInterrupt:
        return 130
    return 1 if account.wrong else 0


def begin(lab: Lab, serinus: Serinus, account: Account) -> Mapping[str, str]:
    say(
        f"A namespace, and a fleet repository on the Git server, {lab.fleet}. {person.NAME} puts the ModelDeployment "
        "into it, which the first deployment uses"
    )
    DIRECTORY.mkdir()
    settings = DIRECTORY / "cluster.yaml"
    lab.prepare(settings)
    anna(lab).begin(SPEC.read_text())
    say("Setting up: gateways in the cluster; an MLflow server, the prediction log and the engine on this machine")
    return story.up(serinus, account, ("--cluster", str(settings)), "gateways in the cluster, the rest on this machine")


def anna(lab: Lab) -> Person:
    return Person(DIRECTORY / "fleet", lab.fleet)


def tell(lab: Lab, serinus: Serinus, account: Account, day: Path, addresses: Mapping[str, str]) -> None:
    say("A data scientist's script trains three models on the first day and registers them (examples/card_fraud)")
    seconds = story.train(addresses["mlflow_env"], "v1", "v2", "v3")
    account.add("three models trained and registered", seconds, "ordinary MLflow code")
    story.first(serinus, account)
    if account.wrong:
        return  # nothing is live, so there is nothing to ask and nothing to compare with
    show_applications(lab)
    champion = str(serinus.json("status", MODEL)["champion"]["release"])
    wait_for_calm(lab, champion)
    rate = int(os.environ.get("DEMO_RATE", RATE))
    say(
        f"Every {EVERY}th transaction of the second day is replayed in the order of time, again and again, at {rate} "
        "requests a second; the cards are synthetic, and every pass brings fresh ones"
    )
    began = datetime.now(UTC)
    with story.replayed(serinus, day, rate) as report:
        story.better(serinus, account)
        show_load(lab)
        story.worse(serinus, account)
        reverted(lab, serinus, account)
        show_applications(lab)
    check_replay(account, report)
    check_scaling(lab, account, champion, began)
    check_agreement(lab, serinus, account)


def reverted(lab: Lab, serinus: Serinus, account: Account) -> None:
    """A person reverts what Serinus committed when the second version became live."""
    say(f"{person.NAME} wants the first model back. She reverts the commit of Serinus, and talks to nobody else")
    began = time.monotonic()
    anna(lab).revert(f"Make {MODEL} 2 live")
    rollback = wait_for_rollback(serinus, began + ROLLBACK_SECONDS)
    seconds = time.monotonic() - began
    status = rollback["status"]
    account.must(status["phase"] == "promoted", f"the rollback: {status['phase']}, {status['reason']}")
    why = str(rollback["why"])
    account.must(why.startswith(f'Revert "Make {MODEL} 2 live"'), f"the rollback has another reason: {why}")
    account.add(f"v2 is reverted in Git by {person.NAME}, v1 is live", seconds, why)
    serinus.shown("events", MODEL, "-n", "6")


def wait_for_rollback(serinus: Serinus, deadline: float) -> Mapping[str, Any]:
    """The rollback, once it has ended."""
    while True:
        newest: Mapping[str, Any] = serinus.json("explain", serinus.newest_rollout(MODEL))
        if newest["kind"] == "rollback" and newest["status"]["phase"] in ("promoted", "aborted"):
            return newest
        if time.monotonic() > deadline:
            raise SystemExit(f"{ROLLBACK_SECONDS:.0f} s after the revert there is no rollback: {newest['status']}")
        time.sleep(0.5)


# --- what Kubernetes says -------------------------------------------------------------------------------------


def show_applications(lab: Lab) -> None:
    lab.shown("get", "applications", f"--namespace={ARGO_CD}", f"--selector=serinus/cluster={NAME}")


def show_load(lab: Lab) -> None:
    namespace = f"--namespace={NAME}"
    show_applications(lab)
    lab.shown("get", "deployments,horizontalpodautoscalers", namespace)
    lab.shown("top", "pods", namespace)
    lab.shown(
        *("get", "events", namespace, "--field-selector=involvedObject.kind=HorizontalPodAutoscaler"),
        "--sort-by=.metadata.creationTimestamp",
    )


def wait_for_calm(lab: Lab, release: str) -> None:
    """Waits until the autoscaler has taken away the pod that it added because the first one used a whole processor
    while it started. What it adds later is for the load."""
    deadline = time.monotonic() + CALM_SECONDS
    while lab.pods_wanted(release) > 1 and time.monotonic() < deadline:
        time.sleep(1.0)


def check_scaling(lab: Lab, account: Account, release: str, began: datetime) -> None:
    """The autoscaler of the release has added pods because of the load, which began then."""
    by_load = added_by_load(lab.rescales(release), began)
    account.must(bool(by_load), f"the autoscaler has added no pod to {release} by the load: {lab.rescales(release)}")
    account.add("the autoscaler has added pods", 0.0, "; ".join(by_load))


def added_by_load(events: Sequence[Mapping[str, Any]], began: datetime) -> list[str]:
    """What an autoscaler said of pods that it has added since then because of what they use, and not for the floor that
    Serinus has set."""
    return [
        str(event["message"])
        for event in events
        if datetime.fromisoformat(event["lastTimestamp"]) >= began and event["message"].endswith("above target")
    ]


def check_agreement(lab: Lab, serinus: Serinus, account: Account) -> None:
    """Routing, alias, Git and Argo CD say the same: the first version is live."""
    check_champion(serinus, account, "1")
    account.must(lab.synced(SYNCED_SECONDS), f"not all Applications are Synced and Healthy: {lab.states()}")
    log = anna(lab)
    log.git("fetch", "--quiet", "origin", "main")
    said = log.git("log", "--format=%an: %s", "origin/main", "--", "live").splitlines()
    account.must(any(line.startswith(f"{person.NAME}: Revert") for line in said), f"Git has no revert: {said}")
    account.add("the fleet repository says who, what and why", 0.0, "; ".join(said))


if __name__ == "__main__":
    sys.exit(main())
