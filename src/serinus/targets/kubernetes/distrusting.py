"""The list of distrusted releases in the cluster, also of those that are not placed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

from serinus.targets.kubernetes.cluster import Cluster, Conflict
from serinus.targets.kubernetes.cluster.kinds import CONFIG_MAP
from serinus.targets.kubernetes.manifests.names import PART_OF

log = logging.getLogger(__name__)

DISTRUSTED = "serinus-distrusted"
"""The ConfigMap, in which the names of the releases' objects are keys, and their ids are values."""


class Distrusted:
    """What was distrusted once remains so, also where somebody has deleted the list. Every method that asks the API
    server raises a SerinusError where it does not answer."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._known: Mapping[str, str] | None = None
        """None: the list was not read yet."""

    def known(self) -> Mapping[str, str]:
        """Returns the ids of distrusted releases by the names of their objects, as they were read last."""
        found = self._known
        return self.read() if found is None else found

    def read(self) -> Mapping[str, str]:
        """Returns the same, as it is now."""
        self._known = {**(self._known or {}), **self._stored()}
        return self._known

    def add(self, name: str, release_id: str) -> None:
        metadata = {"name": DISTRUSTED, "namespace": self._namespace, "labels": PART_OF}
        with suppress(Conflict):  # it is there
            self._cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        written = self._cluster.merge(CONFIG_MAP, DISTRUSTED, self._namespace, {"data": {name: release_id}})
        self._known = {**(self._known or {}), **(written.get("data") or {})}

    def keep(self, others: Mapping[str, str]) -> None:
        """Makes the list hold what is known, and `others`, which are known from elsewhere."""
        wanted = {**(self._known or {}), **others}
        for name in sorted(wanted.keys() - self._stored().keys()) if wanted else ():
            log.warning("%s is distrusted, and is listed so again.", wanted[name])
            self.add(name, wanted[name])

    def _stored(self) -> Mapping[str, str]:
        found = self._cluster.find(CONFIG_MAP, DISTRUSTED, self._namespace)
        return (found or {}).get("data") or {}
