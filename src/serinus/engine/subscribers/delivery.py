"""Tells one subscriber of events: at least once, those of one model in order, over restarts, with bounded retries."""

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
"""Between two looks at whether something has happened."""
EVENTS_A_LOOK = 200
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=1)
TRIED_FOR = timedelta(days=1)
"""From the first try of an event, after which it is left out."""
TOLD_FOR = timedelta(days=1)
"""That people are told of an event that was left out."""
MOST_FAILURES = 3
"""Tries in a row that fail, of different models, before a look ends: each may take as long as the other side does."""
LEFT_OUT = "left-out"
"""Kind of the event that says that a subscriber was not told of another."""


class Subscriber(Protocol):
    """It may be told of an event more than once, and of one that is old by now."""

    @property
    def name(self) -> str:
        """For people, and for its place in the store: `registry-tags`. It never changes."""
        ...

    def told(self, event: Event) -> None:
        """Raises TemporaryError to be told again. After any other error it is not told of this event again."""
        ...


@dataclass(frozen=True, slots=True)
class Behind:
    """A model with an event that the subscriber could not be told of yet. Its later ones wait for that."""

    number: int
    """Of the model's last event that is done with, or one before the first that is not."""
    since: datetime
    """Of the first try of the event that is next."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a subscriber is, as it is stored."""

    number: int
    """Of the last event that is done with, those of models in `behind` apart."""
    left_out: int = 0
    """Events that it could not be told of, since it was first there."""
    left_out_at: datetime | None = None
    """When the last of them was given up."""
    reason: str = ""
    """Of the last of them, in words."""
    behind: Mapping[str, Behind] = field(default_factory=dict)
    """By model."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """Of one model. Not stored: another process tries at once."""

    again: datetime
    failures: int
    reason: str


_position = TypeAdapter(Position)


class Delivery:
    """Of events to one subscriber, by a thread of its own: whoever is slow or fails holds up nobody else. Begins with
    what happens after it was first made for this store. The events of one model are told in their order; what fails
    for one model does not hold up those of others."""

    def __init__(self, world: World, subscriber: Subscriber) -> None:
        self._world = world
        self._subscriber = subscriber
        self._key = f"subscriber.{subscriber.name}"
        self._retries: dict[str, _Retry] = {}
        self._position = self._begun()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(LOOK_SECONDS):
            try:
                while self.deliver() >= EVENTS_A_LOOK and not stop.is_set():
                    pass
            except SerinusError as error:  # of the store
                log.warning("events could not be read for %s: %s", self._subscriber.name, error)

    def deliver(self) -> int:
        """Tells of what is next, and of what failed before where it is time to try again. How many events were looked
        at."""
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
        """What is late, and what was lately left out; a sentence each."""
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
        """The position after each event. Ends early where one try after the other fails: then it is the other side that
        does not answer, and what is next is tried at the next look."""
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
        """Models to be tried again, those first that have waited longest."""
        now = self._world.clock.now()
        due = {model: retry.again for model in position.behind if (retry := self._retries.get(model)) is not None}
        return [
            *(model for model in position.behind if model not in due),
            *(model for model in sorted(due, key=lambda one: due[one]) if due[model] <= now),
        ]

    def _catch_up(self, model: str, position: Position) -> Iterator[tuple[Position, bool]]:
        """Of one model, as far as all others are."""
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
        """The position afterwards, and whether the event is done with."""
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
        except Exception as error:  # a subscriber's fault must not stop the others' events
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
        """Said before it is stored: twice after a kill rather than never."""
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
