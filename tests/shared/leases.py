"""The Leases of a cluster, without an API server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from serinus.core.errors import NotFound, Unavailable
from serinus.targets.kubernetes.cluster import Conflict, Kind, Object


class MemoryLeases:
    """As `Cluster`: what is replaced must be of the present version.

    `away`: nobody is answered. `lost`: the next write is done, and its answer does not arrive.
    """

    def __init__(self) -> None:
        self.there: Object | None = None
        self.away = False
        self.lost = False
        self.before_write: Callable[[], None] = lambda: None
        """Called before each write."""
        self._lock = threading.Lock()
        self._versions = itertools.count(1)

    def find(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        self._answer()
        return deepcopy(self.there)

    def create(self, manifest: Mapping[str, Any]) -> Object:
        self.before_write()
        self._answer()
        with self._lock:
            if self.there is not None:
                raise Conflict("it is there")
            return self._write(manifest)

    def replace(self, manifest: Mapping[str, Any]) -> Object:
        self.before_write()
        self._answer()
        with self._lock:
            if self.there is None:
                raise NotFound("there is none")
            if manifest["metadata"].get("resourceVersion") != self.there["metadata"]["resourceVersion"]:
                raise Conflict("it has changed meanwhile")
            return self._write(manifest)

    def edit(self, **labels: str) -> None:
        """As a person with kubectl."""
        assert self.there is not None
        edited = deepcopy(self.there)
        edited["metadata"]["labels"] = labels
        self._write(edited)

    def _write(self, manifest: Mapping[str, Any]) -> Object:
        self.there = deepcopy(dict(manifest))
        self.there["metadata"]["resourceVersion"] = str(next(self._versions))
        if self.lost:
            self.lost = False
            raise Unavailable("no answer")
        return deepcopy(self.there)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the API server does not answer")
