"""Rolls up in a process of its own, beside the collector: taking records in never waits for it, and its memory is
not the collector's.

    collector  {"counted": [segment, offset], "writing": segment}     a line of JSON on stdin
    roller     {"rolled": count} or {"error": name}                   one in answer, on stdout

It ends with its stdin. It inherits the home's lock, so that no other collector begins while it is still at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from deltalake.exceptions import DeltaError
from sqlalchemy.exc import SQLAlchemyError

from serinus.backends.delta import database
from serinus.backends.delta.counts import CountStore
from serinus.backends.delta.database import Database
from serinus.backends.delta.ledger import Ledger
from serinus.backends.delta.paths import counts_path, segments_path, table_path
from serinus.backends.delta.rollup import RollUp, Schedule
from serinus.backends.delta.segments import Position
from serinus.backends.delta.table import PredictionTable
from serinus.core.home import Home

log = logging.getLogger(__name__)

_SECONDS = 600.0
"""After which one answer is no longer waited for."""


class RollerError(Exception):
    """It failed, and may be asked again."""


class Roller:
    """The collector's end. Starts the process when it is first needed, and again after it has died."""

    def __init__(self, home: Home, schedule: Schedule, lock: int) -> None:
        self._home, self._schedule, self._lock = home, schedule, lock
        self._process: asyncio.subprocess.Process | None = None

    async def step(self, counted: Position, writing: int) -> int:
        """Rolls up every segment before `writing` that was counted to its end; how many that were.

        Raises RollerError.
        """
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"counted": counted, "writing": writing}).encode() + b"\n")
            await process.stdin.drain()
            answer = await asyncio.wait_for(process.stdout.readline(), _SECONDS)
        except (ConnectionError, TimeoutError) as error:
            raise RollerError(f"the roll-up does not answer ({type(error).__name__})") from error
        if not answer:
            raise RollerError(f"the roll-up died with code {await process.wait()}")
        said = json.loads(answer)
        if "error" in said:
            raise RollerError(f"the roll-up failed ({said['error']})")
        return int(said["rolled"])

    async def close(self) -> None:
        """Returns once it has ended."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", __name__, "--home", str(self._home.path)),
                *("--commits", str(self._schedule.commits), "--seconds", str(self._schedule.seconds)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(self._lock,),
            )
        return self._process


def main() -> int:
    """The process."""
    parser = argparse.ArgumentParser(description="Rolls segments of the prediction log up into its Delta table.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--commits", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):  # the collector says when it is over, by closing stdin
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)
    roll_up = _roll_up(Home(given.home), Schedule(given.commits, given.seconds))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, int | str] = {"rolled": roll_up.step(Position(*asked["counted"]), asked["writing"])}
        except (OSError, DeltaError, SQLAlchemyError) as error:
            log.exception("rolling up failed; the segments stay where they are")
            answer = {"error": type(error).__name__}
        print(json.dumps(answer), flush=True)
    return 0


def _roll_up(home: Home, schedule: Schedule) -> RollUp:
    counts = Database(counts_path(home), database.metadata)
    table = PredictionTable(table_path(home))
    return RollUp(segments_path(home), table, Ledger(counts), CountStore(counts), time.time, schedule)


if __name__ == "__main__":
    sys.exit(main())
