"""The champions over time, by the outcomes: recall and precision at the alert threshold, on what has come of them.

What the log counts is kept, by day. Which days are mature is decided when it is shown: it depends on the time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serinus import spec as specs
from serinus.core.errors import SerinusError
from serinus.core.predictions import OutcomeDay
from serinus.core.rollout import ModelState, Phase
from serinus.engine.world import World
from serinus.gates.intervals import wilson

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks at whether outcomes have come."""
AT_LEAST_SECONDS = 30.0
SHARE = 0.05
"""Of the time that may go into reading the log for this."""
AGAIN_SECONDS = 6 * 3600.0
"""After which it is read without new outcomes: predictions may have come after theirs."""
WEEKS = 13
"""That are shown."""
_HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """As it is stored, of one model. `at`: when it was read."""

    at: datetime
    days: tuple[OutcomeDay, ...]


_kept = TypeAdapter(Kept)


class OutcomeFigures:
    """Keeps the figures of all models up to date."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mark = ""

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        wait, since = LOOK_SECONDS, 0.0
        while not stop.wait(wait):
            wait, began = LOOK_SECONDS, time.monotonic()
            try:
                if self.look(force=began - since >= AGAIN_SECONDS):
                    since = time.monotonic()
                    wait = max(AT_LEAST_SECONDS, (since - began) / SHARE)
            except SerinusError as error:
                log.warning("the figures by outcomes could not be read: %s", error)

    def look(self, *, force: bool = False) -> bool:
        """Whether there was something to read: outcomes that have come since, or with `force` any. Raises
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


def outcome_figures(world: World, state: ModelState) -> Mapping[str, Any] | None:
    """Of the champion: `matured` and `young`, and `weeks` of it and the champions before it. JSON values. None: there
    are no outcomes of what it or they have answered."""
    kept = _stored(world, state.model)
    if kept is None or not kept.days:
        return None
    matures = _matures(world, state.model)
    final = _final_until(world.clock.now(), matures)
    champion = state.champion.id if state.champion else None
    mine = [one for one in kept.days if one.release == champion]
    return {
        "at": kept.at.isoformat(),
        "matures_days": matures / timedelta(days=1),
        "release": champion,
        "matured": figures(one for one in mine if one.day < final),
        "young": figures(one for one in mine if one.day >= final),
        "weeks": weeks(kept.days, final)[-WEEKS:],
    }


def figures(days: Iterable[OutcomeDay]) -> Mapping[str, Any] | None:
    """Recall (share of the frauds that were alerts) and precision (share of the alerts that were frauds), with 95 %
    intervals; None where there is nothing to divide by. None: there are no outcomes. Pure."""
    listed = list(days)
    labelled, frauds = sum(one.labelled for one in listed), sum(one.frauds for one in listed)
    alerts, caught = sum(one.alerts for one in listed), sum(one.caught for one in listed)
    if not labelled:
        return None
    return {
        "labelled": labelled,
        "frauds": frauds,
        "alerts": alerts,
        "caught": caught,
        "recall": _share(caught, frauds),
        "precision": _share(caught, alerts),
    }


def weeks(days: Sequence[OutcomeDay], final: date) -> Sequence[Mapping[str, Any]]:
    """The figures of each week, which begins on a Monday, and release, oldest first; a week is `matured` where all of
    it is. Pure."""

    def key(one: OutcomeDay) -> tuple[date, str]:
        return one.day - timedelta(days=one.day.weekday()), one.release

    return [
        {
            "week": week.isoformat(),
            "release": release,
            "matured": week + timedelta(days=6) < final,
            **(figures(found) or {}),
        }
        for (week, release), found in groupby(sorted(days, key=key), key)
    ]


def _share(hits: int, total: int) -> Mapping[str, float] | None:
    if not total:
        return None
    low, high = wilson(hits, total)
    return {"share": hits / total, "low": low, "high": high}


def _final_until(now: datetime, matures: timedelta) -> date:
    """The first day of which not all predictions are that old."""
    return (now - matures).date()


def _thresholds(world: World, state: ModelState) -> Mapping[str, float]:
    """Of each release that was champion; of one that was deployed twice, the later one."""
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
    except ValidationError:  # of another version: it is read anew soon
        return None


def _key(model: str) -> str:
    return f"outcomes.{model}"
