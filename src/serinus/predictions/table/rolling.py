"""The process of the roll-up. `roller` describes its protocol."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from deltalake.exceptions import DeltaError
from sqlalchemy.exc import SQLAlchemyError

from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.disturbances import Disturbances
from serinus.predictions.counts import schema
from serinus.predictions.counts.ledger import Ledger
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.paths import counts_path, segments_path, table_path
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import Position
from serinus.predictions.table.delta import PredictionTable
from serinus.predictions.table.roller import Schedule
from serinus.predictions.table.rollup import RollUp

log = logging.getLogger(__name__)


def main() -> int:
    """Answers requests until stdin ends."""
    parser = argparse.ArgumentParser(description="Rolls segments of the prediction log up into its Delta table.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--commits", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    configure_logging()
    for number in (signal.SIGTERM, signal.SIGINT):  # The collector ends this process by closing its stdin.
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # A segment has many lists of scores and no cycles.
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
    counts = Database(counts_path(home), schema.metadata)
    table = PredictionTable(table_path(home))
    aside = Aside(Disturbances(home.disturbances))
    return RollUp(segments_path(home), table, Ledger(counts), CountStore(counts), time.time, schedule, aside)


if __name__ == "__main__":
    sys.exit(main())
