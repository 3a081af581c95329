"""Tells one subscriber of events: at least once, in order, over restarts, with bounded retries."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
class Position:
    """How far a subscriber is, as it is stored."""

    number: int
    """Of the last event that is done with."""
    left_out: int = 0
    """Events that it could not be told of, since it was first there."""
    left_out_at: datetime | None = None
    """When the last of them was given up."""
    reason: str = ""
    """Of the last of them, in words."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """With the event that is next."""

    since: datetime
    again: datetime
    failures: int
    reason: str


_position = TypeAdapter(Position)


class Delivery:
    """Of events to one subscriber, by a thread of its own: whoever is slow or fails holds up nobody else. Begins with
    what happens after it was first made for this store."""

    def __init__(self, world: World, subscriber: Subscriber) -> None:
        self._world = world
        self._subscriber = subscriber
        self._key = f"subscriber.{subscriber.name}"
        self._trouble: _Trouble | None = None
        self._position = self._begun()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(LOOK_SECONDS):
            try:
                while self.deliver() == EVENTS_A_LOOK and not stop.is_set():
                    pass
            except SerinusError as error:  # of the store
                log.warning("events could not be read for %s: %s", self._subscriber.name, error)

    def deliver(self) -> int:
        """Tells of what is next, unless it is too early to try again. How many events are done with now."""
        now = self._world.clock.now()
        if self._trouble is not None and now < self._trouble.again:
            return 0
        before = after = self._position
        events = self._world.store.events_after(before.number, EVENTS_A_LOOK)
        try:
            for event in events:
                after = self._tell(event, after)
                if after.number != event.number:
                    break
        finally:
            if after != before:
                self._world.store.set_setting(self._key, _position.dump_json(after).decode())
                self._position = after
        return sum(event.number <= after.number for event in events)

    def warnings(self) -> Sequence[str]:
        """What is late, and what was lately left out; a sentence each."""
        now, name = self._world.clock.now(), self._subscriber.name
        trouble, position, found = self._trouble, self._position, []
        if trouble is not None:
            again = max((trouble.again - now).total_seconds(), 0.0)
            since = f"since {trouble.since:%Y-%m-%d %H:%M} UTC"
            found.append(
                f"the subscriber {name} has been behind {since}, and is tried again in {again:.0f} s: {trouble.reason}"
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

    def _tell(self, event: Event, position: Position) -> Position:
        """The position afterwards: the same where it is to be told again."""
        done = replace(position, number=event.number)
        try:
            self._subscriber.told(event)
        except TemporaryError as error:
            now = self._world.clock.now()
            self._trouble = _once_more(self._trouble, error.message, now)
            if now - self._trouble.since < TRIED_FOR:
                return position
            reason = f"it was tried for a day: {error.message}"
        except SerinusError as error:
            reason = error.message
        except Exception as error:  # a subscriber's fault must not stop the others' events
            log.exception("%s failed with event %d", self._subscriber.name, event.number)
            reason = f"it failed ({type(error).__name__}); see logs/control.log"
        else:
            self._trouble = None
            return done
        self._trouble = None
        log.warning("%s leaves out event %d: %s", self._subscriber.name, event.number, reason)
        left_out = position.left_out + 1
        return replace(done, left_out=left_out, left_out_at=self._world.clock.now(), reason=reason)


def _once_more(before: _Trouble | None, reason: str, now: datetime) -> _Trouble:
    since, failures = (now, 1) if before is None else (before.since, before.failures + 1)
    pause = backoff.after(failures, FIRST_RETRY.total_seconds(), LONGEST_RETRY.total_seconds())
    return _Trouble(since, now + timedelta(seconds=pause), failures, reason)
