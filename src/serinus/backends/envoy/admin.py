"""Envoy's admin interface, which reports the configuration in force."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from serinus.backends.envoy.names import CALLERS, PROBES, ROUTES, STAT_PREFIX, Json
from serinus.core.errors import Unavailable
from serinus.lib.plain_http import NO_TLS

CLUSTERS = "cluster_manager.cds"
"""The statistics of the subscription to clusters."""
ROUTE_TABLE = f"http.{STAT_PREFIX}.rds.{ROUTES}"
"""The statistics of the subscription to routes."""
PROBE_TABLE = f"http.{PROBES}.rds.{PROBES}"
"""The statistics of the subscription to the routes of probes."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The state of Envoy's subscription to one of its files."""

    version: str
    """The version in force."""
    refused: int
    """The number of files that could not be read or were rejected since Envoy started."""


class Admin:
    """A client of the admin interface. Every method raises Unavailable.

    `address` is the path of a Unix socket, or `http://127.0.0.1:<port>`.
    """

    def __init__(self, address: str) -> None:
        over_tcp = address.startswith("http://")
        transport = httpx.HTTPTransport(uds=None if over_tcp else address, verify=NO_TLS)
        base = address if over_tcp else "http://envoy"
        self._client = httpx.Client(transport=transport, base_url=base, timeout=5.0, trust_env=False)
        self._address = address

    def subscription(self, prefix: str) -> Subscription:
        """Returns the state of the subscription to `CLUSTERS` or `ROUTE_TABLE`."""
        escaped = prefix.replace(".", r"\.")
        wanted = rf"^{escaped}\.(version_text|update_rejected|update_failure)$"
        lines = self._get("/stats", filter=wanted).text.splitlines()
        values = dict(line.removeprefix(prefix + ".").split(": ", 1) for line in lines if ": " in line)
        refused = int(values.get("update_rejected", 0)) + int(values.get("update_failure", 0))
        return Subscription(values.get("version_text", "").strip('"'), refused)

    def connections(self) -> int:
        """Returns the number of callers' connections, including those on which nothing was sent yet."""
        wanted = rf"^listener\.{CALLERS}\.downstream_(pre_)?cx_active$"
        lines = self._get("/stats", filter=wanted).text.splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines if ": " in line)

    def route_configuration(self) -> Json:
        """Returns the route configuration in force. Empty: there was none yet."""
        dumped = self._get("/config_dump", resource="dynamic_route_configs").json().get("configs", [])
        found: list[Json] = [config.get("route_config", {}) for config in dumped]
        return next((one for one in found if one.get("name") == ROUTES), {})

    def prometheus(self) -> str:
        """All statistics that are in use, as Prometheus reads them."""
        return self._get("/stats/prometheus", usedonly="").text

    def reopen_logs(self) -> None:
        """Files of requests are closed, and made anew where they were moved away."""
        self._post("/reopen_logs")

    def _post(self, path: str) -> None:
        try:
            self._client.post(path).raise_for_status()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _get(self, path: str, **query: str) -> httpx.Response:
        try:
            return self._client.get(path, params=query).raise_for_status()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"Envoy's admin interface at {self._address} does not answer: {type(error).__name__}.",
            hint="`serinus status` says whether Envoy is running.",
            delay=1.0,
        )

    def close(self) -> None:
        """Closes the client's connections."""
        self._client.close()
