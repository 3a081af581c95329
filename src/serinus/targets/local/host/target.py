"""The local target, which is a client of the model host."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from serinus.core.errors import Forbidden, InvalidInput, NotFound, Refused, Unavailable
from serinus.core.home import Home
from serinus.core.placement import Placement
from serinus.core.release import USUAL, Release, Scale
from serinus.targets.local.host.state_files import Placed
from serinus.targets.local.host.unix_http import Answer, call

_PLACED = TypeAdapter(Placed)
_RELEASES = TypeAdapter(list[dict[str, Any]])
_PLACEMENT = TypeAdapter(Placement)

_ERRORS = {401: Forbidden, 404: NotFound, 409: Refused, 422: InvalidInput}


class HostTarget:
    """Places releases as processes of this machine. Implements `core.ports.Target`.

    Every method raises Unavailable where the host does not answer, or has no room to keep what it is told.
    """

    def __init__(self, home: Home, timeout: float = 15.0) -> None:
        """`timeout`, in seconds, is longer than a release takes to drain, since placing the same release again waits
        for that."""
        self._home = home
        self._timeout = timeout
        self._known: Mapping[Any, tuple[object, Placement]] = {}
        """Release -> what the host last said of it, and its placement. Most stay the same."""

    def place(self, release: Release, scale: Scale = USUAL) -> None:
        """Raises an error where another release is placed under the same id."""
        body = _PLACED.dump_json(Placed(release, scale))
        self._call("PUT", f"/releases/{quote(release.id, safe='')}", body)

    def remove(self, release_id: str) -> None:
        """Stops a release and forgets it."""
        self._call("DELETE", f"/releases/{quote(release_id, safe='')}")

    def activate(self, release_id: str) -> None:
        """Starts a worker of a release that is scaled to zero before it is asked for, and keeps it up for some minutes.
        Raises NotFound if the release is not placed."""
        self._call("POST", f"/releases/{quote(release_id, safe='')}/activate")

    def expect(self, release_id: str, workers: int) -> None:
        """Has the release keep at least so many workers while it is active."""
        self._call("POST", f"/releases/{quote(release_id, safe='')}/expect?workers={workers}")

    def distrust(self, release_id: str) -> None:
        """Has the release served the long way, which uses only MLflow's own predict, now and whenever it is placed."""
        self._call("POST", f"/releases/{quote(release_id, safe='')}/distrust")

    def holds(self, release: Release) -> bool:
        """Whether the release is placed."""
        files, python = self._home.artifact(release.artifact_digest), self._home.interpreter(release.environment_digest)
        return files.is_dir() and python.exists()

    def observe(self) -> Mapping[str, Placement]:
        """Returns the placements, by release."""
        found = dict[str, tuple[object, Placement]]()
        for told in _RELEASES.validate_json(self._call("GET", "/releases").content):
            known = self._known.get(told.get("release"))
            placement = known[1] if known is not None and known[0] == told else _PLACEMENT.validate_python(told)
            found[placement.release] = (told, placement)
        self._known = found
        return {release: placement for release, (_, placement) in found.items()}

    def _call(self, method: str, target: str, body: bytes | None = None) -> Answer:
        try:
            secret = self._home.secret.read_text().strip()
            headers = {"Authorization": f"Bearer {secret}"}
            answer = call(self._home.host_socket, method, target, body, headers, self._timeout)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("The model host does not answer.", hint="See `serinus status`.", delay=1.0) from error
        if answer.status < 300:
            return answer
        raise _ERRORS.get(answer.status, Unavailable)(f"The model host: {answer.error}")
