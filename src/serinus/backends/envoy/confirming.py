"""Replaces files that Envoy watches, and waits until Envoy has confirmed each of them."""

from __future__ import annotations

import time
from pathlib import Path

from serinus.backends.envoy import xds
from serinus.backends.envoy.admin import Admin
from serinus.core.errors import Unavailable
from serinus.lib.files import update

_POLL = 0.003


class RefusedByEnvoy(Unavailable):
    """Envoy rejects the file as malformed. The former file remains in force."""


class Confirmed:
    """Writes Envoy's files. Each is in force when `put` returns.

    `patience` is the number of seconds in which Envoy must have confirmed a file.
    """

    def __init__(self, admin: Admin, patience: float) -> None:
        self._admin = admin
        self._patience = patience

    def put(self, path: Path, text: str, subscription: str) -> None:
        """Has Envoy take `text`, a rendered discovery response, as the content of `path`. If it does not, the former
        file is put back and remains in force. Raises RefusedByEnvoy, Unavailable (Envoy does not run, or did not take
        the file in time) and OSError."""
        version = xds.version_of(text) or ""
        before = self._admin.subscription(subscription)
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.version == version and old == text:
            return
        update(path, text)
        try:
            self._wait(subscription, version, before.refused)
        except Unavailable:
            if old:
                update(path, old)
            raise

    def _wait(self, subscription: str, version: str, refused: int) -> None:
        deadline = time.monotonic() + self._patience
        while (now := self._admin.subscription(subscription)).version != version:
            if now.refused > refused:
                raise RefusedByEnvoy("Envoy refused the new routing.", hint="The reason is in its log: logs/envoy.log.")
            if time.monotonic() > deadline:
                raise Unavailable(f"Envoy did not take the new routing within {self._patience:g} s.")
            time.sleep(_POLL)
