"""The start of Envoy: one static listener, whose routes and clusters are files that it watches."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, Literal

from serinus.backends.envoy import cleaning, crowding, grpc, hot_restart, keys, names, outliving, tls, xds
from serinus.backends.envoy.local_replies import access_log, local_reply_config
from serinus.backends.envoy.names import Json, typed, watched
from serinus.backends.envoy.tls import Certificates
from serinus.core.errors import NotFound
from serinus.core.home import Home
from serinus.core.keys import ROUTER_HEADER
from serinus.lib.files import update

ApiKeys = Literal["required", "made", "none"]

_MAX_CALLERS = 10_000
"""The largest number of callers' connections, where the limit of open files allows it."""
_FIRST_LINE = "5s"
"""The time in which a new connection must begin a request, because an idle one uses up a caller's place."""
_IDLE = "120s"
"""The idle timeout between two requests of a connection. Clients and load balancers use 30 to 90 s, so they close
first."""
_OTHER_FILES = 512
"""The number of Envoy's other open files: listeners, logs, route files and idle connections to releases."""
_LOG_FLUSH_MS = 200
_STATISTICS: list[Json] = [
    {"prefix": "cluster_manager."},
    {"prefix": f"http.{names.STAT_PREFIX}."},
    {"prefix": f"http.{names.PROBES}.rds."},
    {"prefix": "listener"},
    {"prefix": "server."},
    {"suffix": ".upstream_cx_active"},
    {"suffix": ".upstream_cx_connect_fail"},
    {"suffix": ".upstream_rq_pending_overflow"},
    {"suffix": ".upstream_rq_timeout"},
    {"suffix": ".upstream_rq_total"},
]
"""The statistics that Envoy keeps for each release, out of about a hundred. All are searched while a change waits to be
confirmed."""


def admin_socket(home: Home) -> str:
    """Returns the address of Envoy's admin interface. It is a Unix socket, because whoever reaches it can stop
    Envoy."""
    return str(home.sockets / "envoy.sock")


def command(
    home: Home, binary: Path | None = None, *, concurrency: int | None = None, succeeded: bool = True
) -> list[str]:
    """Returns the command to supervise.

    - `binary`: by default the one beside this interpreter. Raises NotFound where it is missing.
    - `concurrency`: the number of threads. None: half of the processors, because a model takes about as long as the way
      to it.
    - `succeeded`: another Envoy may take over its listening sockets, where the machine allows that.
    """
    envoy = binary or Path(sys.executable).parent / "envoy"
    if not envoy.is_file():
        raise NotFound(
            f"There is no Envoy at {envoy}.", hint="Install the extra 'local', or name a build: --envoy PATH"
        )
    words = [
        str(envoy),
        *("-c", str(names.bootstrap_file(home))),
        *("--concurrency", str(concurrency or max(1, len(os.sched_getaffinity(0)) // 2))),
        *("--log-level", "warning"),
        *("--file-flush-interval-msec", str(_LOG_FLUSH_MS)),
    ]
    if not succeeded or not hot_restart.possible():
        return [*words, outliving.PLAIN]
    return hot_restart.started_by([*words, *hot_restart.options(home)])


def prepare(
    home: Home,
    *,
    port: int,
    admin_port: int | None = None,
    address: str = "127.0.0.1",
    api_keys: ApiKeys = "made",
    certificates: Certificates | None = None,
) -> None:
    """Writes the files that Envoy reads at its start. Existing routings and keys are kept, rendered by this version.

    - `api_keys`: whether callers need a key. `required`: always. `made`: once one was issued. `none`: never.
    - `certificates`: callers use TLS. None: plain HTTP.
    """
    settings = bootstrap(home, port=port, admin_port=admin_port, address=address, api_keys=api_keys)
    configure(home, settings, certificates)
    update(names.clusters_file(home), xds.render_clusters(xds.read_clusters(names.clusters_file(home))))
    key_of = names.key_of(home)
    update(names.routes_file(home), xds.render_routes(xds.read_routes(names.routes_file(home)), key_of))
    update(names.probes_file(home), xds.render_probes({}, key_of))


def configure(home: Home, settings: Json, certificates: Certificates | None) -> None:
    """Writes `settings`, which `bootstrap` has made, and what they name besides clusters and routes."""
    names.xds_directory(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    tls.publish(home, certificates)
    if certificates is not None:
        tls.encrypt(settings["static_resources"]["listeners"][0], home, certificates)
    update(names.bootstrap_file(home), json.dumps(settings, indent=1))
    crowding.put(home, 0.0)


def bootstrap(
    home: Home,
    *,
    port: int,
    admin_port: int | None = None,
    address: str = "127.0.0.1",
    api_keys: ApiKeys = "made",
    probe_port: int | None = None,
) -> Json:
    """Returns Envoy's bootstrap. The admin interface is `admin_socket(home)`, or on loopback where `admin_port` is
    given.

    Probes use `names.probe_socket(home)`. Where `probe_port` is given, they use that port of `address`, and must show
    the release's router key.
    """
    admin: Json = {"pipe": {"path": admin_socket(home), "mode": 0o600}}
    if admin_port is not None:
        admin = _tcp("127.0.0.1", admin_port)
    listener = _listener("requests", _tcp(address, port), _connection_manager(home, api_keys))
    listener["per_connection_buffer_limit_bytes"] = 1 << 20
    # This is the only limit for the first line. Envoy's time limit of headers starts with their first byte.
    inspector = typed("extensions.filters.listener.http_inspector.v3.HttpInspector")
    listener["listener_filters"] = [{"name": "envoy.filters.listener.http_inspector", "typed_config": inspector}]
    listener["listener_filters_timeout"] = _FIRST_LINE
    listener["stat_prefix"] = names.CALLERS
    listener["filter_chains"][0]["transport_socket_connect_timeout"] = _FIRST_LINE  # Only with TLS.
    return {
        "node": {"id": "serinus", "cluster": "serinus"},
        "admin": {"address": admin},
        "dynamic_resources": {"cds_config": watched(home, names.clusters_file(home))},
        "static_resources": {
            "listeners": [
                listener,
                _probe_listener(home, address, probe_port),
                grpc.own_listener(names.own_socket(home), _ROUTER),
            ],
            "clusters": [grpc.own_cluster(names.own_socket(home))],
        },
        "overload_manager": {
            "refresh_interval": "0.25s",
            "resource_monitors": [_limit_of_callers(), crowding.monitor(home)],
            "actions": [crowding.action()],
        },
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": _STATISTICS}}},
    }


def _tcp(address: str, port: int) -> Json:
    both = {"ipv4_compat": True} if address == "::" else {}
    return {"socket_address": {"address": address, "port_value": port, **both}}


def _limit_of_callers() -> Json:
    name = "envoy.resource_monitors.global_downstream_max_connections"
    config = typed(
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=places(),
    )
    return {"name": name, "typed_config": config}


def places() -> int:
    """Returns the largest number of callers' connections.

    Each takes two files: its connection to Envoy and one to a release. Without free files Envoy could not even refuse a
    connection.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(_MAX_CALLERS, (most - _OTHER_FILES) // 2))


def _listener(name: str, address: Json, manager: Json) -> Json:
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address, "filter_chains": [chain]}


def _connection_manager(home: Home, api_keys: ApiKeys) -> Json:
    return _manager(
        stat_prefix=names.STAT_PREFIX,
        rds={"route_config_name": names.ROUTES, "config_source": watched(home, names.routes_file(home))},
        http_filters=_filters(api_keys),
        access_log=[access_log(names.local_answers_file(home))],
        **_EDGE,
    )


def _probe_listener(home: Home, address: str, port: int | None) -> Json:
    """Returns a listener for the control plane, which leads to releases without traffic. It is on a Unix socket of this
    user, or on a port of its own.

    It has the same filters and the same kind of routes, in a table of its own. Envoy's own answers there are not
    counted.
    """
    reached: Json = {"pipe": {"path": str(names.probe_socket(home)), "mode": 0o600}}
    shown = ""
    if port is not None:
        reached, shown = _tcp(address, port), ROUTER_HEADER
    manager = _manager(
        stat_prefix=names.PROBES,
        rds={"route_config_name": names.PROBES, "config_source": watched(home, names.probes_file(home))},
        http_filters=_filters("none"),
        **{
            **_EDGE,
            "use_remote_address": False,  # a socket has no address
            "early_header_mutation_extensions": [cleaning.early(shown)],
        },
    )
    return _listener(names.PROBES, reached, manager)


def _manager(**settings: Any) -> Json:
    common: Json = {
        "server_name": "serinus",
        "local_reply_config": local_reply_config(),
        "early_header_mutation_extensions": [cleaning.early()],
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
    }
    manager = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return typed(manager, **{**common, **settings})


_ROUTER: Json = {
    "name": "envoy.filters.http.router",
    # Otherwise Envoy would add headers of its own, only to remove them again.
    "typed_config": typed("extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
}

# The recommended settings for a proxy at the edge, also while it is on loopback.
_EDGE: Json = {
    "use_remote_address": True,
    "skip_xff_append": True,
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "REJECT_REQUEST",
    "max_request_headers_kb": 32,
    # For health checks and old clients. HTTP/1.0 has no Host header, but releases require one.
    "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "serinus"},
    "request_headers_timeout": "5s",
    "request_timeout": "10s",
    "drain_timeout": "1s",  # How long a connection is kept after it was closed for being idle.
    "stream_idle_timeout": "300s",
    "common_http_protocol_options": {
        "idle_timeout": _IDLE,
        "max_headers_count": 100,
        "headers_with_underscores_action": "REJECT_REQUEST",
    },
    "http2_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 1 << 16,
        "initial_connection_window_size": 1 << 20,
    },
}


def _filters(api_keys: ApiKeys) -> list[Json]:
    chosen = [cleaning.mending_filter(), *grpc.filters()]
    if api_keys == "none":
        return [*chosen, _ROUTER]
    return [keys.who_filter(required=api_keys == "required"), *chosen, keys.models_filter(), _ROUTER]
