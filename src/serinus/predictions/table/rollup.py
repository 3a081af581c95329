"""The roll-up: moves each sealed segment into the Delta table in one commit, and keeps the table small."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serinus.lib import files
from serinus.predictions.counts.ledger import Ledger, RouterReplies
from serinus.predictions.counts.store import DEFAULT_DAYS, CountStore
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import Position, numbers, path_of, read_frames
from serinus.predictions.segments.sources import records_of
from serinus.predictions.table.delta import PredictionTable, frame_of
from serinus.predictions.table.roller import Schedule

log = logging.getLogger(__name__)


class RollUp:
    """Rolls up segments. Single-threaded.

    A kill between the commit and the removal of a segment writes nothing twice, because the table's transaction version
    says which segments it holds.
    """

    def __init__(
        self,
        directory: Path,
        table: PredictionTable,
        ledger: Ledger,
        store: CountStore,
        now: Callable[[], float],
        schedule: Schedule,
        aside: Aside | None = None,
    ) -> None:
        self._directory, self._table, self._ledger, self._store = directory, table, ledger, store
        self._now, self._schedule, self._aside = now, schedule, aside
        self._commits = 0
        self._tended_at = now()

    def step(self, counted: Position, writing: int) -> int:
        """Rolls up every segment before `writing` that was counted to its end. Returns how many."""
        waiting = [number for number in numbers(self._directory) if number < writing]
        ready = [number for number in waiting if self._is_counted(number, counted)]
        for number in ready:
            self._roll(number)
            self._commits += 1
            if self._commits >= self._schedule.commits:
                self.tend()
        if self._now() - self._tended_at >= self._schedule.seconds:
            self.tend()
        return len(ready)

    def tend(self) -> None:
        """Merges small files, writes a checkpoint, and deletes unused files and days beyond the retention."""
        now = self._now()
        self._expire(now)
        self._table.compact(datetime.fromtimestamp(now, UTC).date(), self._schedule.commits)
        self._table.clean()
        self._ledger.prune(now, self._oldest_pending(now))
        self._commits, self._tended_at = 0, now

    def _is_counted(self, number: int, counted: Position) -> bool:
        return number < counted.segment or counted == (number, path_of(self._directory, number).stat().st_size)

    def _roll(self, number: int) -> None:
        if number > self._table.taken:
            frames = read_frames(self._directory, Position(number, 0), Position(number, 2**62))
            records = records_of(frames, aside=self._aside)
            self._table.append(frame_of(records, RouterReplies(self._ledger.replies())), number)
        path_of(self._directory, number).unlink()
        files.sync_directory(self._directory)

    def _expire(self, now: float) -> None:
        today = datetime.fromtimestamp(now, UTC).date()
        first = {model: today - timedelta(days=days) for model, days in self._store.retentions().items()}
        for partition in self._table.expire(first, today - timedelta(days=DEFAULT_DAYS)):
            log.info("predictions of %s of %s are past their retention: removed", partition.model, partition.day)

    def _oldest_pending(self, now: float) -> float:
        return min((path_of(self._directory, one).stat().st_mtime for one in numbers(self._directory)), default=now)
