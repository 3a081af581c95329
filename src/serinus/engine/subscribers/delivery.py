"""The delivery of events to one subscriber: at least once, in order for each model, across restarts, with bounded
retries."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import TypeAdapter

from serinus.core.errors import SerinusError, TemporaryError
from serinus.core.events import Event
from serinus.engine.world import World
from serinus.lib import backoff

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""The time between two checks for new events."""
EVENTS_A_LOOK = 200
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=1)
TRIED_FOR = timedelta(days=1)
"""The time after its first attempt at which an event is given up."""
TOLD_FOR = timedelta(days=1)
"""How long people are warned of an event that was given up."""
MOST_FAILURES = 3
"""The number of failures in a row, of different models, after which a round ends. Each may take as long as the other
side's time limit."""
LEFT_OUT = "left-out"
"""The kind of the event that says that another event was given up for a subscriber."""


class Subscriber(Protocol):
    """A recipient of events. It may get an event more than once, and long after it happened."""

    @property
    def name(self) -> str:
        """Its name for people and in the store, such as `registry-tags`. It never changes."""
        ...

    def told(self, event: Event) -> None:
        """Takes an event. Raises TemporaryError to get it again. After any other error the event is given up."""
        ...


@dataclass(frozen=True, slots=True)
class Behind:
    """A model with an event that could not be delivered to the subscriber yet. Its later events wait for that one."""

    number: int
    """The number of the model's last event that was delivered or given up, or one before the first event that was
    not."""
    since: datetime
    """The time of the first attempt for the next event."""


@dataclass(frozen=True, slots=True)
class Position:
    """The stored position of a subscriber."""

    number: int
    """The number of the last event that was delivered or given up, except for the models in `behind`."""
    left_out: int = 0
    """The number of events that were given up in total."""
    left_out_at: datetime | None = None
    """The time at which the last of them was given up."""
    reason: str = ""
    """Why the last of them was given up, in words."""
    behind: Mapping[str, Behind] = field(default_factory=dict)
    """The models whose events are late."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """The next attempt for one model. It is not stored, so that another process tries at once."""

    again: datetime
    failures: int
    reason: str


_position = TypeAdapter(Position)


class Delivery:
    """Delivers events to one subscriber in a thread of its own, so that a slow subscriber delays no other.

    It begins with the events after its first start on this store. The events of one model are delivered in order. A
    failure for one model does not delay the events of other models.
    """

    def __init__(self, world: World, subscriber: Subscriber) -> None:
        self._world = world
        self._subscriber = subscriber
        self._key = f"subscriber.{subscriber.name}"
        self._retries: dict[str, _Retry] = {}
        self._position = self._begun()

    def run(self, stop: threading.Event) -> None:
        """Delivers events until `stop` is set."""
        while not stop.wait(LOOK_SECONDS):
            try:
                while self.deliver() >= EVENTS_A_LOOK and not stop.is_set():
                    pass
            except SerinusError as error:  # The store does not answer.
                log.warning("events could not be read for %s: %s", self._subscriber.name, error)

    def deliver(self) -> int:
        """Delivers the next events, and those that failed before if their next attempt is due. Returns how many events
        were looked at."""
        before = after = self._position
        seen = 0
        try:
            for position in self._steps(before):
                after, seen = position, seen + 1
        finally:
            if after != before:
                self._world.store.set_setting(self._key, _position.dump_json(after).decode())
                self._position = after
        return seen

    def warnings(self) -> Sequence[str]:
        """Returns a sentence about events that are late, and about those that were given up recently."""
        now, name, position, found = self._world.clock.now(), self._subscriber.name, self._position, []
        retries = {model: retry for model, retry in dict(self._retries).items() if model in position.behind}
        if retries:
            since = min(position.behind[model].since for model in retries)
            next_one = min(retries.values(), key=lambda retry: retry.again)
            which = next(iter(retries)) if len(retries) == 1 else f"{len(retries):,} models"
            found.append(
                f"the subscriber {name} has been behind with {which} since {since:%Y-%m-%d %H:%M} UTC, and is tried "
                f"again in {max((next_one.again - now).total_seconds(), 0.0):.0f} s: {next_one.reason}"
            )
        if position.left_out_at is not None and now - position.left_out_at < TOLD_FOR:
            events = "1 event" if position.left_out == 1 else f"{position.left_out:,} events"
            found.append(
                f"the subscriber {name} was not told of {events}. The reason of the last one: {position.reason}"
            )
        return found

    # --- how ----------------------------------------------------------------------------------------------

    def _begun(self) -> Position:
        store = self._world.store
        text = store.setting(self._key)
        if text:
            return _position.validate_json(text)
        newest = store.events(limit=1)
        begun = Position(newest[-1].number if newest else 0)
        store.set_setting(self._key, _position.dump_json(begun).decode())
        return begun

    def _steps(self, position: Position) -> Iterator[Position]:
        """Yields the position after each event. Ends early after several failures in a row, because then the other side
        does not answer. The next round continues from there."""
        failed = 0
        for event in self._world.store.events_after(position.number, EVENTS_A_LOOK):
            if event.model not in position.behind:
                position, well = self._tell(event, position)
                failed = 0 if well else failed + 1
            position = replace(position, number=event.number)
            yield position
            if failed == MOST_FAILURES:
                return
        for model in self._due(position):
            for caught_up, well in self._catch_up(model, position):
                position, failed = caught_up, 0 if well else failed + 1
                yield position
            if failed == MOST_FAILURES:
                return

    def _due(self, position: Position) -> Sequence[str]:
        """Returns the models whose next attempt is due. Those that have waited longest come first."""
        now = self._world.clock.now()
        due = {model: retry.again for model in position.behind if (retry := self._retries.get(model)) is not None}
        return [
            *(model for model in position.behind if model not in due),
            *(model for model in sorted(due, key=lambda one: due[one]) if due[model] <= now),
        ]

    def _catch_up(self, model: str, position: Position) -> Iterator[tuple[Position, bool]]:
        """Delivers the late events of one model until it is as far as the others."""
        after = position.behind[model].number
        events = self._world.store.events_after(after, EVENTS_A_LOOK, model=model)
        missed = [event for event in events if event.number <= position.number]
        if not missed:
            yield replace(position, behind=_without(position.behind, model)), True
        for event in missed:
            position, well = self._tell(event, position)
            if well and event is missed[-1] and len(missed) < EVENTS_A_LOOK:
                position = replace(position, behind=_without(position.behind, model))
            yield position, well
            if not well:
                return

    def _tell(self, event: Event, position: Position) -> tuple[Position, bool]:
        """Delivers an event. Returns the new position, and whether the event was delivered or given up."""
        if event.kind == LEFT_OUT and event.details.get("subscriber") == self._subscriber.name:
            return self._done(event, position), True
        now = self._world.clock.now()
        before = position.behind.get(event.model)
        try:
            self._subscriber.told(event)
        except TemporaryError as error:
            since = now if before is None else before.since
            if now - since < TRIED_FOR:
                self._retries[event.model] = _once_more(self._retries.get(event.model), error.message, now)
                behind = Behind(event.number - 1 if before is None else before.number, since)
                return replace(position, behind={**position.behind, event.model: behind}), False
            reason = f"it was tried for a day: {error.message}"
        except SerinusError as error:
            reason = error.message
        except Exception as error:  # A defect of a subscriber must not stop the events of others.
            log.exception("%s failed with event %d", self._subscriber.name, event.number)
            reason = f"it failed ({type(error).__name__}); see logs/control.log"
        else:
            return self._done(event, position), True
        return self._leave_out(event, reason, self._done(event, position)), True

    def _done(self, event: Event, position: Position) -> Position:
        self._retries.pop(event.model, None)
        if event.model not in position.behind:
            return position
        behind = Behind(event.number, self._world.clock.now())
        return replace(position, behind={**position.behind, event.model: behind})

    def _leave_out(self, event: Event, reason: str, position: Position) -> Position:
        """Reports it before it is stored, so that after a kill it is reported twice rather than never."""
        name, now = self._subscriber.name, self._world.clock.now()
        log.warning("%s leaves out event %d: %s", name, event.number, reason)
        text = f"the subscriber {name} was not told of event {event.number}, {event.kind}: {reason}"
        details = {"subscriber": name, "event": event.number}
        self._world.store.emit([Event(now, event.model, event.rollout, LEFT_OUT, text, details)])
        return replace(position, left_out=position.left_out + 1, left_out_at=now, reason=reason)


def _without(behind: Mapping[str, Behind], model: str) -> Mapping[str, Behind]:
    return {name: one for name, one in behind.items() if name != model}


def _once_more(before: _Retry | None, reason: str, now: datetime) -> _Retry:
    failures = 1 if before is None else before.failures + 1
    pause = backoff.after(failures, FIRST_RETRY.total_seconds(), LONGEST_RETRY.total_seconds())
    return _Retry(now + timedelta(seconds=pause), failures, reason)
