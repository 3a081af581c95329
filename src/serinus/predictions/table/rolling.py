"""The process of the roll-up. `roller` describes its protocol."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from deltalake.exceptions import DeltaError
from sqlalchemy.exc import SQLAlchemyError

from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.disturbances import Disturbances
from serinus.lib import garbage
from serinus.predictions.counts import schema
from serinus.predictions.counts.ledger import Ledger
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.paths import counts_path, segments_path
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import Position
from serinus.predictions.table.delta import PredictionTable
from serinus.predictions.table.places import Place, place_at
from serinus.predictions.table.roller import Schedule
from serinus.predictions.table.rollup import RollUp
from serinus.predictions.writer import known_writer

log = logging.getLogger(__name__)


def main() -> int:
    """Answers requests until stdin ends."""
    parser = argparse.ArgumentParser(description="Rolls segments of the prediction log up into its Delta table.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--table", required=True, metavar="URI", help="a directory, or s3://bucket/prefix")
    parser.add_argument("--database", metavar="URL", help="of PostgreSQL, for the counts; default: in the home")
    parser.add_argument("--commits", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    configure_logging()
    for number in (signal.SIGTERM, signal.SIGINT):  # The collector ends this process by closing its stdin.
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)
    garbage.collect_rarely()
    schedule = Schedule(given.commits, given.seconds)
    work = Work(Home(given.home), place_at(given.table), schedule, given.database)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(work.step(Position(*asked["counted"]), asked["writing"])), flush=True)
    return 0


class Work:
    """The roll-up, made anew after every failure: the table may hold what was written without an answer."""

    def __init__(self, home: Home, place: Place, schedule: Schedule, database: str | None = None) -> None:
        self._home, self._place, self._schedule = home, place, schedule
        self._database = database or counts_path(home)
        self._roll_up: RollUp | None = None
        self._failed = ""

    def step(self, counted: Position, writing: int) -> dict[str, int | str]:
        """Returns the answer to the collector."""
        try:
            self._roll_up = self._roll_up or self._made()
            rolled = self._roll_up.step(counted, writing)
        except (OSError, DeltaError, SQLAlchemyError, SerinusError) as error:
            self._roll_up = None
            return {"error": self._told(error)}
        self._failed = ""
        return {"rolled": rolled}

    def _told(self, error: Exception) -> str:
        """Logs the error where it is another one than before, and returns it in words."""
        words = str(error) if isinstance(error, SerinusError) else type(error).__name__
        if words != self._failed:
            log.error(
                "rolling up failed; the segments stay where they are: %s",
                words,
                exc_info=None if isinstance(error, SerinusError) else error,
            )
        self._failed = words
        return words

    def _made(self) -> RollUp:
        counts = Database(self._database, schema.metadata)
        try:
            table = PredictionTable(self._place, known_writer(self._home))
        except BaseException:
            counts.close()
            raise
        aside = Aside(Disturbances(self._home.disturbances))
        directory, ledger, store = segments_path(self._home), Ledger(counts), CountStore(counts)
        return RollUp(directory, table, ledger, store, time.time, self._schedule, aside)


if __name__ == "__main__":
    sys.exit(main())
