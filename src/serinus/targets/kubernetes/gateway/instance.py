"""The Envoy of one gateway: it is brought to run a document, by files as on one machine, and asked what it runs.

    adding      clusters with the addresses of their pods, confirmed, then probes and routes, confirmed
    removing    routes, confirmed, then clusters, once what was under way has had its time

The document in force is kept beside Envoy's files, so that the next agent knows what Envoy runs without asking the API
server. A document that Envoy refuses leaves the one before in force.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from serinus.backends.envoy import names, xds
from serinus.backends.envoy.admin import CLUSTERS, PROBE_TABLE, ROUTE_TABLE, Admin
from serinus.backends.envoy.confirming import Confirmed
from serinus.backends.envoy.expiry import Expiry
from serinus.core.home import Home
from serinus.lib.files import write
from serinus.targets.kubernetes.gateway.publication import Document, Unreadable, parse

_REMEMBERED = 4
"""Documents before the last one, of which Envoy may run one where it has refused those that followed."""

Members = Mapping[str, Sequence[str]]
"""Endpoint -> the addresses that answer there."""


class Instance:
    """`home`: a directory of this gateway's own. Used by one thread, but for `running`.

    `patience`: seconds until Envoy must have confirmed a file. `drain`: seconds that a cluster outlives its last route.
    """

    def __init__(self, home: Home, admin: str, *, patience: float = 10.0, drain: float = 30.0) -> None:
        self._clusters = names.clusters_file(home)
        self._routes = names.routes_file(home)
        self._probes = names.probes_file(home)
        self._local_answers = names.local_answers_file(home)
        self._kept = kept_document(home)
        self._admin = Admin(admin)
        self._files = Confirmed(self._admin, patience)
        self._expiry = Expiry(drain)
        self._lock = threading.Lock()
        self._rendered: dict[str, str] = {}
        """Version of routes -> that of the document of which they were rendered: of the last ones."""

    def apply(self, content: bytes, members: Members) -> Document:
        """Has Envoy run the document `content`, with these addresses, and keeps it. Raises Unreadable,
        RefusedByEnvoy (what was in force stays) and Unavailable (Envoy is away)."""
        document = parse(content)
        self._apply(document, members)
        if self.kept() != content:
            write(self._kept, content)
        return document

    def resume(self) -> Document | None:
        """What an agent before this one had Envoy run, with the addresses of that time; None: nothing. Raises as
        `apply`."""
        kept = self.kept()
        try:
            document = parse(kept) if kept else None
        except Unreadable:  # kept by another version: Envoy goes on with its files, and is told anew
            return None
        if document is not None:
            self._apply(document, xds.read_members(self._clusters))
        return document

    def running(self) -> str:
        """The version of the document in force, as Envoy says; empty: of none. Raises Unavailable."""
        in_force = self._admin.subscription(ROUTE_TABLE).version
        with self._lock:
            return self._rendered.get(in_force, "")

    def endpoints(self) -> list[str]:
        """Of all clusters that Envoy has, those that are on their way out included."""
        return sorted(set(xds.read_clusters(self._clusters).values()))

    def kept(self) -> bytes:
        """The document that was applied last; empty: none was."""
        return self._kept.read_bytes() if self._kept.exists() else b""

    def metrics(self) -> str:
        """Envoy's statistics, as Prometheus reads them. Raises Unavailable."""
        return self._admin.prometheus()

    def turn_over(self, largest: int) -> None:
        """Begins the file of requests that Envoy answered itself anew where it has grown beyond `largest` bytes; the
        one before is kept, those before it are not. Raises Unavailable and OSError."""
        file = self._local_answers
        if file.exists() and file.stat().st_size > largest:
            file.replace(file.with_name(f"{file.name}.1"))
            self._admin.reopen_logs()

    def due(self) -> float | None:
        """Seconds until clusters may be removed; None: none is waiting."""
        at = self._expiry.next()
        return None if at is None else max(0.0, at - time.monotonic())

    def close(self) -> None:
        self._admin.close()

    def _apply(self, document: Document, members: Members) -> None:
        wanted = document.wanted
        key_of = document.router_keys.__getitem__
        known = xds.read_clusters(self._clusters)
        due = self._expiry.due(known.keys() - wanted.endpoints.keys(), time.monotonic())
        # What is due goes last: the routes before may still name it.
        self._put_clusters(known | wanted.endpoints, members)
        self._files.put(self._probes, xds.render_probes(wanted.probes, key_of, guarded=True), PROBE_TABLE)
        routes = xds.render_routes(wanted.routes, key_of)
        with self._lock:  # before Envoy has them, so that `running` finds either meanwhile
            before = [one for one in self._rendered.items() if one[1] != document.version]
            self._rendered = dict([*before[-_REMEMBERED:], (xds.version_of(routes) or "", document.version)])
        self._files.put(self._routes, routes, ROUTE_TABLE)
        if due:
            left = {release: where for release, where in (known | wanted.endpoints).items() if release not in due}
            self._put_clusters(left, members)
            self._expiry.forget(due)

    def _put_clusters(self, endpoints: Mapping[str, str], members: Members) -> None:
        self._files.put(self._clusters, xds.render_clusters(endpoints, members), CLUSTERS)


def begin(home: Home) -> None:
    """Writes what Envoy reads at its start where there is nothing: that nothing is routed. What is there is of the
    agent before, and stays as it is."""
    nothing = {
        names.clusters_file(home): xds.render_clusters({}),
        names.routes_file(home): xds.render_routes(xds.Routes(), _no_key),
        names.probes_file(home): xds.render_probes({}, _no_key),
    }
    names.xds_directory(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, content in nothing.items():
        if not file.exists():
            write(file, content)


def _no_key(release: str) -> str:
    raise KeyError(release)


def kept_document(home: Home) -> Path:
    return home.envoy / "document"
