"""The agent beside Envoy: what is published reaches Envoy, and what Envoy runs is reported.

Routing goes on as it is while the API server is away, for as long as that lasts: Envoy needs neither it nor the agent
to answer callers. An agent that starts anew has Envoy run what the one before it had, and then follows the API server.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from serinus.backends.envoy.confirming import RefusedByEnvoy
from serinus.core.errors import SerinusError, Unavailable
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.gateway import slices
from serinus.targets.kubernetes.gateway.board import GatewayBoard
from serinus.targets.kubernetes.gateway.counting import Report
from serinus.targets.kubernetes.gateway.instance import Instance
from serinus.targets.kubernetes.gateway.publication import Document, Publication, Unreadable, parse

log = logging.getLogger(__name__)

LAG = 2.0
"""Seconds that a document waits for the addresses of a release that was not routed before: the control plane has seen
them, and the watch of this agent may be a little behind."""
REPORT_AGAIN = 10.0
"""Seconds after which a report is written again, though nothing has changed."""
LARGEST_LOG = 16 << 20
_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """What the agent has brought Envoy to, and why it is not at what is wanted."""

    content: bytes = b""
    """The document that Envoy was last brought to run; empty: none yet."""
    releases: frozenset[str] = frozenset()
    """That it routes or probes."""
    refused: str = ""
    trouble: str = ""
    seen: int = 0
    """The number of the publication that was looked at last."""


class Agent:
    """One a gateway. `run` and `report` are loops, each for a thread of its own."""

    def __init__(
        self,
        instance: Instance,
        board: GatewayBoard,
        pod: str,
        uid: str,
        *,
        lag: float = LAG,
        largest_log: int | None = LARGEST_LOG,
    ) -> None:
        """`largest_log` is the size in bytes at which the file of Envoy's local replies is rotated. None: it is left to
        others, who read it."""
        self._instance = instance
        self._board = board
        self._pod, self._uid = pod, uid
        self._lag, self._largest_log = lag, largest_log
        self._news = threading.Event()
        self._to_report = threading.Event()
        self._state = State()
        self._applied: tuple[bytes, Mapping[str, Sequence[str]]] | None = None
        self._waiting_since: tuple[str, float] | None = None
        """The version that waits for addresses, and since when."""

    # --- what others ask ----------------------------------------------------------------------------------

    def ready(self) -> str:
        """Why callers should not be sent here; empty: they may. That the API server is away is no reason."""
        try:
            running = self._instance.running()
        except Unavailable:
            return "Envoy does not answer"
        return "" if running else self._state.trouble or "nothing was published for this gateway yet"

    def metrics(self) -> str:
        """Envoy's. Raises Unavailable."""
        return self._instance.metrics()

    # --- loops --------------------------------------------------------------------------------------------

    def run(self, stopped: Callable[[], bool]) -> None:
        """Brings Envoy to what is wanted, whenever that changes."""
        self._board.start(self._news.set)
        while not stopped():
            self._news.clear()
            pause = self.step()
            self._to_report.set()
            self._news.wait(pause)

    def report(self, stopped: Callable[[], bool]) -> None:
        """Writes what Envoy runs, whenever that changes."""
        backoff = Backoff(0.2, 5.0)
        while not stopped():
            self._to_report.wait(REPORT_AGAIN)
            self._to_report.clear()
            try:
                self._board.report(self.standing())
                backoff.reset()
            except SerinusError as error:
                log.warning("the report could not be written: %s", error)
                self._to_report.set()
                time.sleep(backoff.pause())

    def wake(self) -> None:
        """Has both loops look at whether they are stopped."""
        self._news.set()
        self._to_report.set()

    # --- one step -----------------------------------------------------------------------------------------

    def step(self) -> float:
        """Brings Envoy closer to what is wanted. Seconds until the next step, where nothing changes before."""
        try:
            pause = self._step()
        except Unreadable as error:
            self._trouble(str(error))
            return REPORT_AGAIN
        except (Unavailable, OSError) as error:
            self._trouble(str(error))
            return _AGAIN
        if self._largest_log is not None:
            with contextlib.suppress(Unavailable, OSError):
                self._instance.turn_over(self._largest_log)
        due = self._instance.due()
        return min(pause, REPORT_AGAIN if due is None else due + 0.01)

    def standing(self) -> Report:
        state = self._state
        try:
            running = self._instance.running()
        except Unavailable as error:
            return Report(self._pod, self._uid, "", state.refused, str(error), state.seen)
        return Report(self._pod, self._uid, running, state.refused, state.trouble, state.seen)

    def _step(self) -> float:
        if not self._state.content:
            self._resume()
        publication, found = self._board.publication(), self._board.slices()
        if found is None:  # the addresses that Envoy has are those of before: nothing better is known
            return REPORT_AGAIN
        wanted = self._state.content
        if publication is not None and publication.version != self._state.refused:
            wanted = publication.document
        if not wanted:
            return REPORT_AGAIN
        document = parse(wanted)
        members = self._members(document, found)
        if wanted != self._state.content and (lacking := self._lacking(document, members)):
            self._trouble(f"no pod of {lacking[0]} is ready yet")
            return self._lag / 20
        settled = (wanted, members) == self._applied and self._instance.due() is None and self._instance.running()
        if not settled:
            try:
                self._instance.apply(wanted, members)
            except RefusedByEnvoy as error:
                log.error("%s: %s", document.version, error)
                seen = publication.number if publication else self._state.seen
                self._state = replace(self._state, refused=document.version, trouble=error.message, seen=seen)
                self._news.set()  # the addresses of what stays in force may have changed
                return REPORT_AGAIN
            if wanted != self._state.content:
                log.info("in force: %s", document.version)
            self._applied = (wanted, members)
        self._state = self._in_force(wanted, document, publication)
        return REPORT_AGAIN

    def _in_force(self, content: bytes, document: Document, publication: Publication | None) -> State:
        """After Envoy was brought to run `content`, which is what was published or, where that was refused, what was
        in force before."""
        if publication is None:
            return replace(self._state, content=content, releases=_asked(document), trouble="")
        refused = publication.version if publication.version == self._state.refused else ""
        trouble = self._state.trouble if refused else ""
        return State(content, _asked(document), refused, trouble, publication.number)

    def _resume(self) -> None:
        document = self._instance.resume()
        if document is not None:
            self._state = State(self._instance.kept(), _asked(document))
            log.info("in force as before: %s", document.version)

    def _members(self, document: Document, found: Sequence[Mapping[str, object]]) -> Mapping[str, Sequence[str]]:
        """Of clusters that are on their way out as well."""
        return slices.members([*document.wanted.endpoints.values(), *self._instance.endpoints()], found)

    def _lacking(self, document: Document, members: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The releases that are asked here for the first time and have no address, while it is worth to wait for
        one."""
        wanted = document.wanted
        lacking = sorted(
            arm.release
            for routing in (*wanted.routes.routings.values(), *wanted.probes.values())
            for arm in routing.arms
            if arm.weight and arm.release not in self._state.releases and members.get(arm.endpoint) == ()
        )
        now = time.monotonic()
        if self._waiting_since is None or self._waiting_since[0] != document.version:
            self._waiting_since = (document.version, now)
        return lacking if now - self._waiting_since[1] < self._lag else ()

    def _trouble(self, words: str) -> None:
        if words != self._state.trouble:
            log.warning("%s", words)
        self._state = replace(self._state, trouble=words)


def _asked(document: Document) -> frozenset[str]:
    return frozenset(document.wanted.endpoints)
