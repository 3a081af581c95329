"""The objects of one kind in one namespace, kept as the API server has them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from serinus.core.errors import SerinusError, Unavailable
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.cluster.client import Cluster
from serinus.targets.kubernetes.cluster.errors import Expired
from serinus.targets.kubernetes.cluster.kinds import Kind, Object

log = logging.getLogger(__name__)

_HELD = 10.0
"""Seconds that a watch lasts where nothing is wrong."""
_STALE = 30.0
"""Seconds without the API server, after which `objects` no longer answers with what was seen before."""


class Mirror:
    """Lists once and then follows what changes, in a thread of its own, over lost connections and an API server that
    restarts. Reading costs no call.

    What this process has written itself is seen at once: `put` and `drop` tell of it.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        changed: Callable[[], None] | None = None,
        stale: float = _STALE,
    ) -> None:
        """`changed` is called in that thread after each change, and must return soon. `stale`: seconds without the API
        server after which `objects` raises; infinity: it never does so once it has listed."""
        self._cluster, self._kind, self._namespace = cluster, kind, namespace
        self._labels, self._fields = labels, fields
        self._changed, self._stale = changed, stale
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._dropped: set[str] = set()
        self._error: SerinusError | None = None
        self._lost_since: float | None = None
        self._version = ""
        self._listed, self._tried = threading.Event(), threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns at once. The thread ends with the next event, or when the API server ends the watch."""
        self._stop.set()

    def listed(self, seconds: float) -> bool:
        """Whether it has seen everything once. The first answer of the API server is waited for, at most that long."""
        self._tried.wait(seconds)
        return self._listed.is_set()

    def objects(self) -> Mapping[str, Object]:
        """By name. They must not be changed. Raises Unavailable (or what the API server said): nothing has been listed
        yet, or the API server is lost for too long."""
        with self._lock:
            lost = self._lost_since
            if not self._listed.is_set():
                raise _anew(self._error or Unavailable(f"The {self._kind.plural} have not been read yet.", delay=1.0))
            if lost is not None and monotonic() - lost > self._stale and self._error is not None:
                raise _anew(self._error)
            return dict(self._objects)

    def put(self, written: Object) -> None:
        """Tells of an object as the API server has just answered it, also where it was dropped and is to stay."""
        with self._lock:
            self._dropped.discard(_uid(written))
            self._keep(written)

    def drop(self, name: str) -> None:
        """Tells that it was deleted: it is not seen again, also where its end takes a while."""
        with self._lock:
            if (gone := self._objects.pop(name, None)) is not None:
                self._dropped.add(_uid(gone))

    def _run(self) -> None:
        backoff = Backoff(0.2, 10.0)
        while not self._stop.is_set():
            began = monotonic()
            try:
                self._list()
                self._follow()
            except Expired:  # the history is shorter than this watch was quiet
                pass
            except SerinusError as error:
                self._lost(error)
            except Exception as error:
                if self._stop.is_set():  # the client was closed under the watch
                    return
                log.exception("The watch of %s failed; it is begun anew.", self._kind.plural)
                self._lost(Unavailable(f"The watch of {self._kind.plural} failed: {type(error).__name__}."))
            if monotonic() - began > _HELD:
                backoff.reset()
            self._stop.wait(backoff.pause())

    def _list(self) -> None:
        listing = self._cluster.list(self._kind, self._namespace, labels=self._labels, fields=self._fields)
        with self._lock:
            there = {_uid(one) for one in listing.items}
            self._dropped &= there
            self._objects = {_name(one): one for one in listing.items if _uid(one) not in self._dropped}
            self._version = listing.version
            self._error = self._lost_since = None
        self._listed.set()
        self._tried.set()
        self._tell()

    def _follow(self) -> None:
        """Until a connection is lost, or the history does not reach back to where the one before has ended."""
        seen = self._cluster.watch(self._kind, self._namespace, self._version, labels=self._labels, fields=self._fields)
        for change in seen:
            self._see(change.kind, change.object)
            if self._stop.is_set():
                return

    def _see(self, kind: str, seen: Object) -> None:
        with self._lock:
            self._error = self._lost_since = None
            self._version = _metadata(seen).get("resourceVersion") or self._version
            if kind == "DELETED":
                self._dropped.discard(_uid(seen))
                if _uid(self._objects.get(_name(seen), {})) == _uid(seen):
                    del self._objects[_name(seen)]
            elif kind in ("ADDED", "MODIFIED"):
                self._keep(seen)
        self._tell()

    def _keep(self, seen: Object) -> None:
        """Unless a later state of the same object is known."""
        known = self._objects.get(_name(seen))
        if _uid(seen) in self._dropped:
            return
        if known is not None and _uid(known) == _uid(seen) and _order(known) > _order(seen):
            return
        self._objects[_name(seen)] = seen

    def _lost(self, error: SerinusError) -> None:
        if self._stop.is_set():  # its connections were closed under it
            return
        with self._lock:
            if self._lost_since is None:
                log.warning("%s", error)
                self._lost_since = monotonic()
            self._error = error
        self._tried.set()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()


def _anew(error: SerinusError) -> SerinusError:
    """To be raised again and again, each time from where it is raised."""
    return error.with_traceback(None)


def _metadata(seen: Object) -> Mapping[str, Any]:
    found = seen.get("metadata")
    return found if isinstance(found, dict) else {}


def _name(seen: Object) -> str:
    return str(_metadata(seen).get("name", ""))


def _uid(seen: Object) -> str:
    return str(_metadata(seen).get("uid", ""))


def _order(seen: Object) -> int:
    version = str(_metadata(seen).get("resourceVersion", ""))
    return int(version) if version.isdecimal() else 0
