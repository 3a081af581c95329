"""The Open Inference Protocol over gRPC, on the same port as over HTTP.

A call names its model in its message, so it is routed twice. The first route has Envoy read the name
(`grpc_field_extraction`), store it as filter state and route the call again, by that name. Releases speak HTTP/1.1, and
their clusters forward trailers, which carry the gRPC status. Calls that need no model are answered by Envoy itself,
through a listener of its own, because a direct response has no trailers. Sources: open-inference-protocol,
specification/protocol/inference_grpc.md; grpc, doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from serinus_runtime.base.protobuf import bytes_field, number_field, text_field

from serinus.backends.envoy import matching
from serinus.backends.envoy.names import (
    REQUEST_ID_HEADER,
    STAT_PREFIX,
    Json,
    http_upstream,
    open_to_all,
    overwrite,
    typed,
)

PREFIX = "/inference.GRPCInferenceService/"
LARGEST_MESSAGE = 4 << 20
"""In bytes. It is gRPC's default. The limit of the release holds as well."""

_OF_A_MODEL = ("ModelInfer", "ModelReady", "ModelMetadata")
_OF_THE_SERVER = ("ServerLive", "ServerReady", "ServerMetadata")
_STATE = "serinus.model"
_BOUND, _EXTRACT, _BRIDGE = "serinus.grpc.bound", "serinus.grpc.extract", "serinus.grpc.bridge"
_AGAIN = "serinus.route-again"
_FIELD = "model"
_OWN = "own"
_MESSAGE = "application/x-protobuf"
NOT_FOUND, _UNIMPLEMENTED = "5", "12"


# --- routing ----------------------------------------------------------------------------------------------


def node(models: Mapping[str, Json]) -> matching.Node:
    """Returns the node of all calls. `models` are the routes by model."""
    call = {"match": {"prefix": PREFIX, "grpc": {}}}
    found = {json.dumps([model]): matching.routes(_to_a_model(call, route)) for model, route in models.items()}
    # The state is a JSON list. Where it begins with `[`, the name was read, and no model here has it.
    unknown = matching.routes(_error(NOT_FOUND, "no such model is served"))
    unread = matching.routes(*own_answers(), *map(_to_be_read, _OF_A_MODEL), _error(_UNIMPLEMENTED, "no such method"))
    name = matching.state(_STATE)
    return matching.by_value(name, found, matching.when(matching.starts(name, "["), unknown, unread))


def _to_a_model(call: Json, route: Json) -> Json:
    return {**call, **route, "match": {**call["match"], **route.get("match", {})}}


def own_answers() -> list[Json]:
    """Returns the routes to Envoy itself."""
    # The content type is not checked, because the bridge changes it and has Envoy route the call again.
    return [
        {
            "match": {"path": PREFIX + method},
            "route": {"cluster": _OWN, "timeout": "1s"},
            "request_headers_to_remove": [REQUEST_ID_HEADER],
            "typed_per_filter_config": {**_with(_BRIDGE), **open_to_all()},
        }
        for method in _OF_THE_SERVER
    ]


def read_model() -> Json:
    """Returns a route's `typed_per_filter_config` with which the model of a call is read and the call is routed
    again."""
    return _with(_BOUND, _EXTRACT, _AGAIN)


def route_again() -> Json:
    """Returns a route's `typed_per_filter_config` with which the request is routed again after the filters before have
    changed it."""
    return _with(_AGAIN)


def _to_be_read(method: str) -> Json:
    return {
        "match": {"path": PREFIX + method, "grpc": {}},
        "direct_response": {
            "status": 500,
            "body": {"inline_string": "the model's name could not be read from the request"},
        },
        "typed_per_filter_config": read_model(),
    }


def _error(status: str, text: str) -> Json:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": text}},
        "response_headers_to_add": [overwrite("grpc-status", status)],
    }


def _with(*filters: str) -> Json:
    return {name: typed("config.route.v3.FilterConfig", config={}) for name in filters}


# --- filters ----------------------------------------------------------------------------------------------


def filters() -> list[Json]:
    """Returns the filters. They are off except where a route of `node` enables them, so other requests do not pay for
    them."""
    read: Json = {"request_field_extractions": {_FIELD: {}}}
    extract = typed(
        "extensions.filters.http.grpc_field_extraction.v3.GrpcFieldExtractionConfig",
        descriptor_set={"inline_bytes": base64.b64encode(descriptors()).decode()},
        extractions_by_method={PREFIX[1:-1] + "." + method: read for method in _OF_A_MODEL},
    )
    text = {"inline_string": f"%DYNAMIC_METADATA(envoy.filters.http.grpc_field_extraction:{_FIELD})%"}
    again = typed(
        "extensions.filters.http.set_filter_state.v3.Config",
        on_request_headers=[
            {"object_key": _STATE, "factory_key": "envoy.string", "format_string": {"text_format_source": text}}
        ],
        clear_route_cache=True,
    )
    bridge = typed(
        "extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
        content_type=_MESSAGE,
        withhold_grpc_frames=True,
    )
    bound = typed("extensions.filters.http.buffer.v3.Buffer", max_request_bytes=LARGEST_MESSAGE)
    named = ((_BOUND, bound), (_EXTRACT, extract), (_AGAIN, again), (_BRIDGE, bridge))
    return [{"name": name, "typed_config": config, "disabled": True} for name, config in named]


def descriptors() -> bytes:
    """Returns a FileDescriptorSet with the part of the service that Envoy needs: field 1 of each request is its model's
    name."""
    string, optional = 9, 1
    field = text_field(1, _FIELD) + number_field(3, 1) + number_field(4, optional) + number_field(5, string)
    messages = methods = b""
    for method in _OF_A_MODEL:
        asked, answered = f"{method}Request", f"{method}Response"
        messages += bytes_field(4, text_field(1, asked) + bytes_field(2, field))
        messages += bytes_field(4, text_field(1, answered))
        names = text_field(1, method) + text_field(2, f".inference.{asked}") + text_field(3, f".inference.{answered}")
        methods += bytes_field(2, names)
    service = bytes_field(6, text_field(1, "GRPCInferenceService") + methods)
    head = text_field(1, "oip.proto") + text_field(2, "inference")
    return bytes_field(1, head + messages + service + text_field(12, "proto3"))


# --- what Envoy answers itself ----------------------------------------------------------------------------


def own_listener(socket: Path, router: Json) -> Json:
    """Returns the listener for Envoy's own answers. Its messages have no gRPC framing, which the bridge adds."""
    yes = number_field(1, 1)
    messages = (yes, yes, text_field(1, "serinus") + text_field(2, version("serinus")))
    routes = [
        {
            "match": {"path": PREFIX + method},
            "direct_response": {"status": 200, "body": {"inline_bytes": base64.b64encode(message).decode()}},
            "response_headers_to_add": [overwrite("content-type", _MESSAGE)],
        }
        for method, message in zip(_OF_THE_SERVER, messages, strict=True)
    ]
    unknown = _error(_UNIMPLEMENTED, "no such method")
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=f"{STAT_PREFIX}-own",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [*routes, unknown]}]},
        http_filters=[router],
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": _OWN, "address": {"pipe": {"path": str(socket), "mode": 0o600}}, "filter_chains": [chain]}


def own_cluster(socket: Path) -> Json:
    """Returns the cluster of that listener."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    return {
        "name": _OWN,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": {"cluster_name": _OWN, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": http_upstream(),
    }
