"""The Router port on gateways in a cluster: what is decided is published, and each gateway reports what it runs.

    apply       publish, wait until every gateway that counts has it
    in_force    what the gateways report, by the documents that are kept under the reported versions

A change that no gateway has taken, or that Envoy has refused, is taken back. Where the control plane dies in between,
the change may come into force: the next control plane reads that back, and goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from serinus.backends.envoy.checking import check
from serinus.backends.envoy.keys import Key
from serinus.core.errors import Superseded, Unavailable
from serinus.core.ports import Leadership
from serinus.core.release import Release
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.gateway import counting
from serinus.targets.kubernetes.gateway.board import Board, Stale, Stored
from serinus.targets.kubernetes.gateway.counting import Gateway, Standing
from serinus.targets.kubernetes.gateway.publication import (
    Document,
    Publication,
    Unreadable,
    Wanted,
    first,
    parse,
    render,
)

log = logging.getLogger(__name__)

_TRIES = 20
"""To publish, where somebody else publishes at the same time."""
_KEPT = 8
"""Documents that are kept parsed."""


class NothingKnown(Unavailable):
    """Nothing is published, and what should be is not known yet."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `gateways`: for all gateways to report a change; those that do not are left out from then on, where
    another one has. `poll`: between two looks at the reports."""

    gateways: float = 10.0
    poll: float = 0.05


class ClusterRouter:
    """One instance a control plane; safe to use from several threads.

    `key_of`: release -> its router key. `probes`: `host:port` at which the control plane reaches the gateways' port of
    probes. `leadership`: where there are several control planes; None: this one is alone. What routes raises Superseded
    where another one decides; keys of callers are admitted and dismissed by any of them. `known`: what is published
    where nothing is, and this process has seen nothing: what is known from elsewhere; None: it is not known yet, and
    nothing is published. It may raise a SerinusError.
    """

    def __init__(
        self,
        board: Board,
        key_of: Callable[[str], str],
        probes: str,
        patience: Patience | None = None,
        leadership: Leadership | None = None,
        known: Callable[[], Wanted | None] = Wanted,
    ) -> None:
        self._board = board
        self._key_of = key_of
        self._probes = probes
        self._patience = patience or Patience()
        self._leadership = leadership
        self._known = known
        self._lock = threading.RLock()
        self._left_out: dict[str, str] = {}
        """Uid of a pod -> why. Not kept: the next control plane waits for each once more."""
        self._parsed: dict[str, Document] = {}
        self._last: Publication | None = None
        """As it was last read: published again where somebody has deleted it."""

    # --- the port -----------------------------------------------------------------------------------------

    def apply(self, routing: Routing) -> None:
        """See `Router.apply`. InvalidInput where the routing contradicts itself."""
        check(routing)
        model = routing.model
        with self._lock:
            self._check_members(routing)
            self._change(
                lambda wanted: wanted.with_routing(model, routing),
                lambda wanted: wanted.routes.routings.get(model) == routing,
                lambda wanted, before: _as_before(wanted, before, model),
            )

    def in_force(self, model: str) -> Routing | None:
        """See `Router.in_force`."""
        return self.all_in_force().get(model)

    def all_in_force(self) -> Mapping[str, Routing]:
        """See `Router.all_in_force`. Where gateways differ, that of one which does not run what is wanted: a change is
        in force when all of them have it."""
        try:
            stored = self._stored()
        except NothingKnown:
            return {}
        running = [wanted.routes.routings for wanted in self._running(stored)]
        wanted = self._document(stored, stored.publication.version).wanted.routes.routings
        found: dict[str, Routing] = {}
        for model in {model for routings in running for model in routings}:
            theirs = [routings.get(model) for routings in running]
            chosen = next((routing for routing in theirs if routing != wanted.get(model)), wanted.get(model))
            if chosen is not None:
                found[model] = chosen
        return found

    def remove(self, model: str) -> None:
        """See `Router.remove`."""
        with self._lock:
            self._change(
                lambda wanted: wanted.with_routing(model, None),
                lambda wanted: model not in wanted.routes.routings and model not in wanted.routes.retired,
                lambda wanted, before: _as_before(wanted, before, model),
            )

    def retire(self, model: str) -> None:
        """See `Router.retire`."""
        with self._lock:
            self._change(
                lambda wanted: wanted.retired(model),
                lambda wanted: model not in wanted.routes.routings and model in wanted.routes.retired,
                lambda wanted, before: _as_before(wanted, before, model),
            )

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        """See `Router.probe`."""
        arm = Arm(release.id, WHOLE, Role.CANARY, endpoint)
        routing = Routing(release.model, (arm,), split="probe", salt="", timeout_ms=timeout_ms)
        check(routing)
        with self._lock:
            self._check_members(routing)
            self._change(
                lambda wanted: wanted.with_probe(release.model, routing),
                lambda wanted: wanted.probes.get(release.model) == routing,
                lambda wanted, before: wanted.with_probe(release.model, before.probes.get(release.model)),
            )
        return self._probes

    def end_probe(self, model: str) -> None:
        """See `Router.end_probe`."""
        with self._lock:
            stored = self._stored()
            if model in self._document(stored, stored.publication.version).wanted.probes:
                self._publish(lambda wanted: wanted.with_probe(model, None))

    # --- beyond the port ----------------------------------------------------------------------------------

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        """Lets the caller `name` in by `key`, to `models` (None: all), from now on; and from now on, nobody without a
        key, unless the gateways were told never to ask for one. Raises Unavailable."""
        admitted = Key(key, None if models is None else tuple(models))
        with self._lock:
            self._change(
                lambda wanted: _with_caller(wanted, name, admitted),
                lambda wanted: wanted.routes.callers.get(name) == admitted,
                lambda wanted, before: _with_caller(wanted, name, before.routes.callers.get(name)),
                decided=False,
            )

    def dismiss(self, name: str) -> None:
        """Takes the caller's key back. Nothing happens where there is none of that name. What a gateway that is left
        out lets in is not known. Raises Unavailable: the key may still open models, and is taken back as soon as the
        gateways can be told."""
        with self._lock:
            self._change(
                lambda wanted: _with_caller(wanted, name, None),
                lambda wanted: name not in wanted.routes.callers,
                None,
                decided=False,
            )

    def begin_term(self) -> None:
        """Publishes what is wanted once more, in the present term: whoever has read it before, and decides in a lower
        term, cannot publish any more. Raises Superseded and Unavailable."""
        with self._lock, contextlib.suppress(NothingKnown):  # Nobody can have read it either.
            self._publish(lambda wanted: wanted)

    def callers(self) -> frozenset[str]:
        """Returns the names of the callers whose keys are published. Raises Unavailable."""
        stored = self._stored()
        return frozenset(self._document(stored, stored.publication.version).wanted.routes.callers)

    def gateways(self) -> Sequence[Gateway]:
        """All that there are, whether each counts, and why not. Raises Unavailable."""
        with self._lock:
            return self._look(self._stored())

    # --- publishing and waiting ---------------------------------------------------------------------------

    def _change(
        self,
        edit: Callable[[Wanted], Wanted],
        has: Callable[[Wanted], bool],
        undo: Callable[[Wanted, Wanted], Wanted] | None,
        *,
        decided: bool = True,
    ) -> None:
        """Publishes and waits. `has`: whether the change is in what a gateway runs. `undo`: what is wanted now, and
        what was wanted before the change -> what is wanted without it; None: it stays published whatever happens.
        `decided`: as of `_publish`."""
        stored = self._stored()
        before = self._document(stored, stored.publication.version).wanted
        found = self._look(stored)
        if undo is not None and not any(one.standing is Standing.COUNTED for one in found):
            raise _nobody(found)
        stored = self._publish(edit, decided=decided)
        try:
            self._wait(stored, has)
        except Unavailable:
            if undo is not None:
                with contextlib.suppress(Unavailable):  # else the next change supersedes it
                    self._publish(lambda wanted: undo(wanted, before) if has(wanted) else wanted, decided=decided)
            raise

    def _publish(self, edit: Callable[[Wanted], Wanted], *, decided: bool = True) -> Stored:
        """What is wanted from now on. `decided`: by the engine, in its term. Raises Unavailable and Superseded."""
        for _ in range(_TRIES):
            stored = self._stored()
            term = self._term(stored) if decided else stored.publication.term
            wanted = edit(self._document(stored, stored.publication.version).wanted)
            version, document = render(wanted, self._key_of)
            if (version, term) == (stored.publication.version, stored.publication.term):
                return stored
            running = {one.running for one in self._look(stored) if one.running}
            publication = stored.publication.superseded(version, document, running, term)
            with contextlib.suppress(Stale):
                stored = self._board.publish(publication, stored.revision)
                self._last = stored.publication
                return stored
        raise Unavailable("The routing is changed by somebody else again and again.", hint="Run one control plane.")

    def _term(self, stored: Stored) -> int:
        """The term in which this control plane decides. Raises Superseded: what is published is of a higher one."""
        if self._leadership is None:
            return stored.publication.term
        term, theirs = self._leadership.term(), stored.publication.term
        if theirs > term:
            error = Superseded(f"The routing is published in term {theirs}, and this control plane decides in {term}.")
            self._leadership.end(error.message)
            raise error
        return term

    def _wait(self, stored: Stored, has: Callable[[Wanted], bool]) -> None:
        """Until every gateway that counts has the change. Those that do not have it in time are left out, where another
        one has. Raises Unavailable."""
        version, number = stored.publication.version, stored.publication.number
        deadline = time.monotonic() + self._patience.gateways
        while True:
            found = self._look(stored)
            seen = counting.progress(found, lambda running: self._runs(stored, running, has), version, number)
            if seen.done:
                return
            if seen.refused is not None:
                raise Unavailable(
                    f"Envoy refused the new routing in gateway {seen.refused.pod}: {seen.refused.reason}",
                    hint="The reason is in the log of that pod.",
                )
            if time.monotonic() > deadline:
                break
            time.sleep(self._patience.poll)
        if not seen.having:
            raise _nobody(found, f"No gateway took the new routing within {self._patience.gateways:g} s")
        for one in seen.behind:
            said = f": {one.reason}" if one.reason else ""
            self._left_out[one.uid] = f"it did not report the new routing within {self._patience.gateways:g} s{said}"

    def _runs(self, stored: Stored, version: str, has: Callable[[Wanted], bool]) -> bool:
        """Whether a gateway with this version has a change. Another control plane may have published what it runs."""
        if version and version not in stored.publication.documents:
            stored = self._stored()
        return has(self._run_by(stored, version))

    def _check_members(self, routing: Routing) -> None:
        """No release is asked for the first time before gateways can know where it answers. Raises Unavailable."""
        stored = self._stored()
        known = self._document(stored, stored.publication.version).wanted.endpoints
        new = [arm for arm in routing.arms if arm.weight and known.get(arm.release) != arm.endpoint]
        found = self._board.members([arm.endpoint for arm in new]) if new else {}
        for arm in new:
            if arm.endpoint in found and not found[arm.endpoint]:
                raise Unavailable(f"No pod of {arm.release} is ready yet.", delay=1.0)

    # --- reading ------------------------------------------------------------------------------------------

    def _stored(self) -> Stored:
        """What is published; where nothing is, what this control plane has seen last, or knows from elsewhere. Raises
        Superseded: nothing is, and another control plane has to publish. Raises NothingKnown."""
        while (stored := self._read()) is None:
            term = 0 if self._leadership is None else self._leadership.term()
            missing = self._last or self._first()
            with contextlib.suppress(Stale):
                return self._board.publish(replace(missing, term=max(term, missing.term)), None)
        self._last = stored.publication
        return stored

    def _first(self) -> Publication:
        wanted = self._known()
        if wanted is None:
            raise NothingKnown(
                "Nothing is published for the gateways, and which releases are live is not known yet.", delay=1.0
            )
        log.warning("Nothing is published for the gateways, and what is known is published.")
        return first(wanted, self._key_of, int(time.time()))

    def _read(self) -> Stored | None:
        try:
            return self._board.read()
        except Unreadable as error:
            raise _unreadable(error) from error

    def _look(self, stored: Stored) -> Sequence[Gateway]:
        """At all gateways. Those that were left out count again once they run what is wanted."""
        with self._lock:
            pods, reports = self._board.pods(), self._board.reports()
            there = {pod.uid for pod in pods}
            self._left_out = {uid: why for uid, why in self._left_out.items() if uid in there}
            found = counting.gateways(pods, reports, self._left_out)
            back = counting.back_again(found, stored.publication.version, stored.publication.number)
            if not back:
                return found
            self._left_out = {uid: why for uid, why in self._left_out.items() if uid not in back}
            return counting.gateways(pods, reports, self._left_out)

    def _running(self, stored: Stored) -> Sequence[Wanted]:
        """What each gateway that counts runs. Raises Unavailable: there is none."""
        found = self._look(stored)
        counted = [one for one in found if one.standing is Standing.COUNTED]
        if not counted:
            raise _nobody(found)
        return [self._run_by(stored, one.running) for one in counted]

    def _run_by(self, stored: Stored, version: str) -> Wanted:
        """Of a gateway that reports this version. What is not kept any more is as good as nothing: it is none of what
        is wanted."""
        return self._document(stored, version).wanted if version in stored.publication.documents else Wanted()

    def _document(self, stored: Stored, version: str) -> Document:
        with self._lock:
            if version not in self._parsed:
                try:
                    document = parse(stored.publication.documents[version])
                except (KeyError, Unreadable) as error:
                    raise _unreadable(error) from error
                self._parsed = dict([*self._parsed.items()][-_KEPT:])
                self._parsed[version] = document
            return self._parsed[version]


def _unreadable(error: Exception) -> Unavailable:
    return Unavailable(
        f"What is published for the gateways cannot be read: {error}.",
        hint="It was written by another version of Serinus, or by hand.",
    )


def _as_before(wanted: Wanted, before: Wanted, model: str) -> Wanted:
    if model in before.routes.retired:
        return wanted.retired(model)
    return wanted.with_routing(model, before.routes.routings.get(model))


def _with_caller(wanted: Wanted, name: str, key: Key | None) -> Wanted:
    routes = wanted.routes
    callers = {caller: known for caller, known in routes.callers.items() if caller != name}
    if key is None:
        return replace(wanted, routes=replace(routes, callers=callers))
    return replace(wanted, routes=replace(routes, callers={**callers, name: key}, keys_asked=True))


def _nobody(found: Sequence[Gateway], what: str = "No gateway is ready") -> Unavailable:
    reasons = "; ".join(f"{one.pod}: {one.reason or one.standing}" for one in found[:5])
    return Unavailable(
        f"{what}{f' ({reasons})' if reasons else ''}.",
        hint="`kubectl get pods -l app.kubernetes.io/component=gateway` shows the gateways.",
        delay=1.0,
    )
