"""Applies new certificates while everything runs. Open connections continue with the old one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from serinus.backends.envoy import publish
from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.targets.local.supervisor import certificates, tls
from serinus.wiring.processes import envoy_certificates

log = logging.getLogger(__name__)

SECONDS = 5.0
"""Seconds between two checks of the operator's files."""


class Renewal:
    """`context` is that of the API. All methods except `run` are thread-safe."""

    def __init__(self, home: Home, files: tls.Files, context: tls.ServerContext) -> None:
        self._home, self._files, self._context = home, files, context
        self._served = tls.kept(home, with_callers=files.client_ca is not None)
        self._seen: object = None
        self._trouble = ""

    def run(self, stop: threading.Event) -> None:
        """Checks until `stop` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(SECONDS)

    def look(self) -> None:
        """Applies the certificates in the files. Errors are reported by `warnings`, and tried again."""
        state = self._files.state()
        if state == self._seen and not self._trouble:
            return
        try:
            found = certificates.read(self._files, datetime.now(UTC))
            if found != self._served:
                self._serve(found)
        except (SerinusError, OSError) as error:
            said = error.message if isinstance(error, SerinusError) else f"{error.filename}: {error.strerror}"
            if said != self._trouble:
                log.warning("the TLS certificate is not renewed: %s", said)
            self._trouble = said
        else:
            self._seen, self._trouble = state, ""

    def warnings(self) -> Sequence[str]:
        """Returns what is wrong with the certificates."""
        found = [certificates.trouble(self._served, datetime.now(UTC))]
        if self._trouble:
            found.append(f"the TLS certificate is not renewed: {self._trouble}")
        return [one for one in found if one]

    def _serve(self, material: tls.Material) -> None:
        tls.keep(self._home, material)
        self._context.renew()
        publish(self._home, envoy_certificates(material))
        self._served = material
        log.info("the TLS certificate is renewed")
