"""The quality of champions over time, by outcomes: recall and precision at the alert threshold.

The counts of the log are stored by day. Which days are mature depends on the time and is decided when they are shown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from pydantic import TypeAdapter, ValidationError

from serinus import spec as specs
from serinus.core.errors import SerinusError
from serinus.core.predictions import OutcomeDay
from serinus.core.rollout import ModelState, Phase
from serinus.engine.world import World
from serinus.gates.intervals import wilson
from serinus.resources import OutcomeCounts, OutcomeFigures, OutcomeWeek, Share

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""The time between two checks for new outcomes."""
AT_LEAST_SECONDS = 30.0
SHARE_OF_TIME = 0.05
"""The share of the time that reading the log may take."""
AGAIN_SECONDS = 6 * 3600.0
"""The time after which the log is read without new outcomes, because predictions may have arrived after theirs."""
WEEKS = 13
"""The number of weeks that are shown."""
_HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """The stored counts of one model. `at` is the time at which they were read."""

    at: datetime
    days: tuple[OutcomeDay, ...]


_kept = TypeAdapter(Kept)


class OutcomeReader:
    """Keeps the counts of all models up to date."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mark = ""

    def run(self, stop: threading.Event) -> None:
        """Reads until `stop` is set."""
        wait, since = LOOK_SECONDS, 0.0
        while not stop.wait(wait):
            wait, began = LOOK_SECONDS, time.monotonic()
            try:
                if self.look(force=began - since >= AGAIN_SECONDS):
                    since = time.monotonic()
                    wait = max(AT_LEAST_SECONDS, (since - began) / SHARE_OF_TIME)
            except SerinusError as error:
                log.warning("the figures by outcomes could not be read: %s", error)

    def look(self, *, force: bool = False) -> bool:
        """Reads the log if outcomes have arrived, or with `force` if there are any. Returns whether it did. Raises
        Unavailable."""
        mark = self._world.log.outcomes_mark()
        if not mark or (mark == self._mark and not force):
            return False
        states = self._world.store.models()
        thresholds: dict[str, float] = {}
        for state in states:
            thresholds.update(_thresholds(self._world, state))
        days = self._world.log.outcome_days(thresholds)
        now = self._world.clock.now()
        owners = {release.id: release.model for release in self._world.store.releases()}
        for state in states:
            mine = tuple(one for one in days if owners.get(one.release) == state.model)
            text = _kept.dump_json(Kept(now, mine)).decode()
            self._world.store.set_setting(_key(state.model), text)
        self._mark = mark
        return True


def outcome_figures(world: World, state: ModelState) -> OutcomeFigures | None:
    """Returns the figures of a model's champion, and by week those of its former champions as well. None: there are no
    outcomes of their predictions."""
    kept = _stored(world, state.model)
    if kept is None or not kept.days:
        return None
    matures = _matures(world, state.model)
    final = _final_until(world.clock.now(), matures)
    champion = state.champion.id if state.champion else None
    mine = [one for one in kept.days if one.release == champion]
    return OutcomeFigures(
        at=kept.at,
        matures_days=matures / timedelta(days=1),
        release=champion,
        matured=figures([one for one in mine if one.day < final]),
        young=figures([one for one in mine if one.day >= final]),
        weeks=weeks(kept.days, final)[-WEEKS:],
    )


def figures(days: Sequence[OutcomeDay]) -> OutcomeCounts | None:
    """Returns the sums of `days`, with recall and precision. None: there are no outcomes. Pure."""
    counts = _counts(days)
    return counts if counts.labelled else None


def _counts(days: Sequence[OutcomeDay]) -> OutcomeCounts:
    frauds, alerts = sum(one.frauds for one in days), sum(one.alerts for one in days)
    caught = sum(one.caught for one in days)
    return OutcomeCounts(
        labelled=sum(one.labelled for one in days),
        frauds=frauds,
        alerts=alerts,
        caught=caught,
        recall=_share(caught, frauds),
        precision=_share(caught, alerts),
    )


def weeks(days: Sequence[OutcomeDay], final: date) -> Sequence[OutcomeWeek]:
    """Returns the figures by week and release, oldest first. Weeks begin on Monday.

    A week is matured where all of its days are before `final`. Pure.
    """

    def key(one: OutcomeDay) -> tuple[date, str]:
        return one.day - timedelta(days=one.day.weekday()), one.release

    return [
        OutcomeWeek(
            week=week,
            release=release,
            matured=week + timedelta(days=6) < final,
            **dict(_counts(list(found))),
        )
        for (week, release), found in groupby(sorted(days, key=key), key)
    ]


def _share(hits: int, total: int) -> Share | None:
    if not total:
        return None
    low, high = wilson(hits, total)
    return Share(share=hits / total, low=low, high=high)


def _final_until(now: datetime, matures: timedelta) -> date:
    """Returns the first day of which some predictions are not mature."""
    return (now - matures).date()


def _thresholds(world: World, state: ModelState) -> Mapping[str, float]:
    """Returns the threshold of each release that was the champion. Of a release that was deployed twice, the later
    one."""
    found: dict[str, float] = {}
    for rollout in reversed(world.store.rollouts(state.model, limit=_HISTORY)):
        live = rollout.status.phase in (Phase.PROMOTING, Phase.PROMOTED)
        if live and rollout.candidate is not None and rollout.threshold is not None:
            found[rollout.candidate.id] = rollout.threshold
    if state.champion is not None and state.champion_threshold is not None:
        found[state.champion.id] = state.champion_threshold
    return found


def _matures(world: World, model: str) -> timedelta:
    text = world.fleet.read(model)
    try:
        return specs.matures(specs.load(text or "", model=model))
    except SerinusError:
        return specs.matures(specs.load("", model=model))


def _stored(world: World, model: str) -> Kept | None:
    text = world.store.setting(_key(model))
    if not text:
        return None
    try:
        return _kept.validate_json(text)
    except ValidationError:  # Another version has stored it. It is read anew soon.
        return None


def _key(model: str) -> str:
    return f"outcomes.{model}"
