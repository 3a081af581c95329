"""Names and limits that the bootstrap and the xDS files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.core.keys import router_key

Json = dict[str, Any]

ROUTES = "serinus"
"""The name of the only route configuration of callers."""
STAT_PREFIX = "serinus"
CALLERS = "callers"
"""The name of the callers' listener in statistics."""
PROBES = "serinus-probe"
"""The name of the route configuration, and of the statistics, of the listener for the control plane."""
METADATA = "serinus"
"""The namespace of the data that is kept with a route: model, split, the whole routing, complete fallback responses."""
API_KEY_FILTER = "envoy.filters.http.api_key_auth"
API_KEY_HEADER = "x-api-key"
MODELS_FILTER = "serinus.models"
"""The filter that knows which models a caller's key may ask."""
ENTITY_HEADER = "x-entity-id"
REQUEST_ID_HEADER = "x-request-id"
"""The caller's own request id, or one that Envoy creates."""
PREDICTION_ID_HEADER = "x-serinus-prediction-id"
"""The id that Envoy creates for every request. The caller gets it with the answer."""
CALLER_HEADER = "x-serinus-caller"
"""The name of the caller's key. Only Envoy sets this header."""

_TYPE = "type.googleapis.com/envoy."


def typed(message: str, /, **fields: Any) -> Json:
    """Returns a protobuf Any in JSON: `typed("config.cluster.v3.Cluster", name=...)`."""
    return {"@type": _TYPE + message, **fields}


def overwrite(header: str, value: str) -> Json:
    """Returns a HeaderValueOption that replaces whatever a caller has sent under that name."""
    return {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def watched(home: Home, path: Path) -> Json:
    """Returns a ConfigSource for a file. Envoy reads it again whenever anything is moved into its directory."""
    directory = {"path": str(xds_directory(home))}
    return {"path_config_source": {"path": str(path), "watched_directory": directory}, "resource_api_version": "V3"}


def open_to_all() -> Json:
    """Returns a route's `typed_per_filter_config` that requires no API key."""
    off = typed("config.route.v3.FilterConfig", disabled=True)
    return {API_KEY_FILTER: off, MODELS_FILTER: off}


def http_upstream(**options: Any) -> Json:
    """Returns a cluster's `typed_extension_protocol_options`: HTTP/1.1 with trailers, which carry the gRPC status."""
    protocol = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http_protocol_options": {"enable_trailers": True}},
        **options,
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol}


def key_of(home: Home) -> Callable[[str], str]:
    """Returns a function from releases to their router keys. Raises OSError where the home has no secret."""
    secret = home.secret.read_text(encoding="utf-8")
    return lambda release: router_key(secret, release)


def own_socket(home: Home) -> Path:
    """The socket on which Envoy sends requests to itself."""
    return home.sockets / "own.sock"


def bootstrap_file(home: Home) -> Path:
    """Envoy's bootstrap."""
    return home.envoy / "bootstrap.json"


def xds_directory(home: Home) -> Path:
    """The directory of the xDS files. It holds nothing else, because Envoy reads all of them when anything is moved
    into it."""
    return home.envoy / "xds"


def clusters_file(home: Home) -> Path:
    """The clusters."""
    return xds_directory(home) / "clusters.json"


def routes_file(home: Home) -> Path:
    """The routes of callers."""
    return xds_directory(home) / "routes.json"


def server_secret_file(home: Home) -> Path:
    """The certificate that Envoy presents."""
    return xds_directory(home) / "server.json"


def callers_secret_file(home: Home) -> Path:
    """The certificate authorities of callers."""
    return xds_directory(home) / "callers.json"


def probes_file(home: Home) -> Path:
    """The routes of probes."""
    return xds_directory(home) / "probes.json"


def probe_socket(home: Home) -> Path:
    """The socket on which the control plane reaches releases without traffic. Callers' ports do not lead there."""
    return home.sockets / "probe.sock"


def crowding_file(home: Home) -> Path:
    """The share of callers' connections that is in use."""
    return home.envoy / "crowding"


def local_answers_file(home: Home) -> Path:
    """The access log of requests that Envoy has answered itself."""
    return home.envoy / "local.jsonl"
