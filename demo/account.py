"""What happened in a demo, and whether it was as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.machine import Machine
from demo.serinus import MODEL, Serinus


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


def outcome(serinus: Serinus, account: Account, code: int, expected: int, phase: str, cause: str = "") -> str:
    """How the newest rollout ended, in Serinus' own words; noted as wrong where it is not the expected end."""
    newest: Mapping[str, Any] = serinus.json("explain", serinus.newest_rollout(MODEL))
    status = newest["status"]
    found = (code, status["phase"], status["cause"])
    account.must(found == (expected, phase, cause), f"{newest['asked_as']}: expected {phase} {cause}, got {found}")
    return str(status["reason"])


def check_replay(account: Account, report: Mapping[str, Any], allowed: int = 0) -> None:
    """At most `allowed` requests may have failed."""
    failed = sum(report["failed"].values())
    rate = report["answered"] / report["seconds"]
    account.add("transactions answered", report["seconds"], f"{report['answered']:,} at {rate:,.0f}/s, {failed} failed")
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["failed"].items() if count)
    account.must(failed <= allowed, f"{failed} requests failed, at most {allowed} may: {kinds}")


def check_champion(serinus: Serinus, account: Account, version: str) -> None:
    """This version of the model is live."""
    found = serinus.json("status", MODEL)["champion"]["version"]
    account.must(found == version, f"champion is {found}, not {version}")


def print_account(account: Account) -> None:
    say("What happened")
    for what, seconds, how in account.rows:
        print(f"  {what:<46} {seconds:7.1f} s   {how}")
    for line in account.wrong:
        print(f"  NOT AS IT SHOULD BE: {line}")
    if account.wrong and account.machine.busy:
        print(f"  {account.machine.why} That may be the reason. Run the demo again when the machine has less to do.")


def say(text: str) -> None:
    print(f"\n{text}", flush=True)
