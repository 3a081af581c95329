"""The command line: `python -m simulation`."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import count
from pathlib import Path

from simulation.catalogue import KINDS
from simulation.goals import Result, heading
from simulation.kinds import Kind
from simulation.results import Results
from simulation.run import Disagreement, batch_size, roll_out
from simulation.table import table, write

_EXAMPLES = """
examples:
  python -m simulation                                all kinds, 200 streams of each
  python -m simulation --streams 500 independent      one kind; `--list` names them
  python -m simulation 'slow x'                       all kinds whose name contains this
  python -m simulation --streams 2000 --results FILE  until FILE has so many of each; it can be ended at any time
  python -m simulation --report FILE                  what it has found
  python -m simulation --report FILE --into docs/judge.md
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m simulation",
        description="Rolls simulated streams out and compares what the judge does with what is promised.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="a name, or a part of one (all)")
    parser.add_argument("--streams", type=int, default=200, metavar="N", help="of each kind (200)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what is drawn (1)")
    parser.add_argument("--compared", type=int, default=1, metavar="N", help="of each kind, judged by `assess` too (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (all processors)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="add to what was found before, and keep it here")
    parser.add_argument("--report", type=Path, metavar="FILE", help="show what such a file has; simulates nothing")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="with --report: write the table into a page")
    parser.add_argument("--list", action="store_true", help="name the kinds")
    options = parser.parse_args()
    names = _chosen(options.kinds)
    if not names:
        parser.error("no kind has such a name; --list names them")
    if options.list:
        print("\n".join(names))
        return 0
    if options.into and not options.report:
        parser.error("--into needs --report")
    try:
        file = options.report or options.results
        results = Results() if file is None else Results.read(file)
        if not results.of_this_judge:
            another = f"{file} has the results of another version of the judge or of the simulation"
            if options.report is None:
                raise ValueError(f"{another}: name a new file, or remove this one.")
            print(f"note: {another}.", file=sys.stderr)
        if options.report is None:
            return _simulate(results, names, options)
        return _report(results, names, options.into)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2


def _simulate(results: Results, names: Sequence[str], options: argparse.Namespace) -> int:
    """With a file, every kind gets a quarter of its streams first, so that a run that is ended early has seen all of
    them. A batch in which the panel and `assess` disagree is told and not counted."""
    goals = sorted({max(1, options.streams // parts) for parts in ((4, 2, 1) if results.path else (1,))})
    disagree = False
    print(heading(), flush=True)
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        for streams in goals:
            calls = {pool.submit(roll_out, *one): one for one in _batches(results, names, streams, options)}
            waiting = Counter(kind.name for kind, *_ in calls.values())
            for call in as_completed(calls):
                kind, _, seed, _ = calls[call]
                waiting[kind.name] -= 1
                try:
                    results.add(kind.name, seed, call.result())
                except Disagreement as problem:
                    print(f"not counted: {problem}", file=sys.stderr)
                    disagree = True
                    continue
                if not waiting[kind.name]:
                    print(Result(kind, results.found[kind.name]).line(), flush=True)
    return 1 if disagree or any(Result(KINDS[name], results.found[name]).ok == "no" for name in names) else 0


def _batches(
    results: Results, names: Sequence[str], streams: int, options: argparse.Namespace
) -> Iterator[tuple[Kind, int, int, int]]:
    """The calls of `roll_out` that lack until each kind has so many streams."""
    for name in names:
        kind, used = KINDS[name], set(results.seeds.get(name, ()))
        seeds = (seed for seed in count(options.seed) if seed not in used)
        compared = 0 if used else options.compared
        missing = streams - results.streams(name)
        while missing > 0:
            number = min(missing, batch_size(kind))
            yield kind, number, next(seeds), compared
            missing, compared = missing - number, 0


def _report(results: Results, names: Sequence[str], page: Path | None) -> int:
    found = {name: results.found[name] for name in names if name in results.found}
    if page is not None:
        write(page, found)
        return 0
    print(heading())
    for name, one in found.items():
        print(Result(KINDS[name], one).line())
    print(f"\n{table(found)}")
    return 0


def _chosen(asked: Sequence[str]) -> list[str]:
    if not asked:
        return list(KINDS)
    exact = [name for name in KINDS if name in asked]
    parts = [one for one in asked if one not in KINDS]
    return exact + [name for name in KINDS if name not in exact and any(part in name for part in parts)]


if __name__ == "__main__":
    sys.exit(main())
