"""The run: which cases, in which order, and what is kept of them."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from bench import RESULTS, report
from bench.cases import CASES, Plan
from bench.goals import conclude
from bench.processes import DidNotStart
from bench.results import Results, load, machine
from bench.throughput import Effort

_QUICK = Effort(seconds=2.0, repeats=2, connections=(8,))
_QUICK_SERVERS = ("mlflow", "kserve", "fastapi", "bare", "envoy-bare", "serinus", "serinus-cached")


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped on the way out
    results = load(asked.results)
    if asked.what == "report":
        report.write(results)
        return 0
    only = asked.only.split(",") if asked.only else list(CASES)
    if unknown := set(only) - set(CASES):
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    servers = asked.servers.split(",") if asked.servers else (list(_QUICK_SERVERS) if asked.quick else None)
    plan = Plan(_QUICK if asked.quick else Effort(), servers, quick=asked.quick)
    results.machine = machine()
    for case in CASES:
        if case in only and not (asked.resume and case in results.done):
            run(case, plan, results, asked.results)
    conclude(results, asked.results)
    print(report.tables(results))
    return 0


def run(case: str, plan: Plan, results: Results, path: Path) -> None:
    """One case; what it could not do is noted as not run, with the reason."""
    print(f"{case}", flush=True)
    results.forget(case)
    try:
        CASES[case](plan, results)
        results.done.append(case)
    except DidNotStart as error:
        results.not_run[case] = str(error)
        print(f"  not run: {error}", flush=True)
    results.save(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Peers, bounds and Serinus side by side.")
    parser.add_argument("what", nargs="?", choices=["run", "report"], default="run")
    parser.add_argument("--quick", action="store_true", help="shorter, and fewer peers")
    parser.add_argument("--only", metavar="CASE,...", help=f"of {', '.join(CASES)}")
    parser.add_argument("--servers", metavar="SERVER,...", help="only these, where a case compares servers")
    parser.add_argument("--resume", action="store_true", help="leave out the cases that are done already")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    return parser
