"""Envoy's generic matcher in JSON. A tree finds the routes of a model at once. A list of routes is tried one by one."""

from __future__ import annotations

from collections.abc import Mapping

from serinus.backends.envoy.names import Json, typed

Node = Json
"""An action or another matcher (xds.type.matcher.v3.Matcher.OnMatch)."""


def header(name: str) -> Json:
    """Matches the value of a request header, such as `:path`."""
    return {"name": name, "typed_config": {"@type": _TYPE + "HttpRequestHeaderMatchInput", "header_name": name}}


def state(key: str) -> Json:
    """Matches what a filter has found out about the request."""
    return {"name": key, "typed_config": typed(_STATE, key=key)}


def routes(*tried: Json) -> Node:
    """Returns a node that uses the first route that matches."""
    return {"action": {"name": "routes", "typed_config": typed("config.route.v3.RouteList", routes=list(tried))}}


def by_prefix(value: Json, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    """Returns a node that uses the node of the longest prefix of `value`."""
    return _tree(value, "prefix_match_map", nodes, otherwise)


def by_value(value: Json, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    """Returns a node that uses the node of exactly this value."""
    return _tree(value, "exact_match_map", nodes, otherwise)


def when(condition: Json, node: Node, otherwise: Node) -> Node:
    """Returns a node for a condition, which is one of the functions below. Where the value is missing, only `no`
    holds."""
    matchers = [{"predicate": condition, "on_match": node}]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": otherwise}}


def starts(value: Json, prefix: str) -> Json:
    """The value starts with `prefix`."""
    return _condition(value, {"prefix": prefix})


def equals(value: Json, text: str) -> Json:
    """The value equals `text`."""
    return _condition(value, {"exact": text})


def is_like(value: Json, regex: str) -> Json:
    """The whole value matches the regular expression (RE2)."""
    return _condition(value, {"safe_regex": {"google_re2": {}, "regex": regex}})


def no(condition: Json) -> Json:
    """The condition does not hold."""
    return {"not_matcher": condition}


def _condition(value: Json, match: Json) -> Json:
    return {"single_predicate": {"input": value, "value_match": match}}


_TYPE = "type.googleapis.com/envoy.type.matcher.v3."
_STATE = "extensions.matching.common_inputs.network.v3.FilterStateInput"


def _tree(value: Json, kind: str, nodes: Mapping[str, Node], otherwise: Node) -> Node:
    if not nodes:  # Envoy refuses an empty map.
        return otherwise
    return {"matcher": {"matcher_tree": {"input": value, kind: {"map": dict(nodes)}}, "on_no_match": otherwise}}
