"""Which of several control planes decides: the one that holds a Lease, as controllers of Kubernetes do it.

    duration   who waits takes the Lease once it has seen no renewal for so long
    deadline   who holds it stops deciding once its last renewal began so long ago, which is earlier
    retry      between two tries of either

Everybody measures with a clock of its own that nobody sets, so clocks that are off do no harm. A process that is
stopped cannot stop deciding in time. When it wakes, what it writes is refused, because each term has a higher number
than the one before: by the store (`Terms`), and by whatever else compares terms.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from serinus.core.errors import NotFound, SerinusError, Superseded
from serinus.core.ports import Terms
from serinus.core.text import one_line
from serinus.targets.kubernetes.cluster import Conflict, Kind, Object
from serinus.targets.kubernetes.cluster.kinds import LEASE
from serinus.targets.kubernetes.manifests.names import PART_OF

log = logging.getLogger(__name__)

NAME = "serinus-control"
"""Of the Lease."""


class Leases(Protocol):
    """What is needed of `Cluster`."""

    def find(self, kind: Kind, name: str, namespace: str = "") -> Object | None: ...

    def create(self, manifest: Mapping[str, Any]) -> Object: ...

    def replace(self, manifest: Mapping[str, Any]) -> Object: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, as the module says. `duration` is a whole number, and `deadline` is less."""

    duration: int = 15
    deadline: float = 10.0
    retry: float = 2.0


def now() -> float:
    """Returns the seconds since the machine was started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseLeadership:
    """Implements `core.ports.Leadership`. Safe for several threads.

    `identity` is the name of this process, which no other has, not even the one before it in the same pod.
    """

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        identity: str,
        terms: Terms,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = now,
    ) -> None:
        self._leases, self._namespace, self.identity = leases, namespace, identity
        self._terms, self._timing, self._clock = terms, timing or Timing(), clock
        self.decides = threading.Event()
        """Set once the term has begun."""
        self.ended = threading.Event()
        """Set once the term has ended."""
        self.trouble = ""
        """Why the last attempt to take or renew the Lease failed, in words. Empty: it did not."""
        self._why = "no control plane decides yet"
        self._held: Object = {}
        """The Lease as it was last written here."""
        self._term, self._until = 0, float("-inf")
        self._seen: tuple[object, ...] = ()
        self._seen_at = float("-inf")
        """The time at which the Lease was first seen as it is."""

    def term(self) -> int:
        if self.decides.is_set() and not self.ended.is_set() and self._clock() >= self._until:
            self.end(f"the Lease {NAME} was not renewed for {self._timing.deadline:g} s")
        if self.ended.is_set() or not self.decides.is_set():
            raise Superseded(f"This control plane does not decide: {self._why}.")
        return self._term

    def end(self, why: str) -> None:
        if not self.ended.is_set():
            self._why = why.rstrip(".")
            log.error("this control plane stops deciding: %s", self._why)
            self.ended.set()

    def run(self, stop: threading.Event) -> None:
        """Waits for the Lease, begins a term and renews it, until that has ended or `stop` is set."""
        while not stop.is_set() and not self.ended.is_set():
            try:
                self.attempt()
            except SerinusError as error:
                if str(error) != self.trouble:
                    log.warning("the Lease %s: %s", NAME, error)
                self.trouble = str(error)
            else:
                self.trouble = ""
            stop.wait(self._timing.retry)

    def attempt(self) -> None:
        """Takes the Lease if it is free, or renews it. Raises Unavailable or Superseded, to be called again."""
        if self.decides.is_set():
            self._renew()
        elif (found := self._leases.find(LEASE, NAME, self._namespace)) is None or self._is_free(found):
            self._take(found)

    def release(self) -> None:
        """Leaves the Lease to others at once. Nothing may be decided any more."""
        if not self.ended.is_set():
            self._why = "it has given the Lease back"
            log.info("this control plane gives the Lease back")
            self.ended.set()
        if self._held:
            try:
                self._leases.replace(
                    self._lease({**self._held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
                )
            except Conflict:  # Another one has it.
                pass
            except SerinusError as error:  # Others wait until it has run out.
                log.warning("the Lease %s could not be given back: %s", NAME, error)

    # --- how ----------------------------------------------------------------------------------------------

    def _is_free(self, found: Object) -> bool:
        spec = found.get("spec") or {}
        holder = one_line(str(spec.get("holderIdentity") or ""))
        seen = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        if holder in ("", self.identity):  # An answer to an earlier try may have been lost.
            return True
        self._why = f"{holder} does"
        duration = max(self._timing.duration, int(spec.get("leaseDurationSeconds") or 0))
        return self._clock() - self._seen_at > duration

    def _take(self, found: Object | None) -> None:
        """Takes the Lease, and begins a term in the store, before anything is read of it: what another one decided
        before is then seen, and what it decides from now on is refused."""
        transitions = int(((found or {}).get("spec") or {}).get("leaseTransitions") or 0)
        term = max(transitions, self._terms.last_term()[0]) + 1
        began, time_now = self._clock(), _time_now()
        lease = self._lease(
            {
                "acquireTime": time_now,
                "holderIdentity": self.identity,
                "leaseDurationSeconds": self._timing.duration,
                "leaseTransitions": term,
                "renewTime": time_now,
            },
            found,
        )
        try:
            self._held = self._leases.create(lease) if found is None else self._leases.replace(lease)
        except Conflict:  # Another one was faster.
            return
        try:
            self._terms.begin_term(term, self.identity)
        except SerinusError:
            self._give_back()
            raise
        self._term, self._until = term, began + self._timing.deadline
        if self._clock() >= self._until:
            self._give_back()
            return
        log.info("this control plane decides in term %d", term)
        self.decides.set()

    def _give_back(self) -> None:
        held, self._held = self._held, {}
        with suppress(Conflict):  # Another one has it.
            self._leases.replace(self._lease({**held["spec"], "holderIdentity": ""}, held))

    def _renew(self) -> None:
        self.term()
        began = self._clock()
        try:
            self._held = self._leases.replace(self._renewed())
        except NotFound:
            self.end(f"the Lease {NAME} was deleted")
        except Conflict:
            self._renew_changed(began)
        else:
            self._until = began + self._timing.deadline

    def _renew_changed(self, began: float) -> None:
        """Somebody has changed the Lease: another control plane, which has taken it, or a person, who has set a
        label."""
        found = self._leases.find(LEASE, NAME, self._namespace) or {}
        spec = found.get("spec") or {}
        if (spec.get("holderIdentity"), spec.get("leaseTransitions")) == (self.identity, self._term):
            self._held = found
            self._held = self._leases.replace(self._renewed())
            self._until = began + self._timing.deadline
        else:
            self.end(f"{one_line(str(spec.get('holderIdentity') or 'somebody else'))} has taken the Lease {NAME}")

    def _renewed(self) -> Object:
        return self._lease({**self._held["spec"], "renewTime": _time_now()})

    def _lease(self, spec: Mapping[str, Any], before: Object | None = None) -> Object:
        """Returns the Lease in place of the version `before`, or of the one held."""
        metadata = (before if before is not None else self._held).get("metadata") or {}
        kept = {key: metadata[key] for key in ("annotations", "labels", "resourceVersion") if key in metadata}
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {"labels": PART_OF, **kept, "name": NAME, "namespace": self._namespace},
            "spec": dict(spec),
        }


def _time_now() -> str:
    """For people: nobody compares it with a clock of its own."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
