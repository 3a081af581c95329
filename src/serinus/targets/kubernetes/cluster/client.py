"""A client of the API server that speaks in the words of Serinus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightkube import Client
from lightkube.core.exceptions import NotReadyError
from lightkube.types import CascadeType, PatchType

from serinus.core.errors import NotFound, Unavailable
from serinus.targets.kubernetes.cluster import connection
from serinus.targets.kubernetes.cluster.connection import Gate
from serinus.targets.kubernetes.cluster.errors import Act, translated
from serinus.targets.kubernetes.cluster.kinds import Kind, Object, kind_of, resource_class

MANAGER = "serinus"
"""Of the fields that Serinus applies."""
CAPACITY_MANAGER = "serinus-capacity"
"""Of the fields that Serinus changes at run time, which Argo CD leaves alone."""
_AT_ONCE = 500
"""Objects in one answer to a list."""
_WRITING = ("create", "delete", "patch", "update")


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of one kind, and the version of the cluster's state that they are of, for a watch that follows;
    empty: they cannot be watched."""

    items: tuple[Object, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a watch has seen."""

    kind: str
    """ADDED, MODIFIED or DELETED."""
    object: Object


class Cluster:
    """The objects of a Kubernetes cluster. Safe for several threads.

    Every method raises Unavailable where the API server does not answer or a person has to set something right
    (`Unauthorised`, `NotAllowed`, `QuotaExceeded`, `Denied`), and Refused where it would never take what is sent.
    """

    def __init__(
        self, client: Client, gate: Gate | None = None, *, may_write: Callable[[], object] = lambda: None
    ) -> None:
        """`gate` is the transport of `client`, where watches shall end once this is closed. `may_write` is called
        before each write, which does not happen where it raises."""
        self._client, self._gate, self._may_write = client, gate, may_write
        self._server = client.config.cluster.server
        self._lock = threading.Lock()
        self._calls = 0
        """The number of calls that are under way."""
        self._closed = False

    @classmethod
    def connected(
        cls,
        kubeconfig: Path | None,
        *,
        context: str | None = None,
        seconds: float = 10.0,
        may_write: Callable[[], object] = lambda: None,
    ) -> Cluster:
        """By a file, or by the service account of the pod where there is none. Nothing is asked yet. Raises
        InvalidInput: the file cannot be used."""
        made = connection.client(connection.configuration(kubeconfig, context), seconds, MANAGER)
        return cls(*made, may_write=may_write)

    @property
    def server(self) -> str:
        return self._server

    def close(self) -> None:
        """Refuses further calls. The connections are closed when the last call has ended, which for a watch may take as
        long as its `seconds`.

        A connection is never closed while another thread uses it: the kernel may give its descriptor to another file
        at once, and what that thread still writes would end up there.
        """
        if self._gate is not None:
            self._gate.closed = True  # A watch would begin a new connection by itself.
        with self._lock:
            self._closed = True
            unused = self._calls == 0
        if unused:
            self._client.close()

    @contextmanager
    def _using(self, act: Act) -> Iterator[None]:
        """Counts a call, and raises a SerinusError for what the client raises within."""
        if act.verb in _WRITING:
            self._may_write()
        with self._lock:
            if self._closed:
                raise Unavailable(f"The client of the API server at {self._server} was closed.")
            self._calls += 1
        try:
            with translated(act):
                yield
        finally:
            with self._lock:
                self._calls -= 1
                last = self._closed and self._calls == 0
            if last:
                self._client.close()

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """NotFound: there is none."""
        with self._using(self._act("get", kind, namespace, name)):
            return dict(self._client.get(resource_class(kind), name, **_within(kind, namespace)))

    def find(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """None: there is none."""
        try:
            return self.get(kind, name, namespace)
        except NotFound:
            return None

    def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Listing:
        """All that have these labels and fields (`metadata.name`); without a namespace those of all of them."""
        with self._using(self._act("list", kind, namespace)):
            found = self._client.list(
                resource_class(kind),
                **_within(kind, namespace),
                chunk_size=_AT_ONCE,
                labels=_selector(labels),
                fields=_selector(fields),
            )
            items = tuple(dict(one) for one in found)
            try:
                return Listing(items, found.resourceVersion)
            except NotReadyError:  # what is measured has none: it is of no stored state
                return Listing(items, "")

    def apply(self, manifest: Mapping[str, Any], *, force: bool = False, dry_run: bool = False) -> Object:
        """Creates it, or gives the fields that it names these values and removes those that it named before, by
        server-side apply. Other fields are left alone. Answers the object as it is afterwards.

        Conflict: another manager owns one of the fields, unless `force`, by which they become those of Serinus; or
        `metadata.resourceVersion` is given and is not the present one.
        """
        kind = kind_of(manifest)
        name, namespace = _identity(manifest)
        with self._using(self._act("patch", kind, namespace, name)):
            made = self._client.apply(
                resource_class(kind)(dict(manifest)),
                name,
                force=force,
                dry_run=dry_run,
                **_within(kind, namespace),
            )
            return dict(made)

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Conflict: it is there."""
        kind = kind_of(manifest)
        name, namespace = _identity(manifest)
        with self._using(self._act("create", kind, namespace, name)):
            return dict(self._client.create(resource_class(kind)(dict(manifest)), **_within(kind, namespace)))

    def replace(self, manifest: Mapping[str, Any]) -> Object:
        """The whole object. Conflict: `metadata.resourceVersion` is given and is not the present one."""
        kind = kind_of(manifest)
        name, namespace = _identity(manifest)
        with self._using(self._act("update", kind, namespace, name)):
            return dict(self._client.replace(resource_class(kind)(dict(manifest)), name, **_within(kind, namespace)))

    def merge(
        self, kind: Kind, name: str, namespace: str, changes: Mapping[str, Any], *, manager: str = MANAGER
    ) -> Object:
        """Changes these fields alone, by a merge patch: null removes one. They are those of `manager` then. NotFound:
        there is none."""
        with self._using(self._act("patch", kind, namespace, name)):
            made = self._client.patch(
                resource_class(kind),
                name,
                dict(changes),
                patch_type=PatchType.MERGE,
                field_manager=manager,
                **_within(kind, namespace),
            )
            return dict(made)

    def delete(
        self, kind: Kind, name: str, namespace: str = "", *, foreground: bool = False, grace: int | None = None
    ) -> bool:
        """False: it was not there. What it owns is deleted after it, or, in the `foreground`, before it. `grace`:
        seconds that a pod has to end; None: its own."""
        cascade = CascadeType.FOREGROUND if foreground else CascadeType.BACKGROUND
        try:
            with self._using(self._act("delete", kind, namespace, name)):
                self._client.delete(
                    resource_class(kind), name, cascade=cascade, grace_period=grace, **_within(kind, namespace)
                )
        except NotFound:
            return False
        return True

    def log(self, pod: str, namespace: str, container: str, lines: int) -> Iterator[str]:
        """The last lines of what the container has printed. NotFound: there is no such pod."""
        with self._using(Act("get", "pods/log", namespace, pod, self._server)):
            yield from self._client.log(pod, namespace=namespace, container=container, tail_lines=lines, newlines=False)

    def watch(
        self,
        kind: Kind,
        namespace: str,
        version: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        seconds: int = 60,
    ) -> Iterator[Change]:
        """What happens after `version`, for as long as the connections to the API server hold; a new one begins where
        the one before has ended, every `seconds` at the latest. Expired: the history does not reach back that far."""
        act = self._act("watch", kind, namespace)
        with self._using(act):
            events = self._client.watch(
                resource_class(kind),
                **_within(kind, namespace),
                labels=_selector(labels),
                fields=_selector(fields),
                server_timeout=seconds,
                resource_version=version,
            )
            for name, seen in events:
                yield Change(name, dict(seen))

    def _act(self, verb: str, kind: Kind, namespace: str, name: str = "") -> Act:
        return Act(verb, kind.resource, namespace if kind.namespaced else "", name, self._server)


def _identity(manifest: Mapping[str, Any]) -> tuple[str, str]:
    metadata = manifest.get("metadata") or {}
    return str(metadata.get("name") or ""), str(metadata.get("namespace") or "")


def _within(kind: Kind, namespace: str) -> dict[str, Any]:
    if not kind.namespaced:
        return {}
    return {"namespace": namespace or "*"}


def _selector(values: Mapping[str, str] | None) -> dict[str, Any] | None:
    return dict(values) if values else None
