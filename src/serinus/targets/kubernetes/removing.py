"""Takes away what removed releases have left. The pods drain, and only then goes what protects others from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from serinus.core.errors import SerinusError, Superseded
from serinus.targets.kubernetes.cluster import MANAGER, Cluster, Object
from serinus.targets.kubernetes.cluster.kinds import (
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from serinus.targets.kubernetes.manifests import object_name
from serinus.targets.kubernetes.manifests.names import RELEASE_ROLE, ROLE_LABEL

log = logging.getLogger(__name__)

_AT_ONCE = (HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET)
_AFTER = (*_AT_ONCE, SERVICE, NETWORK_POLICY, SECRET, SERVICE_ACCOUNT)
_BETWEEN = 2.0
"""Seconds between two looks at what is draining."""
_PATIENCE = 30.0
"""Seconds between two looks while nothing is known to be left over."""


class Removing:
    """Also finds what a process that was killed has left: objects that Serinus has applied, of a release without a
    Deployment. `wished`: ids of releases that are being placed, whose Deployment comes last."""

    def __init__(self, cluster: Cluster, namespace: str, wished: Callable[[], Collection[str]]) -> None:
        self._cluster, self._namespace, self._wished = cluster, namespace, wished
        self._news, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="remove-releases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._news.set()

    def look(self) -> None:
        """Has it look soon."""
        self._news.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.is_set():
            self._news.wait(pause)
            self._news.clear()
            try:
                pause = _PATIENCE if self.sweep() else _BETWEEN
            except Superseded:  # Another control plane removes it.
                pause = _PATIENCE
            except SerinusError as error:
                log.warning("What removed releases have left cannot be looked for: %s", error)
                pause = _PATIENCE
            except Exception:
                if self._ended.is_set():  # the client was closed
                    return
                log.exception("What removed releases have left could not be looked for.")
                pause = _PATIENCE
            if self._ended.wait(_BETWEEN):
                return

    def sweep(self) -> bool:
        """Deletes what belongs to no Deployment. False: a Deployment is still going, whose rest has to wait for it."""
        labels = {ROLE_LABEL: RELEASE_ROLE}
        left = {kind: self._cluster.list(kind, self._namespace, labels=labels).items for kind in _AFTER}
        # Read after the others: what is placed meanwhile has a Deployment, or is wished.
        wished = {object_name(release_id) for release_id in self._wished()}
        deployments = self._cluster.list(DEPLOYMENT, self._namespace, labels=labels).items
        going = {_name(one) for one in deployments if "deletionTimestamp" in one["metadata"]}
        kept = {_name(one) for one in deployments} | wished
        for kind, found in left.items():
            for one in found:
                if _is_ours(one) and _is_over(kind, _name(one), kept, going):
                    self._cluster.delete(kind, _name(one), self._namespace)
        return not going


def _is_over(kind: Kind, name: str, kept: Collection[str], going: Collection[str]) -> bool:
    return name not in kept or (kind in _AT_ONCE and name in going)


def _is_ours(one: Object) -> bool:
    """Applied by Serinus itself, and not by whoever applies a repository."""
    return any(field.get("manager") == MANAGER for field in one["metadata"].get("managedFields") or ())


def _name(one: Object) -> str:
    return str(one["metadata"]["name"])
