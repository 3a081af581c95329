"""One of several control planes: all of them answer people, and one of them decides."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from serinus.backends.git import GitFleet
from serinus.backends.sql import SqlStore
from serinus.core.errors import SerinusError
from serinus.core.ports import Leadership
from serinus.engine import ENGINE, Told, World, last_told, tell
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.leading import LeaseLeadership
from serinus.wiring.deciding import END_SECONDS, Deciders

log = logging.getLogger(__name__)

TOLD_EVERY, TOLD_ANYWAY_EVERY = 2.0, 10.0
"""Seconds after which what the deciding threads say of themselves is stored: where it has changed, and where not."""
_LOOK_SECONDS = 0.2

T = TypeVar("T")


class Office:
    """Runs what decides in the term of this control plane.

    - `begin`: makes it, for a world whose store takes nothing of a former term.
    - `announce`: makes the beginning of the term known where else terms are compared. Raises SerinusError to be called
      again.
    - `over`: called once the term has ended and nothing decides any more.
    """

    def __init__(
        self,
        world: World,
        leadership: LeaseLeadership,
        begin: Callable[[World], Deciders],
        announce: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        self._world, self._leadership = world, leadership
        self._begin, self._announce, self._over = begin, announce, over
        self._deciders: Deciders | None = None
        self._unannounced = ""
        """Why the beginning of the term could not be made known yet, in words."""

    def told(self) -> Told:
        """Returns what the control plane that decides says of itself: this one, or what another one has stored."""
        if self._deciders is not None and not self._leadership.ended.is_set():
            return self._deciders.told()
        told = last_told(self._world.store, self._world.clock.now())
        waits = {"the term of this control plane cannot begin yet": self._unannounced}
        waits["this control plane cannot use the Lease"] = self._leadership.trouble
        return replace(told, warnings=(*told.warnings, *(f"{what}: {why}" for what, why in waits.items() if why)))

    def run(self, stop: threading.Event) -> None:
        """Waits for the term, and decides in it, until it ends or `stop` is set. The Lease is then given back."""
        holding = threading.Event()
        thread = threading.Thread(target=self._leadership.run, args=(holding,), name="lease", daemon=True)
        thread.start()
        try:
            while not (self._leadership.decides.wait(_LOOK_SECONDS) or stop.is_set()):
                pass
            if self._announced(stop):
                self._decide(stop)
        finally:
            holding.set()
            self._leadership.release()
            self._over()

    def _announced(self, stop: threading.Event) -> bool:
        """Whether the term has begun everywhere, and has not ended."""
        backoff = Backoff(0.5, 5.0)
        while not stop.is_set() and not self._leadership.ended.is_set():
            try:
                self._announce()
            except SerinusError as error:
                log.warning("the term cannot begin yet: %s", error)
                self._unannounced = str(error)
                stop.wait(backoff.pause())
            else:
                self._unannounced = ""
                return True
        return False

    def _decide(self, stop: threading.Event) -> None:
        world, ending = deciding(self._world, self._leadership), threading.Event()
        try:
            term, now = self._leadership.term(), world.clock.now()
            world.store.audit(ENGINE, "begin-term", self._leadership.identity, f"term {term} begins", {}, now)
            deciders = self._begin(world)
            deciders.start(ending)
            self._deciders = deciders
            self._tell(world, deciders, stop)
        except SerinusError as error:
            self._leadership.end(error.message)
        finally:
            ending.set()
            if self._deciders is not None:
                self._deciders.join(END_SECONDS)

    def _tell(self, world: World, deciders: Deciders, stop: threading.Event) -> None:
        """Stores what the deciding threads say, until the term ends or `stop` is set."""
        before, stored_at = None, float("-inf")
        while not stop.wait(_LOOK_SECONDS) and not self._leadership.ended.is_set():
            told, now = deciders.told(), time.monotonic()
            if now - stored_at < (TOLD_EVERY if told != before else TOLD_ANYWAY_EVERY):
                continue
            try:
                tell(world.store, told, world.clock.now())
            except SerinusError as error:
                log.warning("what is wrong cannot be stored for other control planes: %s", error)
            before, stored_at = told, now


def deciding(world: World, leadership: Leadership) -> World:
    """Returns the world of what decides. It stores, and says to the registry and to the fleet repository, what it does
    in the term of `leadership` alone. The target and the router are told of `leadership` when they are made."""
    store = world.store
    assert isinstance(store, SqlStore)
    fleet = world.fleet.deciding(leadership.term) if isinstance(world.fleet, GitFleet) else world.fleet
    return replace(
        world,
        store=store.deciding(leadership),
        registry=_checked(world.registry, leadership, "set_alias", "drop_alias", "set_tags"),
        fleet=_checked(fleet, leadership, "write", "publish"),
    )


def _checked(port: T, leadership: Leadership, *acts: str) -> T:
    """Returns the port, whose `acts` raise Superseded where this control plane does not decide."""

    class Checked:
        def __getattr__(self, name: str) -> Any:
            if name in acts:
                leadership.term()
            return getattr(port, name)

    return cast("T", Checked())
