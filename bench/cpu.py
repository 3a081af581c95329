"""`python -m bench.cpu`: processor time of a request, process by process, of this checkout's Serinus and of others'.

    python -m bench.cpu
    python -m bench.cpu --against ../before --rounds 12

On a machine that is used by others too, requests a second say little, as whoever else computes takes them away. The
time that each process was on a processor says more. All run by turns, every one but that under test frozen; medians,
and the least. The recheck, which would run in some turns and not in others, is off. Another checkout needs an
environment of its own, in `.venv`. This checkout's models are copied to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT, SCRATCH, wrk
from bench.data import request_rows
from bench.models import MODELS, saved
from bench.processes import descendants, freeze, kind_of, thaw
from bench.product import COMMAND, WITHOUT_RECHECK, Installation, Serinus

_CONNECTIONS = 8
_LEAST = 0.05
"""Microseconds a request below which a process is left out."""
_ENDED = "ended"
"""Processes that are gone when the turn is over: those of the roll-up."""


@dataclass(frozen=True)
class Side:
    """A running Serinus. `lua`: the load of each kind of model."""

    name: str
    home: Path
    port: int
    lua: Mapping[str, Path]

    def pids(self) -> list[int]:
        told = (json.loads(file.read_text()) for file in (self.home / "run").glob("*.json"))
        return descendants([int(one["pid"]) for one in told if one.get("pid")])


def turn(side: Side, kind: str, seconds: float) -> Mapping[str, float]:
    """Microseconds of processor time a request by kind of process; `requests/s` beside."""
    thaw(side.pids())
    try:
        wrk.run(side.port, side.lua[kind], _CONNECTIONS, 1)
        before = {pid: spent_us(pid) for pid in side.pids()}
        kinds = {pid: kind_of(pid) for pid in before}
        found = wrk.run(side.port, side.lua[kind], _CONNECTIONS, seconds)
        used = {_ENDED: 0.0}
        for pid in side.pids():
            own, children = spent_us(pid)
            own_before, children_before = before.get(pid, (0.0, children))
            name = kinds.get(pid) or kind_of(pid) or _ENDED
            used[name] = used.get(name, 0.0) + own - own_before
            used[_ENDED] += children - children_before
    finally:
        freeze(side.pids())
    a_request = {name: spent / found.requests for name, spent in used.items()}
    return {**a_request, "all": sum(a_request.values()), "requests/s": found.rps}


def spent_us(pid: int) -> tuple[float, float]:
    """Of a process with all its threads, to the nanosecond, and of its children that have ended, to the tick."""
    own = children = 0.0
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK") * 1e6  # cutime, cstime
    for thread in Path(f"/proc/{pid}").glob("task/*/schedstat"):
        with contextlib.suppress(OSError):
            own += int(thread.read_text().split()[0]) / 1e3
    return own, children


def table(turns: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A row for each process in Markdown: the median of each side's turns, and the least, as whoever else computes only
    adds to it."""
    names = sorted({name for found in turns.values() for one in found for name in one}, key=_order)
    lines = [f"| us a request | {' | '.join(turns)} |", "|---" * (len(turns) + 1) + "|"]
    for name in names:
        each = [sorted(one.get(name, 0.0) for one in found) for found in turns.values()]
        if max(map(statistics.median, each)) >= _LEAST:
            cells = [f"{statistics.median(found):,.1f} ({found[0]:,.1f})" for found in each]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _order(name: str) -> tuple[bool, bool, str]:
    return name == "requests/s", name == "all", name


@contextlib.contextmanager
def serving(name: str, checkout: Path, kinds: Sequence[str]) -> Iterator[Side]:
    """The Serinus of a checkout, by its own bench, until the context ends."""
    scratch = checkout / SCRATCH.name
    if checkout != ROOT and not (scratch / MODELS.name).exists():
        shutil.copytree(MODELS, scratch / MODELS.name)
    # This file, which another checkout may not have, beside the rest of the other's bench.
    script = f"import runpy, sys; sys.path.insert(0, {str(checkout)!r}); runpy.run_path({__file__!r}, None, '__main__')"
    words = [str(checkout / ".venv" / "bin" / "python"), "-c", script, "--serve", ",".join(kinds)]
    with subprocess.Popen(words, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = next((line for line in process.stdout if line.startswith("{")), None)
            if said is None:
                raise SystemExit(f"Serinus of {checkout} did not come up")
            told = json.loads(said)
            lua = {kind: Path(path) for kind, path in told["lua"].items()}
            side = Side(name, Path(told["home"]), told["port"], lua)
            freeze(side.pids())
            try:
                yield side
            finally:
                thaw(side.pids())
        finally:
            process.stdin.close()


def _serve(kinds: Sequence[str]) -> None:
    known = subprocess.run([COMMAND, "up", "--help"], capture_output=True, text=True, check=True).stdout
    with Installation("cpu", up=WITHOUT_RECHECK if "--recheck" in known else ()) as installation:
        lua = {}
        for kind in kinds:
            server = Serinus(installation, "Serinus", f"bench-{kind}", kind, workers=1)
            server.start()
            path = installation.home / f"{kind}.lua"
            path.write_text(wrk.script(server.protocol, request_rows(strings=kind == "pipeline")))
            lua[kind] = str(path)
        print(json.dumps({"home": str(installation.home), "port": installation.port, "lua": lua}), flush=True)
        sys.stdin.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="CHECKOUT")
    parser.add_argument("--kinds", default="xgboost,pipeline", help="of the bench's models (xgboost,pipeline)")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", metavar="KINDS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.serve.split(","))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped on the way out
    kinds = options.kinds.split(",")
    for kind in kinds:
        saved(kind)
    with contextlib.ExitStack() as stack:
        checkouts = {path.name: path.resolve() for path in options.against} | {"this checkout": ROOT}
        sides = [stack.enter_context(serving(name, path, kinds)) for name, path in checkouts.items()]
        for kind in kinds:
            turns: dict[str, list[Mapping[str, float]]] = {side.name: [] for side in sides}
            for number in range(options.rounds):
                for side in sides[:: 1 if number % 2 else -1]:
                    turns[side.name].append(turn(side, kind, options.seconds))
            print(f"\n{kind}, {_CONNECTIONS} connections\n\n{table(turns)}", flush=True)


if __name__ == "__main__":
    main()
