"""Routings as Envoy's clusters and routes, and back: files are the only memory, and Envoy's dump has their form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serinus.backends.envoy.names import (
    API_KEY_FILTER,
    API_KEY_HEADER,
    ENTITY_HEADER,
    METADATA,
    ROUTES,
    Json,
    overwrite,
    typed,
)
from serinus.core.values import Arm, Role, Routing

_CLUSTER = "config.cluster.v3.Cluster"
_PER_ROUTE_KEYS = "extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute"
_UPSTREAM_IDLE = "60s"
"""Shorter than a worker keeps an idle connection, so that none is closed under a request."""


@dataclass(frozen=True, slots=True)
class Routes:
    """All that the routes file says."""

    routings: Mapping[str, Routing] = field(default_factory=dict)
    api_keys: Mapping[str, str] = field(default_factory=dict)
    """Caller's name -> key."""

    @property
    def releases(self) -> set[str]:
        return {arm.release for routing in self.routings.values() for arm in routing.arms}


# --- clusters ---------------------------------------------------------------------------------------------


def render_clusters(endpoints: Mapping[str, str]) -> str:
    """Release -> Unix socket, as a discovery response."""
    return _response([_cluster(release, endpoints[release]) for release in sorted(endpoints)])


def read_clusters(path: Path) -> dict[str, str]:
    """What `render_clusters` was given; nothing where there is no file yet."""
    return {cluster["name"]: _endpoint(cluster) for cluster in _resources(path)}


def _cluster(release: str, endpoint: str) -> Json:
    address = {"pipe": {"path": endpoint}}
    http = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": _UPSTREAM_IDLE},
        explicit_http_config={"http_protocol_options": {}},
    )
    bounds = {"max_connections": 256, "max_pending_requests": 1024, "max_requests": 2048, "max_retries": 64}
    return typed(
        _CLUSTER,
        name=release,
        type="STATIC",
        connect_timeout="0.25s",
        load_assignment={
            "cluster_name": release,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        circuit_breakers={"thresholds": [bounds]},
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
    )


def _endpoint(cluster: Json) -> str:
    [locality] = cluster["load_assignment"]["endpoints"]
    [endpoint] = locality["lb_endpoints"]
    return str(endpoint["endpoint"]["address"]["pipe"]["path"])


# --- routes -----------------------------------------------------------------------------------------------


def render_routes(routes: Routes) -> str:
    """One route configuration, as a discovery response."""
    per_model = [route for model in sorted(routes.routings) for route in _model_routes(routes.routings[model])]
    host = {"name": "all", "domains": ["*"], "routes": [*_own_answers(), *per_model, _unknown_model()]}
    configuration = typed(
        "config.route.v3.RouteConfiguration",
        name=ROUTES,
        virtual_hosts=[host],
        request_headers_to_add=[overwrite("x-serinus-start", "%START_TIME(%s.%6f)%")],
        request_headers_to_remove=[API_KEY_HEADER, "x-forwarded-proto", "x-envoy-external-address"],
        response_headers_to_remove=["x-envoy-upstream-service-time", "x-envoy-overloaded"],
    )
    if routes.api_keys:
        keys = [{"key": key, "client": name} for name, key in sorted(routes.api_keys.items())]
        configuration["typed_per_filter_config"] = {API_KEY_FILTER: typed(_PER_ROUTE_KEYS, credentials=keys)}
    return _response([configuration])


def read_routes(path: Path) -> Routes:
    """What `render_routes` was given; nothing where there is no file yet."""
    for configuration in _resources(path):
        per_route = configuration.get("typed_per_filter_config", {}).get(API_KEY_FILTER, {})
        keys = {credential["client"]: credential["key"] for credential in per_route.get("credentials", ())}
        return Routes(routings_of(configuration), keys)
    return Routes()


def routings_of(configuration: Json) -> dict[str, Routing]:
    """Model -> routing, from a route configuration in a file or in Envoy's dump."""
    routes = (route for host in configuration.get("virtual_hosts", ()) for route in host.get("routes", ()))
    kept = (route.get("metadata", {}).get("filter_metadata", {}).get(METADATA) for route in routes)
    return {data["model"]: _routing(json.loads(data["routing"])) for data in kept if data}


def _routing(data: Json) -> Routing:
    arms = tuple(Arm(**{**arm, "role": Role(arm["role"])}) for arm in data["arms"])
    return Routing(**{**data, "arms": arms})


def _model_routes(routing: Routing) -> Iterable[Json]:
    name = quote(routing.model, safe="")
    for prefix in (f"/v2/models/{name}", f"/models/{name}"):
        yield {
            "match": {"path_separated_prefix": prefix},
            "metadata": {"filter_metadata": {METADATA: _kept(routing)}},
            "request_headers_to_add": [overwrite("x-serinus-split", routing.split)],
            "route": _action(routing),
        }


def _action(routing: Routing) -> Json:
    # The champion first: a canary at the end grows downwards, and keeps the entities that it has.
    arms = sorted(routing.arms, key=lambda arm: arm.role is not Role.CHAMPION)
    clusters = [
        {
            "name": arm.release,
            "weight": arm.weight,
            "request_headers_to_add": [overwrite("x-serinus-role", arm.role.value)],
        }
        for arm in arms
    ]
    return {
        "timeout": f"{routing.timeout_ms / 1000:.3f}s",
        "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": ENTITY_HEADER, "regex_rewrite": _salted(routing.salt)}}],
        "retry_policy": _only_what_was_never_sent(),
    }


def _salted(salt: str) -> Json:
    # Hashed, so that no salt can be read as a reference to a group. `^` puts it before the entity, whatever that is.
    return {"pattern": {"regex": "^"}, "substitution": hashlib.sha256(salt.encode()).hexdigest()[:16] + ":"}


def _only_what_was_never_sent() -> Json:
    """A release sees no request twice, so that none is counted twice."""
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.020s"},
    }


def _kept(routing: Routing) -> dict[str, Any]:
    """`routing` is a string, not a structure: protobuf's would turn its integers into floats."""
    kept = {"model": routing.model, "split": routing.split, "routing": json.dumps(asdict(routing), sort_keys=True)}
    if routing.fallback_score is not None:
        score, marks = [routing.fallback_score], {"fallback": True, "fallback_reason": "no-answer"}
        output = {"name": "output-0", "shape": [1], "datatype": "FP64", "data": score}
        infer = {"model_name": routing.model, "parameters": marks, "outputs": [output]}
        kept["fallback_infer"] = json.dumps(infer)
        kept["fallback_invocations"] = json.dumps({"predictions": score, **marks})
    return kept


def _own_answers() -> list[Json]:
    server = {"name": "serinus", "version": version("serinus"), "extensions": []}
    return [
        _answer({"path": "/v2"}, server),
        _answer({"path": "/v2/health/live"}, {"live": True}),
        _answer({"path": "/v2/health/ready"}, {"ready": True}),
    ]


def _answer(match: Json, body: Json) -> Json:
    open_to_all = typed("config.route.v3.FilterConfig", disabled=True)
    get = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    return {
        "match": {**match, "headers": [get]},
        "direct_response": {"status": 200, "body": {"inline_string": json.dumps(body)}},
        "response_headers_to_add": [overwrite("content-type", "application/json")],
        "typed_per_filter_config": {API_KEY_FILTER: open_to_all},
    }


def _unknown_model() -> Json:
    # The text becomes {"error": ...} by the listener's local replies.
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": "no such model is served here"}},
    }


# --- discovery responses ----------------------------------------------------------------------------------


def version_of(text: str) -> str:
    """Of a rendered discovery response."""
    return str(json.loads(text)["version_info"])


def _response(resources: list[Json]) -> str:
    """The version is the content's digest: equal content is never a change."""
    digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    return json.dumps({"version_info": digest, "resources": resources}, indent=1)


def _resources(path: Path) -> list[Json]:
    if not path.exists():
        return []
    resources: list[Json] = json.loads(path.read_text(encoding="utf-8")).get("resources", [])
    return resources
