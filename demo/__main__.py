"""The main job on one machine, in about three minutes. Nothing in it is staged: what happens is what the same code
does for anybody, and the account at the end is checked against what must be true.

    make demo               leaves everything running until Ctrl-C, to be looked at
    DEMO_EXIT=1 make demo   ends by itself; exit code 1 where anything was not as it should be
    DEMO_RATE=500 make demo replays 500 requests a second instead of what this machine can give

It measures the machine first. Where other processes use it, it asks for less and says so.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.machine import Machine, Pace, measured, settled
from demo.serinus import Serinus
from examples.card_fraud.data import FEATURES, LABEL, second_day, transactions

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
HOME = ROOT / ".serinus-demo"
SPEC = ROOT / "examples" / "card_fraud" / "model-deployment.yaml"
MODEL = "card-fraud"


@dataclass
class Account:
    """What happened, and what of it was not as it should be."""

    machine: Machine
    """As it was measured at the beginning, or at the end if it was busier then."""
    rows: list[tuple[str, float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, seconds: float, how: str) -> None:
        self.rows.append((what, seconds, how))

    def must(self, true: bool, otherwise: str) -> None:
        if not true:
            self.wrong.append(otherwise)


def main() -> int:
    serinus = Serinus(HOME)
    day = prepare_data()
    say("Setting up: an MLflow server, Envoy, the model host, the prediction log and Serinus itself, on this machine")
    begin_anew(serinus)
    began = time.monotonic()
    account = Account(measured())
    if account.machine.busy:
        say(f"{account.machine.why} Everything takes longer, and the latency gate allows 1 s instead of 100 ms")
    addresses = up(serinus, account)
    try:
        tell(serinus, account, day, addresses)
        account.add("all of it", time.monotonic() - began, "after set-up")
        print_account(account)
        wait_for_the_reader(addresses)
    finally:
        serinus.shown("down")
    return 1 if account.wrong else 0


def prepare_data() -> Path:
    """The second day as the file that is replayed; fetched and written once."""
    day = DATA / "second-day.parquet"
    if not day.exists():
        say("Fetching the ULB card transactions of September 2013 (284,807 rows, 492 frauds; ODbL)")
        frame = second_day(transactions(DATA))
        frame[[*FEATURES, "entity", LABEL]].to_parquet(day, index=False)
    return day


def begin_anew(serinus: Serinus) -> None:
    if HOME.exists():
        subprocess.run(serinus.line("down"), capture_output=True, check=False)
        shutil.rmtree(HOME)


def up(serinus: Serinus, account: Account) -> Mapping[str, str]:
    code, seconds = serinus.shown("up")
    if code != 0:
        raise SystemExit("`serinus up` failed: see above")
    account.add("everything is up", seconds, "no Docker, no root, no Kubernetes")
    addresses: Mapping[str, str] = serinus.json("up")
    return addresses


def tell(serinus: Serinus, account: Account, day: Path, addresses: Mapping[str, str]) -> None:
    say("A data scientist's script trains four models on the first day and registers them (examples/card_fraud)")
    seconds = train(addresses["mlflow_env"])
    account.add("four models trained and registered", seconds, "ordinary MLflow code")
    say("The first version: there is no champion to compare with, so it goes from the gates to full traffic")
    machine, spec = account.machine, HOME / SPEC.name
    spec.write_text(machine.spec(SPEC.read_text()))
    code, seconds = serinus.shown("deploy", f"{MODEL}@1", "--spec", str(spec), "--reason", "first model")
    account.add("v1 (scikit-learn pipeline) is live", seconds, outcome(serinus, account, code, 0, "promoted"))
    if account.wrong:
        return  # nothing is live, so there is nothing to ask and nothing to compare with
    pace = choose_pace(serinus, day, machine)
    say(
        f"{pace.said} The second day is replayed in the order of time, again and again; the cards are synthetic "
        "(the set has none), and every pass brings fresh ones"
    )
    words = ["replay", str(day), "--model", MODEL, "--rate", str(pace.rate), "--passes", "50", "--fresh-entities"]
    words += ["--protocol", "invocations"]
    with serinus.beside(*words, "--entity", "entity", "--label", LABEL, "--json") as replay:
        canaries(serinus, account)
        replay.send_signal(signal.SIGINT)
        said, _ = replay.communicate(timeout=60)
    account.machine = min(machine, measured(), key=lambda one: one.share)
    check_replay(account, json.loads(said))
    check_agreement(serinus, account)


def choose_pace(serinus: Serinus, day: Path, machine: Machine) -> Pace:
    """What this machine keeps up with, or what DEMO_RATE says."""
    if asked := os.environ.get("DEMO_RATE"):
        return Pace(int(asked), f"DEMO_RATE asks for {int(asked):,} requests a second.")

    def replay(rate: int, limit: int) -> Mapping[str, Any]:
        words = ("replay", str(day), "--model", MODEL, "--rate", str(rate), "--limit", str(limit))
        report: Mapping[str, Any] = serinus.report(
            *words, "--entity", "entity", "--protocol", "invocations", "--label", LABEL
        )
        return report

    return settled(replay, machine)


def train(mlflow_env: str) -> float:
    """As a person does: sources the file that `up` names, and runs the script."""
    began = time.monotonic()
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    script = [sys.executable, "-m", "examples.card_fraud.train", "v1", "v2", "v3", "v4", "--data", str(DATA)]
    words = ["sh", "-c", f'. {shlex.quote(mlflow_env)} && exec "$@"', "sh", *script]
    trained = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if trained.returncode != 0:
        raise SystemExit(f"training failed:\n{trained.stderr}")
    return time.monotonic() - began


def canaries(serinus: Serinus, account: Account) -> None:
    say("A better model: gradient-boosted trees. By canary, judged at every step")
    code, seconds = serinus.shown("deploy", f"{MODEL}@2", "--reason", "trees catch more")
    account.add("v2 (XGBoost) is promoted", seconds, outcome(serinus, account, code, 0, "promoted"))
    say(
        "Trees blended with the risk of the time of day: a little better offline. Its table has never seen a second day"
    )
    code, seconds = serinus.shown("deploy", f"{MODEL}@3", "--reason", "the hour matters")
    account.add("v3 is aborted in the canary", seconds, outcome(serinus, account, code, 1, "aborted", "judge"))
    say("The same trees from an export whose labels broke off after two hours")
    code, seconds = serinus.shown("deploy", f"{MODEL}@4", "--reason", "fresh labels")
    account.add("v4 is aborted at the gate", seconds, outcome(serinus, account, code, 1, "aborted", "gate"))


def outcome(serinus: Serinus, account: Account, code: int, expected: int, phase: str, cause: str = "") -> str:
    """How the newest rollout ended, in Serinus' own words; noted as wrong where it is not the expected end."""
    newest: Mapping[str, Any] = serinus.json("explain", serinus.newest_rollout(MODEL))
    status = newest["status"]
    found = (code, status["phase"], status["cause"])
    account.must(found == (expected, phase, cause), f"{newest['asked_as']}: expected {phase} {cause}, got {found}")
    return str(status["reason"])


def check_replay(account: Account, report: Mapping[str, Any]) -> None:
    """None may fail, but for one in a thousand on a machine that other processes use."""
    failed = sum(report["failed"].values())
    rate = report["answered"] / report["seconds"]
    account.add("transactions answered", report["seconds"], f"{report['answered']:,} at {rate:,.0f}/s, {failed} failed")
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["failed"].items() if count)
    allowed = account.machine.failures_allowed(report["sent"])
    account.must(failed <= allowed, f"{failed} requests failed, at most {allowed} may: {kinds}")


def check_agreement(serinus: Serinus, account: Account) -> None:
    """Routing, alias, Git and status say the same: the second version is live."""
    model = next(m for m in serinus.json("status")["models"] if m["model"] == MODEL)
    account.must(model["champion"]["version"] == "2", f"champion is {model['champion']['version']}, not 2")
    live = subprocess.run(
        ["git", "-C", str(HOME / "fleet"), "log", "--format=%an: %s"], capture_output=True, text=True, check=True
    )
    account.add("the fleet repository says who, what and why", 0.0, live.stdout.splitlines()[0])


def print_account(account: Account) -> None:
    say("What happened")
    for what, seconds, how in account.rows:
        print(f"  {what:<46} {seconds:7.1f} s   {how}")
    for line in account.wrong:
        print(f"  NOT AS IT SHOULD BE: {line}")
    if account.wrong and account.machine.busy:
        print(f"  {account.machine.why} That may be the reason. Run the demo again when the machine has less to do.")


def wait_for_the_reader(addresses: Mapping[str, str]) -> None:
    print(f"\n  The status page: {addresses['login']}", flush=True)
    if os.environ.get("DEMO_EXIT"):
        return
    print("  It keeps running. Ctrl-C ends it.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
