"""The command line: `python -m fidelity`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from fidelity import corpus, table
from fidelity.run import Tally, quiet, run, told
from fidelity.shrink import shrink

_SHRINKING, _SHRINKING_ALL = 15.0, 150.0
"""Seconds for one kind of difference, and for all of them; those that have no time left are told as they were found."""
_EXAMPLES = """
examples:
  python -m fidelity                                     100,000 comparisons, as docs/fidelity.md shows them
  python -m fidelity --comparisons 2000 --seed 7         other models, fewer of them
  python -m fidelity --seconds 60                        as many as there is time for
  python -m fidelity --replay case.json                  one case again, such as a run has kept
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fidelity",
        description="Asks models of every kind of Serinus and of MLflow's scoring server, and compares the answers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--comparisons", type=int, default=100_000, metavar="N", help="how many to make (100,000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what is drawn (1)")
    parser.add_argument("--seconds", type=float, metavar="S", help="when to stop, whatever was made by then")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to write a file for each kind of difference")
    parser.add_argument("--report", action="store_true", help="write the result file and docs/fidelity.md")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="compare these cases only")
    options = parser.parse_args()
    if options.replay:
        return _replay(options.replay)
    tally = run(options.seed, options.comparisons, options.seconds, _progress if sys.stderr.isatty() else None)
    if options.report:
        table.write(tally.dump())
    _tell(tally, options.keep)
    return 1 if tally.differences else 0


def _progress(tally: Tally) -> None:
    text = f"{tally.models} models, {tally.comparisons} comparisons, {tally.differences} differences"
    print(f"\r{text}", end="", file=sys.__stderr__, flush=True)


def _tell(tally: Tally, keep: Path | None) -> None:
    end = time.monotonic() + _SHRINKING_ALL
    for number, (key, first) in enumerate(sorted(tally.first.items(), key=lambda item: -tally.times[item[0]])):
        with quiet():
            finding = shrink(first, max(0.0, min(_SHRINKING, end - time.monotonic())))
        print(f"\n{tally.times[key]} times: {told(finding)}")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            content = {"about": finding.difference.kind, **finding.case.dump()}
            (keep / f"{number:03}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    ways = ", ".join(f"{number} {way}" for way, number in sorted(tally.ways.items()))
    print(
        f"\n{tally.comparisons} comparisons with seed {tally.seed} in {tally.seconds:.0f} s: "
        f"{tally.models} models ({ways}), {sum(tally.wanted.values())} wanted differences, {tally.differences} others"
    )


def _replay(files: list[Path]) -> int:
    differing = 0
    for file in files:
        with quiet():
            found = corpus.replay(file)
        for finding in found:
            print(f"{file}: {told(finding)}" + (f"\n  wanted:  {finding.wanted.reason}" if finding.wanted else ""))
        differing += any(finding.wanted is None for finding in found)
    print(f"{len(files)} cases, {differing} with a difference")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
