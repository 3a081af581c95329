"""Asks the releases of one machine over their sockets."""

from __future__ import annotations

from pathlib import Path

from serinus.core.errors import NotFound
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.release import Release
from serinus.targets.asking import ReleaseScorer
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.unix_http import UnixConnection


class SocketScorer(ReleaseScorer):
    """Implements `core.ports.Scorer` for the sockets of `home`."""

    def __init__(self, home: Home) -> None:
        super().__init__(lambda path, timeout: UnixConnection(Path(path), timeout), self._placed_at, self._router_key)
        self._home = home
        self._secret = ""
        self._releases: dict[str, Release] = {}

    def _router_key(self, release_id: str) -> str:
        self._secret = self._secret or self._home.secret.read_text()
        return router_key(self._secret, release_id)

    def _placed_at(self, endpoint: str) -> Release:
        if endpoint not in self._releases:
            placed = StateFiles(self._home).releases().values()
            self._releases = {str(self._home.release_socket(release.id)): release for release in placed}
        try:
            return self._releases[endpoint]
        except KeyError:
            raise NotFound("No release is placed at this endpoint.", hint="Place it first.") from None
