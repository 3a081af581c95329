"""The Router port on Envoy: files are moved into place, Envoy confirms each, and is asked what is in force.

    adding      clusters, confirmed, then routes, confirmed
    removing    routes, confirmed, then clusters, once what was under way has had its time

A crash between the two leaves clusters that no route names: harmless, and swept by the next `apply`.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serinus.backends.envoy import names, xds
from serinus.backends.envoy.admin import CLUSTERS, PROBE_TABLE, ROUTE_TABLE, Admin
from serinus.backends.envoy.endpoints import address_of
from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes
from serinus.core.errors import InvalidInput, Unavailable
from serinus.core.home import Home
from serinus.core.release import Release
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.lib.files import update

_SPLIT = re.compile(r"[A-Za-z0-9._:-]+")
_POLL = 0.003


class EnvoyRouter:
    """One instance a home writes; safe to use from several threads.

    `admin`: `admin_socket(home)`, or `http://127.0.0.1:<port>`. `patience`: seconds until Envoy must have confirmed a
    file. `drain`: seconds that a cluster outlives its last route, so that what is under way ends well (default: as
    long as a request may take to arrive).
    """

    def __init__(self, home: Home, admin: str, *, patience: float = 10.0, drain: float = 30.0) -> None:
        self._clusters = names.clusters_file(home)
        self._routes = names.routes_file(home)
        self._key_of = names.key_of(home)
        self._admin = Admin(admin)
        self._patience = patience
        self._drain = drain
        self._probes_file = names.probes_file(home)
        self._probe_socket = str(names.probe_socket(home))
        self._probes: dict[str, Routing] = {}
        """Not kept: whoever was asking has gone with this process, and the first probe of the next clears the file."""
        self._lock = threading.RLock()
        self._expiry: dict[str, float] = {}
        self._text = ""
        self._parsed: tuple[Routes, str | None] = (Routes(), None)
        self._sweeper: threading.Timer | None = None
        self._closed = False

    # --- the port -----------------------------------------------------------------------------------------

    def apply(self, routing: Routing) -> None:
        """See `Router.apply`. InvalidInput where the routing contradicts itself."""
        _check(routing)
        with self._lock:
            routes, _ = self._read()
            # Both: what is in force, and what Envoy would come up with.
            if not self.in_force(routing.model) == routing == routes.routings.get(routing.model):
                added = {arm.release: arm.endpoint for arm in routing.arms}
                self._put_clusters(xds.read_clusters(self._clusters) | added)
                routings = {**routes.routings, routing.model: routing}
                self._put_routes(replace(routes, routings=routings, retired=routes.retired - {routing.model}))
            self._sweep_when_due()

    def in_force(self, model: str) -> Routing | None:
        """See `Router.in_force`."""
        return self.all_in_force().get(model)

    def all_in_force(self) -> Mapping[str, Routing]:
        """Envoy names the version, which is the content's digest: where the file is of that version, it is what is in
        force. Else Envoy says all of it, which takes it 0.5 s with 200 models."""
        routes, version = self._read()
        if version is not None and version == self._admin.subscription(ROUTE_TABLE).version:
            return routes.routings
        return xds.routings_of(self._admin.route_configuration())

    def remove(self, model: str) -> None:
        """See `Router.remove`."""
        with self._lock:
            routes, _ = self._read()
            if model in routes.routings or model in routes.retired or self.in_force(model) is not None:
                self._put_routes(routes.without(model))
            self._sweep_when_due()

    def retire(self, model: str) -> None:
        """See `Router.retire`."""
        with self._lock:
            routes, _ = self._read()
            without = routes.without(model)
            self._put_routes(replace(without, retired=without.retired | {model}))
            self._sweep_when_due()

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        """See `Router.probe`."""
        arm = Arm(release.id, WHOLE, Role.CANARY, endpoint)
        routing = Routing(release.model, (arm,), split="probe", salt="", timeout_ms=timeout_ms)
        _check(routing)
        if not Path(self._probe_socket).exists():
            raise Unavailable(
                "Envoy cannot reach releases without traffic: it is not running, or was started by an earlier "
                "version of Serinus.",
                hint="If `serinus status` says that it is running, restart it with `serinus down` and `serinus up`.",
            )
        with self._lock:
            self._put_clusters(xds.read_clusters(self._clusters) | {release.id: endpoint})
            self._put_probes({**self._probes, release.model: routing})
            self._sweep_when_due()
        return self._probe_socket

    def end_probe(self, model: str) -> None:
        """See `Router.end_probe`."""
        with self._lock:
            if model in self._probes:
                self._put_probes({name: routing for name, routing in self._probes.items() if name != model})
            self._sweep_when_due()

    # --- beyond the port ----------------------------------------------------------------------------------

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        """Lets the caller `name` in by `key`, to `models` (None: all), from now on; and from now on, nobody without a
        key, unless `prepare` was told never to ask for one."""
        with self._lock:
            routes, _ = self._read()
            admitted = Key(key, None if models is None else tuple(models))
            self._put_routes(replace(routes, callers={**routes.callers, name: admitted}, keys_asked=True))

    def dismiss(self, name: str) -> None:
        """Takes the caller's key back, from the next request on. Nothing happens where there is none of that name."""
        with self._lock:
            routes, _ = self._read()
            if name in routes.callers:
                kept = {caller: key for caller, key in routes.callers.items() if caller != name}
                self._put_routes(replace(routes, callers=kept))

    def close(self) -> None:
        """Nothing is written any more. What is in force stays."""
        with self._lock:
            self._closed = True
            if self._sweeper is not None:
                self._sweeper.cancel()
            self._admin.close()

    # --- reading ------------------------------------------------------------------------------------------

    def _read(self) -> tuple[Routes, str | None]:
        """The routes file, and its version where it is whole; parsed when it has changed."""
        with self._lock:
            text = self._routes.read_text(encoding="utf-8") if self._routes.exists() else ""
            if text != self._text:
                self._text, self._parsed = text, (xds.parse_routes(text), xds.version_of(text))
            return self._parsed

    # --- writing and confirming ---------------------------------------------------------------------------

    def _put_clusters(self, endpoints: Mapping[str, str]) -> None:
        self._put(self._clusters, xds.render_clusters(endpoints), CLUSTERS)

    def _put_probes(self, probes: dict[str, Routing]) -> None:
        self._put(self._probes_file, xds.render_probes(probes, self._key_of), PROBE_TABLE)
        self._probes = probes

    def _put_routes(self, routes: Routes) -> None:
        self._put(self._routes, xds.render_routes(routes, self._key_of), ROUTE_TABLE)

    def _put(self, path: Path, text: str, subscription: str) -> None:
        """Has Envoy take `text`, or leaves everything as it was and raises Unavailable."""
        version = xds.version_of(text) or ""
        before = self._admin.subscription(subscription)
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.version == version and old == text:
            return
        update(path, text)
        try:
            self._wait(subscription, version, before.refused)
        except Unavailable:
            if old:
                update(path, old)
            raise

    def _wait(self, subscription: str, version: str, refused: int) -> None:
        deadline = time.monotonic() + self._patience
        while (now := self._admin.subscription(subscription)).version != version:
            if now.refused > refused:
                raise Unavailable("Envoy refused the new routing.", hint="The reason is in its log: logs/envoy.log.")
            if time.monotonic() > deadline:
                raise Unavailable(f"Envoy did not take the new routing within {self._patience:g} s.")
            time.sleep(_POLL)

    # --- clusters that no route names any more ------------------------------------------------------------

    def _sweep_when_due(self) -> None:
        """Removes the clusters whose time is over, and comes back for those whose time is not."""
        clusters = xds.read_clusters(self._clusters)
        routes, _ = self._read()
        probed = {arm.release for routing in self._probes.values() for arm in routing.arms}
        unused = clusters.keys() - routes.releases - probed
        now = time.monotonic()
        self._expiry = {release: self._expiry.get(release, now + self._drain) for release in unused}
        due = {release for release, expiry in self._expiry.items() if expiry <= now}
        if due:
            self._put_clusters({release: where for release, where in clusters.items() if release not in due})
            self._expiry = {release: expiry for release, expiry in self._expiry.items() if release not in due}
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._expiry:
            self._sweeper = threading.Timer(max(0.0, min(self._expiry.values()) - now), self._sweep_later)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep_later(self) -> None:
        # Where Envoy is away, it comes up from the files, and the next `apply` sweeps.
        with self._lock, contextlib.suppress(Unavailable):
            if not self._closed:
                self._sweep_when_due()


def _check(routing: Routing) -> None:
    where = f"routing of {routing.model!r}"
    releases = [arm.release for arm in routing.arms]
    if sum(arm.weight for arm in routing.arms) != WHOLE or any(arm.weight < 0 for arm in routing.arms):
        raise InvalidInput(f"{where}: the weights do not sum up to {WHOLE}.")
    if len(set(releases)) != len(releases):
        raise InvalidInput(f"{where}: a release is named twice.")
    if not _SPLIT.fullmatch(routing.split):
        raise InvalidInput(f"{where}: the split {routing.split!r} is not of the form {_SPLIT.pattern}.")
    if routing.timeout_ms <= 0:
        raise InvalidInput(f"{where}: a time limit of {routing.timeout_ms} ms leaves no time to answer.")
    for arm in routing.arms:
        try:
            address_of(arm.endpoint)
        except ValueError as error:
            raise InvalidInput(f"{where}: the endpoint of {arm.release} cannot be used: {error}.") from error
