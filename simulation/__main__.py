"""The command line: `python -m simulation`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from simulation.catalogue import KINDS
from simulation.goals import Result, heading
from simulation.run import Found, batch_size, roll_out

_EXAMPLES = """
examples:
  python -m simulation                                all kinds, 200 streams of each
  python -m simulation --streams 2000                 as docs/judge.md shows them
  python -m simulation --streams 500 independent      one kind; `--list` names them
  python -m simulation 'slow x'                       all kinds whose name contains this
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
    parser.add_argument("--list", action="store_true", help="name the kinds")
    options = parser.parse_args()
    names = _chosen(options.kinds)
    if not names:
        parser.error("no kind has such a name; --list names them")
    if options.list:
        print("\n".join(names))
        return 0
    print(heading(), flush=True)
    failed = 0
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        calls = [pool.submit(simulate, name, options.streams, options.seed, options.compared) for name in names]
        for name, call in zip(names, calls, strict=True):
            result = Result(KINDS[name], call.result())
            failed += result.ok == "no"
            print(result.line(), flush=True)
    return 1 if failed else 0


def _chosen(asked: Sequence[str]) -> list[str]:
    if not asked:
        return list(KINDS)
    exact = [name for name in KINDS if name in asked]
    parts = [one for one in asked if one not in KINDS]
    return exact + [name for name in KINDS if name not in exact and any(part in name for part in parts)]


def simulate(name: str, streams: int, seed: int, compared: int) -> Found:
    """`compared`: so many of the streams are judged by `assess` as well."""
    kind, found, batch = KINDS[name], Found(), 0
    while found.streams < streams:
        number = min(batch_size(kind), streams - found.streams)
        found.add(roll_out(kind, number, seed + batch, compared if batch == 0 else 0))
        batch += 1
    return found


if __name__ == "__main__":
    sys.exit(main())
