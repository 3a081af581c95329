"""Removal and correction of headers that callers send.

Headers that control Serinus or Envoy are removed from every request first. A request id or entity that is not valid is
treated as missing. The route table only checks the id with a regular expression. The few requests with a malformed id
or an empty entity take a route that corrects them, and are then routed again. Correcting every request would cost a
fifth of Envoy's time.
"""

from __future__ import annotations

from serinus.backends.envoy import grpc, matching
from serinus.backends.envoy.names import (
    ENTITY_HEADER,
    PREDICTION_ID_HEADER,
    REQUEST_ID_HEADER,
    Json,
    overwrite,
    typed,
)

SHOWN_HEADER = "x-shown-key"
"""A header of requests to the listener of probes. It holds the value of another header before that one was removed."""
_WELL_FORMED = "[A-Za-z0-9._:-]{1,128}"
_MEND = "serinus.mend"
_ASIDE = "x-serinus-aside"


def early(shown: str = "") -> Json:
    """Returns an extension of the connection manager that removes headers, and gives each request an id of Serinus.

    Callers may repeat ids of their own, or use those of others. `shown` is a header whose value is copied to
    `SHOWN_HEADER`, so that routes can match it.
    """
    mutations: list[Json] = [{"append": overwrite(SHOWN_HEADER, f"%REQ({shown})%")}] if shown else []
    mutations += [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-serinus-", "x-envoy-")]
    mutations.append({"append": overwrite(PREDICTION_ID_HEADER, "%UNIQUE_ID%")})
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations
        ),
    }


def mending_filter() -> Json:
    """Returns the filter that corrects requests. It is off except where a route of `node` enables it. It must come
    before the filters of `grpc`."""
    config = typed("extensions.filters.http.header_mutation.v3.HeaderMutation", mutations={})
    return {"name": _MEND, "typed_config": config, "disabled": True}


def node(clean: matching.Node) -> matching.Node:
    """Returns a node that uses `clean` for requests that need no correction, at once or after the correction."""
    identity, entity = matching.header(REQUEST_ID_HEADER), matching.header(ENTITY_HEADER)
    # Adding an empty value adds nothing, so moving an entity to another header and back removes an empty one.
    aside: list[Json] = [
        {"append": overwrite(_ASIDE, f"%REQ({ENTITY_HEADER})%")},
        {"remove": ENTITY_HEADER},
        {"append": overwrite(ENTITY_HEADER, f"%REQ({_ASIDE})%")},
        {"remove": _ASIDE},
    ]
    new_id = {"append": overwrite(REQUEST_ID_HEADER, "%UNIQUE_ID%")}
    no_entity = matching.when(matching.equals(entity, ""), _mended({"remove": ENTITY_HEADER}), clean)
    return matching.when(matching.no(matching.is_like(identity, _WELL_FORMED)), _mended(new_id, *aside), no_entity)


def _mended(*mutations: Json) -> matching.Node:
    over_http = matching.routes(_mend(mutations, grpc.route_again()))
    calls = matching.routes(*grpc.own_answers(), _mend(mutations, grpc.read_model()))
    return matching.by_prefix(matching.header(":path"), {grpc.PREFIX: calls}, over_http)


def _mend(mutations: tuple[Json, ...], then: Json) -> Json:
    config = typed(
        "extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        mutations={"request_mutations": list(mutations)},
    )
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 500, "body": {"inline_string": "the request's headers could not be cleaned"}},
        "typed_per_filter_config": {_MEND: config, **then},
    }
