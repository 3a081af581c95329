"""Keeps what releases need beside the manifests that are rendered for them: their Secrets, and what all of them mount.

In a cluster that was rebuilt, Argo CD brings what is in Git by itself, and the pods wait for what is not. Nobody places
a release anew for that, so it is looked for here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from serinus.core.errors import SerinusError, Superseded
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.cluster import Cluster, Object
from serinus.targets.kubernetes.cluster.kinds import CONFIG_MAP, SECRET
from serinus.targets.kubernetes.manifests import Manifest
from serinus.targets.kubernetes.manifests.names import RELEASE_ROLE, ROLE_LABEL

log = logging.getLogger(__name__)

RESYNC = 30.0
"""Seconds after which everything is compared again, although nothing has appeared."""
_BETWEEN = 1.0
"""Seconds between two looks."""

Part = Callable[[Mapping[str, Object]], None]
"""Compares one kind of what is kept with what the given Deployments need, and makes what is missing. Raises a
SerinusError to be called again."""


class Keeping:
    """Looks in a thread of its own: at the start, when a Deployment appears, and every `RESYNC` seconds.

    - `there`: the Deployments of releases by name. Raises a SerinusError where they cannot be read.
    - `parts`: what is kept, by a name that is shown to people. Each is independent of the others.
    """

    def __init__(self, there: Callable[[], Mapping[str, Object]], parts: Mapping[str, Part]) -> None:
        self._there, self._parts = there, parts
        self._known: frozenset[str] = frozenset()
        """Uids of the Deployments that have all that they need."""
        self._troubles: Mapping[str, str] = {}
        self._news, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="keep-releases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What was being looked at is not waited for."""
        self._ended.set()
        self._news.set()

    def tell(self) -> None:
        """Tells that Deployments have changed. It is cheap."""
        self._news.set()

    def troubles(self) -> Sequence[str]:
        """Returns in words what could not be made at the last look."""
        return [f"{name} cannot be looked after: {why}" for name, why in self._troubles.items()]

    def look(self) -> bool:
        """Compares everything once. False: something could not be made, and is tried again."""
        try:
            there = self._there()
        except SerinusError as error:
            log.debug("%s", error)  # The placements say it.
            return False
        troubles: dict[str, str] = {}
        for name, keep in self._parts.items():
            try:
                keep(there)
            except Superseded:  # Another control plane keeps it.
                self._troubles = {}
                return False
            except SerinusError as error:
                troubles[name] = str(error)
            except Exception as error:
                if self._ended.is_set():  # The client was closed.
                    return False
                log.exception("%s could not be looked at.", name)
                troubles[name] = f"it could not be looked at: {type(error).__name__}"
        for name, why in troubles.items():
            if self._troubles.get(name) != why:
                log.warning("%s: %s", name, why)
        self._troubles = troubles
        if not troubles:
            self._known = _uids(there)
        return not troubles

    def _run(self) -> None:
        backoff, due, made = Backoff(_BETWEEN, RESYNC), 0.0, True
        while not self._ended.is_set():
            self._news.wait(max(0.0, due - monotonic()))
            self._news.clear()
            if self._ended.is_set():
                return
            if monotonic() >= due or (made and self._has_appeared()):
                made = self.look()
                if made:
                    backoff.reset()
                due = monotonic() + (RESYNC if made else backoff.pause())
            if self._ended.wait(_BETWEEN):
                return

    def _has_appeared(self) -> bool:
        try:
            return bool(_uids(self._there()) - self._known)
        except SerinusError:
            return False


def keep_shared(cluster: Cluster, wanted: Manifest) -> None:
    """Makes a ConfigMap hold what it shall. Raises a SerinusError."""
    metadata = wanted["metadata"]
    found = cluster.find(CONFIG_MAP, metadata["name"], metadata["namespace"])
    if found is None or (found.get("data") or {}) != wanted["data"]:
        _say(wanted, found is None)
        cluster.apply(wanted, force=True)


def keep_secrets(cluster: Cluster, namespace: str, wanted: Mapping[str, Manifest]) -> None:
    """Makes the Secrets of releases hold what they shall. `wanted`: by their names. Raises a SerinusError."""
    listed = cluster.list(SECRET, namespace, labels={ROLE_LABEL: RELEASE_ROLE}).items if wanted else ()
    found = {one["metadata"]["name"]: one.get("data") or {} for one in listed}
    for name, manifest in wanted.items():
        if found.get(name) != manifest["data"]:
            _say(manifest, name not in found)
            cluster.apply(manifest, force=True)


def _say(manifest: Manifest, missing: bool) -> None:
    why = "is missing" if missing else "differs"
    log.warning("The %s %s %s, and is made anew.", manifest["kind"], manifest["metadata"]["name"], why)


def _uids(there: Mapping[str, Object]) -> frozenset[str]:
    return frozenset(str(one["metadata"].get("uid", "")) for one in there.values())
