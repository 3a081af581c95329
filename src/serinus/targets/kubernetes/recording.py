"""What the Deployments of releases say of them, where they outlive the store: in Git, or else in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from serinus.core.errors import Refused
from serinus.core.placement import Recorded
from serinus.core.release import USUAL, Release
from serinus.targets.kubernetes.cluster import Object
from serinus.targets.kubernetes.manifests import placed


class DeploymentRecords:
    """Implements `core.ports.Recording`. `deployments`: those of releases, as they were brought last; raises a
    SerinusError. Every method raises what it raises."""

    def __init__(self, deployments: Callable[[], Sequence[Object]]) -> None:
        self._deployments = deployments

    def recorded(self) -> Sequence[Recorded]:
        """Returns all releases. Raises Refused where another version of Serinus has written one."""
        return [_recorded(said, _name(one)) for one, said in self._of_releases()]

    def image_of(self, release: Release) -> str | None:
        """Returns the image by which the release was brought: with its graph, or with the model where `release` has
        none. None: it was not."""
        for one, said in self._of_releases():
            graph = placed.LONG not in said and placed.document(said).get("compiled") is not None
            if placed.release_id(said) == release.id and graph == (release.compiled is not None):
                return _image(one)
        return None

    def worker_bytes(self, release_id: str) -> int | None:
        """Returns the memory of one worker, as it was measured when the release was brought."""
        found = (said for _, said in self._of_releases() if placed.release_id(said) == release_id)
        return placed.worker_bytes(next(found, {}))

    def _of_releases(self) -> Sequence[tuple[Object, Mapping[str, str]]]:
        found = [(one, (one.get("metadata") or {}).get("annotations") or {}) for one in self._deployments()]
        return [(one, said) for one, said in found if placed.RELEASE in said]


def _recorded(said: Mapping[str, str], name: str) -> Recorded:
    try:
        return Recorded(placed.release(said, datetime.now(UTC)), placed.scale(said) or USUAL, placed.LONG in said)
    except ValueError as error:
        raise Refused(
            f"What the Deployment {name} says of its release cannot be read: another version of Serinus wrote it.",
            hint="Start that version, or delete the Deployment where nothing asks it.",
        ) from error


def _name(deployment: Object) -> str:
    return str((deployment.get("metadata") or {}).get("name", ""))


def _image(deployment: Object) -> str | None:
    spec: Mapping[str, Any] = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    images = [one.get("image") for one in spec.get("containers") or ()]
    return images[0] if images and isinstance(images[0], str) else None
