"""The conversion of routings to Envoy's clusters and routes, and back. The files are the only memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serinus.backends.envoy import cleaning, grpc, keys, matching, model_routes
from serinus.backends.envoy.endpoints import address_of, discovery_of, endpoint_of
from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.model_routes import KeyOf
from serinus.backends.envoy.names import (
    API_KEY_HEADER,
    METADATA,
    PREDICTION_ID_HEADER,
    PROBES,
    ROUTES,
    Json,
    http_upstream,
    open_to_all,
    overwrite,
    typed,
)
from serinus.core.routing import Arm, Role, Routing

_CLUSTER = "config.cluster.v3.Cluster"
_UPSTREAM_IDLE = "15s"
"""The idle timeout of connections to releases. It is shorter than that of a worker, and than the time after which a
release is scaled to zero, so that no worker closes a connection during a request."""
_CONNECT = "5s"
"""The timeout for connecting to a release. The host listens even while a release is scaled to zero, so connecting takes
microseconds, and the time limit of the request covers the activation.

A shorter timeout would only expire where Envoy itself gets no processor. It checks the clock before it notices that the
connection was established, and would fail all requests that wait for it.
"""
_CONNECT_TO_A_MEMBER = "0.5s"
"""One of several that does not answer costs less than a second, and another one is tried."""
_BOUNDS = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 2048, "max_retries": 256}
"""Limits of one release. A connection carries one request at a time.

They are larger than the queue of a worker (`ServingSettings.max_waiting`), so that the worker refuses early and with a
reason. Requests beyond 1,024 connections wait for one of them, and further ones get 503 at once. A request whose
connection is being established counts as waiting, so there is room for 1,024 to 2,048 simultaneous requests.
"""


@dataclass(frozen=True, slots=True)
class Routes:
    """The contents of the routes file."""

    routings: Mapping[str, Routing] = field(default_factory=dict)
    callers: Mapping[str, Key] = field(default_factory=dict)
    """Keys by the name of their caller."""
    retired: frozenset[str] = frozenset()
    """The retired models."""
    keys_asked: bool = False
    """Whether a key was ever issued. Where the last one was revoked, nobody gets in, rather than everybody."""

    @property
    def releases(self) -> set[str]:
        """Returns the releases that are routed."""
        return {arm.release for routing in self.routings.values() for arm in routing.arms}

    def without(self, model: str) -> Routes:
        """Returns the routes without those of the model."""
        routings = {name: routing for name, routing in self.routings.items() if name != model}
        return replace(self, routings=routings, retired=self.retired - {model})


# --- clusters ---------------------------------------------------------------------------------------------


def render_clusters(endpoints: Mapping[str, str], members: Mapping[str, Sequence[str]] | None = None) -> str:
    """Returns a discovery response with the clusters of releases. `endpoints` are by release.

    `members` has the addresses (`host:port`) behind each endpoint that stands for several.
    """
    several = members or {}
    clusters = [_cluster(release, endpoints[release], several) for release in sorted(endpoints)]
    return response(clusters)


def read_clusters(path: Path) -> dict[str, str]:
    """Returns the endpoints that `render_clusters` was given. Empty: there is no file yet."""
    return {cluster["name"]: _endpoint(cluster) for cluster in _resources(_text(path))}


def read_members(path: Path) -> dict[str, tuple[str, ...]]:
    """The members that `render_clusters` was given; nothing where there is no file yet."""
    clusters = [cluster for cluster in _resources(_text(path)) if _kept_endpoint(cluster)]
    return {_endpoint(cluster): tuple(map(endpoint_of, _addresses(cluster))) for cluster in clusters}


def _cluster(release: str, endpoint: str, members: Mapping[str, Sequence[str]]) -> Json:
    if endpoint in members:
        addresses = [address_of(member) for member in members[endpoint]]
        found: Json = {
            "type": "STATIC",
            "lb_policy": "LEAST_REQUEST",
            "connect_timeout": _CONNECT_TO_A_MEMBER,
            "metadata": {"filter_metadata": {METADATA: {"endpoint": endpoint}}},
        }
    else:
        addresses = [address_of(endpoint)]
        found = {**discovery_of(addresses[0]), "connect_timeout": _CONNECT}
    return typed(
        _CLUSTER,
        name=release,
        **found,
        load_assignment={
            "cluster_name": release,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}],
        },
        circuit_breakers={"thresholds": [_BOUNDS]},
        typed_extension_protocol_options=http_upstream(common_http_protocol_options={"idle_timeout": _UPSTREAM_IDLE}),
    )


def _endpoint(cluster: Json) -> str:
    return _kept_endpoint(cluster) or endpoint_of(_addresses(cluster)[0])


def _kept_endpoint(cluster: Json) -> str:
    """The endpoint of a cluster with members."""
    kept = cluster.get("metadata", {}).get("filter_metadata", {}).get(METADATA, {})
    return str(kept.get("endpoint", ""))


def _addresses(cluster: Json) -> list[Json]:
    [locality] = cluster["load_assignment"]["endpoints"]
    return [one["endpoint"]["address"] for one in locality["lb_endpoints"]]


# --- routes -----------------------------------------------------------------------------------------------


def render_routes(routes: Routes, key_of: KeyOf) -> str:
    """Returns a discovery response with the route configuration."""
    routings = [routes.routings[model] for model in sorted(routes.routings)]
    configuration = _configuration(ROUTES, _table(routings, sorted(routes.retired - routes.routings.keys()), key_of))
    if routes.callers or routes.keys_asked:
        configuration["typed_per_filter_config"] = keys.asking(routes.callers)
    return response([configuration])


def render_probes(probes: Mapping[str, Routing], key_of: KeyOf, *, guarded: bool = False) -> str:
    """Returns a discovery response with the route configuration of the listener for probes. `probes` are by model.

    `guarded`: requests must show the release's router key.
    """
    shown = cleaning.SHOWN_HEADER if guarded else ""
    routes = [model_routes.of_probe(probes[model], key_of, shown) for model in sorted(probes)]
    models = {prefix: matching.routes(route) for over_http, _ in routes for prefix, route in over_http}
    calls = grpc.node({model: over_grpc for model, (_, over_grpc) in zip(sorted(probes), routes, strict=True)})
    return response([_configuration(PROBES, _found_by_path(models, calls))])


def read_routes(path: Path) -> Routes:
    """Returns the routes that `render_routes` was given. Empty: there is no file yet."""
    return parse_routes(_text(path))


def parse_routes(text: str) -> Routes:
    """Returns the routes that `render_routes` was given."""
    for configuration in _resources(text):
        asked, callers = keys.read(configuration.get("typed_per_filter_config", {}))
        return Routes(routings_of(configuration), callers, _retired_of(configuration), asked)
    return Routes()


def _configuration(name: str, table: Json) -> Json:
    host = {"name": "all", "domains": ["*"], "retry_policy": model_routes.only_what_was_never_sent(), **table}
    return typed(
        "config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=[host],
        request_headers_to_add=[overwrite("x-serinus-start", "%START_TIME(%s.%6f)%")],
        # It is overwritten, because a release could send the id of another request.
        response_headers_to_add=[overwrite(PREDICTION_ID_HEADER, f"%REQ({PREDICTION_ID_HEADER})%")],
        request_headers_to_remove=[API_KEY_HEADER, "x-forwarded-proto", "x-envoy-external-address"],
    )


def _table(routings: Sequence[Routing], retired: Sequence[str], key_of: KeyOf) -> Json:
    """Returns the virtual host. Routes are found by the longest prefix, so that the time does not grow with the
    models."""
    models = {
        prefix: matching.routes(route)
        for routing in routings
        for prefix, route in model_routes.over_http(routing, key_of)
    }
    models |= {
        prefix: matching.routes(route) for model in retired for prefix, route in model_routes.retired_over_http(model)
    }
    calls = {routing.model: model_routes.over_grpc(routing, key_of) for routing in routings}
    calls |= {model: model_routes.retired(model, grpc.NOT_FOUND) for model in retired}
    return _found_by_path(models, grpc.node(calls))


def _found_by_path(models: Mapping[str, matching.Node], calls: matching.Node) -> Json:
    others = matching.routes(*_own_answers())
    table: Json = cleaning.node(matching.by_prefix(matching.header(":path"), {**models, grpc.PREFIX: calls}, others))
    return table


def routings_of(configuration: Json) -> dict[str, Routing]:
    """Returns the routings by model, from a route configuration in a file or in Envoy's report."""
    kept = _metadata(configuration.get("virtual_hosts", []))
    return {data["model"]: _routing(json.loads(data["routing"])) for data in kept if "routing" in data}


def _retired_of(configuration: Json) -> frozenset[str]:
    kept = _metadata(configuration.get("virtual_hosts", []))
    return frozenset(data["model"] for data in kept if "retired" in data)


def _metadata(node: Any) -> Iterator[dict[str, Any]]:
    """Yields the metadata of the routes, however they are nested."""
    if isinstance(node, list):
        for item in node:
            yield from _metadata(item)
    elif isinstance(node, dict):
        if kept := node.get("metadata", {}).get("filter_metadata", {}).get(METADATA):
            yield kept
        else:
            for item in node.values():
                yield from _metadata(item)


def _routing(data: Json) -> Routing:
    arms = tuple(Arm(**{**arm, "role": Role(arm["role"])}) for arm in data["arms"])
    return Routing(**{**data, "arms": arms})


def _own_answers() -> list[Json]:
    server: Json = {"name": "serinus", "version": version("serinus"), "extensions": []}
    answers: dict[str, Json] = {"/v2": server, "/v2/health/live": {"live": True}, "/v2/health/ready": {"ready": True}}
    return [
        route for path, body in answers.items() for match in (path, f"{path}/") for route in _read_by_get(match, body)
    ]


def _read_by_get(path: str, body: Json) -> tuple[Json, Json]:
    get = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    answer = {
        "match": {"path": path, "headers": [get]},
        "direct_response": {"status": 200, "body": {"inline_string": json.dumps(body)}},
        "response_headers_to_add": [overwrite("content-type", "application/json")],
        "typed_per_filter_config": open_to_all(),
    }
    refusal = {
        "match": {"path": path},
        "direct_response": {"status": 405, "body": {"inline_string": "use GET for this path"}},
        "response_headers_to_add": [overwrite("allow", "GET, HEAD")],
        "typed_per_filter_config": open_to_all(),
    }
    return answer, refusal


# --- discovery responses ----------------------------------------------------------------------------------


def version_of(text: str) -> str | None:
    """Returns the version of a discovery response. None: the text is not the one that was rendered with that
    version."""
    found = _RESPONSE.fullmatch(text)
    return found["version"] if found and found["version"] == _digest(found["resources"]) else None


def response(resources: list[Json]) -> str:
    """Returns a discovery response, whose version is the digest of its content, so that equal content is not a change.

    It is on one line, because indentation would take longer than Envoy itself with hundreds of models (`jq .` shows
    it).
    """
    content = json.dumps(resources)
    return f'{{"version_info": "{_digest(content)}", "resources": {content}}}'


_RESPONSE = re.compile(r'\{"version_info": "(?P<version>[0-9a-f]+)", "resources": (?P<resources>.*)\}', re.DOTALL)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _resources(text: str) -> list[Json]:
    resources: list[Json] = json.loads(text).get("resources", []) if text else []
    return resources


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
