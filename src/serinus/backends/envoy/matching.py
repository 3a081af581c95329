"""Envoy's generic matcher in JSON. A tree finds a model's routes at once; a list of routes is tried one by one."""

from __future__ import annotations

from collections.abc import Mapping

from serinus.backends.envoy.names import Json, typed

Node = Json
"""Either an action, or a further matcher (xds.type.matcher.v3.Matcher.OnMatch)."""


def header(name: str) -> Json:
    """The value of a request's header; `:path` is one."""
    return {"name": name, "typed_config": {"@type": _TYPE + "HttpRequestHeaderMatchInput", "header_name": name}}


def state(key: str) -> Json:
    """What a filter has found out about this request."""
    return {"name": key, "typed_config": typed(_STATE, key=key)}


def routes(*tried: Json) -> Node:
    """The first route that matches."""
    return {"action": {"name": "routes", "typed_config": typed("config.route.v3.RouteList", routes=list(tried))}}


def by_prefix(value: Json, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    """The node of the longest prefix of `value`."""
    return _tree(value, "prefix_match_map", nodes, otherwise)


def by_value(value: Json, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    """The node of exactly this value."""
    return _tree(value, "exact_match_map", nodes, otherwise)


def when(condition: Json, node: Node, otherwise: Node) -> Node:
    """A condition is one of the following; of a value that is not there, only `no` holds."""
    matchers = [{"predicate": condition, "on_match": node}]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": otherwise}}


def starts(value: Json, prefix: str) -> Json:
    return _condition(value, {"prefix": prefix})


def equals(value: Json, text: str) -> Json:
    return _condition(value, {"exact": text})


def is_like(value: Json, regex: str) -> Json:
    """All of it matches (RE2)."""
    return _condition(value, {"safe_regex": {"google_re2": {}, "regex": regex}})


def no(condition: Json) -> Json:
    return {"not_matcher": condition}


def _condition(value: Json, match: Json) -> Json:
    return {"single_predicate": {"input": value, "value_match": match}}


_TYPE = "type.googleapis.com/envoy.type.matcher.v3."
_STATE = "extensions.matching.common_inputs.network.v3.FilterStateInput"


def _tree(value: Json, kind: str, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    if not nodes:  # an empty map is refused
        return otherwise
    return {"matcher": {"matcher_tree": {"input": value, kind: {"map": dict(nodes)}}, "on_no_match": otherwise}}
