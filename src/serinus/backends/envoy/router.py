"""The port Router on Envoy. Files are moved into place, and Envoy confirms each and is asked for the routing in force.

    adding      clusters, confirmed, then routes, confirmed
    removing    routes, confirmed, then clusters, once the requests in flight have had their time

A crash in between leaves clusters that no route names. They do no harm, and the next `apply` removes them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serinus.backends.envoy import names, xds
from serinus.backends.envoy.admin import CLUSTERS, PROBE_TABLE, ROUTE_TABLE, Admin
from serinus.backends.envoy.checking import check
from serinus.backends.envoy.confirming import Confirmed
from serinus.backends.envoy.expiry import Expiry
from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.core.release import Release
from serinus.core.routing import WHOLE, Arm, Role, Routing


class EnvoyRouter:
    """Writes Envoy's configuration. A home has one instance. Thread-safe.

    - `admin`: `admin_socket(home)`, or `http://127.0.0.1:<port>`.
    - `patience`: seconds within which Envoy must confirm a file.
    - `drain`: seconds for which a cluster is kept after its last route is gone, for requests in flight. By default as
      long as a request may take to arrive.
    """

    def __init__(self, home: Home, admin: str, *, patience: float = 10.0, drain: float = 30.0) -> None:
        self._clusters = names.clusters_file(home)
        self._routes = names.routes_file(home)
        self._key_of = names.key_of(home)
        self._admin = Admin(admin)
        self._files = Confirmed(self._admin, patience)
        self._probes_file = names.probes_file(home)
        self._probe_socket = str(names.probe_socket(home))
        self._probes: dict[str, Routing] = {}
        """Not stored: the process that was asking ended with this one, and the first probe of the next process clears
        the file."""
        self._lock = threading.RLock()
        self._expiry = Expiry(drain)
        self._text = ""
        self._parsed: tuple[Routes, str | None] = (Routes(), None)
        self._sweeper: threading.Timer | None = None
        self._closed = False

    # --- the port -----------------------------------------------------------------------------------------

    def apply(self, routing: Routing) -> None:
        """See `Router.apply`. Raises InvalidInput where the routing contradicts itself."""
        check(routing)
        with self._lock:
            routes, _ = self._read()
            # The routing in force and the file, which Envoy reads after a restart, are both compared.
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
        """Returns the routing of every model.

        Envoy reports the version, which is the digest of the content. Where the file has that version, its content is
        in force. Otherwise Envoy reports the whole routing, which takes 0.5 s with 200 models.
        """
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
        check(routing)
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
        """Lets in the caller `name` with `key` to `models` (None: all) from now on.

        From then on nobody gets in without a key, unless `prepare` was told that none are required.
        """
        with self._lock:
            routes, _ = self._read()
            admitted = Key(key, None if models is None else tuple(models))
            self._put_routes(replace(routes, callers={**routes.callers, name: admitted}, keys_asked=True))

    def dismiss(self, name: str) -> None:
        """Removes the caller's key from the next request on. Does nothing where there is none of that name."""
        with self._lock:
            routes, _ = self._read()
            if name in routes.callers:
                kept = {caller: key for caller, key in routes.callers.items() if caller != name}
                self._put_routes(replace(routes, callers=kept))

    def close(self) -> None:
        """Stops writing. The routing stays in force."""
        with self._lock:
            self._closed = True
            if self._sweeper is not None:
                self._sweeper.cancel()
            self._admin.close()

    # --- reading ------------------------------------------------------------------------------------------

    def _read(self) -> tuple[Routes, str | None]:
        """Returns the routes file and its version where it is complete. It is parsed only after a change."""
        with self._lock:
            text = self._routes.read_text(encoding="utf-8") if self._routes.exists() else ""
            if text != self._text:
                self._text, self._parsed = text, (xds.parse_routes(text), xds.version_of(text))
            return self._parsed

    # --- writing and confirming ---------------------------------------------------------------------------

    def _put_clusters(self, endpoints: Mapping[str, str]) -> None:
        self._files.put(self._clusters, xds.render_clusters(endpoints), CLUSTERS)

    def _put_probes(self, probes: dict[str, Routing]) -> None:
        self._files.put(self._probes_file, xds.render_probes(probes, self._key_of), PROBE_TABLE)
        self._probes = probes

    def _put_routes(self, routes: Routes) -> None:
        self._files.put(self._routes, xds.render_routes(routes, self._key_of), ROUTE_TABLE)

    # --- clusters that no route names any more ------------------------------------------------------------

    def _sweep_when_due(self) -> None:
        """Removes clusters whose time is over, and schedules itself for the others."""
        clusters = xds.read_clusters(self._clusters)
        routes, _ = self._read()
        probed = {arm.release for routing in self._probes.values() for arm in routing.arms}
        unused = clusters.keys() - routes.releases - probed
        now = time.monotonic()
        due = self._expiry.due(unused, now)
        if due:
            self._put_clusters({release: where for release, where in clusters.items() if release not in due})
            self._expiry.forget(due)
        if self._sweeper is not None:
            self._sweeper.cancel()
        if (then := self._expiry.next()) is not None:
            self._sweeper = threading.Timer(max(0.0, then - now), self._sweep_later)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep_later(self) -> None:
        # Where Envoy does not run, it will start from the files, and the next `apply` removes clusters.
        with self._lock, contextlib.suppress(Unavailable):
            if not self._closed:
                self._sweep_when_due()
