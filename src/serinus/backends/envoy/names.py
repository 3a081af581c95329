"""Names and limits that the bootstrap and the xDS files must agree on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.core.keys import router_key

Json = dict[str, Any]

ROUTES = "serinus"
"""Name of the one route configuration."""
STAT_PREFIX = "serinus"
CALLERS = "callers"
"""Name of the callers' listener in statistics."""
PROBES = "serinus-probe"
"""Name of the route configuration, and of the statistics, of the listener that only the control plane reaches."""
METADATA = "serinus"
"""Namespace of what is kept with a route: model, split, the whole routing, ready fallback bodies."""
API_KEY_FILTER = "envoy.filters.http.api_key_auth"
API_KEY_HEADER = "x-api-key"
MODELS_FILTER = "serinus.models"
"""Which models a caller's key opens."""
ENTITY_HEADER = "x-entity-id"
REQUEST_ID_HEADER = "x-request-id"
"""The caller's own, or one that Envoy makes."""
PREDICTION_ID_HEADER = "x-serinus-prediction-id"
"""Made by Envoy for every request; the caller gets it with the answer."""
CALLER_HEADER = "x-serinus-caller"
"""Name of the caller's key; only Envoy sets it."""

_TYPE = "type.googleapis.com/envoy."


def typed(message: str, /, **fields: Any) -> Json:
    """A protobuf Any in JSON: `typed("config.cluster.v3.Cluster", name=...)`."""
    return {"@type": _TYPE + message, **fields}


def overwrite(header: str, value: str) -> Json:
    """A HeaderValueOption that leaves nothing of what a caller may have sent under that name."""
    return {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def watched(home: Home, path: Path) -> Json:
    """A ConfigSource: the file, read again whenever anything is moved into its directory."""
    directory = {"path": str(xds_directory(home))}
    return {"path_config_source": {"path": str(path), "watched_directory": directory}, "resource_api_version": "V3"}


def open_to_all() -> Json:
    """A route's `typed_per_filter_config` that asks for no API key."""
    off = typed("config.route.v3.FilterConfig", disabled=True)
    return {API_KEY_FILTER: off, MODELS_FILTER: off}


def http_upstream(**options: Any) -> Json:
    """A cluster's `typed_extension_protocol_options`: HTTP/1.1, with the trailers in which a gRPC status comes."""
    protocol = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http_protocol_options": {"enable_trailers": True}},
        **options,
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol}


def key_of(home: Home) -> Callable[[str], str]:
    """Release -> the key by which it knows the router. Raises OSError where the home has no secret."""
    secret = home.secret.read_text(encoding="utf-8")
    return lambda release: router_key(secret, release)


def own_socket(home: Home) -> Path:
    """The socket on which Envoy asks itself."""
    return home.sockets / "own.sock"


def bootstrap_file(home: Home) -> Path:
    return home.envoy / "bootstrap.json"


def xds_directory(home: Home) -> Path:
    """A directory of its own: Envoy reads both files again whenever anything is moved into it."""
    return home.envoy / "xds"


def clusters_file(home: Home) -> Path:
    return xds_directory(home) / "clusters.json"


def routes_file(home: Home) -> Path:
    return xds_directory(home) / "routes.json"


def server_secret_file(home: Home) -> Path:
    return xds_directory(home) / "server.json"


def callers_secret_file(home: Home) -> Path:
    return xds_directory(home) / "callers.json"


def probes_file(home: Home) -> Path:
    return xds_directory(home) / "probes.json"


def probe_socket(home: Home) -> Path:
    """The socket on which the control plane asks releases that have no traffic yet. Callers' ports do not lead
    there."""
    return home.sockets / "probe.sock"


def crowding_file(home: Home) -> Path:
    """The share of callers' places that is taken."""
    return home.envoy / "crowding"


def local_answers_file(home: Home) -> Path:
    return home.envoy / "local.jsonl"
