"""The process of the collector."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import time

from sqlalchemy.exc import OperationalError

from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.lib import garbage, locks
from serinus.predictions.collector import Collector, Settings
from serinus.predictions.counts import schema
from serinus.predictions.counts.ledger import Ledger
from serinus.predictions.database import Database, unavailable
from serinus.predictions.intake.listener import RemoteDoor
from serinus.predictions.paths import lock_path, segments_path
from serinus.predictions.segments.files import numbers
from serinus.predictions.status import WAITING, write_status
from serinus.predictions.table.roller import Roller, RollerError, Schedule
from serinus.predictions.writer import ensured_writer

_LOCK_SECONDS = 15.0
_LOOK_SECONDS = 1.0
"""The time between two attempts to become the collector of a database."""
_END_SECONDS = 3.0
_NO_MAINTENANCE = Schedule(commits=sys.maxsize, seconds=math.inf)
"""The table is maintained by the collector whose turn it is."""


def collect(home: Home, settings: Settings, remote: RemoteDoor | None = None) -> None:
    """Runs the collector of `home` until SIGTERM or SIGINT, after which everything is durable. Without `remote` only
    records of this machine are accepted. Raises Refused where another collector has the home, or has taken over the
    counts of its database; and Unavailable where a table or a database must be asked first and does not answer."""
    configure_logging()
    os.umask(0o077)
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The lock is held while this process or its roll-up lives.
    lock = locks.take(lock_path(home), seconds=_LOCK_SECONDS)
    if lock is None:
        raise Refused(f"Another collector is running on {home.path}.", hint="Stop it first.")
    garbage.collect_rarely()
    sys.setswitchinterval(0.001)  # The event loop gets its turn soon, even while records are being counted.
    asyncio.run(_serve(home, settings, lock, remote))


async def _serve(home: Home, settings: Settings, lock: int, remote: RemoteDoor | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.database is not None:
        await _wait_for_turn(home, settings, settings.database, lock, stop)
    if not stop.is_set():
        await Collector(home, settings, lock, remote=remote).run(stop)


async def _wait_for_turn(home: Home, settings: Settings, database: str, lock: int, stop: asyncio.Event) -> None:
    """Waits while another collector counts into the database. Meanwhile it writes to the table what was counted on this
    disk before. Raises Unavailable where the database does not answer at first."""
    opened = Database(database, schema.metadata)
    ledger = Ledger(opened, writer=ensured_writer(home))
    roller = Roller(home, _NO_MAINTENANCE, lock, settings.place(home).uri, database)
    with contextlib.closing(opened):
        while not stop.is_set():
            try:
                await asyncio.to_thread(ledger.claim)
            except Refused as error:
                told = [f"waiting: {error.message} This one takes over when that one ends."]
            except OperationalError as error:
                told = [str(unavailable(error))]
            else:
                break
            try:
                await _roll_counted(home, ledger, roller)
            except RollerError as error:
                told.append(f"records of this disk are not in the table yet: {error}")
            except OperationalError as error:
                told = [str(unavailable(error))]
            write_status(home, {"at": time.time(), "state": WAITING, "warnings": told})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
    await roller.close(_END_SECONDS)


async def _roll_counted(home: Home, ledger: Ledger, roller: Roller) -> None:
    """Rolls up the segments that the last collector of this disk had counted. It had no time to, or was killed."""
    if last := max(numbers(segments_path(home)), default=0):
        recovered = await asyncio.to_thread(ledger.recovered)
        await roller.step(recovered.position, last + 1)
    else:
        await roller.close(_END_SECONDS)  # The wait may take weeks, and the process has a lot of memory.
