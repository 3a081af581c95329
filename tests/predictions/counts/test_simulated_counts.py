"""Simulated streams are counted as the prediction log counts: the suite that proves the judge rests on it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from serinus.core.evidence import WINDOW_SECONDS, Watch
from serinus.core.rollout import Step
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import Tally
from serinus.predictions.counts.ledger import Advance, Ledger
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.segments.columns import Columns
from serinus.predictions.segments.files import Position
from simulation import counts as at
from simulation.counts import arm_counts
from simulation.kinds import EVENTS, Incident, Kind
from simulation.requests import Requests
from simulation.streams import Streams

pytestmark = pytest.mark.long

RELEASES = ("v1", "v2")
RATES = {"errors": 0.04, "slow": 0.1, "fallbacks": 0.02, "alerts": 0.05, "missing": 0.02}
KINDS = (
    Kind("few entities", "honest", rate=40.0, entities=25, tail=0.6, champion=RATES),
    Kind("bursts", "honest", rate=30.0, entities=400, champion=RATES, bursts={"errors": 7, "alerts": 3}, nameless=0.3),
    Kind("one entity", "honest", rate=20.0, entities=1, champion=RATES, sick={"errors": 0.5}),
    Kind(
        "an incident of those without a name",
        "honest",
        rate=20.0,
        entities=60,
        tail=0.9,
        nameless=0.5,
        champion=RATES,
        only_nameless=frozenset({"errors"}),
        incidents=(Incident("slow", (0,), 20.0),),
    ),
)


class Log:
    """The real counting: each look is one stretch of the log."""

    def __init__(self, path: Path, began: float) -> None:
        self.database = Database(path / "counts.db", db.metadata)
        self.store, self.ledger = CountStore(self.database), Ledger(self.database, 500_000)
        self.began, self.position = began, 0

    def count(self, step: int, these: Requests, look: int, seconds: float) -> None:
        where = np.flatnonzero(these.look(np.arange(len(these.cell))) == look)
        watch = Watch(f"s{step}", "r1", "m", dict.fromkeys(RELEASES, 0.9), slow_ms=50.0)
        self.store.watch(watch)
        tally = Tally()
        tally.add(_columns(these, where, watch.split, self.began + seconds), {watch.split: watch}, time.time())
        self.position += 1
        self.ledger.commit(tally, Advance(Position(1, self.position), time.time()))


def _columns(these: Requests, where: np.ndarray, split: str, at_time: float) -> Columns:
    def happened(place: int, row: int) -> bool:
        return row in events[place]

    events = {place: set(rows.tolist()) for place, rows in these.events.items()}
    found = Columns()
    for row in where.tolist():
        error, slow, fallback, alert, missing = (happened(place, row) for place in range(len(EVENTS)))
        answered, release = not error and not fallback, RELEASES[these.cell[row] % 2]
        values = {
            "time": at_time, "request_id": str(row), "model": "m", "release": release, "split": split,
            "entity": None if these.entity[row] < 0 else f"card-{these.entity[row]}", "role": "", "status": 200,
            "ms": 90.0 if slow else 3.0, "rows": 1, "fallback": fallback,
            "error": "model" if error and fallback else None,
            "scores": ([0.95] if alert else [0.1]) + ([None] if missing else []) if answered else None,
        }  # fmt: skip
        if error and not fallback:
            values["status"] = 500
        found.extend(_one(values))
    return found


def _one(values: dict[str, object]) -> Columns:
    """What a record does not say is of the value that its column has by default."""
    one = Columns(**{name: [value] for name, value in values.items()})
    blank = {"cached": False, "header": None, "inputs": None, "answers": None, "caller": "", "prediction_id": ""}
    for name in one.__slots__:
        if not getattr(one, name):
            getattr(one, name).append(blank.get(name))
    return one


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_simulated_stream_is_counted_as_the_prediction_log_counts_it(tmp_path: Path, kind: Kind) -> None:
    now = time.time()
    began = now - now % WINDOW_SECONDS - 10 * WINDOW_SECONDS + 0.1
    log, streams = Log(tmp_path, began), Streams(kind, 1, seed=5)
    steps, segment = (Step(1_000, 1, 1.0, 1.0), Step(5_000, 1, 1.0, 1.0)), 0
    last_look = 0
    for step, weight in enumerate(steps):
        streams.begin_step(np.array([0]), np.array([weight.weight]), np.array([last_look]), segment * streams.looks)
        totals = np.zeros((2, at.PLACES), np.int64)
        for part in range(5):
            streams._begin_segment()
            these = streams.requests(0, 1)
            added = streams._counting.count(these, 0)
            last = 25 if part == 4 and step == 0 else streams.looks
            """The first step ends amid a segment, of which the rest is counted for no split."""
            for look in range(last):
                totals += added[0, look]
                log.count(step, these, look, (segment * streams.looks + look) * kind.look)
                if look % 8 == 0 or look == last - 1:
                    counted = log.store.counts(f"s{step}")
                    assert counted is not None
                    for arm, release in enumerate(RELEASES):
                        if totals[arm, at.REQUESTS]:
                            assert _plain(counted[release]) == _plain(arm_counts(release, totals[arm]))
            last_look = segment * streams.looks + last - 1
            segment += 1


def _plain(counts: object) -> dict[str, object]:
    values = {name: getattr(counts, name) for name in counts.__slots__}  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name not in ("rows", "set_aside")}
