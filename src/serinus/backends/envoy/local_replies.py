"""Envoy's own answers where a release does not answer: JSON errors, fallback scores, and a log of both."""

from __future__ import annotations

from pathlib import Path

from serinus.backends.envoy.names import (
    CALLER_HEADER,
    METADATA,
    PREDICTION_ID_HEADER,
    REQUEST_ID_HEADER,
    Json,
    overwrite,
    typed,
)

_TIMEOUT = ("UT", "UMSDR")
_OVERFLOW = ("UO", "OM")
_NO_ANSWER = ("UH", "UF", "URX", "NC", "LR", "UR", "UC", "UPE")
_NOT_KEPT = 507
"""Envoy's status where a release crashed during a request that is too large to be buffered for a retry. It becomes 503
and never a fallback, because one score is no answer to a megabyte of rows."""
UNANSWERED = (*_TIMEOUT, *_OVERFLOW, *_NO_ANSWER)
"""Response flags of requests that a release should have answered and did not. Mistakes of the caller (a malformed
request, a missing body or key) are not among them."""

# A path matches with its query, which may hold anything.
_INFER = r"^[^?]*/infer/?(\?.*)?$"
_INVOCATIONS = r"^[^?]*/invocations/?(\?.*)?$"

_LATE = "the model did not answer within its time limit"
_GONE = "the model is not answering"
_AS_ENVOY_SAYS = "%LOCAL_REPLY_BODY%"
_WHY = "%RESPONSE_CODE_DETAILS%"
"""Envoy's reason, such as `missing_host_header`. It contains nothing that the caller has sent."""
_TEXTS = (
    (_TIMEOUT, _LATE),
    (("NR",), "no such model is served"),
    (_OVERFLOW, "too many requests are waiting for this model"),
    (_NO_ANSWER, _GONE),
)
_BY_STATUS = {
    400: f"the request is not well-formed HTTP ({_WHY})",
    403: "connections cannot be upgraded",
    404: "there is no such path",
    408: "the request took too long to arrive",
    413: "the body is too large",
    426: "only HTTP/1.1, HTTP/1.0 and HTTP/2 are supported",
    431: "the request's head is larger than 32 KiB or has more than 100 headers",
    501: "the only supported transfer coding is chunked",
}
"""Texts for statuses for which Envoy has none, or none that says more than the status."""


def local_reply_config() -> Json:
    """Returns the configuration. It is static, because a change of the listener would drain its connections.

    What differs by model (the fallback answers) is read from the metadata of the route.
    """
    mappers = [
        _fallback(_INFER, "fallback_infer"),
        _fallback(_INVOCATIONS, "fallback_invocations"),
        *_errors_of_calls(),
        *(_error(condition, text) for condition, text in _NOT_LET_IN),
        *(_error(_flagged(flags), text) for flags, text in _TEXTS),
        {**_error(_status("EQ", _NOT_KEPT), _GONE), "status_code": 503},
        _error(_OWN_TEXT, _AS_ENVOY_SAYS),
        *(_error(_status("EQ", status), text) for status, text in _BY_STATUS.items()),
        _error(_status("GE", 400), _AS_ENVOY_SAYS),
    ]
    return {"mappers": [_with_request_id(mapper) for mapper in mappers]}


def access_log(path: Path) -> Json:
    """Returns the configuration of a log with a line of JSON for each request that Envoy answered in a release's
    place."""
    # A single format operator keeps its type. TYPED_CEL is used because START_TIME is always rendered as a string.
    started = "%TYPED_CEL(double(int(request.time)) + double(request.time.getMilliseconds()) / 1000.0)%"
    fields = {
        "t": started,
        "id": "%REQ(x-request-id)%",
        "prediction": f"%REQ({PREDICTION_ID_HEADER})%",
        "caller": f"%REQ({CALLER_HEADER})%",
        "entity": "%REQ(x-entity-id)%",
        "model": f"%METADATA(ROUTE:{METADATA}:model)%",
        "release": "%UPSTREAM_CLUSTER_RAW%",
        "role": "%REQ(x-serinus-role)%",
        "split": f"%METADATA(ROUTE:{METADATA}:split)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "ms": "%DURATION%",
    }
    return {
        "name": "local-answers",
        "filter": _UNANSWERED,
        "typed_config": typed(
            "extensions.access_loggers.file.v3.FileAccessLog", path=str(path), log_format={"json_format": fields}
        ),
    }


def _fallback(path: str, body: str) -> Json:
    has_body = _expression(f"'{body}' in xds.route_metadata.filter_metadata['{METADATA}']")
    filters = [
        _flagged(UNANSWERED),
        {"header_filter": {"header": {"name": ":path", "string_match": {"safe_regex": {"regex": path}}}}},
        has_body,
    ]
    return {
        "filter": {"and_filter": {"filters": filters}},
        "status_code": 200,
        "headers_to_add": [{"header": {"key": "x-serinus-fallback", "value": "true"}}],
        "body_format_override": {
            "content_type": "application/json",
            "text_format_source": {"inline_string": f"%METADATA(ROUTE:{METADATA}:{body})%"},
        },
    }


_GRPC = {"header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}}
_DEADLINE_EXCEEDED, _RESOURCE_EXHAUSTED, _UNAVAILABLE = "4", "8", "14"


def _error(condition: Json, text: str) -> Json:
    return {"filter": condition, "body_format_override": {"json_format": {"error": text}}}


def _with_request_id(mapper: Json) -> Json:
    """Adds an id to answers to requests that were refused before they had one."""
    new_id = {"header": {"key": REQUEST_ID_HEADER, "value": "%UNIQUE_ID%"}, "append_action": "ADD_IF_ABSENT"}
    own_id = overwrite(PREDICTION_ID_HEADER, f"%REQ({PREDICTION_ID_HEADER})%")
    return {**mapper, "headers_to_add": [*mapper.get("headers_to_add", []), new_id, own_id]}


def _errors_of_calls() -> list[Json]:
    """Returns the mappers for gRPC, where the text becomes `grpc-message`.

    HTTP's 504 alone would become UNAVAILABLE, which clients may retry by themselves, and its 413 UNKNOWN.
    """
    return [
        _error_of_call(_flagged(_TIMEOUT), _LATE, _DEADLINE_EXCEEDED),
        *(_error_of_call(_flagged(flags), text) for flags, text in _TEXTS),
        *(_error_of_call(condition, text) for condition, text in _NOT_LET_IN),
        _error_of_call(_status("EQ", _NOT_KEPT), _GONE, _UNAVAILABLE),
        _error_of_call(_status("EQ", 413), "the message is too large", _RESOURCE_EXHAUSTED),
        _error_of_call(_status("GE", 400), _AS_ENVOY_SAYS),
    ]


def _error_of_call(condition: Json, text: str, status: str | None = None) -> Json:
    return {
        "filter": {"and_filter": {"filters": [_GRPC, condition]}},
        "body_format_override": {"text_format_source": {"inline_string": text}},
        "headers_to_add": [] if status is None else [overwrite("grpc-status", status)],
    }


def _flagged(flags: tuple[str, ...]) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(compared: str, status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"serinus.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": compared, "value": value}}}


def _expression(cel: str) -> Json:
    config = typed("extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=cel)
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}}


_DROPPED = _expression("response.code_details == 'request_payload_exceeded_retry_buffer_limit'")
_UNANSWERED: Json = {
    # The status is compared first, because evaluating an expression costs time.
    "or_filter": {"filters": [_flagged(UNANSWERED), {"and_filter": {"filters": [_status("EQ", 503), _DROPPED]}}]}
}
_NOT_LET_IN = (
    (
        {"and_filter": {"filters": [_status("EQ", 401), _expression("response.code_details != 'direct_response'")]}},
        "an API key is needed: the header x-api-key is missing, or its key is unknown or revoked",
    ),
    (
        {"and_filter": {"filters": [_status("EQ", 403), _expression("response.code_details.startsWith('rbac_')")]}},
        "this key may not ask this model",
    ),
)
_OWN_TEXT = _expression("response.code_details == 'direct_response' && response.code >= 400")
"""The error comes from a route and has its own text."""
