"""What gateways are told: one document, named by its content, and how several of them are kept in one Secret.

    document      JSON, compressed: routings, probes, retired models, keys of callers, router keys of releases
    version       the digest of the JSON; equal content is never a change
    publication   the documents by version, of which one is wanted

The wanted version and those that a gateway still runs are kept, so that what a gateway reports can be read back.
A Secret, and not a ConfigMap, because callers' keys and releases' router keys are in it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes
from serinus.core.errors import Unavailable
from serinus.core.routing import Arm, Role, Routing

FORMAT = 1
"""Of the document. A gateway refuses what it does not know, and goes on with what it has."""
LARGEST = 1_000_000
"""Bytes of all documents together: below what a Secret may hold (1 MiB)."""
_LARGEST_DOCUMENT = 64 << 20
"""Bytes of the JSON that a gateway is ready to unpack."""


class Unreadable(ValueError):
    """What was published is no document of this version of Serinus. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a gateway needs to be told."""

    routes: Routes = field(default_factory=Routes)
    probes: Mapping[str, Routing] = field(default_factory=dict)
    """Model -> the release that the control plane asks."""

    @property
    def endpoints(self) -> dict[str, str]:
        """Release -> endpoint, of everything that is routed or asked."""
        routings = (*self.probes.values(), *self.routes.routings.values())
        return {arm.release: arm.endpoint for routing in routings for arm in routing.arms}

    def with_routing(self, model: str, routing: Routing | None) -> Wanted:
        """The model is routed so; None: no longer, and it is not retired either."""
        routes = self.routes.without(model)
        if routing is not None:
            routes = replace(routes, routings={**routes.routings, model: routing})
        return replace(self, routes=routes)

    def retired(self, model: str) -> Wanted:
        routes = self.routes.without(model)
        return replace(self, routes=replace(routes, retired=routes.retired | {model}))

    def with_probe(self, model: str, routing: Routing | None) -> Wanted:
        probes = {name: probe for name, probe in self.probes.items() if name != model}
        return replace(self, probes=probes if routing is None else {**probes, model: routing})


@dataclass(frozen=True, slots=True)
class Document:
    """As a gateway gets it."""

    wanted: Wanted
    router_keys: Mapping[str, str]
    """Release -> the key by which it knows the router."""
    version: str


def render(wanted: Wanted, key_of: Callable[[str], str]) -> tuple[str, bytes]:
    """The version, and the document."""
    routes = wanted.routes
    content = {
        "format": FORMAT,
        "routings": [asdict(routes.routings[model]) for model in sorted(routes.routings)],
        "probes": [asdict(wanted.probes[model]) for model in sorted(wanted.probes)],
        "retired": sorted(routes.retired),
        "callers": {name: asdict(routes.callers[name]) for name in sorted(routes.callers)},
        "keys_asked": routes.keys_asked,
        "router_keys": {release: key_of(release) for release in sorted(wanted.endpoints)},
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return _version(text), zlib.compress(text, 9)


def parse(document: bytes) -> Document:
    """What `render` was given. Raises Unreadable."""
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(document, _LARGEST_DOCUMENT)
        content = json.loads(text) if unpacking.eof else None
    except (zlib.error, ValueError) as error:
        raise Unreadable("the document is damaged") from error
    if not isinstance(content, dict):
        raise Unreadable("the document is damaged")
    if content.get("format") != FORMAT:
        raise Unreadable("the document is of another version of Serinus; this gateway reads format 1")
    try:
        return _document(content, _version(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable("the document has other fields than it should") from error


def _document(content: dict[str, Any], version: str) -> Document:
    callers = {name: Key(key["key"], _models(key["models"])) for name, key in content["callers"].items()}
    routings = _routings(content["routings"])
    routes = Routes(routings, callers, frozenset(content["retired"]), bool(content["keys_asked"]))
    return Document(Wanted(routes, _routings(content["probes"])), dict(content["router_keys"]), version)


def _routings(items: list[dict[str, Any]]) -> dict[str, Routing]:
    found = {}
    for item in items:
        arms = tuple(Arm(**{**arm, "role": Role(arm["role"])}) for arm in item["arms"])
        found[item["model"]] = Routing(**{**item, "arms": arms})
    return found


def _models(models: list[str] | None) -> tuple[str, ...] | None:
    return None if models is None else tuple(models)


def _version(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published: documents by version, of which `version` is wanted. Every publication has a higher number than
    the one before, also where the same document is wanted again: so a report of before is not taken for one of now."""

    version: str
    documents: Mapping[str, bytes]
    number: int = 0
    term: int = 0
    """The term in which it was decided. 0: there is one control plane alone."""

    @property
    def document(self) -> bytes:
        return self.documents[self.version]

    def superseded(self, version: str, document: bytes, running: Collection[str], term: int = 0) -> Publication:
        """`document` is wanted from now on, as decided in `term`. Kept besides are the one that was wanted before, to
        which a gateway may be on its way, and those that gateways run. Raises Unavailable: there is no room for it."""
        if len(document) > LARGEST // 2:
            raise Unavailable(
                f"The routing of all models takes {len(document)} bytes; a Secret has room for {LARGEST // 2}.",
                hint="Retire models that nobody asks, or serve some of them by gateways of their own.",
                delay=60.0,
            )
        kept = {version: document}
        before = [self.version, *(one for one in running if one != self.version)]
        for one in before:
            if one in self.documents and one not in kept:
                if sum(map(len, kept.values())) + len(self.documents[one]) > LARGEST:
                    break
                kept[one] = self.documents[one]
        return Publication(version, kept, self.number + 1, term)


def first(wanted: Wanted, key_of: Callable[[str], str], number: int) -> Publication:
    """Where nothing is published. `number`: higher than any that may have been used before, such as the time."""
    version, document = render(wanted, key_of)
    return Publication(version, {version: document}, number)
